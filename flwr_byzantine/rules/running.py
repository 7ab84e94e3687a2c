"""Forms that fold a row in as it arrives, so that little is left to compute when the last one has come."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flwr_byzantine.rules._distances import distances_to
from flwr_byzantine.rules._source import Source
from flwr_byzantine.rules.rows import Rows

__all__ = ["RunningDistances", "RunningMean"]


class RunningMean:
    """The mean of the rows that have come so far; none of them is kept.

    Example:
        >>> running = RunningMean()
        >>> [running.add(torch.tensor([v])) for v in (1.0, 2.0, float("nan"), 6.0)]
        [True, True, False, True]
        >>> running.value()
        tensor([3.])
    """

    def __init__(self) -> None:
        self.count = 0
        """How many rows were folded in."""
        self._total: Tensor | None = None
        self._dtype = torch.float32

    def add(self, row: Tensor) -> bool:
        """Fold a row ``[d]`` in, summed in float64; whether that was done: one that is not finite is left out.

        Raises:
            ValueError: If it differs from the rows before in length, or is not floating-point.
        """
        source = Source.of([row])
        if self._total is not None and self._total.shape != (source.d,):
            raise ValueError(f"row {self.count} has {source.d} numbers, those before {len(self._total)}")
        if not bool(source.finite_rows()):
            return False
        if self._total is None:
            self._total, self._dtype = torch.zeros(source.d, dtype=torch.float64, device=row.device), row.dtype
        self._total += row.detach().flatten()
        self.count += 1
        return True

    def value(self) -> Tensor:
        """``[d]``: the mean, in the dtype of the first row.

        Raises:
            ValueError: If no row has come.
        """
        if self._total is None:
            raise ValueError("no row has come of which there could be a mean")
        return (self._total / self.count).to(self._dtype)


class RunningDistances:
    """Rows with the distances of all pairs, each computed when the later of the two arrives.

    Example:
        >>> from flwr_byzantine.rules import krum
        >>> running = RunningDistances()
        >>> [running.add(torch.tensor([v])) for v in (1.0, 1.1, 0.9, 1.2, float("inf"), 99.0)]
        [True, True, True, True, False, True]
        >>> krum(running.rows(), f=1)
        tensor([1.])
    """

    def __init__(self) -> None:
        self._rows: list[Tensor | Sequence[Tensor]] = []
        self._squares: list[Tensor] = []

    def add(self, row: Tensor | Sequence[Tensor]) -> bool:
        """Keep a row, a tensor or a list of segments, and compare it to those before; whether it is kept.

        One that is not finite is left out. The row must not change afterwards.

        Raises:
            TypeError: If it is no tensor and no list of tensors.
            ValueError: If it differs from the rows before in length, segments or dtype.
        """
        rows, last = Rows.of([*self._rows, row]), len(self._rows)
        if not bool(rows.source.picked([last]).finite_rows()):
            return False
        rows.source.is_finite = True
        before = rows.some(list(range(last)))
        squares = distances_to(before, rows.source.row(last)).square() if last else torch.zeros(0, dtype=torch.float64)
        self._squares.append(squares)
        self._rows.append(row)
        return True

    def rows(self) -> Rows:
        """The rows with their distances, for a rule to take.

        Raises:
            ValueError: If no row has come.
        """
        rows = Rows.of(self._rows)
        n = len(self._rows)
        distances = torch.zeros(n, n, dtype=torch.float64, device=rows.device)
        for i, squares in enumerate(self._squares):
            distances[i, :i], distances[:i, i] = squares, squares
        rows.source.distances, rows.source.is_finite = distances, True
        return rows
