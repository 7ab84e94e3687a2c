"""What a contender is: a library used one way, with its rules as functions of the shared rows."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from _rules.shared import Rows

STEPS = 3  # of centered clipping
STRATEGIES = ("mean", "median", "trimmed mean", "krum", "multi-krum", "bulyan")


def radius(d: int) -> float:
    """Centered clipping's: the length of a row of usual noise, so that Byzantine rows are clipped to it."""
    return float(np.sqrt(d))


def no_preparation() -> tuple[Any, ...]:
    """What most methods do before the clock runs."""
    return ()


@dataclass(frozen=True)
class Method:
    """A call that is timed, and what makes its arguments anew each time, untimed."""

    call: Callable[..., Any]
    prepare: Callable[[], tuple[Any, ...]] = no_preparation


Make = Callable[[Rows, int], Method]


@dataclass(frozen=True)
class Contender:
    """One library, used one way."""

    packages: tuple[str, ...]
    methods: dict[str, Make]
    notes: dict[str, str] = field(default_factory=dict)

    def versions(self) -> dict[str, str]:
        """Of the packages that do the work."""
        return {name: importlib.metadata.version(name) for name in self.packages} | self.notes


def on_arrays(function: Callable[..., Any]) -> Make:
    """A function of a list of arrays and f."""
    return lambda rows, f: Method(partial(function, list(rows), f))


def on_tensors(function: Callable[..., Any]) -> Make:
    """A function of a list of tensors and f."""
    torch = importlib.import_module("torch")
    return lambda rows, f: Method(partial(function, [torch.from_numpy(row) for row in rows], f))


def whole(side: str, *, seen: bool = False) -> dict[str, Make]:
    """``aggregate_train`` of the strategies of one side; they are imported when they are first timed."""

    def maker(name: str) -> Make:
        timed = importlib.import_module("_rules.replies").whole
        return lambda rows, f: Method(*timed(side, name, rows, f, seen=seen))

    return {f"aggregate: {name}": maker(name) for name in STRATEGIES}
