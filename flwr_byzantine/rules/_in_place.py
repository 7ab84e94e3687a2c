r"""The faster forms of primitives on rows in place: blocks, distances once, and algebra for mixtures of the rows.

A mixture's distances follow from those of the rows it mixes: for weights :math:`v` of sum 0 is
:math:`\lVert \sum_i v_i x_i \rVert^2 = -\frac12 v^\top D v`, with the squared distances :math:`D`. Where a row is so
far out that the others' would be rounded away, and for other sums, inner products about a fitting point take their
place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from flwr_byzantine.rules import _compiled, _distances, _primitives
from flwr_byzantine.rules._blocks import block_width
from flwr_byzantine.rules._dispatch import faster, pure
from flwr_byzantine.rules._distances import is_moderate
from flwr_byzantine.rules._source import Source
from flwr_byzantine.rules.rows import Rows

__all__: list[str] = []

EXACT = 1e-9
"""Sums of weights that differ by less from one another are equal."""

PAIRS = 1 << 12
"""Pairs of mixtures that are compared at a time."""


class Lazily(Sequence[tuple[int, int, Tensor]]):
    """Blocks of columns that are put together as they are read."""

    def __init__(self, rows: Rows, width: int) -> None:
        self._rows = rows
        self._starts = range(0, rows.shape[1], width)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, place: int) -> tuple[int, int, Tensor]:  # type: ignore[override]  # no slices
        start = self._starts[place]
        stop = min(self._rows.shape[1], start + self._starts.step)
        return start, stop, self._rows.block(start, stop)


@faster
def finite_rows(rows: Rows) -> Tensor | None:
    """By the sum of each row."""
    return rows.source.finite_rows() if rows.weights is None else None


@faster
def column_blocks(rows: Rows, share: int = 1) -> Sequence[tuple[int, int, Tensor]]:
    """Blocks that are put together as they are read."""
    rows.source.require_finite()
    return Lazily(rows, max(1, block_width(rows.is_cuda) // share))


@faster
def value_blocks(rows: Rows) -> Iterator[tuple[int, int, list[Tensor]]]:
    """Views of the rows; those of mixtures are made as they are read."""
    rows.source.require_finite()
    if rows.weights is None:
        return rows.source.views(block_width(rows.is_cuda))
    blocks = Lazily(rows, block_width(rows.is_cuda))
    return ((start, stop, list(block.unbind())) for start, stop, block in blocks)


@faster
def weighted_sum(
    rows: Rows, weights: Tensor, *, centre: Tensor | None = None, dtype: torch.dtype | None = None
) -> Tensor | None:
    """By the kernels, or else over those rows alone that have a weight."""
    weights = weights.to(device=rows.device, dtype=torch.float64)
    kind = dtype or (rows if centre is None else centre).dtype
    lacking = 1 - weights.sum(-1)
    if centre is not None and float(lacking.abs().max()) <= 1e-12:
        centre = None
    if rows.weights is not None:
        if centre is not None and not _moves(rows.weights):
            return None
        base = Rows.over(rows.source)
        return _primitives.weighted_sum(base, weights @ rows.weights, centre=centre, dtype=kind)
    if _compiled.serves(rows.source) and (centre is None or centre.device.type == "cpu"):
        result = _compiled.fresh(rows, [*weights.shape[:-1], rows.shape[1]], kind)
        _compiled.sum_into(result, rows.source, weights, centre)
        return result
    rows.source.require_finite()
    used = (weights.reshape(-1, rows.source.n) != 0).any(0).nonzero().flatten().tolist()
    some = rows.some(used) if used else rows.some([0])
    some_weights = weights[..., used] if used else weights[..., :1]
    return pure(_primitives.weighted_sum)(some, some_weights, centre=centre, dtype=kind)


def _moves(weights: Tensor) -> bool:
    """Whether mixtures by these weights move with their rows."""
    return float((weights.sum(1) - 1).abs().max()) <= EXACT


@faster
def squared_distances(rows: Rows) -> Tensor:
    """Once for all rows of a call; those of mixtures follow from them."""
    if rows.weights is None:
        return _base_distances(rows.source)
    k = rows.shape[0]
    upper = torch.triu_indices(k, k, 1, device=rows.device)
    result = torch.zeros(k, k, dtype=torch.float64, device=rows.device)
    for start in range(0, upper.shape[1], PAIRS):
        one, other = upper[:, start : start + PAIRS]
        result[one, other] = _squared_lengths(rows.source, rows.weights[one] - rows.weights[other])
    return result + result.T


@faster
def distances_with(rows: Rows, point: Tensor | None) -> Tensor | None:
    """In one pass, unless the rows' own are known."""
    source = rows.source
    if rows.weights is not None or source.distances is not None:
        return None
    found = _compiled.distances_with(source, point)
    if found is None or not bool(found.isfinite().all()):
        return None
    source.settle(True)
    source.distances = found[:-1, :-1].clone()
    return found


def _base_distances(source: Source) -> Tensor:
    """The squared distances of a source's rows; a row that is not finite has no finite one."""
    if source.distances is None:
        found = _compiled.distances(source)
        if found is not None and not bool(found.isfinite().all()):
            source.require_finite()
            found = None  # of a size that only the pure form can square
        if found is None:
            # Presumed to be finite, since the distances show whether they are.
            known, source.is_finite = source.is_finite, True
            found = pure(_distances.squared_distances)(Rows.over(source))
            source.is_finite = known
        source.settle(source.n > 1 and bool(found.isfinite().all()))
        source.distances = found
    return source.distances


def _squared_lengths(source: Source, weights: Tensor) -> Tensor:
    """``float64[p]``: the squared lengths of ``weights @ rows``."""
    known = _base_distances(source)
    if float(weights.sum(1).abs().max()) > EXACT:
        products = _products_about_origin(source)
    elif is_moderate(known):
        products = known / -2
    else:
        products = _products_about_median(source)
    return (weights @ products * weights).sum(1).clamp(min=0)


def _products_about_median(source: Source) -> Tensor:
    if "median" not in source.products:
        source.products["median"], _ = _distances.gram_about_median(Rows.over(source))
    return source.products["median"]


def _products_about_origin(source: Source) -> Tensor:
    if "origin" not in source.products:
        rows = Rows.over(source)
        source.products["origin"] = _distances.gram_about_point(rows, None, _distances.distances_with(rows, None))
    return source.products["origin"]


@faster
def distances_to(rows: Rows, point: Tensor) -> Tensor | None:
    """By the kernels; a mixture's from those of the rows it mixes, unless one of these is too far out."""
    if rows.weights is None:
        return _compiled.distances_to(rows.source, point)
    squares = _distances.distances_to(Rows.over(rows.source), point).square()
    known, weights = _base_distances(rows.source), rows.weights
    typical = float(squares.median())
    if not (_moves(weights) and is_moderate(known) and float(squares.max()) <= _distances.SPREAD**2 * typical):
        return None
    return (weights @ squares - (weights @ known * weights).sum(1) / 2).clamp(min=0).sqrt()


@faster
def row_norms(rows: Rows) -> Tensor | None:
    """Once for all rows of a call; those of mixtures follow from them."""
    if rows.weights is None:
        return _norms(rows.source)
    return _squared_lengths(rows.source, rows.weights + 0.0).sqrt()


def _norms(source: Source) -> Tensor:
    if source.norms is None:
        found = _compiled.distances_to(source, None)
        if found is None:
            found = pure(_distances.row_norms)(Rows.over(source))
        source.norms = found
    return source.norms


@faster
def gram_about(rows: Rows, centre: Tensor) -> Tensor | None:
    """By the kernels; a mixture's from that of the rows it mixes."""
    if rows.weights is None:
        return _compiled.gram_about(rows.source, centre)
    if not _moves(rows.weights):
        return None
    return rows.weights @ _distances.gram_about(Rows.over(rows.source), centre) @ rows.weights.T


@faster
def mixed(rows: Rows, weights: Tensor, *, dtype: torch.dtype | None = None) -> Tensor | None:
    """No new rows, if the algebra of weights costs less than they would."""
    if not _is_worth_mixing(rows.source, weights.shape[0]):
        return None
    weights = weights.to(device=rows.device, dtype=torch.float64)
    return Rows.over(rows.source, weights if rows.weights is None else weights @ rows.weights, dtype or rows.dtype)


@faster
def scaled(rows: Rows, factors: Tensor) -> Tensor | None:
    """No new rows, if the algebra of weights costs less than they would."""
    if bool((factors == 1).all()):
        return rows
    return mixed(rows, torch.diag(factors))


def _is_worth_mixing(source: Source, k: int) -> bool:
    """Whether rows are so long that work on pairs of weights is little. Float64 rows may be in units of their own."""
    return source.like.dtype != torch.float64 and max(k, source.n) * source.n <= source.d
