"""``sweep.toml``: what is compared, how it is trained and where it runs, checked as a whole before anything starts."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar, get_type_hints

from flwr_byzantine.attacks import SERVER_ATTACKS
from flwr_byzantine.bench import (
    SYSTEMS,
    Servers,
    Sweep,
    TaskChoice,
    Training,
    attack_named,
    heterogeneity,
    rule_named,
)
from flwr_byzantine.cli._table import Table, load
from flwr_byzantine.clients.functions import KINDS

__all__ = ["SweepFile"]

T = TypeVar("T")
TABLES = ("sweep", "task", "training", "servers", "kappa", "run")
LISTS: dict[str, type] = {
    "rules": str, "pre-aggregators": str, "attacks": str, "f": int, "heterogeneity": str, "seeds": int, "systems": str,
}  # fmt: skip
NEEDED = ("rules", "attacks", "f")


class Numbered(Table):
    """A table whose mistakes name the line."""

    def __init__(self, file: Path, name: str, content: Mapping[str, Any], text: str) -> None:
        super().__init__(file, name, content)
        self._text = text

    def mistake(self, key: str, said: str) -> ValueError:
        """What is wrong with a key's value, and where."""
        line = _line_of(self._text, self.name.strip("[]"), key.rstrip(":"))
        at = f"{self.file}, line {line}:" if line else f"{self.file}:"
        return ValueError(f"{at} {self.name} {key} {said}")


@dataclass(frozen=True)
class SweepFile:
    """All that is in the file."""

    file: Path
    sweep: Sweep
    results: Path
    executor: str = "in-process"
    workers: int | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Of the executor."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """The file's content.

        Raises:
            OSError: If it cannot be read.
            ValueError: If something in it is not as it must be; the message names file, line, table and key, and what
                is allowed.
        """
        file = path.expanduser().absolute()
        content = load(file)
        text = file.read_text(encoding="utf-8")
        whole = Numbered(file, "the table", content, text)
        tables = {name: Numbered(file, f"[{name}]", whole.given(name, dict) or {}, text) for name in TABLES}
        whole.end()
        sweep = _sweep(tables)
        run = tables["run"]
        results = run.path("results") or file.with_suffix(".jsonl")
        kind, workers = run.given("executor", str) or "in-process", run.given("workers", int)
        options = run.given("options", dict) or {}
        run.end()
        if kind not in KINDS:
            raise run.mistake("executor", f"must be one of {', '.join(KINDS)}, got {kind!r}")
        return cls(file, sweep, results, kind, workers, options)


def _sweep(tables: Mapping[str, Numbered]) -> Sweep:
    lists = _lists(tables["sweep"])
    kappa = tables["kappa"]
    evaluations = kappa.given("evaluations", int) or 0
    kappa.end()
    task = _filled(TaskChoice, tables["task"])
    if task.name not in ("digits", "mnist") and ":" not in task.name:
        raise tables["task"].mistake("name", f"must be digits, mnist or module:function, got {task.name!r}")
    servers = _filled(Servers, tables["servers"])
    if servers.attack and servers.attack not in SERVER_ATTACKS:
        raise tables["servers"].mistake("attack", f"must be one of {', '.join(SERVER_ATTACKS)}, got {servers.attack!r}")
    training = _filled(Training, tables["training"])
    try:
        return Sweep(**lists, task=task, training=training, servers=servers, kappa_evaluations=evaluations)
    except ValueError as error:
        raise ValueError(f"{kappa.file}: [sweep] {error}") from error


def _lists(table: Numbered) -> dict[str, tuple[Any, ...]]:
    """What is compared, each entry checked by itself so that a mistake names its line."""
    given: dict[str, tuple[Any, ...]] = {}
    for key, kind in LISTS.items():
        entries = table.needed(key, list) if key in NEEDED else table.given(key, list)
        if entries is None:
            continue
        for entry in entries:
            if not isinstance(entry, kind) or isinstance(entry, bool):
                needed = "texts" if kind is str else "whole numbers"
                raise table.mistake(key, f"must be a list of {needed}, got {entry!r:.80}")
        given[key.replace("-", "_")] = tuple(entries)
    table.end()
    _check_entries(table, given)
    return given


def _check_entries(table: Numbered, given: Mapping[str, tuple[Any, ...]]) -> None:
    before = [f"{pre} >> mean" for pre in given.get("pre_aggregators", ()) if pre]
    for key, texts in (("rules", given["rules"]), ("pre-aggregators", before)):
        _check_each(table, key, texts, rule_named)
    _check_each(table, "attacks", given["attacks"], lambda attack: attack_named(attack, rule_named("mean")))
    _check_each(table, "heterogeneity", given.get("heterogeneity", ()), heterogeneity)
    for system in given.get("systems", ()):
        if system not in SYSTEMS:
            raise table.mistake("systems", f"may hold {', '.join(SYSTEMS)}, got {system!r}")
    for key in ("f", "seeds"):
        if any(number < 0 for number in given.get(key, ())):
            raise table.mistake(key, f"must be at least 0, got {min(given[key])}")


def _check_each(table: Numbered, key: str, texts: Iterable[str], check: Callable[[str], object]) -> None:
    for text in texts:
        try:
            check(text)
        except ValueError as error:
            raise table.mistake(f"{key}:", str(error)) from error


def _filled(kind: type[T], table: Numbered) -> T:
    """A dataclass of the table's values, by kebab-case names."""
    hints, given = get_type_hints(kind), {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        key = field.name.replace("_", "-")
        hint = getattr(hints[field.name], "__origin__", hints[field.name])
        if hint is float and type(table.content.get(key)) is int:
            table.content[key] = float(table.content[key])
        value = table.given(key, hint)
        if value is not None:
            given[field.name] = value
    table.end()
    try:
        return kind(**given)
    except ValueError as error:
        raise ValueError(f"{table.file}: {table.name} {error}") from error


def _line_of(text: str, table: str, key: str) -> int | None:
    """The line of a key in a table, or of a table that is itself the key; None if it is not found."""
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[+\s*([^\[\]]+?)\s*\]", line):
            current = header[1]
            if current == key and table == "the table":
                return number
        elif current == table and re.match(rf"""\s*["']?{re.escape(key)}["']?\s*=""", line):
            return number
    return None
