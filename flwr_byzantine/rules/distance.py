"""Rules that rank whole inputs by distance: Krum and its kin, and selection around a pivot."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flwr_byzantine.rules._choices import Choice, count_of
from flwr_byzantine.rules._distances import distances_to, gram_about_median, is_moderate, squared_distances
from flwr_byzantine.rules._order import median
from flwr_byzantine.rules._primitives import checked_vector, nearest
from flwr_byzantine.rules._rule import Outcome, average, rule

__all__ = ["aksel", "krum", "medoid", "monna", "multi_krum"]

BLANCHARD = "Blanchard et al., NeurIPS 2017, arXiv:1703.02757"

NEIGHBORS: Choice = {
    "classic": lambda n, f: n - f - 2,
    "n-f-1": lambda n, f: n - f - 1,  # ByzFL, ByzPy
    "n-f-3": lambda n, f: n - f - 3,  # the code of Shejwalkar & Houmansadr, NDSS 2021: counts itself
}
"""How many neighbours a Krum score sums over. "classic" is the paper's n - f - 2."""

SELECTED: Choice = {
    "classic": lambda n, f: n - f - 2,  # AggregaThor, Garfield, GuanYu
    "n-f": lambda n, f: n - f,  # ByzFL
    "n-2f-3": lambda n, f: n - 2 * f - 3,  # the range in which the paper proves convergence
}
"""How many inputs Multi-Krum averages."""


def krum_scores(distances: Tensor, neighbors: int) -> Tensor:
    """``[n]``: the sum of each row's ``neighbors`` least squared distances to other rows."""
    others = distances + torch.diag(torch.full_like(distances[0], torch.inf))
    return others.sort(dim=1).values[:, :neighbors].sum(1)


def _of_least_score(inputs: Tensor, f: int, m: str | int, neighbors: str | int) -> Outcome:
    """The mean of the ``m`` inputs with the least Krum scores."""
    n = inputs.shape[0]
    neighbors = count_of("neighbors", neighbors, NEIGHBORS, n, f, at_most=n - 1)
    m = count_of("m", m, SELECTED, n, f, at_most=n)
    scores = krum_scores(squared_distances(inputs), neighbors)
    return average(inputs, nearest(scores, m))


def _kappa_krum(n: int, f: int) -> float:
    # Allouah et al. 2023 prove 6(1 + f/(n - 2f)) for n - f neighbours with the input itself. The same argument for
    # n - f - 2 others: at least q of the chosen and its neighbours are honest, and over these the mean squared distance
    # to the chosen is at most 2k/(h - 1) h/q times the honest variance, and to the honest mean h/q times.
    h, k, q = n - f, n - f - 2, n - 2 * f - 1
    return h / q * (1 + math.sqrt(2 * k / (h - 1))) ** 2


@rule(min_inputs=lambda f: 2 * f + 3, bound="n >= 2f + 3", source=BLANCHARD, kappa=_kappa_krum)
def krum(inputs: Tensor, *, f: int, neighbors: str | int = "classic") -> Outcome:
    r"""The input closest to its ``n - f - 2`` nearest others.

    .. math:: i^* = \arg\min_i \sum_{j \in N_i} \lVert x_i - x_j \rVert^2

    where :math:`N_i` holds the :math:`n - f - 2` inputs nearest to :math:`x_i`, itself excluded. Ties: lowest row.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``.
        neighbors: ``"classic"`` (n - f - 2), ``"n-f-1"`` (ByzFL, ByzPy), ``"n-f-3"`` (NDSS 2021 code), or a number;
            with fewer than ``f``, Byzantine inputs that agree among themselves win.

    Returns:
        ``[d]``, a copy of one row.

    Raises:
        ToleranceError: If ``n < 2f + 3``.

    Example:
        >>> krum(torch.tensor([[1.0], [1.1], [0.9], [1.2], [99.0]]), f=1)
        tensor([1.])
    """
    return _of_least_score(inputs, f, 1, neighbors)


@rule(min_inputs=lambda f: 2 * f + 3, bound="n >= 2f + 3", source=BLANCHARD, averages=True)
def multi_krum(inputs: Tensor, *, f: int, m: str | int = "classic", neighbors: str | int = "classic") -> Outcome:
    r"""The mean of the ``m`` inputs with the lowest Krum scores.

    .. math:: y = \frac{1}{m} \sum_{i \in M} x_i

    where :math:`M` holds the :math:`m` rows with the least :func:`krum` scores; ties to the lowest row.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``.
        m: ``"classic"`` (n - f - 2: AggregaThor, GuanYu), ``"n-f"`` (ByzFL), ``"n-2f-3"`` (the paper's proof; at
            least 1), or a number.
        neighbors: As in :func:`krum`.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 3``.

    Example:
        >>> multi_krum(torch.tensor([[1.0], [1.1], [0.9], [1.2], [99.0]]), f=1)
        tensor([1.0500])
    """
    return _of_least_score(inputs, f, m, neighbors)


@rule(
    min_inputs=lambda f: 2 * f + 1,
    bound="n >= 2f + 1",
    source="Kaufman and Rousseeuw, 1987, Clustering by means of medoids",
)
def medoid(inputs: Tensor, *, f: int = 0) -> Outcome:
    r"""The input with the least sum of distances to all others: the geometric median among the inputs.

    .. math:: i^* = \arg\min_i \sum_j \lVert x_i - x_j \rVert

    Ties: lowest row.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate; it sets the bound only.

    Returns:
        ``[d]``, a copy of one row.

    Raises:
        ToleranceError: If ``n < 2f + 1``.

    Example:
        >>> medoid(torch.tensor([[0.0], [1.0], [3.0], [4.0], [99.0]]), f=1)
        tensor([3.])
    """
    distances = squared_distances(inputs)
    summands = distances.sqrt()
    if not is_moderate(distances):
        # Less the sum of the median's distances, pair by pair as a quotient of squares: beside the distance to a huge
        # input, those among the others would be rounded away.
        gram, _ = gram_about_median(inputs)
        own = gram.diagonal()
        both = summands + own.sqrt()
        summands = torch.where(both > 0, (own[:, None] - 2 * gram) / both, torch.zeros_like(both))
    return average(inputs, nearest(summands.sort(dim=1).values.sum(1), 1))


@rule(
    min_inputs=lambda f: 2 * f + 1,
    bound="n >= 2f + 1",
    source="Boussetta et al., OPODIS 2020, doi:10.4230/LIPIcs.OPODIS.2020.8",
    averages=True,
)
def aksel(inputs: Tensor, *, f: int, keep: str | int = "n-f") -> Outcome:
    r"""The mean of the inputs nearest to the coordinate-wise median.

    .. math:: y = \frac{1}{k} \sum_{i \in N} x_i

    where :math:`N` holds the :math:`k` rows nearest to the coordinate-wise median; ties to the lowest row.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``.
        keep: ``"n-f"``, ``"half"`` (floor(n / 2) + 1: never more than an honest majority), or a number.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.

    Example:
        >>> aksel(torch.tensor([[1.0], [2.0], [3.0], [99.0]]), f=1)
        tensor([2.])
    """
    n = inputs.shape[0]
    options: Choice = {"n-f": lambda n, f: n - f, "half": lambda n, _: n // 2 + 1}
    k = count_of("keep", keep, options, n, f, at_most=n)
    return average(inputs, nearest(distances_to(inputs, median(inputs, dtype=torch.float64)), k))


@rule(
    min_inputs=lambda f: 2 * f + 1,
    bound="n >= 2f + 1",
    source="Farhadkhani et al., ICML 2023, arXiv:2209.10931",
    averages=True,
)
def monna(inputs: Tensor, *, f: int, pivot: Tensor) -> Outcome:
    r"""Nearest-neighbour averaging: the mean of the ``n - f`` inputs nearest to the caller's own vector.

    .. math:: y = \frac{1}{n - f} \sum_{i \in N(p)} x_i

    where :math:`N(p)` holds the :math:`n - f` rows nearest to the pivot :math:`p`; ties to the lowest row. It is
    a rule for a peer, which trusts its own vector; the own vector is usually one of the inputs too.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``.
        pivot: ``[d]``, the caller's own vector, finite.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.
        ValueError: If the pivot is not a finite ``[d]``.

    Example:
        >>> monna(torch.tensor([[1.0], [2.0], [3.0], [99.0]]), f=1, pivot=torch.tensor([1.0]))
        tensor([2.])
    """
    pivot = checked_vector("monna: the pivot, the caller's own vector,", pivot, inputs)
    return average(inputs, nearest(distances_to(inputs, pivot), inputs.shape[0] - f))
