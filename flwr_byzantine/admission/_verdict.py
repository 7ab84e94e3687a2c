"""What admission is told, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from flwr.app import RecordDict
from numpy.typing import NDArray
from torch import Tensor

from flwr_byzantine.admission._numbers import subtract

__all__ = ["DEFAULT_POLICY", "AdmissionPolicy", "Admitted", "Rejected", "printable"]


@dataclass(frozen=True)
class Rejected:
    """A reply that was left out."""

    node_id: int
    reason: str

    def __str__(self) -> str:
        return f"reply of node {self.node_id} left out: {self.reason}"


@dataclass(frozen=True)
class AdmissionPolicy:
    """What a reply must keep to, beyond the layout of the model."""

    weight_key: str = "num-examples"
    """The metric in which a node states its number of examples."""
    max_examples: float = 1e9
    """Largest number of examples that is believed."""
    max_update_norm: float | None = None
    """Largest Euclidean norm of an update (reply minus model). The dtype's own limit always holds besides: the
    square of the norm must be finite, which for float32 is a norm of 1.8e19."""
    max_metric_values: int = 10_000
    """Most numbers in the metrics of one reply; an empty list counts as one."""

    def __post_init__(self) -> None:
        if self.max_update_norm is not None and not self.max_update_norm > 0:
            raise ValueError(f"max_update_norm must be positive, got {self.max_update_norm}")


DEFAULT_POLICY = AdmissionPolicy()


@dataclass(frozen=True)
class Admitted:
    """The replies that may be computed on, by ascending node id, and those that may not."""

    nodes: tuple[int, ...]
    contents: tuple[RecordDict, ...]
    """What each node replied, as it came."""
    rejected: tuple[Rejected, ...]
    model: Tensor = field(default_factory=lambda: torch.empty(0))
    """``[d]``, the model sent; empty for evaluate replies."""
    replies: Sequence[Sequence[Tensor]] = ()
    """For each node the arrays of its reply, read in place: what a rule takes; none for evaluate replies."""
    buffers: Mapping[str, list[NDArray[np.generic]]] = field(default_factory=dict)
    """By name, each node's value of every array that is not floating-point."""

    @cached_property
    def rows(self) -> Tensor:
        """``[n, d]``, reply minus model, in one matrix that is made when it is first asked for."""
        rows = self.model.new_empty((len(self.replies), len(self.model)))
        for row, reply in zip(rows, self.replies, strict=True):
            subtract(reply, self.model, out=row)
        return rows

    @property
    def faulty(self) -> int:
        """How many nodes replied, but none of their replies was admitted: faults found."""
        return len({rejected.node_id for rejected in self.rejected} - set(self.nodes))


def printable(text: str, limit: int = 160) -> str:
    r"""A stranger's text made fit for a log line: escapes visible, length bounded.

    Example:
        >>> print(printable("red: \x1b[31m", limit=8))
        red: \x1b[3...
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
    return shown + ("..." if len(text) > limit else "")
