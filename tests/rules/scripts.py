"""Aggregators whose scripts are run beside the call in process, and inputs that put them to the test."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from flwr_byzantine.rules import (
    Aggregator,
    aksel,
    bucketing,
    bulyan,
    clipped_gossip,
    clipping,
    dnc,
    flame,
    krum,
    median,
    multi_krum,
    nnm,
    script_givens,
    script_text,
    trimmed_mean,
)
from tests.rules.table import ROWS, Row, ranks

BEYOND_THE_TABLE = [
    nnm.bind(f=2) >> trimmed_mean.bind(f=2),
    clipping.bind(radius=4.0, f=1) >> nnm.bind(f=1) >> multi_krum.bind(f=1),
    bucketing.bind(f=1, size=3) >> median.bind(f=1),
    krum.bind(f=1, neighbors="n-f-1"),
    multi_krum.bind(f=1, m="n-f", neighbors=2),
    bulyan.bind(f=1, theta="n-2f-2"),
    aksel.bind(f=1, keep="half"),
    dnc.bind(f=1, coordinates=3, iterations=2, generator=7),
    flame.bind(f=1, epsilon=10),
    clipped_gossip.bind(f=1, tau=1),
]
"""Chains, conventions, and whole numbers where a rule takes a float."""

KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda rows: rows,
    "full of ties": lambda rows: rows.round(),
    "with rows that are not finite": lambda rows: torch.where(torch.arange(len(rows))[:, None] == 1, torch.nan, rows),
    "with a huge row": lambda rows: torch.where(
        torch.arange(len(rows))[:, None] == 0, torch.finfo(rows.dtype).max, rows
    ),
    "all equal": lambda rows: rows[:1].expand_as(rows).clone(),
}


def bound(row: Row, f: int) -> Aggregator:
    """The rule of a row with all bound that is no tensor."""
    keywords = row.keywords(torch.ones(1, 1))
    return row.get().bind(f=f, **{k: v for k, v in keywords.items() if not isinstance(v, Tensor)})


def aggregators(f: int) -> list[Aggregator]:
    return [*(bound(row, f) for row in ROWS), *BEYOND_THE_TABLE]


def inputs(n: int, d: int, *, seed: int = 0, kind: str = "plain", dtype: torch.dtype = torch.float64) -> Tensor:
    rows = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 + 3
    return KINDS[kind](rows.to(dtype))


def given(aggregator: Aggregator, rows: Tensor) -> dict[str, Tensor]:
    """Values for the tensors that a script takes after the rows."""
    finite = rows.nan_to_num(0.0)
    values = {"history": finite, **ranks(finite)}
    return {name: values.get(name, finite[-1]) for name in script_givens(aggregator)}


_texts: dict[tuple[str, bool], str] = {}
_units: dict[tuple[str, bool], Any] = {}


def text(aggregator: Aggregator, *, selected: bool = False) -> str:
    """The script of an aggregator; it is written once."""
    key = aggregator.name, selected
    if key not in _texts:
        _texts[key] = script_text(aggregator, selected=selected)
    return _texts[key]


def run(
    aggregator: Aggregator, tensors: list[Tensor], *, args: tuple[str, ...] = (), selected: bool = False
) -> list[Tensor]:
    """What the script of an aggregator makes of tensors; it is compiled once."""
    key = aggregator.name, selected
    if key not in _units:
        _units[key] = torch.jit.CompilationUnit(text(aggregator, selected=selected))
    return _units[key].run(tensors, [], list(args))
