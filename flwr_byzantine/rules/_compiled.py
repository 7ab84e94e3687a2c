"""The compiled kernels on rows in place, segment by segment, where they are and take the rows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from flwr_byzantine.native import kernels
from flwr_byzantine.rules._dispatch import faster
from flwr_byzantine.rules._source import Segment, Source
from flwr_byzantine.rules.rows import Rows

__all__ = ["distances", "distances_to", "gram_about", "serves", "sum_into"]

COLUMNS_OF_ZEROS = 1 << 18
"""Zeros that are made at a time where rows are compared with the origin."""


def serves(source: Source) -> bool:
    """Whether the kernels take these rows."""
    return source.n > 0 and source.d > 0 and all(kernels.serves(segment.rows) for segment in source.segments)


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
    result = rows.new_empty((rows.shape[1],), dtype=dtype)
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


def distances_to(source: Source, point: Tensor | None) -> Tensor | None:
    """The distance of each row to a point, or to the origin, or None if the kernels do not serve these rows."""
    if not serves(source) or not (point is None or kernels.serves([point])):
        return None
    total = torch.zeros(source.n, dtype=torch.float64)
    for segment in source.segments:
        width = COLUMNS_OF_ZEROS if point is None else segment.stop - segment.start
        for start in range(segment.start, segment.stop, width):
            stop = min(segment.stop, start + width)
            to = torch.zeros(stop - start, dtype=source.like.dtype) if point is None else point[start:stop]
            # No square of a square root overflows in this.
            total = torch.hypot(total, kernels.distances_to(segment.views(start, stop), to))
    source.settle(bool(total.isfinite().all()))
    return total


def gram_about(source: Source, centre: Tensor) -> Tensor | None:
    """The inner products about a centre, or None if the kernels do not serve these rows, or float64 might overflow."""
    if not serves(source) or source.like.dtype == torch.float64 or not kernels.serves([centre]):
        return None
    source.require_finite()
    total = torch.zeros(source.n, source.n, dtype=torch.float64)
    for segment in source.segments:
        total += kernels.gram_about(segment.rows, centre[segment.start : segment.stop])
    return total
