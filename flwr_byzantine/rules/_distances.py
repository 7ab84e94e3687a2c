"""Distances and inner products of rows: by differences, or about a point that no minority can move."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flwr_byzantine.rules._blocks import column_blocks
from flwr_byzantine.rules._dispatch import primitive
from flwr_byzantine.rules._order import median

__all__ = [
    "centred_gram",
    "distances_to",
    "distances_with",
    "gram_about",
    "gram_about_median",
    "gram_about_point",
    "is_moderate",
    "row_norms",
    "squared_distances",
    "within_reach",
]

REACH = 1e100
"""A float64 row longer than this many typical ones is pulled in to it before it is squared."""

SQUARABLE = (1e-280, 1e280)
"""Sums of squares in between lost nothing to underflow or overflow."""

SPREAD = 300.0
"""Up to this quotient of the largest distance and a typical one, inner products follow from the distances exactly."""

SHORT = 1 << 15
"""Rows of fewer numbers are compared in float64: their differences are too few for roundings to cancel."""

SQUARABLE_IN_FLOAT32 = (1e-20, 1e36)
"""The same as :data:`SQUARABLE` for sums of squares of one block of columns in float32."""


@primitive
def squared_distances(rows: Tensor) -> Tensor:
    """``float64[n, n]``: squared Euclidean distances of all pairs, by differences.

    Differences of long rows are squared and summed in the rows' dtype, blocks in float64: within 1e-6. Among float64
    inputs of extreme size they are in another unit, and those to a row out of :data:`REACH` are too short: only their
    order and ratios then mean something, which is all that a selection needs.
    """
    n = rows.shape[0]
    pairs = torch.zeros(n * (n - 1) // 2, dtype=torch.float64, device=rows.device)
    if rows.dtype != torch.float64 and rows.shape[1] >= SHORT and n > 1:
        pairs = _sums_over_pairs(rows, torch.float32, 1.0)
    least, most = SQUARABLE_IN_FLOAT32
    if n > 1 and not (least < float(pairs.median()) and float(pairs.max()) < most):
        pairs = _sums_over_pairs(within_reach(rows), torch.float64, _unit(rows))
    result = torch.zeros(n, n, dtype=torch.float64, device=rows.device)
    upper = torch.triu_indices(n, n, 1, device=rows.device)
    result[upper[0], upper[1]] = pairs
    return result + result.T


def _sums_over_pairs(rows: Tensor, dtype: torch.dtype, unit: float) -> Tensor:
    """``float64[n (n - 1) / 2]``: the squared distances, in squares of ``unit``, computed in ``dtype``."""
    n = rows.shape[0]
    pairs = torch.zeros(n * (n - 1) // 2, dtype=torch.float64, device=rows.device)
    for _, _, block in column_blocks(rows, 8):  # sums of more numbers would lose digits in float32
        wide = block.to(dtype)
        pairs += torch.pdist(wide if unit == 1.0 else wide / unit).to(torch.float64).square_()
    return pairs


@primitive
def distances_to(rows: Tensor, point: Tensor) -> Tensor:
    """``float64[n]``: Euclidean distance of each row to ``point`` ``[d]``, by differences."""
    total = _sums_of_squares(rows, point)
    length = total.sqrt()
    extreme = ((total <= SQUARABLE[0]) | (total >= SQUARABLE[1])).nonzero().flatten()
    if rows.dtype == torch.float64 and extreme.numel():
        # Each in a unit of its own: one shared by all would make the others' distances vanish beside a huge one.
        some = rows[extreme]
        unit = torch.zeros_like(total[extreme])
        for start, stop, block in column_blocks(some):
            unit = torch.maximum(unit, (block - point[start:stop]).abs().amax(1))
        unit = torch.where(unit > 0, unit, torch.ones_like(unit)).clamp(max=torch.finfo(torch.float64).max)
        length[extreme] = _sums_of_squares(some, point, unit).sqrt() * unit
    return length


def _sums_of_squares(rows: Tensor, point: Tensor, unit: Tensor | None = None) -> Tensor:
    total = torch.zeros(rows.shape[0], dtype=torch.float64, device=rows.device)
    for start, stop, block in column_blocks(rows):
        values, origin = block.to(torch.float64), point[start:stop].to(torch.float64)
        offset = values - origin if unit is None else values / unit[:, None] - origin / unit[:, None]
        total += offset.square_().sum(1)
    return total


@primitive
def row_norms(rows: Tensor) -> Tensor:
    """``float64[n]``: Euclidean norm of each row."""
    return distances_to(rows, rows.new_zeros((1,)).expand(rows.shape[1:]))


@primitive
def gram_about(rows: Tensor, centre: Tensor) -> Tensor:
    """``float64[n, n]``: inner products of the rows about ``centre`` ``[d]``, in float64."""
    return _products(rows, centre, 1.0)


def _products(rows: Tensor, centre: Tensor, unit: float) -> Tensor:
    """The inner products in squares of ``unit``."""
    gram = torch.zeros(rows.shape[0], rows.shape[0], dtype=torch.float64, device=rows.device)
    for start, stop, block in column_blocks(rows):
        offset, origin = block.to(torch.float64), centre[start:stop].to(torch.float64)
        offset = offset - origin if unit == 1.0 else offset / unit - origin / unit
        gram += offset @ offset.T
    return gram


@primitive
def distances_with(rows: Tensor, point: Tensor | None) -> Tensor:
    """``float64[n + 1, n + 1]``: squared distances of the rows and, as the last, of ``point`` ``[d]`` or the origin."""
    lengths = row_norms(rows) if point is None else distances_to(rows, point)
    squares = lengths.square()
    to_point = torch.cat([squares, torch.zeros_like(squares[:1])])
    return torch.cat([torch.cat([squared_distances(rows), squares[:, None]], dim=1), to_point[None, :]])


def gram_about_point(rows: Tensor, centre: Tensor | None, among: Tensor) -> Tensor:
    """As :func:`gram_about`, but from the squared distances among the rows and the centre where these suffice.

    Args:
        rows: ``[n, d]``.
        centre: ``[d]``, or the origin.
        among: ``float64[n + 1, n + 1]``, see :func:`distances_with`.
    """
    if is_moderate(among):
        squares = among[-1, :-1]
        return (squares[:, None] + squares[None, :] - among[:-1, :-1]) / 2
    if centre is None:
        return gram_about(rows, rows.new_zeros((1,)).expand(rows.shape[1:]))
    return gram_about(rows, centre)


@primitive
def gram_about_median(rows: Tensor) -> tuple[Tensor, Tensor]:
    """``float64[n, n]``: inner products of the rows about their coordinate-wise median; and that ``[d]``.

    The median keeps the honest rows' products exact whatever a minority sends; the mean, or any one row,
    does not. Unit and reach are those of :func:`squared_distances`.
    """
    rows, unit = within_reach(rows), _unit(rows)
    centre = median(rows)
    return (gram_about(rows, centre) if unit == 1.0 else _products(rows, centre, unit)), centre


def is_moderate(distances: Tensor) -> bool:
    """Whether no row is so far out that the others' squared distances ``[n, n]`` would be rounded away beside its."""
    typical = float(distances.median(dim=1).values.min())
    return float(distances.max()) <= SPREAD**2 * typical


def centred_gram(rows: Tensor, distances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Inner products ``float64[n, n]`` about a point among the honest majority, from the squared distances of the rows.

    The point is ``centre + start @ (rows - centre)``: the row of least median distance, from which nothing but the
    distances is needed; or the coordinate-wise median, if a row is too far out for that.

    Returns:
        The products, ``start`` ``float64[n]`` of sum 1 or 0, and ``centre`` ``[d]``.
    """
    start = torch.zeros_like(distances[0])
    if not is_moderate(distances):
        gram, centre = gram_about_median(rows)
        return gram, start, centre
    nearest = int(distances.median(dim=1).values.argmin())
    start[nearest] = 1.0
    about = distances[nearest]
    return (about[:, None] + about[None, :] - distances) / 2, start, rows.new_zeros((1,)).expand(rows.shape[1:])


@primitive
def within_reach(rows: Tensor) -> Tensor:
    """The rows, those out of :data:`REACH` scaled down to it. Only float64 has any: no other dtype is that wide."""
    if rows.dtype != torch.float64 or rows.numel() == 0:
        return rows
    largest, limit = _magnitudes(rows), REACH * _typical(rows)
    if not bool((largest > limit).any()):
        return rows
    return rows * (limit / largest).clamp(max=1)[:, None]


def _unit(rows: Tensor) -> float:
    """1, or if the square of a typical row might overflow or vanish its size, as a power of 2 to divide exactly."""
    if rows.dtype != torch.float64 or rows.numel() == 0:
        return 1.0
    typical = _typical(rows)
    return 1.0 if 1e-30 < typical < 1e30 else 2.0 ** (math.frexp(typical)[1] - 1)


def _typical(rows: Tensor) -> float:
    """The median of the rows' magnitudes, so that no minority decides it; 1 if that is 0."""
    typical = float(_magnitudes(rows).median())
    return typical if typical > 0 else 1.0


def _magnitudes(rows: Tensor) -> Tensor:
    """``[n]``: the largest absolute value of each row."""
    largest = torch.zeros(rows.shape[0], dtype=rows.dtype, device=rows.device)
    for _, _, block in column_blocks(rows):
        least, most = block.aminmax(dim=1)
        largest = torch.maximum(largest, torch.maximum(-least, most))
    return largest
