"""Timing: who runs which rule on which inputs, in turns, and what came of it, as one record per contender and rule."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from _rules.driver import Team
from _rules.methods import STRATEGIES
from _rules.reference import Reference, definition
from _rules.shared import create, fill, most_tolerated

RULES = (
    "mean", "median", "trimmed mean", "meamed", "krum", "multi-krum", "bulyan", "geometric median",
    "centered clipping", "mda", "nnm >> trimmed mean",
)  # fmt: skip
WHOLE = tuple(f"aggregate: {name}" for name in STRATEGIES)
SHORTEST_S = 0.005  # a sample of shorter calls is made of several
FLOORS = ("mean by columns", "mean by rows", "mean by blocks")

Record = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    rules: tuple[str, ...] = RULES
    rounds: int = 7
    patience_s: float = 8.0  # that one contender may take for one rule on one input, beyond its first call
    seed: int = 0


class Cell:
    """One rule on one input, by everyone who has it."""

    def __init__(self, team: Team, rule: str, reference: Reference) -> None:
        self.team, self.rule, self.reference = team, rule, reference
        self.f = most_tolerated(rule.removeprefix("aggregate: "), reference.n)
        self.records: dict[str, Record] = {}

    def first(self, folder: Path, floor: Callable[[], Record]) -> None:
        """Everyone once: the memory it takes, and whether the result is right."""
        for name in self.team.having(self.rule):
            out, under = folder / "result.npy", floor()
            record = self.team.workers[name].ask("peak", rule=self.rule, f=self.f, out=str(out))
            if "failed" not in record:
                record["error"] = self.reference.error(self.rule, self.f, name, np.load(out))
            self.records[name] = {**record, "samples": [], "floors": [], "first_floor": under}

    def round(self, floor: Callable[[], Record], left_s: Callable[[Record], float]) -> None:
        """Everyone once more, the floor before each; who is out of patience sits out."""
        for name, record in self.records.items():
            if "failed" in record or left_s(record) <= 0:
                continue
            repeat = max(1, min(20, round(SHORTEST_S / max(record["wall_s"], 1e-6))))
            under = floor()
            sample = self.team.workers[name].ask("call", rule=self.rule, f=self.f, repeat=repeat)
            if "failed" in sample:
                record["failed"] = sample["failed"]
                continue
            record["samples"].append([sample["cpu_s"], sample["wall_s"]])
            record["floors"].append([under["cpu_s"], under["wall_s"]])

    def finish(self) -> Iterator[Record]:
        """Medians over the rounds; of a contender that had no patience left for any, its first call."""
        for name, record in self.records.items():
            samples, floors, first = record.pop("samples"), record.pop("floors"), record.pop("first_floor")
            if "failed" not in record:
                samples = samples or [[record["cpu_s"], record["wall_s"]]]
                record |= beside(samples, floors or [[first["cpu_s"], first["wall_s"]]])
            yield {"rule": self.rule, "by": name, "f": self.f, "differs": definition(name, self.rule), **record}


def beside(samples: list[list[float]], floors: list[list[float]]) -> Record:
    """Medians of CPU and wall times, and of how many floors they are; ``least`` tells of the least of each."""
    record: Record = {"rounds": len(samples)}
    for place, clock in enumerate(("cpu_s", "wall_s")):
        record[clock] = statistics.median(sample[place] for sample in samples)
        record[f"floor_{clock}"] = statistics.median(floor[place] for floor in floors)
    record["floors"] = statistics.median(s[0] / under[0] for s, under in zip(samples, floors, strict=True))
    record["least_floors"] = min(s[0] for s in samples) / min(under[0] for under in floors)
    return record


def fastest_floor(team: Team) -> Callable[[], Record]:
    """The way to take the mean that is the fastest on these inputs, as a call that times it."""
    worker = team.workers["floor"]
    ways = [way for way in FLOORS if way in team.hellos["floor"]["rules"]]
    took: dict[str, float] = {}
    for way in ways:
        took[way] = min(worker.ask("call", rule=way, f=0, repeat=3)["cpu_s"] for _ in range(5))
    best = min(ways, key=took.__getitem__)
    repeat = max(1, min(20, round(SHORTEST_S / took[best])))
    return lambda: worker.ask("call", rule=best, f=0, repeat=repeat)


def measure(team: Team, n: int, d: int, plan: Plan) -> Iterator[Record]:
    """Everything about one input: a record for each rule and contender."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = create(folder / "rows", n, d)
        fill(rows, plan.seed)
        team.open(folder / "rows", n, d)
        reference, floor = Reference(rows), fastest_floor(team)
        for rule in plan.rules:
            cell = Cell(team, rule, reference)
            cell.first(folder, floor)
            for _ in range(plan.rounds):
                cell.round(floor, lambda record: patience_left(record, plan))
            for record in cell.finish():
                yield {"n": n, "d": d, **record}


def patience_left(record: Record, plan: Plan) -> float:
    """Seconds that a contender may still take: what its rounds so far, and one more, leave of the plan's."""
    took = sum(sample[1] for sample in record["samples"])
    return plan.patience_s - took - record["wall_s"]
