"""Rules that look for the direction in which the inputs vary most."""

from __future__ import annotations

import torch
from torch import Tensor

from flwr_byzantine.rules._distances import centred_gram, gram_about_median, squared_distances, within_reach
from flwr_byzantine.rules._primitives import nearest, weighted_sum
from flwr_byzantine.rules._random import Randomness, sample, seed_of
from flwr_byzantine.rules._rule import Outcome, average, rule

__all__ = ["caf", "dnc"]


@rule(
    min_inputs=lambda f: 2 * f + 1,
    bound="n >= 2f + 1",
    source="Allouah et al., ICML 2025, arXiv:2505.01874",
)
def caf(inputs: Tensor, *, f: int) -> Tensor:
    r"""The covariance-bound-agnostic filter: the weighted mean whose weighted covariance is least.

    .. math:: c_i \leftarrow c_i \, (1 - \tau_i / \max_j \tau_j), \qquad \tau_i = \langle v, x_i - \mu_c \rangle^2

    starting from weights :math:`c_i = 1` and repeated while :math:`\sum_i c_i > n - 2f`. Here :math:`\mu_c` is
    the weighted mean and :math:`v` the top eigenvector of the weighted covariance, and the maximum is over the
    inputs that still have a weight; the result is the :math:`\mu_c` whose top eigenvalue was least. Eigenpairs
    are exact, from the n by n Gram matrix, where other libraries take one random power iteration.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.

    Example:
        >>> caf(torch.tensor([[2.0], [2.0], [2.0], [99.0]]), f=1)
        tensor([2.])
    """
    n, inputs = inputs.shape[0], within_reach(inputs)
    gram, _, _ = centred_gram(inputs, squared_distances(inputs))
    weights = torch.ones(n, dtype=torch.float64, device=inputs.device)
    best, best_value = weights / n, torch.inf
    while float(weights.sum()) > n - 2 * f:
        share = weights / weights.sum()
        offsets = _recentred(gram, share)
        root = share.sqrt()
        values, vectors = torch.linalg.eigh(root[:, None] * offsets * root[None, :])
        if float(values[-1]) < best_value:
            best, best_value = share, float(values[-1])
        reach = (offsets @ (root * vectors[:, -1])).abs()
        top = reach[weights > 0].max()
        if float(top) == 0:
            break
        weights = weights * (1 - (reach / top).square()).clamp(min=0)  # below 0 only where the weight is 0 already
    return weighted_sum(inputs, best)


def _recentred(gram: Tensor, share: Tensor) -> Tensor:
    """The Gram matrix about the weighted mean instead, for weights that sum to 1."""
    cross = gram @ share
    return gram - cross[None, :] - cross[:, None] + share @ cross


@rule(
    min_inputs=lambda f: 2 * f + 1,
    bound="n >= 2f + 1",
    source="Shejwalkar and Houmansadr, NDSS 2021, doi:10.14722/ndss.2021.24498",
    averages=True,
)
def dnc(
    inputs: Tensor,
    *,
    f: int,
    iterations: int = 5,
    coordinates: int = 10_000,
    filter_fraction: float = 1.0,
    generator: Randomness = None,
) -> Outcome:
    r"""Divide and conquer: the mean of the inputs that no iteration finds far out along the top direction.

    .. math:: s_i = \langle v, \tilde x_i - \tilde\mu \rangle^2

    Each iteration draws some coordinates, takes the top right singular vector :math:`v` of the centred rows
    :math:`\tilde x_i - \tilde\mu`, and marks the :math:`\lfloor c f \rfloor` rows with the largest :math:`s_i`;
    ties to the lowest row. If every row gets marked, the ``n - f`` rows of least summed score are averaged. One
    direction shows the largest inputs only: two of very different size can hide the smaller one from it.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``.
        iterations: How many times coordinates are drawn; the authors' 5.
        coordinates: How many are drawn; the authors' 10,000. All of them if ``d`` is less.
        filter_fraction: The :math:`c` above; the authors' 1.
        generator: Randomness, or a seed; seed 0 if not given.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.
        ValueError: If ``iterations``, ``coordinates`` or ``filter_fraction`` is not positive.

    Example:
        >>> dnc(torch.tensor([[1.0], [2.0], [3.0], [99.0]]), f=1)
        tensor([2.])
    """
    if not (iterations > 0 and coordinates > 0 and filter_fraction > 0):
        raise ValueError("dnc: iterations, coordinates and filter_fraction must be positive")
    n, d = inputs.shape
    seed = seed_of(generator)
    drop = min(n - 1, int(filter_fraction * f))
    kept = torch.ones(n, dtype=torch.bool, device=inputs.device)
    total = torch.zeros(n, dtype=torch.float64, device=inputs.device)
    for stream in range(iterations):
        drawn = inputs[:, sample(inputs, d, coordinates, seed, stream)] if d > coordinates else inputs
        scores = _outlier_scores(drawn)
        total += scores
        kept[nearest(scores, n)[n - drop :]] = False
    chosen = kept.nonzero().flatten()
    return average(inputs, chosen if chosen.numel() else nearest(total, n - f))


def _outlier_scores(rows: Tensor) -> Tensor:
    """``float64[n]``: squared projections on the direction in which the centred rows vary most."""
    n = rows.shape[0]
    gram, _ = gram_about_median(rows)
    values, vectors = torch.linalg.eigh(_recentred(gram, torch.full_like(gram[0], 1 / n)))
    scores: Tensor = values[-1].clamp(min=0) * vectors[:, -1].square()
    return scores
