"""Bulyan: a Krum-like selection, then a mean around the median per coordinate."""

from __future__ import annotations

import torch
from torch import Tensor

from flwr_byzantine.rules._choices import Choice, count_of
from flwr_byzantine.rules._distances import squared_distances
from flwr_byzantine.rules._order import mean_nearest, middle
from flwr_byzantine.rules._primitives import mixed, nearest
from flwr_byzantine.rules._rule import Outcome, rule
from flwr_byzantine.rules.distance import krum_scores

__all__ = ["bulyan", "multi_bulyan"]

THETA: Choice = {
    "classic": lambda n, f: n - 2 * f,
    "n-2f-2": lambda n, f: n - 2 * f - 2,  # Garfield, krum-lib
}
"""How many selections Bulyan makes."""


def _second_stage(chosen: Tensor, f: int, dtype: torch.dtype) -> Tensor:
    """Per coordinate the mean of all but ``2f`` values of the chosen rows, those nearest to their median."""
    theta = chosen.shape[0]
    return mean_nearest(chosen, middle(theta), theta - 2 * f, dtype=dtype)


def _ranked(distances: Tensor, left: Tensor, f: int) -> Tensor:
    """The rows that are left by Krum score among themselves; at least 1 neighbour."""
    n = left.shape[0]
    among = distances[left][:, left]
    return left[nearest(krum_scores(among, max(1, n - f - 2)), n)]


@rule(
    min_inputs=lambda f: 4 * f + 3,
    bound="n >= 4f + 3",
    source="El Mhamdi et al., ICML 2018, arXiv:1802.07927",
    places=("selected",),
)
def bulyan(inputs: Tensor, *, f: int, theta: str | int = "classic", selected: Tensor | None = None) -> Outcome:
    r"""The mean around the median, per coordinate, of inputs that Krum picks one after the other.

    .. math:: y_k = \frac{1}{\beta} \sum_{i \in N_k} x_{i,k}, \qquad \beta = \theta - 2f

    First :math:`\theta` inputs are chosen by repeated Krum, whose scores are computed anew among those left (over
    their number minus f and 2 neighbours, at least 1). Then :math:`N_k` holds the :math:`\beta` chosen rows
    whose value is nearest to the median of the chosen ones. Ties: lowest row. Flower's own class chooses all
    rows by one scoring instead, which differs from the paper.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``.
        theta: ``"classic"`` (n - 2f), ``"n-2f-2"`` (Garfield, krum-lib), or a number above 2f.
        selected: int64 rows that another robust selection chose, more than 2f of them, in place of the first stage.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 4f + 3``.
        ValueError: If ``theta``, or the number of selected rows, is not between ``2f + 1`` and ``n``.

    Example:
        >>> bulyan(torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [99.0]]), f=1)
        tensor([3.])
    """
    n = inputs.shape[0]
    theta = len(selected) if selected is not None else theta
    theta = count_of("theta", theta, THETA, n, f, at_least=2 * f + 1, at_most=n)
    if selected is None:
        selected = _repeated_krum(squared_distances(inputs), theta, f)
    return Outcome(_second_stage(inputs[selected.sort().values], f, inputs.dtype), selected)


def _repeated_krum(distances: Tensor, theta: int, f: int) -> Tensor:
    left = torch.arange(distances.shape[0], device=distances.device)
    chosen = torch.zeros_like(left[:theta])
    for t in range(theta):
        chosen[t] = _ranked(distances, left, f)[0]
        left = left[left != chosen[t]]
    return chosen


@rule(
    min_inputs=lambda f: 4 * f + 3,
    bound="n >= 4f + 3",
    source="El Mhamdi et al., SRDS 2020, arXiv:1905.04374",
)
def multi_bulyan(inputs: Tensor, *, f: int) -> Tensor:
    r"""Bulyan over Multi-Krum: each of ``n - 2f - 2`` rounds gives a mean instead of one input.

    .. math:: z_t = \frac{1}{m_t} \sum_{i \in M_t} x_i, \qquad m_t = n - t - f - 2

    In round :math:`t = 0, 1, \dots, n - 2f - 3`, :math:`M_t` holds the :math:`m_t` rows with the least Krum
    scores among those left, then the best of them leaves. The result is the mean around the median of the
    :math:`z_t`, as in :func:`bulyan`. Less noisy than Bulyan at the same bound.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 4f + 3``.

    Example:
        >>> multi_bulyan(torch.tensor([[1.0], [1.0], [1.0], [1.0], [1.0], [1.0], [99.0]]), f=1)
        tensor([1.])
    """
    n = inputs.shape[0]
    distances = squared_distances(inputs)
    left = torch.arange(n, device=inputs.device)
    means = torch.zeros(n - 2 * f - 2, n, dtype=torch.float64, device=inputs.device)
    for t in range(n - 2 * f - 2):
        ranked = _ranked(distances, left, f)
        m = max(1, n - t - f - 2)
        means[t, ranked[:m]] = 1 / m
        left = left[left != ranked[0]]
    return _second_stage(mixed(inputs, means, dtype=torch.float64), f, inputs.dtype)
