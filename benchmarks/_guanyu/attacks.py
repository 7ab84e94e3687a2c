"""Every lying server with every lying worker at the tight point, and the same against what has no defence."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from flwr.app import ArrayRecord, Context, Message
from flwr.clientapp.typing import ClientAppCallable, Mod

from _guanyu.results import append, markdown, read
from _guanyu.work import TIGHT, Task, accuracy, worker_app
from flwr_byzantine.attacks import ATTACKS, SERVER_ATTACKS, ServerView
from flwr_byzantine.protocols.guanyu import GuanYuSettings
from flwr_byzantine.records import Layout
from flwr_byzantine.rules import Aggregator, mda, mean, median, multi_krum, nnm
from flwr_byzantine.strategies import GuanYu, GuanYuResult
from flwr_byzantine.testing import InProcessGrid

__all__ = ["DEFENCES", "SETS", "Cell", "Training", "measure", "play", "run", "table"]

ONE = "one server, mean"
VANILLA = ONE
NNM = "GuanYu, nnm >> multi_krum"
MEANS = "mean of gradients and models"
DEFENCES: dict[str, tuple[Aggregator, Aggregator]] = {
    "GuanYu": (multi_krum, median),
    NNM: (nnm >> multi_krum, median),
    "GuanYu, mda": (mda, median),
    MEANS: (mean, mean),
    ONE: (mean, median),
}
"""The rules over gradients and over models."""
WORKERS = tuple(name for name, attack in ATTACKS.items() if not attack.needs)
"""All but those that need more than the honest gradients."""
STRONG = (
    ("equivocation", "sign-flip"),
    ("alie", "alie"),
    ("backwards", "ipm"),
    ("reversed", "gaussian"),
    ("random", "fang"),
)
BARE = (("reversed", "gaussian"), ("random", "fang"), ("reversed", "ipm"), ("equivocation", "sign-flip"))
"""What breaks the mean fastest, and one pair that may not."""


@dataclass(frozen=True, order=True)
class Cell:
    """Who defends, and who attacks; "none" is nobody."""

    defence: str
    server: str = "none"
    worker: str = "none"
    schedule: str = "seeded"


@dataclass(frozen=True)
class Training:
    """How long, how fast, and from which seed."""

    steps: int = 150
    rate: float = 0.2
    seed: int = 0
    momentum: float = 0.0
    """Of workers: with one above 0 what they send is a mean of their gradients, of less noise."""
    local_steps: int = 1
    """Gradients of one message, each where the one before led; their sum is sent."""


def _grid(defence: str, servers: Iterable[str], workers: Iterable[str], schedule: str = "seeded") -> Iterator[Cell]:
    return (Cell(defence, server, worker, schedule) for server in servers for worker in workers)


CLEAN = (Cell(VANILLA), Cell("GuanYu"))
SETS: dict[str, tuple[Cell, ...]] = {
    "every-pair": (*CLEAN, *_grid("GuanYu", SERVER_ATTACKS, WORKERS)),
    "three-workers": (*CLEAN, *_grid("GuanYu", SERVER_ATTACKS, ("sign-flip", "ipm", "alie"))),
    "all-workers": (*CLEAN, *_grid("GuanYu", ["equivocation"], WORKERS)),
    "byzantine-first": tuple(
        cell for rule in ("GuanYu", NNM, "GuanYu, mda")
        for cell in _grid(rule, ("alie", "equivocation"), ("sign-flip", "ipm"), "byzantine-first")
    ),
    "no-defence": tuple(Cell(defence, *pair) for pair in BARE for defence in (MEANS, ONE)),
    "strongest": (
        *CLEAN, *(Cell(rule, *pair) for rule in ("GuanYu", NNM) for pair in STRONG),
        *(Cell(defence, *pair) for pair in BARE[:2] for defence in (MEANS, ONE)),
    ),
}  # fmt: skip
"""By name: unattacked and every pair; three workers' attacks; one server's; the worst schedule; what has no defence."""


def play(
    task: Task, cell: Cell, training: Training, look: Callable[[int, ArrayRecord], None] | None = None
) -> GuanYuResult:
    """Train under attack; ``look`` is shown the model that clients get, after each step and before the first."""
    gradient_rule, model_rule = DEFENCES[cell.defence]
    alone = cell.defence == ONE
    numbers = {**TIGHT, "n": 1, "f": 0, "f_w": 0} if alone else TIGHT
    settings = GuanYuSettings(**numbers, gradient_rule=gradient_rule, model_rule=model_rule, strict=not alone)
    strategy = GuanYu(
        settings,
        workers_return="gradient",
        learning_rate=training.rate,
        server_attack=None if alone or cell.server == "none" else cell.server,
        worker_attack=ATTACKS.get(cell.worker),
        byzantine_workers=TIGHT["f_w"],
        schedule=cell.schedule,  # type: ignore[arg-type]
        seed=training.seed,
    )
    mods = [lying_server(cell.server, training.seed)] if alone and cell.server != "none" else []
    app = worker_app(
        task, model_rule=model_rule, mods=mods, seed=training.seed, momentum=training.momentum,
        local_steps=training.local_steps, rate=training.rate,
    )  # fmt: skip
    with InProcessGrid(app, settings.m) as grid:
        rounds = 0 if alone and cell.server == "silent" else training.steps
        return strategy.start(grid, task.first_record(training.seed), rounds, evaluate_fn=look)


def lying_server(name: str, seed: int) -> Mod:
    """The one server there is lies: each worker gets what an attack makes of the model that it should get."""
    past: dict[int, torch.Tensor] = {}

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        record, step = message.content["arrays"], int(message.content["config"]["server-round"])
        layout, worker = Layout.of(record), int(context.node_config["partition-id"])
        true = torch.from_numpy(layout.flatten(record))
        before = tuple(past[number] for number in sorted(past) if number < step)
        past[step] = true
        message.content["arrays"] = layout.record(_lie(name, ServerView(true[None], worker, before, seed + step)), {})
        return call_next(message, context)

    return mod


def _lie(name: str, view: ServerView) -> Any:
    made = SERVER_ATTACKS[name](view)
    return view.honest[0].numpy() if made is None else made.numpy()


def _handed_out(cell: Cell, training: Training, result: GuanYuResult) -> list[ArrayRecord]:
    """The models that a client could get of honest servers; or what the one server, which lies, would give it."""
    if cell.defence != ONE or cell.server == "none":
        return list(result.models.values()) or [result.arrays]
    layout = Layout.of(result.arrays)
    view = ServerView(torch.from_numpy(layout.flatten(result.arrays))[None], 0, (), training.seed + training.steps)
    return [layout.record(_lie(cell.server, view), {})]


def measure(task: Task, cell: Cell, training: Training) -> dict[str, Any]:
    """One line of results."""
    begun = time.monotonic()
    result = play(task, cell, training)
    if not result.arrays:  # no round was run
        found = [accuracy(task, task.first_record(training.seed))]
    else:
        found = [accuracy(task, model) for model in _handed_out(cell, training, result)]
    late = [step.drift for step in list(result.steps.values())[-10:]]
    return {
        "data": task.name, **asdict(cell), **asdict(training), "worst": min(found), "best": max(found),
        "drift": max(late, default=0.0), "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    named = ("data", "defence", "server", "worker", "schedule", "steps", "rate", "seed")
    return *(row[name] for name in named), row.get("momentum", 0.0), row.get("local_steps", 1)


def run(task: Task, cells: Iterable[Cell], training: Training, path: Path | None) -> Iterator[dict[str, Any]]:
    """Each cell's row: as a file of results has it, or else played, and appended there as it ends."""
    done = {_key(row): row for row in read(path)}
    for cell in cells:
        row = done.get(_key({"data": task.name, **asdict(cell), **asdict(training)}))
        if row is None:
            row = measure(task, cell, training)
            append(path, row)
        yield row


def table(rows: Iterable[dict[str, Any]]) -> str:
    """One Markdown table per defence and schedule: the worst honest server's accuracy in %, attacks of servers down."""
    groups: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    for row in rows:
        groups.setdefault((row["defence"], row["schedule"]), {})[row["server"], row["worker"]] = row["worst"]
    return "\n\n".join(_one_table(*named, worst) for named, worst in groups.items())


def _one_table(defence: str, schedule: str, worst: dict[tuple[str, str], float]) -> str:
    servers, workers = (list(dict.fromkeys(key[place] for key in worst)) for place in (0, 1))
    lines = [
        [server, *(f"{100 * worst[server, w]:.1f}" if (server, w) in worst else "" for w in workers)]
        for server in servers
    ]
    return markdown([f"{defence}; {schedule}: servers / workers", *workers], lines)
