"""The results of sweeps as a file holds them, sorted by what they are compared within."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from flwr_byzantine.bench.journal import read_lines

__all__ = ["CellResult", "KappaResult", "Results", "Score", "Setting", "load_results", "worst_attacks"]


class Setting(NamedTuple):
    """What the cells of one heat map have in common."""

    task: str
    system: str
    heterogeneity: str
    f: int
    training: str
    """The settings of the training, and of GuanYu's servers, that differ within a file; "" if none does."""

    def __str__(self) -> str:
        return ", ".join(
            part for part in (self.task, self.system, self.heterogeneity, f"f = {self.f}", self.training) if part
        )


@dataclass(frozen=True)
class CellResult:
    """One training, done, failed or refused."""

    setting: Setting
    rule: str
    attack: str
    seed: int
    status: str
    error: str = ""
    nodes: int = 0
    honest: int = 0
    final: float | None = None
    accuracy: tuple[tuple[int, float], ...] = ()
    """Round and accuracy."""
    selected: dict[int, frozenset[int]] = field(default_factory=dict)
    """By round."""
    rejected: tuple[tuple[int, int, str], ...] = ()
    """Round, node, reason."""
    rule_seconds: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class KappaResult:
    """One search for a kappa."""

    rule: str
    n: int
    f: int
    status: str
    error: str = ""
    found: float | None = None
    proven: float | None = None
    floor: float | None = None


@dataclass(frozen=True)
class Results:
    """All that a file holds; of a job that ran more than once, the last."""

    cells: Sequence[CellResult]
    kappas: Sequence[KappaResult]
    sessions: Sequence[dict[str, Any]]
    """Command, start, versions and machine of each run that added something."""

    def settings(self) -> list[Setting]:
        """Those that there are, in the order of the file."""
        return list(dict.fromkeys(cell.setting for cell in self.cells))

    def within(self, setting: Setting) -> list[CellResult]:
        """The cells of a setting."""
        return [cell for cell in self.cells if cell.setting == setting]


@dataclass(frozen=True)
class Score:
    """What the seeds of a rule under an attack came to."""

    rule: str
    attack: str
    finals: tuple[float, ...]
    """The last accuracies, 0 to 1, in ascending order."""

    @property
    def median(self) -> float:
        """Over the seeds."""
        return statistics.median(self.finals)


def load_results(path: Path) -> Results:
    """Read a file of results.

    Args:
        path: As :func:`~flwr_byzantine.bench.run_sweep` writes it; it may still be written.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no such file; the message says what is wrong.

    Example:
        >>> import tempfile
        >>> from flwr_byzantine.bench import KappaSearch, run_sweep
        >>> path = Path(tempfile.mkdtemp()) / "results.jsonl"
        >>> _ = run_sweep([KappaSearch("median", 5, 1, evaluations=16)], path)
        >>> load_results(path).kappas[0].floor
        0.3333333333333333
    """
    lines = list(read_lines(path))
    by_place = sorted(lines, key=_place)
    last = {str(line.get("id")): line for line in by_place if line.get("kind") in ("cell", "kappa")}
    try:
        varied = _varied(line["settings"] for line in last.values() if line["kind"] == "cell")
        cells = [_cell(line, varied) for line in last.values() if line["kind"] == "cell"]
        kappas = [_kappa(line) for line in last.values() if line["kind"] == "kappa"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: no results of a sweep: {type(error).__name__}: {error}") from error
    return Results(cells, kappas, [line for line in lines if line.get("kind") == "session"])


def _place(line: dict[str, Any]) -> int:
    """Where in its sweep a job stands, since processes finish in any order."""
    place = line.get("place")
    return place if isinstance(place, int) else 0


def _varied(settings: Iterable[dict[str, Any]]) -> list[str]:
    """Names of the training's settings that are not the same in all cells."""
    seen: dict[str, set[str]] = {}
    for each in settings:
        for name, value in _training(each).items():
            seen.setdefault(name, set()).add(str(value))
    return sorted(name for name, values in seen.items() if len(values) > 1)


def _training(settings: dict[str, Any]) -> dict[str, Any]:
    servers = {f"servers {name}": value for name, value in (settings.get("servers") or {}).items()}
    return {**settings["training"], **servers}


def _cell(line: dict[str, Any], varied: list[str]) -> CellResult:
    given = line["settings"]
    training = _training(given)
    differs = ", ".join(f"{name.replace('_', ' ')} {training[name]}" for name in varied if name in training)
    setting = Setting(
        str(given["task"]["name"]), str(given["system"]), str(given["heterogeneity"]), int(given["f"]), differs
    )
    final, seconds = line.get("final"), line.get("rule-seconds")
    return CellResult(
        setting, str(given["rule"]), str(given["attack"]), int(given["seed"]), str(line["status"]),
        str(line.get("error", "")), int(line.get("nodes", 0)), int(line.get("honest", 0)),
        None if final is None else float(final),
        tuple((int(round), float(value)) for round, value in line.get("accuracy", [])),
        {int(round): frozenset(map(int, nodes)) for round, nodes in line.get("selected", [])},
        tuple((int(round), int(node), str(reason)) for round, node, reason in line.get("rejected", [])),
        None if seconds is None else float(seconds), float(line.get("seconds", 0.0)),
    )  # fmt: skip


def _kappa(line: dict[str, Any]) -> KappaResult:
    given = line["settings"]
    numbers = {name: line.get(name) for name in ("found", "proven", "floor")}
    return KappaResult(
        str(given["rule"]), int(given["n"]), int(given["f"]), str(line["status"]), str(line.get("error", "")),
        **{name: None if value is None else float(value) for name, value in numbers.items()},
    )  # fmt: skip


def scores(cells: Iterable[CellResult]) -> dict[tuple[str, str], Score]:
    """By rule and attack, over the seeds that are done."""
    finals: dict[tuple[str, str], list[float]] = {}
    for cell in cells:
        if cell.final is not None:
            finals.setdefault((cell.rule, cell.attack), []).append(cell.final)
    return {key: Score(*key, tuple(sorted(values))) for key, values in finals.items()}


def worst_attacks(results: Results) -> list[tuple[Setting, Score]]:
    """For each setting and rule, the attack with the least median accuracy over the seeds.

    Example:
        >>> setting = Setting("digits", "strategy", "iid", 1, "")
        >>> cells = [CellResult(setting, "mean", attack, 0, "done", final=final)
        ...          for attack, final in (("none", 0.9), ("alie", 0.3))]
        >>> [(score.rule, score.attack, score.median) for _, score in worst_attacks(Results(cells, [], []))]
        [('mean', 'alie', 0.3)]
    """
    worst = []
    for setting in results.settings():
        by_rule: dict[str, Score] = {}
        for (rule, _), score in scores(results.within(setting)).items():
            if rule not in by_rule or score.median < by_rule[rule].median:
                by_rule[rule] = score
        worst += [(setting, score) for score in by_rule.values()]
    return worst
