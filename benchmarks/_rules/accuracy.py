"""Where float32 goes wrong: distances and Krum's choice in draws that are hard to tell apart, against float64."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from _rules.driver import Team
from _rules.measure import Record
from _rules.reference import Doubles, definition, krum_order, squared_distances
from _rules.shared import Rows, byzantine, create, fill, most_tolerated

Draw = Callable[[Rows, int], None]


def small_updates(rows: Rows, seed: int) -> None:
    """Weights of size 1 which each row has changed by 1e-4 of that."""
    fill(rows, seed)
    weights = np.random.default_rng([seed, len(rows)]).standard_normal(rows.shape[1], dtype=np.float32)
    for row in rows:
        row *= 1e-4
        row += weights


def attackers(size: float) -> Draw:
    """Updates of size 1, but Byzantine ones of another size, all in one direction."""

    def draw(rows: Rows, seed: int) -> None:
        fill(rows, seed)
        direction = np.random.default_rng([seed, len(rows)]).standard_normal(rows.shape[1], dtype=np.float32)
        for i in byzantine(len(rows)):
            rows[i] = rows[i] + np.float32(size) * direction

    return draw


SCENARIOS: dict[str, Draw] = {
    "updates of size 1": fill,
    "updates 1e-4 of the weights": small_updates,
    "attackers of 1e6": attackers(1e6),
    "attackers of 1e9": attackers(1e9),
    "attackers of 1e12": attackers(1e12),
    "attackers of 1e15": attackers(1e15),
}


def compare(team: Team, n: int, d: int, draws: int) -> Iterator[Record]:
    """For each scenario and contender: the worst distance of one draw, and how often Krum chose another row."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = create(folder / "rows", n, d)
        team.open(folder / "rows", n, d)
        f = most_tolerated("krum", n)
        for scenario, draw in SCENARIOS.items():
            found: dict[str, Record] = {name: {"wrong": 0} for name in team.having("krum")}
            for seed in range(draws):
                draw(rows, seed)
                exact = squared_distances(rows)
                if seed == 0:
                    for by in team.having("distances"):
                        found.setdefault(by, {}).update(distance_errors(team, by, exact, folder / "out.npy"))
                for by in team.having("krum"):
                    choice = chosen(team, by, f, rows, folder / "out.npy")
                    tally(found[by], choice, int(krum_order(exact, n - f - neighbours_less(by))[0]))
            for by, record in found.items():
                yield {"scenario": scenario, "by": by, "n": n, "d": d, "draws": draws, **record}


def neighbours_less(by: str) -> int:
    """How many fewer than n - f neighbours a contender's Krum score sums over."""
    return 2 if definition(by, "krum") is None else 1


def tally(record: Record, choice: int | str, expected: int) -> None:
    """Count a choice that is not the expected one; keep the reason of a failure."""
    if isinstance(choice, str):
        record["failed"] = choice
    elif choice != expected:
        record["wrong"] += 1


def chosen(team: Team, by: str, f: int, rows: Rows, out: Path) -> int | str:
    """Which row a contender's Krum gave; -1 if what it gave is none of them, a text if it failed."""
    reply = team.workers[by].ask("call", rule="krum", f=f, out=str(out))
    if "failed" in reply:
        return reply["failed"]
    equal = (rows == np.load(out)).all(axis=1).nonzero()[0]
    return int(equal[0]) if len(equal) else -1


def distance_errors(team: Team, by: str, exact: Doubles, out: Path) -> dict[str, Any]:
    """The largest relative error of a contender's squared distances among honest rows and among all; negative ones."""
    reply = team.workers[by].ask("call", rule="distances", f=0, out=str(out))
    if "failed" in reply:
        return {"failed": reply["failed"]}
    found, hostile = np.load(out).astype(np.float64), byzantine(len(exact))
    apart = exact > 0  # neither a row from itself nor attackers whose own noise their size swallows
    among = apart.copy()
    among[hostile, :] = among[:, hostile] = False
    with np.errstate(invalid="ignore"):
        differences = np.abs(found - exact)
    return {
        "honest_error": float((differences[among] / exact[among]).max()),
        "error": float((differences[apart] / exact[apart]).max()),
        "negative": int((found[apart] < 0).sum()),
    }
