"""Rules that keep the largest cluster of inputs: by direction (FLAME) or by the signs (SignGuard)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flwr_byzantine.rules._distances import row_norms
from flwr_byzantine.rules._order import median
from flwr_byzantine.rules._primitives import weighted_sum
from flwr_byzantine.rules._random import Randomness, normal, sample, seed_of
from flwr_byzantine.rules._rule import Outcome, rule
from flwr_byzantine.rules.trust import cosines

__all__ = ["flame", "sign_guard"]


@rule(
    min_inputs=lambda f: 2 * f + 1,
    bound="n >= 2f + 1",
    source="Nguyen et al., USENIX Security 2022, arXiv:2101.02281",
    equivariant=False,
)
def flame(
    inputs: Tensor,
    *,
    f: int = 0,
    epsilon: float = 3000.0,
    delta: float = 0.01,
    generator: Randomness = None,
) -> Outcome:
    r"""The noised mean of the majority cluster by direction, clipped to the median length.

    .. math:: y = \frac{1}{|C|} \sum_{i \in C} x_i \min\Bigl(1, \frac{S}{\lVert x_i \rVert}\Bigr)
              + \mathcal N(0, \lambda^2 S^2), \qquad \lambda = \frac1\epsilon \sqrt{2 \ln \frac{1.25}{\delta}}

    where :math:`S` is the median norm of all inputs and :math:`C` the cluster that HDBSCAN finds on cosine
    distances with a least size of :math:`\lfloor n/2 \rfloor + 1`. As no two such clusters are disjoint, that is
    the tightest single-linkage cluster of that size, which is how it is computed here.

    Args:
        inputs: ``[n, d]``, one update per row.
        f: Number of Byzantine inputs to tolerate; it sets the bound only.
        epsilon: Privacy budget of the noise, the authors' 3000; ``math.inf`` adds none.
        delta: Failure probability of the noise, the authors' 0.01.
        generator: Randomness, or a seed; seed 0 if not given.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.

    Example:
        >>> rows = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, -8.0]])
        >>> flame(rows, f=1, epsilon=float("inf"))
        tensor([2., 0.])
    """
    n = inputs.shape[0]
    norms = row_norms(inputs)
    length = median(norms[:, None])[0]
    chosen = tightest_cluster(1 - cosines(inputs), n // 2 + 1)
    value = _clipped_mean(inputs, chosen, norms, length)
    spread = float(length) * math.sqrt(2 * math.log(1.25 / delta)) / epsilon
    if spread > 0:
        value = value + (spread * normal(value, value.shape[0], seed_of(generator))).to(value.dtype)
    return Outcome(value, chosen)


def tightest_cluster(distances: Tensor, size: int) -> Tensor:
    """``int64``: the rows of the first single-linkage cluster to reach ``size``, with all that join at the same height.

    ``size`` is more than half of the rows, so that one cluster at most can reach it.
    """
    n = distances.shape[0]
    pairs = torch.triu_indices(n, n, 1, device=distances.device)
    heights, order = distances[pairs[0], pairs[1]].sort(stable=True)
    ascending: list[float] = heights.tolist()
    joins: list[list[int]] = pairs[:, order].T.tolist()
    clusters = [[i] for i in range(n)]
    cluster_of, largest, top = list(range(n)), [0], math.inf
    for i in range(len(joins)):
        a, b = cluster_of[joins[i][0]], cluster_of[joins[i][1]]
        if ascending[i] > top:
            break
        if a == b:
            continue
        clusters[a].extend(clusters[b])
        for row in clusters[b]:
            cluster_of[row] = a
        if len(clusters[a]) >= size:
            largest, top = clusters[a], ascending[i]
    return torch.tensor(sorted(largest), device=distances.device)


@rule(
    min_inputs=lambda f: 2 * f + 1,
    bound="n >= 2f + 1",
    source="Xu et al., ICDCS 2022, arXiv:2109.05872",
    equivariant=False,
)
def sign_guard(
    inputs: Tensor,
    *,
    f: int = 0,
    lower: float = 0.1,
    upper: float = 3.0,
    fraction: float = 0.1,
    generator: Randomness = None,
) -> Outcome:
    r"""The mean, clipped to the median length, of the inputs of usual length and usual share of signs.

    .. math:: y = \frac{1}{|C|} \sum_{i \in C} x_i \min\Bigl(1, \frac{S}{\lVert x_i \rVert}\Bigr)

    where :math:`S` is the median norm and :math:`C` holds the rows whose norm lies between ``lower`` and ``upper``
    times :math:`S` and whose shares of positive, zero and negative signs (over a drawn fraction of the
    coordinates) fall in the largest cluster that mean shift finds. If no row passes both, those of usual signs.

    Args:
        inputs: ``[n, d]``, one gradient or update per row.
        f: Number of Byzantine inputs to tolerate; it sets the bound only.
        lower: Least norm kept, in median norms; the authors' 0.1.
        upper: Largest norm kept, in median norms; the authors' 3.
        fraction: Share of the coordinates to draw; the authors' 0.1. At least one is drawn.
        generator: Randomness, or a seed; seed 0 if not given.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.

    Example:
        >>> rows = torch.tensor([[1.0, 1.0], [1.0, 1.0], [-9.0, -9.0]])
        >>> sign_guard(rows, f=1)
        tensor([1., 1.])
    """
    d = inputs.shape[1]
    norms = row_norms(inputs)
    length = median(norms[:, None])[0]
    usual = (norms >= lower * length) & (norms <= upper * length)
    drawn = sample(inputs, d, min(d, max(1, int(fraction * d))), seed_of(generator))
    signs = inputs[:, drawn].sign()
    shares = torch.stack([(signs == s).to(torch.float64).sum(1) for s in [1, 0, -1]], dim=1) / max(1, drawn.numel())
    alike = largest_mode(shares)
    chosen = (usual & alike).nonzero().flatten()
    chosen = chosen if chosen.numel() else alike.nonzero().flatten()
    return Outcome(_clipped_mean(inputs, chosen, norms, length), chosen)


def _clipped_mean(inputs: Tensor, chosen: Tensor, norms: Tensor, length: Tensor) -> Tensor:
    """``[d]``: the mean of the chosen rows, each scaled down to ``length`` if it is longer."""
    weights = torch.zeros_like(norms)
    weights[chosen] = (length / norms[chosen]).nan_to_num(nan=1.0).clamp(max=1) / chosen.shape[0]
    return weighted_sum(inputs, weights)


def largest_mode(points: Tensor, *, quantile: float = 0.5, iterations: int = 300) -> Tensor:
    """``bool[n]``: the points of the largest mean-shift cluster, with a flat kernel.

    The bandwidth is the mean distance to the ``quantile n``-th nearest point, itself counted, as scikit-learn
    estimates it for the authors' code. Equal clusters: the one with the lowest row.
    """
    distances = _distances(points, points)
    bandwidth = distances.sort(dim=1).values[:, max(1, int(quantile * points.shape[0])) - 1].mean()
    if float(bandwidth) == 0:
        bandwidth = torch.full_like(bandwidth, 1e-9)  # most points coincide: they are the cluster
    modes = points
    for _ in range(iterations):
        near = _distances(modes, points) <= bandwidth
        following = near.to(points.dtype) @ points / near.sum(1, keepdim=True)
        settled = bool(((following - modes).square().sum(1).sqrt() <= 1e-3 * bandwidth).all())
        modes = following
        if settled:
            break
    same = _distances(modes, modes) <= bandwidth
    return same[int(same.sum(1).argmax())]


def _distances(points: Tensor, others: Tensor) -> Tensor:
    """All Euclidean distances between two small sets of points, by differences."""
    return (points[:, None] - others[None, :]).square().sum(2).sqrt()
