"""The handful of operations that every rule is small algebra over.

All but comparisons is summed in float64, a block of columns at a time, so that no copy of the inputs is made and
float32 inputs with a large common offset keep their order. Results of ``[d]`` come back in the dtype of the
inputs, distances and weights in float64. Every tensor stays on the device of the inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flwr_byzantine.rules._blocks import column_blocks
from flwr_byzantine.rules._dispatch import primitive
from flwr_byzantine.rules.rows import Rows

__all__ = ["checked_vector", "finite_rows", "mean_of", "mixed", "nearest", "put_together", "scaled", "weighted_sum"]


@primitive
def finite_rows(rows: Tensor) -> Tensor:
    """``bool[n]``: whether every number of a row is finite."""
    finite = torch.ones(rows.shape[0], dtype=torch.bool, device=rows.device)
    for _, _, block in column_blocks(rows):
        # A sum is finite only if all numbers are; the costly check runs where it is not.
        suspicious = ~torch.isfinite(sum_of_each(block))
        if bool(suspicious.any()):
            finite[suspicious] &= torch.isfinite(block[suspicious]).all(1)
    return finite


def sum_of_each(block: Tensor) -> Tensor:
    """``[n]``: the sum of each row, in float32 or wider."""
    return block.sum(-1, dtype=torch.float64 if block.dtype == torch.float64 else torch.float32)


@primitive
def weighted_sum(
    rows: Tensor, weights: Tensor, *, centre: Tensor | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """``weights @ rows`` in the dtype of ``rows`` or the one given; ``weights`` is ``[n]`` or ``[k, n]``.

    With a ``centre`` ``[d]``, what the weights lack to 1 goes to it: ``centre + weights @ (rows - centre)``,
    in the dtype of the centre.
    """
    weights = weights.to(device=rows.device, dtype=torch.float64)
    result = (rows if centre is None else centre).new_empty([*weights.shape[:-1], rows.shape[1]], dtype=dtype)
    used = (weights.reshape([-1, rows.shape[0]]) != 0).any(0).nonzero().flatten()
    some, all_of_them = weights.index_select(-1, used), used.shape[0] == rows.shape[0]
    for start, stop, block in column_blocks(rows):
        total = some @ (block if all_of_them else block[used]).to(torch.float64)
        if centre is not None:
            total += (1 - weights.sum(-1, keepdim=True)) * centre[start:stop].to(torch.float64)
        result[..., start:stop] = total
    return result


def mean_of(rows: Tensor, selected: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
    """``[d]``: the plain mean of the selected rows; of one row, a copy."""
    weights = torch.zeros(rows.shape[0], dtype=torch.float64, device=rows.device)
    weights[selected] = 1 / selected.shape[0]
    return weighted_sum(rows, weights, dtype=dtype)


@primitive
def mixed(rows: Tensor, weights: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
    """``[k, d]``: ``weights @ rows`` for ``weights`` ``[k, n]``, as the rows of a rule that follows."""
    return weighted_sum(rows, weights, dtype=dtype)


@primitive
def scaled(rows: Tensor, factors: Tensor) -> Tensor:
    """``[n, d]``: each row times its factor of ``factors`` ``[n]``, as the rows of a rule that follows."""
    result = rows.new_empty(rows.shape)
    for start, stop, block in column_blocks(rows):
        result[:, start:stop] = block.to(torch.float64) * factors[:, None]
    return result


def put_together(value: Tensor) -> Tensor:
    """A result as a tensor of its own: mixtures of rows are made now."""
    if not isinstance(value, Rows):
        return value
    n = value.source.n
    weights = torch.eye(n, dtype=torch.float64, device=value.device) if value.weights is None else value.weights
    return weighted_sum(Rows.over(value.source), weights, dtype=value.dtype)


def nearest(distances: Tensor, k: int) -> Tensor:
    """``int64[k]``: the places of the ``k`` least values in ascending order; ties to the lowest place."""
    return distances.sort(stable=True).indices[:k]


def checked_vector(what: str, vector: Tensor, inputs: Tensor) -> Tensor:
    """``vector`` on the device of the inputs, found to be a finite ``[d]``; ``what`` names it in errors."""
    if vector.shape != inputs.shape[1:]:
        raise ValueError(f"{what} must have the shape of one input, {list(inputs.shape[1:])}, got {list(vector.shape)}")
    if not bool(torch.isfinite(vector).all()):
        raise ValueError(f"{what} is not finite")
    return vector.to(inputs.device)
