"""Order statistics per coordinate, by sorting networks of minima and maxima over blocks of columns."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from flwr_byzantine.rules._blocks import block_width, sortable, value_blocks
from flwr_byzantine.rules._dispatch import primitive

__all__ = ["mean_nearest", "mean_of_order_statistics", "median", "middle", "sort_columns", "workspace"]


@primitive
def mean_of_order_statistics(rows: Tensor, low: int, high: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """``[d]``: per coordinate the mean of the values at places ``low`` to ``high - 1`` in ascending order."""
    result = rows.new_empty((rows.shape[1],), dtype=dtype)
    network = pruned_network(rows.shape[0], low, high)
    spare = workspace(rows)
    for start, stop, values in value_blocks(rows):
        result[start:stop] = _mean(sort_columns(values, network, spare)[low:high])
    return result


def _mean(values: list[Tensor]) -> Tensor:
    """The mean in float64; of one value, the value. Float64 values are divided first so that no sum overflows."""
    if len(values) == 1:
        return values[0]
    wide = values[0].dtype == torch.float64
    mean = torch.zeros_like(values[0], dtype=torch.float64)
    for value in values:
        mean += value / len(values) if wide else value
    return mean if wide else mean / len(values)


def workspace(rows: Tensor) -> list[Tensor]:
    """Memory for :func:`sort_columns` over blocks of ``rows``: as many tensors as it needs, as wide as a block."""
    width = min(rows.shape[1], block_width(rows.is_cuda))
    return list(rows.new_empty([rows.shape[0] + 1, width], dtype=sortable(rows.dtype)).unbind())


def sort_columns(values: list[Tensor], network: list[tuple[int, int, bool, bool]], spare: list[Tensor]) -> list[Tensor]:
    """Some tensors sorted per element by a network; they stay as they are, the results lie in ``spare``.

    A network of minima and maxima vectorises over the columns; :func:`torch.sort` does not, and takes about
    ten times as long at n = 20.
    """
    values = [value.to(sortable(value.dtype)) for value in values]
    free = [tensor[: values[0].shape[0]] for tensor in spare]
    ours = [False for _ in values]
    for low, high, least, greatest in network:
        one, other = values[low], values[high]
        if least:
            values[low] = free.pop()
            torch.minimum(one, other, out=values[low])
        if greatest and not ours[high]:
            values[high] = free.pop()
        if greatest:
            torch.maximum(one, other, out=values[high])
        elif ours[high]:
            free.append(other)
        if ours[low]:
            free.append(one)
        ours[low], ours[high] = least, greatest
    return values


@functools.cache
def sorting_network(n: int) -> list[tuple[int, int]]:
    """Comparators of Batcher's odd-even merge sort (Knuth, TAOCP 3, 5.2.2, Algorithm M) for any ``n``."""
    comparators: list[tuple[int, int]] = []
    top = 1
    while 2 * top < n:
        top *= 2
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while d > 0:
            comparators += [(i, i + d) for i in range(n - d) if i & p == r]
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return comparators


@functools.cache
def pruned_network(n: int, low: int, high: int) -> list[tuple[int, int, bool, bool]]:
    """What a sorting network needs for places ``low`` to ``high - 1``: comparators, and which of both ends of each."""
    needed = [low <= i and i < high for i in range(n)]
    comparators = sorting_network(n)
    kept: list[tuple[int, int, bool, bool]] = []
    for i in range(len(comparators)):
        one, other = comparators[len(comparators) - 1 - i]
        if needed[one] or needed[other]:
            kept.append((one, other, needed[one], needed[other]))
            needed[one], needed[other] = True, True
    return [kept[len(kept) - 1 - i] for i in range(len(kept))]


def middle(n: int) -> tuple[int, int]:
    """The places, from the first up to but not including the second, whose mean is the median of ``n`` values."""
    return (n - 1) // 2, n // 2 + 1


def median(rows: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
    """``[d]``: the coordinate-wise median, the mean of the two middle values if ``n`` is even."""
    low, high = middle(rows.shape[0])
    return mean_of_order_statistics(rows, low, high, dtype=dtype)


@primitive
def mean_nearest(rows: Tensor, places: tuple[int, int], k: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """``[d]``: per coordinate the mean of the ``k`` values nearest to the mean of the values at some sorted places.

    Ties go to the lowest row.
    """
    result = rows.new_empty((rows.shape[1],), dtype=dtype)
    network = pruned_network(rows.shape[0], 0, rows.shape[0])
    spare = workspace(rows)
    for start, stop, values in value_blocks(rows):
        ordered = sort_columns(values, network, spare)
        centre = _mean(ordered[places[0] : places[1]]).to(torch.float64)
        chosen, tied = _window(ordered, centre, k)
        mean = _mean(chosen)
        if bool(tied.any()):
            at = tied.nonzero().flatten()
            mean = mean.to(torch.float64, copy=True)
            mean[at] = _mean_nearest_by_rank(torch.stack([value[at] for value in values]), centre[at], k)
        result[start:stop] = mean
    return result


def _window(ordered: list[Tensor], centre: Tensor, k: int) -> tuple[list[Tensor], Tensor]:
    """The ``k`` of some sorted values that are nearest to the centre, and where two are equally near to be the last.

    They are neighbours in the order: a window that moves up while the next value is nearer than its lowest.
    """
    chosen = ordered[:k]
    tied = torch.zeros_like(centre, dtype=torch.bool)
    for start in range(len(ordered) - k):
        below, above = centre - ordered[start], ordered[start + k] - centre
        chosen[start % k] = torch.where(above < below, ordered[start + k], chosen[start % k])
        tied |= (above == below) & (ordered[start] != ordered[start + k])
    return chosen, tied


def _mean_nearest_by_rank(values: Tensor, centre: Tensor, k: int) -> Tensor:
    wide = values.to(torch.float64)
    order = (wide - centre).abs().sort(dim=0, stable=True).indices[:k]
    return (wide.gather(0, order) / k).sum(0)
