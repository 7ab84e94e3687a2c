"""Model updates per second in one ServerApp, with and without resilience, and where the time goes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from flwr.app import ArrayRecord
from flwr.clientapp import ClientApp
from torch import nn

from _guanyu.parts import NAMES, Parts
from _guanyu.results import markdown
from _guanyu.work import TIGHT, Task, free_app, gradient_of, one_thread
from flwr_byzantine.protocols.guanyu import GuanYuSettings
from flwr_byzantine.rules import mean
from flwr_byzantine.strategies import GuanYu
from flwr_byzantine.testing import InProcessGrid

__all__ = ["CHOICES", "Lap", "laps", "overhead", "table"]

BASE = "one server, mean"
CHOICES: dict[str, Callable[[], GuanYuSettings]] = {
    BASE: lambda: GuanYuSettings(1, 0, TIGHT["m"], 0, gradient_rule=mean, strict=False),
    "six servers, mean": lambda: GuanYuSettings(
        TIGHT["n"], 0, TIGHT["m"], 0, gradient_rule=mean, model_rule=mean, strict=False
    ),
    "GuanYu": lambda: GuanYuSettings(**TIGHT),
    "ByzSGD, T = 3": lambda: GuanYuSettings.byzsgd(**TIGHT, exchange_every=3),
}
"""The first has no resilience and no replication, the second no resilience."""


@dataclass
class Lap:
    """One step."""

    cpu_s: float
    wall_s: float
    parts: dict[str, float] = field(default_factory=dict)


def laps(app: ClientApp, settings: GuanYuSettings, first: ArrayRecord, steps: int) -> list[Lap]:
    """What each step took, of servers and workers together, but for the first, in which all models are equal."""
    marks: list[Lap] = []

    def mark(server_round: int, arrays: ArrayRecord) -> None:
        now, wall = time.process_time(), time.perf_counter()
        if last:
            marks.append(Lap(now - last[0], wall - last[1], parts.lap(now - last[0])))
        last[:] = now, wall

    last: list[float] = []
    with one_thread(), Parts() as parts, InProcessGrid(app, settings.m) as grid:
        strategy = GuanYu(settings, workers_return="gradient", learning_rate=0.01)
        strategy.start(grid, first, steps + 1, evaluate_fn=mark)
    return marks[1:]


def overhead(task: Task, repeats: int, steps: int = 3) -> dict[str, Any]:
    """Medians over all steps, the choices in turn: processor time, wall time and parts of each.

    Gradients are the same work under each choice, and would bring in a noise larger than what is compared: they are
    timed alone, between the choices, and added to what the same step takes with gradients that cost nothing.
    """
    model, gradients = task.first_model(), []
    d = sum(parameter.numel() for parameter in model.parameters())
    taken: dict[str, list[Lap]] = {name: [] for name in CHOICES}
    for _ in range(repeats):
        for name, settings in CHOICES.items():
            made = settings()
            taken[name] += laps(free_app(made.m, d, model_rule=made.model_rule), made, task.first_record(), steps)
            with one_thread():
                gradients += [_one_gradient(model, task, number) for number in range(3)]
    every = TIGHT["m"] * statistics.median(gradients)
    choices = {name: _middle(found, every) for name, found in taken.items()}
    return {"task": task.name, "parameters": d, "choices": choices}


def _one_gradient(model: nn.Module, task: Task, number: int) -> float:
    begun = time.thread_time()
    gradient_of(model, *task.batch(number, 1))
    return time.thread_time() - begun


def _middle(found: list[Lap], gradients_s: float) -> dict[str, Any]:
    parts = {name: statistics.median(lap.parts[name] for lap in found) for name in NAMES}
    return {
        "cpu_s": statistics.median(lap.cpu_s for lap in found) + gradients_s,
        "wall_s": statistics.median(lap.wall_s for lap in found) + gradients_s,
        "parts": {**parts, "gradients": gradients_s},
    }


def table(results: Iterable[dict[str, Any]]) -> str:
    """Per task and choice: updates per second, time by part, and the overhead over one server with the mean."""
    rows = []
    for result in results:
        base = result["choices"][BASE]["cpu_s"]
        for name, choice in result["choices"].items():
            times = [f"{1000 * choice['parts'][part]:.0f}" for part in NAMES]
            per_second = [f"{1 / choice[clock]:.3g}" for clock in ("cpu_s", "wall_s")]
            more = f"{100 * (choice['cpu_s'] / base - 1):+.0f} %"
            rows.append([f"{result['task']}, {name}", *per_second, f"{1000 * choice['cpu_s']:.0f}", *times, more])
    return markdown(["", "updates per CPU s", "updates per s", "CPU ms per update", *NAMES, "overhead"], rows)
