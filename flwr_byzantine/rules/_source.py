"""Rows where they lie: tensors of one length, each whole or in segments, seen a few columns or a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Inputs", "NotFiniteError", "Segment", "Source"]

Inputs = Tensor | Sequence[Tensor | Sequence[Tensor]]
"""A matrix ``[n, d]``, or ``n`` rows, each a tensor or the tensors (layers) that it consists of."""

SMALL = 1 << 14
"""Segments of fewer numbers that follow one another are put together: a call costs more than their copy."""


class NotFiniteError(ValueError):
    """Some rows are not finite: the call starts again without them."""


@dataclass(frozen=True)
class Segment:
    """Some columns of all rows, as a matrix or as a tensor of one dimension for each row."""

    start: int
    stop: int
    rows: Tensor | list[Tensor]

    def views(self, start: int, stop: int) -> list[Tensor]:
        """These columns of each row."""
        low, high = start - self.start, stop - self.start
        if isinstance(self.rows, Tensor):
            return list(self.rows[:, low:high].unbind())
        return [row[low:high] for row in self.rows]

    def picked(self, places: list[int]) -> Segment:
        """The same columns of some rows."""
        rows = self.rows[places] if isinstance(self.rows, Tensor) else [self.rows[i] for i in places]
        return Segment(self.start, self.stop, rows)


class Source:
    """``n`` rows of ``d`` numbers that are read in place, and what is known of them.

    Args:
        segments: They follow one another and hold the same rows.
        n: How many rows.
    """

    def __init__(self, segments: list[Segment], n: int, like: Tensor) -> None:
        self.segments = segments
        self.n = n
        self.d = segments[-1].stop if segments else 0
        self.like = like
        self.is_finite = False
        """Whether all numbers are known to be finite."""
        self.distances: Tensor | None = None
        """``float64[n, n]``: the squared distances, once they are known."""
        self.norms: Tensor | None = None
        """``float64[n]``: the length of each row, once they are known."""
        self.products: dict[str, Tensor] = {}
        """Inner products about a point, by its name, once they are known."""

    @classmethod
    def of(cls, inputs: Inputs) -> Source:
        """The rows of a matrix or of a sequence.

        Raises:
            TypeError: If they are no tensors.
            ValueError: If they do not fit one another, or are not floating-point.
        """
        if isinstance(inputs, Tensor):
            if inputs.ndim != 2 or not inputs.is_floating_point():
                raise ValueError(
                    f"inputs must be a floating-point matrix [n, d], got {inputs.dtype} {list(inputs.shape)}"
                )
            matrix = inputs.detach()
            return cls([Segment(0, matrix.shape[1], matrix)], matrix.shape[0], matrix)
        if not isinstance(inputs, list | tuple):
            raise TypeError(f"inputs must be a torch.Tensor [n, d] or a list of rows, got {type(inputs).__name__}")
        rows = [[row] if isinstance(row, Tensor) else list(row) for row in inputs]
        _check_alike(rows)
        return cls(_segments(rows), len(rows), rows[0][0])

    def finite_rows(self) -> Tensor:
        """``bool[n]``: whether every number of a row is finite."""
        finite = torch.ones(self.n, dtype=torch.bool, device=self.like.device)
        wide = torch.float64 if self.like.dtype == torch.float64 else torch.float32
        for segment in self.segments:
            # A sum is finite only if all numbers are; the costly check runs where it is not.
            sums = torch.stack([row.sum(dtype=wide) for row in segment.rows]) if self.n else finite
            for place in (~sums.isfinite()).nonzero().flatten().tolist():
                finite[place] &= torch.isfinite(segment.rows[place]).all()
        return finite

    def require_finite(self) -> None:
        """Raise a NotFiniteError if not all rows are finite; that is found out once."""
        self.is_finite = self.is_finite or bool(self.finite_rows().all())
        if not self.is_finite:
            raise NotFiniteError("some inputs are not finite")

    def settle(self, seen_finite: bool) -> None:
        """Note that all numbers were seen to be finite; if not, find out as :meth:`require_finite` does."""
        self.is_finite = self.is_finite or seen_finite
        self.require_finite()

    def picked(self, places: list[int]) -> Source:
        """Some of the rows, and what is known of them."""
        picked = Source([segment.picked(places) for segment in self.segments], len(places), self.like)
        picked.d, picked.is_finite = self.d, self.is_finite
        if self.distances is not None and self.is_finite:
            picked.distances = self.distances[places][:, places]
        return picked

    def views(self, width: int) -> Iterator[tuple[int, int, list[Tensor]]]:
        """The columns in blocks, none across segments: from which, up to which, and these columns of each row."""
        for segment in self.segments:
            for start in range(segment.start, segment.stop, width):
                stop = min(segment.stop, start + width)
                yield start, stop, segment.views(start, stop)

    def block(self, start: int, stop: int) -> Tensor:
        """``[n, stop - start]``: some columns; a view if they lie in one matrix."""
        parts = []
        for segment in self.segments:
            low, high = max(start, segment.start), min(stop, segment.stop)
            if low < high and isinstance(segment.rows, Tensor):
                parts.append(segment.rows[:, low - segment.start : high - segment.start])
            elif low < high:
                parts.append(torch.stack(segment.views(low, high)))
        if not parts:
            return self.like.new_empty((self.n, 0))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def row(self, place: int) -> Tensor:
        """``[d]``: one row; a view if it is in one segment."""
        parts = [segment.rows[place] for segment in self.segments]
        if not parts:
            return self.like.new_empty((0,))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def columns(self, places: Tensor) -> Tensor:
        """``[n, k]``: columns by number."""
        result = self.like.new_empty((self.n, len(places)))
        for segment in self.segments:
            here = ((places >= segment.start) & (places < segment.stop)).nonzero().flatten()
            for i, row in enumerate(segment.rows):
                result[i, here] = row[places[here] - segment.start]
        return result


def _check_alike(rows: list[list[Tensor]]) -> None:
    """Raise unless there are rows, of floating-point tensors alike in number, sizes, dtype and device."""
    if not rows or not rows[0]:
        raise ValueError("no inputs")
    if _are_alike(rows):
        return
    first = rows[0]
    for i, row in enumerate(rows):
        for part in row:
            if not isinstance(part, Tensor):
                raise TypeError(f"input {i} must be a torch.Tensor or tensors, got {type(part).__name__}")
        if not all(part.is_floating_point() for part in row):
            raise ValueError(f"inputs must be floating-point tensors, got {row[0].dtype} in input {i}")
        if [part.numel() for part in row] != [part.numel() for part in first]:
            raise ValueError(f"input {i} has {_sizes(row)} numbers, input 0 {_sizes(first)}")
        if any(part.dtype != first[0].dtype or part.device != first[0].device for part in row):
            raise ValueError(f"input {i} has another dtype or device than input 0, {first[0].dtype}")


def _are_alike(rows: list[list[Tensor]]) -> bool:
    """The same in fewer questions to torch, of which a model of many layers takes thousands."""
    first = rows[0]
    usual = [(part.numel(), part.dtype, part.device) for part in first if isinstance(part, Tensor)]
    if len(usual) < len(first) or not first[0].is_floating_point() or len({form[1:] for form in usual}) > 1:
        return False
    return all(
        [(part.numel(), part.dtype, part.device) for part in row if isinstance(part, Tensor)] == usual
        and len(row) == len(first)
        for row in rows[1:]
    )


def _sizes(row: list[Tensor]) -> str:
    return " + ".join(str(part.numel()) for part in row)


def _segments(rows: list[list[Tensor]]) -> list[Segment]:
    """The segments of rows, of which small ones that follow one another are put together."""
    made: list[Segment] = []
    small: list[int] = []
    start = 0
    for place in range(len(rows[0]) + 1):
        size = rows[0][place].numel() if place < len(rows[0]) else SMALL
        if small and (size >= SMALL or sum(rows[0][i].numel() for i in small) >= SMALL):
            parts = [_flat(row, small) for row in rows]
            made.append(Segment(start, start + parts[0].numel(), parts))
            start, small = made[-1].stop, []
        if place == len(rows[0]):
            break
        if size >= SMALL:
            made.append(Segment(start, start + size, [_flat(row, [place]) for row in rows]))
            start = made[-1].stop
        else:
            small.append(place)
    return [segment for segment in made if segment.start < segment.stop]


def _flat(row: list[Tensor], places: list[int]) -> Tensor:
    return _as_flat(row[places[0]]) if len(places) == 1 else torch.cat([_as_flat(row[place]) for place in places])


def _as_flat(part: Tensor) -> Tensor:
    return part if part.ndim == 1 and not part.requires_grad else part.detach().reshape(-1)
