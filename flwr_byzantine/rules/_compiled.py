"""The compiled kernels on rows in place, segment by segment, where they are and take the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from flwr_byzantine.native import kernels
from flwr_byzantine.rules._dispatch import faster
from flwr_byzantine.rules._source import Segment, Source
from flwr_byzantine.rules.rows import Rows

__all__ = ["distances", "distances_to", "distances_with", "fresh", "gram_about", "serves", "sum_into"]

COLUMNS_OF_ZEROS = 1 << 18
"""Zeros that are made at a time where rows are compared with the origin."""

LARGE_BYTES = 1 << 21
"""Results from this size on lie on large pages: most of a result, as soon as one such page fits."""


def serves(source: Source) -> bool:
    """Whether the kernels take these rows."""
    return source.n > 0 and source.d > 0 and all(kernels.serves(segment.rows) for segment in source.segments)


def fresh(rows: Rows, shape: Sequence[int], dtype: torch.dtype | None) -> Tensor:
    """Memory for a result that the kernels write."""
    result = rows.new_empty(list(shape), dtype=dtype)
    if result.numel() * result.element_size() >= LARGE_BYTES:
        kernels.large_pages(result)
    return result


@faster
def mean_of_order_statistics(rows: Rows, low: int, high: int, *, dtype: torch.dtype | None = None) -> Tensor | None:
    """One pass, in which it is also found out whether all numbers are finite."""

    def run(segment: Segment, out: Tensor) -> bool:
        return kernels.mean_of_order_statistics(segment.rows, low, high, out=out, weights=rows.weights)

    return _in_one_pass(rows, run, dtype)


@faster
def mean_nearest(rows: Rows, places: tuple[int, int], k: int, *, dtype: torch.dtype | None = None) -> Tensor | None:
    """One pass, in which it is also found out whether all numbers are finite."""

    def run(segment: Segment, out: Tensor) -> bool:
        return kernels.mean_nearest(segment.rows, places, k, out=out, weights=rows.weights)

    return _in_one_pass(rows, run, dtype)


def _in_one_pass(rows: Rows, run: Callable[[Segment, Tensor], bool], dtype: torch.dtype | None) -> Tensor | None:
    """``[d]``: what a kernel writes for each segment, which says whether all was finite; None if it is not served."""
    if not serves(rows.source):
        return None
    result = fresh(rows, [rows.shape[1]], dtype)
    finite = [run(segment, result[segment.start : segment.stop]) for segment in rows.source.segments]
    rows.source.settle(all(finite))
    return result


def sum_into(result: Tensor, source: Source, weights: Tensor, centre: Tensor | None) -> None:
    """Write ``weights @ rows`` to ``result``; a centre gets what they lack to 1."""
    if centre is not None or bool((weights.reshape(-1, source.n) == 0).all(0).any()):
        source.require_finite()  # else a result that is finite shows that every row is
    finite = True
    for segment in source.segments:
        here = slice(segment.start, segment.stop)
        about = None if centre is None else centre[here].contiguous()
        finite &= kernels.weighted_sum(segment.rows, weights, out=result[..., here], centre=about)
    source.settle(finite)


def distances(source: Source) -> Tensor | None:
    """The squared distances of all pairs, or None if the kernels do not serve these rows."""
    # Of float64 rows, each segment's might be in a unit of its own.
    if not serves(source) or (source.like.dtype == torch.float64 and len(source.segments) > 1):
        return None
    total = torch.zeros(source.n, source.n, dtype=torch.float64)
    for segment in source.segments:
        total += kernels.squared_distances(segment.rows)
    return total


def distances_with(source: Source, point: Tensor | None) -> Tensor | None:
    """The squared distances of all pairs of rows and, as the last, a point or the origin; None as above."""
    alike = point is None or point.dtype == source.like.dtype
    if not _takes(source, point) or not alike or source.like.dtype == torch.float64:
        return None
    total = torch.zeros(source.n + 1, source.n + 1, dtype=torch.float64)
    for rows, to in _beside(source, point):
        total += kernels.squared_distances([*rows, to])
    return total


def distances_to(source: Source, point: Tensor | None) -> Tensor | None:
    """The distance of each row to a point, or to the origin, or None if the kernels do not serve these rows."""
    if not _takes(source, point):
        return None
    total = torch.zeros(source.n, dtype=torch.float64)
    for rows, to in _beside(source, point):
        # No square of a square root overflows in this.
        total = torch.hypot(total, kernels.distances_to(rows, to))
    source.settle(bool(total.isfinite().all()))
    return total


def _takes(source: Source, point: Tensor | None) -> bool:
    return serves(source) and (point is None or kernels.serves([point]))


def _beside(source: Source, point: Tensor | None) -> Iterator[tuple[list[Tensor], Tensor]]:
    """Columns of the rows, and of the point or the origin."""
    for segment in source.segments:
        width = COLUMNS_OF_ZEROS if point is None else segment.stop - segment.start
        zeros = source.like.new_zeros(min(width, segment.stop - segment.start) if point is None else 0)
        for start in range(segment.start, segment.stop, width):
            stop = min(segment.stop, start + width)
            yield segment.views(start, stop), zeros[: stop - start] if point is None else point[start:stop]


def gram_about(source: Source, centre: Tensor) -> Tensor | None:
    """The inner products about a centre, or None if the kernels do not serve these rows, or float64 might overflow."""
    if not serves(source) or source.like.dtype == torch.float64 or not kernels.serves([centre]):
        return None
    source.require_finite()
    total = torch.zeros(source.n, source.n, dtype=torch.float64)
    for segment in source.segments:
        total += kernels.gram_about(segment.rows, centre[segment.start : segment.stop])
    return total
