"""Accuracy per update without attacks, and the honest servers' distance against the step size under attack."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from typing import Any

from _machine import exponent
from _plot import Axis, Line, line_plot
from flwr.app import ArrayRecord

from _guanyu.attacks import VANILLA, Cell, Training, play
from _guanyu.results import markdown
from _guanyu.work import Task, accuracy

__all__ = [
    "RATES", "convergence", "convergence_plot", "convergence_table", "drift", "drift_exponents", "drift_plot",
    "drift_table",
]  # fmt: skip

RATES = (0.5, 0.25, 0.125, 0.0625, 0.03125)
PAIRS = (("equivocation", "sign-flip"), ("alie", "alie"), ("backwards", "ipm"))
LEARNERS = {
    "one server, mean": Cell(VANILLA), "GuanYu": Cell("GuanYu"), "GuanYu with mda": Cell("GuanYu, mda"),
}  # fmt: skip
LEVELS = (0.8, 0.9, 0.95)


def drift(task: Task, steps: int, rates: Iterable[float] = RATES) -> Iterator[dict[str, Any]]:
    """Per pair of attacks and step size: the largest distance between honest servers, over the steps."""
    for server, worker in PAIRS:
        for rate in rates:
            found = play(task, Cell("GuanYu", server, worker), Training(steps, rate)).steps.values()
            after, before = ([getattr(step, name) for step in found] for name in ("drift", "drift_before_exchange"))
            yield {
                "data": task.name, "server": server, "worker": worker, "rate": rate, "steps": steps,
                "largest": max(after), "mean": statistics.mean(after), "mean_before": statistics.mean(before),
            }  # fmt: skip


def drift_table(rows: Iterable[dict[str, Any]]) -> str:
    """One row per pair of attacks and step size."""
    lines = [
        [f"{row['server']}, {row['worker']}", f"{row['rate']:g}", *(f"{row[name]:.4f}" for name in _SHOWN)]
        for row in rows
    ]
    return markdown(["servers, workers", "learning rate", *_SHOWN.values()], lines)


_SHOWN = {"largest": "largest of all steps", "mean": "mean of steps", "mean_before": "mean before the exchanges"}


def drift_plot(rows: list[dict[str, Any]]) -> str:
    """The largest distance of each pair of attacks, on logarithmic axes."""
    lines = [
        Line(f"{server}, {worker}", [(row["rate"], row["largest"]) for row in rows if row["server"] == server])
        for server, worker in PAIRS
    ]
    title = "Largest distance between two honest servers"
    return line_plot(lines, title=title, x=Axis("learning rate", log=True), y=Axis("distance", log=True))


def drift_exponents(rows: list[dict[str, Any]]) -> dict[str, float]:
    """By pair of attacks: as which power of the step size the largest distance grows."""
    return {
        f"{server}, {worker}": exponent([(row["rate"], row["largest"]) for row in rows if row["server"] == server])
        for server, worker in PAIRS
    }


def convergence(task: Task, training: Training, every: int) -> Iterator[dict[str, Any]]:
    """Per learner, nobody lying: the accuracy of what clients get, every so many updates."""
    for name, cell in LEARNERS.items():
        seen: list[tuple[int, float]] = []

        def look(step: int, arrays: ArrayRecord, seen: list[tuple[int, float]] = seen) -> None:
            if step % every == 0:
                seen.append((step, accuracy(task, arrays)))

        play(task, cell, training, look)
        yield {"data": task.name, "learner": name, "rate": training.rate, "seed": training.seed, "accuracy": seen}


def _reached(row: dict[str, Any], level: float) -> str:
    return str(next((step for step, found in row["accuracy"] if found >= level), "-"))


def convergence_table(rows: Iterable[dict[str, Any]]) -> str:
    """Updates until each level of accuracy, and the last accuracy."""
    lines = [
        [f"{row['data']}, {row['learner']}", *(_reached(row, level) for level in LEVELS),
         f"{100 * row['accuracy'][-1][1]:.1f} % at {row['accuracy'][-1][0]}"]
        for row in rows
    ]  # fmt: skip
    return markdown(["", *(f"updates to {level:.0%}" for level in LEVELS), "last"], lines)


def convergence_plot(rows: list[dict[str, Any]]) -> str:
    """All learners of one data set."""
    lines = [Line(row["learner"], row["accuracy"], dashed=not number) for number, row in enumerate(rows)]
    title = f"Accuracy per update, nobody lies: {rows[0]['data']}"
    return line_plot(lines, title=title, x=Axis("update"), y=Axis("accuracy", low=0.0, high=1.0))
