r"""Rules that weigh inputs by the numbers of examples that their senders state, as far as these can be believed.

A count is the sender's own word, so it is clipped: no input weighs more than ``max_ratio`` times the median count, nor
more than the sum of all weights divided by 2f + 1. The second limit binds where so many counts are small that a few
inputs would hold the others' share; by it any ``f`` inputs weigh at most f / (2f + 1) of all, less than a half,
whatever is stated. So n >= 2f + 1 inputs suffice, as for the rules without weights; with equal counts these are those.

None claims a kappa: it measures the distance to the plain mean of the honest inputs, and these rules aim at their
weighted one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flwr_byzantine.rules._blocks import column_blocks, sortable
from flwr_byzantine.rules._neighbours import SLACK, hostile_weight
from flwr_byzantine.rules._order import middle
from flwr_byzantine.rules._rule import rule
from flwr_byzantine.rules.location import minimised

__all__ = ["believed", "weighted_geometric_median", "weighted_median", "weighted_trimmed_mean"]

BOUND = "n >= 2f + 1"


def believed(counts: Tensor, *, f: int, max_ratio: float) -> Tensor:
    r"""``float64[n]``: the weights of inputs with these counts, 1 for the heaviest; all 1 if the limit is 0.

    .. math:: w_i = \min(c_i, L), \qquad L = \min\Bigl(\rho \operatorname{med}(c), \tfrac{1}{2f + 1} \sum_j w_j\Bigr)

    Args:
        counts: ``float64[n]``, what each sender states, finite and at least 0.
        f: Inputs that must not hold half of the weight, ``n >= 2f + 1``.
        max_ratio: The largest weight, rho, in medians of the counts.

    Example:
        >>> believed(torch.tensor([10.0, 10.0, 20.0, 1e9, 5.0]), f=1, max_ratio=2.0)
        tensor([0.5000, 0.5000, 1.0000, 1.0000, 0.2500])
    """
    n = counts.shape[0]
    largest = float(counts.max())
    shares = counts / largest if largest > 0 else torch.zeros_like(counts)  # so that no sum overflows
    ordered = shares.sort().values
    low, high = middle(n)
    # L with (2f + 1) L <= sum_j min(c_j, L): each choice of the j largest as those that reach L bounds it.
    sums = ordered.cumsum(0)[n - 1 - 2 * f :]
    divided = float((sums / torch.arange(1, 2 * f + 2, device=sums.device)).min())
    limit = min(max_ratio * float(ordered[low:high].mean()), divided)
    if limit == 0:
        return torch.ones_like(shares)
    weights = shares.clamp(max=limit)
    return weights / weights.max()


def _weights(name: str, inputs: Tensor, counts: Tensor, f: int, max_ratio: float) -> Tensor:
    """The weights of the inputs, once their counts were found to be counts."""
    wide = counts.flatten().to(device=inputs.device, dtype=torch.float64)
    if wide.shape[0] != inputs.shape[0] or not bool((torch.isfinite(wide) & (wide >= 0)).all()):
        raise ValueError(f"{name}: the counts must be {inputs.shape[0]} finite numbers of at least 0")
    if not max_ratio > 0:
        raise ValueError(f"{name}: max_ratio must be positive, got {max_ratio}")
    return believed(wide, f=f, max_ratio=max_ratio)


def _in_order(block: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``float64[d, n]`` each: every column in ascending order, the weight of each place, and that up to and with it."""
    ordered = block.T.contiguous().to(sortable(block.dtype)).sort(dim=1)  # torch sorts what lies together faster
    placed = weights[ordered.indices]
    return ordered.values.to(torch.float64), placed, placed.cumsum(1)


@rule(
    min_inputs=lambda f: 2 * f + 1,
    bound=BOUND,
    source="Edgeworth, Phil. Mag. 1888; Yin et al., ICML 2018, arXiv:1803.01498",
    aligned=("counts",),
)
def weighted_median(inputs: Tensor, *, f: int, counts: Tensor, max_ratio: float = 2.0) -> Tensor:
    r"""The coordinate-wise median of inputs that weigh by their clipped example counts.

    .. math:: y_k = \tfrac12 \bigl( \max\{v : W_k(v^-) < \tfrac12 W\} + \max\{v : W_k(v^-) \le \tfrac12 W\} \bigr)

    over the values :math:`v` of coordinate :math:`k` that weigh something, where :math:`W_k(v^-)` is the weight of
    those below :math:`v` and :math:`W` that of all: the mean of the two middle values where the weights split evenly.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``; the greater, the less uneven may the weights be.
        counts: ``[n]``, the examples that each sender states, finite and at least 0; all 0 are as good as all equal.
        max_ratio: Most that an input weighs, in medians of the counts.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.
        ValueError: If the counts are not such, or ``max_ratio`` is not positive.

    Example:
        >>> rows = torch.tensor([[1.0], [2.0], [4.0], [9.0], [9.0]])
        >>> weighted_median(rows, f=1, counts=torch.tensor([10, 10, 20, 10, 10]))
        tensor([4.])
        >>> weighted_median(rows, f=1, counts=torch.tensor([30, 20, 10, 10, 10]))
        tensor([2.])
    """
    weights = _weights("weighted_median", inputs, counts, f, max_ratio)
    half = float(weights.sum()) / 2
    result = torch.empty_like(inputs[0])
    for start, stop, block in column_blocks(inputs):
        values, _, reached = _in_order(block, weights)
        # Where weights split evenly but for a rounding, both sides of the split count.
        lower = (reached < half * (1 - SLACK)).sum(1, keepdim=True)
        upper = (reached <= half * (1 + SLACK)).sum(1, keepdim=True)
        result[start:stop] = (values.gather(1, lower) / 2 + values.gather(1, upper) / 2)[:, 0]
    return result


@rule(
    min_inputs=lambda f: 2 * f + 1,
    bound=BOUND,
    source="Yin et al., ICML 2018, arXiv:1803.01498; weights as in McMahan et al., AISTATS 2017, arXiv:1602.05629",
    aligned=("counts",),
)
def weighted_trimmed_mean(inputs: Tensor, *, f: int, counts: Tensor, max_ratio: float = 2.0) -> Tensor:
    r"""Per coordinate, the weighted mean without as much weight at either end as ``f`` inputs can hold.

    .. math:: y_k = \frac{1}{W - 2T} \sum_i \bigl[ \min(W_{k,i}, W - T) - \max(W_{k,i} - w_i, T) \bigr]_+ \, x_{i,k}

    where :math:`w_i` are the clipped example counts, :math:`W` is their sum, :math:`T` that of the :math:`f` largest,
    and :math:`W_{k,i}` the weight of the values of coordinate :math:`k` up to that of input :math:`i` in ascending
    order. An input at the edge counts with what is left of its weight.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``.
        counts: ``[n]``, the examples that each sender states, finite and at least 0; all 0 are as good as all equal.
        max_ratio: Most that an input weighs, in medians of the counts.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.
        ValueError: If the counts are not such, or ``max_ratio`` is not positive.

    Example:
        >>> rows = torch.tensor([[1.0], [2.0], [5.0], [99.0]])
        >>> weighted_trimmed_mean(rows, f=1, counts=torch.tensor([10, 20, 20, 10]))
        tensor([3.5000])
    """
    weights = _weights("weighted_trimmed_mean", inputs, counts, f, max_ratio)
    total, cut = float(weights.sum()), hostile_weight(weights, f)
    result = torch.empty_like(inputs[0])
    for start, stop, block in column_blocks(inputs):
        values, placed, reached = _in_order(block, weights)
        left = reached.clamp(max=total - cut) - (reached - placed).clamp(min=cut)
        left = torch.where(left > SLACK * total, left, torch.zeros_like(left))  # a rounding of a huge value is huge
        result[start:stop] = (left / left.sum(1, keepdim=True) * values).sum(1)
    return result


@rule(
    min_inputs=lambda f: 2 * f + 1,
    bound=BOUND,
    source="Pillutla et al., IEEE TSP 2022, arXiv:1912.13445; Vardi and Zhang, PNAS 2000",
    aligned=("counts",),
)
def weighted_geometric_median(
    inputs: Tensor,
    *,
    f: int,
    counts: Tensor,
    max_ratio: float = 2.0,
    tolerance: float = 1e-9,
    max_iterations: int = 10_000,
) -> Tensor:
    r"""The point whose sum of distances to the inputs is least, each by its clipped example count.

    .. math:: y = \arg\min_z \sum_i w_i \lVert x_i - z \rVert

    Otherwise as :func:`~flwr_byzantine.rules.geometric_median`.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``; the greater, the less uneven may the weights be.
        counts: ``[n]``, the examples that each sender states, finite and at least 0; all 0 are as good as all equal.
        max_ratio: Most that an input weighs, in medians of the counts.
        tolerance: Stops once a step is shorter than this share of the median distance to the inputs.
        max_iterations: Most steps.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.
        ValueError: If the counts are not such, or ``max_ratio`` is not positive.

    Example:
        >>> rows = torch.tensor([[0.0], [1.0], [3.0], [4.0], [99.0]])
        >>> weighted_geometric_median(rows, f=1, counts=torch.tensor([30, 30, 10, 10, 10]))
        tensor([1.])
    """
    weights = _weights("weighted_geometric_median", inputs, counts, f, max_ratio)
    return minimised(inputs, weights, tolerance, max_iterations)
