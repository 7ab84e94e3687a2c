"""Rules for a node of a graph: its own row and those of its neighbours, some of whom lie.

Input 0 is the node's own row, which it trusts; inputs 1 to n - 1 are its neighbours', ``f`` of them Byzantine.
``weights`` ``[n]`` is the node's row of the mixing matrix, its own weight first; 1 / n each if not given. The weight
of ``f`` Byzantine neighbours, b, is taken to be that of the ``f`` heaviest.

Each needs ``2f + 1`` neighbours for ``f`` liars. None claims a kappa: a step of gossip goes only part of the way to
the neighbours' mean, and what is proven is how fast nodes come together over many. All move with their inputs, so
that rows may be parameters as well as updates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec

import torch
from torch import Tensor

from flwr_byzantine.rules._distances import squared_distances
from flwr_byzantine.rules._neighbours import (
    SLACK,
    adaptive_radius,
    clipped,
    distances_to_own,
    hostile_weight,
    lightest,
    mixing_row,
    moved,
    normalised,
)
from flwr_byzantine.rules._order import mean_of_order_statistics
from flwr_byzantine.rules._primitives import nearest, weighted_sum
from flwr_byzantine.rules._rule import Outcome, Rule, rule

__all__ = ["bridge", "cg_plus", "clipped_gossip", "ios", "nna"]

GAUCHER = "Gaucher et al., ICML 2025, arXiv:2410.10418"

P = ParamSpec("P")


def _graph_rule(
    source: str, *, weighted: bool = True
) -> Callable[[Callable[Concatenate[Tensor, P], Tensor | Outcome]], Rule[P]]:
    """What the rules of this module have in common as :func:`rule` takes it."""
    aligned = ("weights",) if weighted else ()
    return rule(min_inputs=lambda f: 2 * f + 2, bound="n >= 2f + 2", source=source, aligned=aligned, own_row=True)


@_graph_rule("He et al., 2022, arXiv:2202.01545")
def clipped_gossip(inputs: Tensor, *, f: int, weights: Tensor | None = None, tau: float | None = None) -> Tensor:
    r"""The own row, moved by the neighbours' weighted offsets from it, each clipped to length ``tau``.

    .. math:: y = x_0 + \sum_{j \ge 1} w_j (x_j - x_0) \min\Bigl(1, \frac{\tau}{\lVert x_j - x_0 \rVert}\Bigr), \qquad
              \tau = \sqrt{\frac{1}{b} \sum_{j \in S} w_j \lVert x_j - x_0 \rVert^2}

    where :math:`S` holds the nearest neighbours that weigh no more than all less :math:`b`. The theory's radius is a
    sum over the honest neighbours, whom nobody knows; this one, the authors' for practice, is never larger. Their
    experiments often fix ``tau = 1``. Without liars (f = 0) nothing is clipped.

    Args:
        inputs: ``[n, d]``, the own row first, then the neighbours'.
        f: Number of Byzantine neighbours to tolerate, ``f >= 0``.
        weights: ``[n]``, the node's row of the mixing matrix, positive, of sum 1; 1 / n each if not given.
        tau: Clipping radius in the unit of the inputs, ``tau >= 0``; the adaptive one above if not given.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 2``.
        ValueError: If ``tau`` is negative, the weights are not such, or the own row is not finite.

    Example:
        >>> clipped_gossip(torch.tensor([[0.0], [1.0], [-1.0], [99.0]]), f=1)
        tensor([0.3536])
    """
    if tau is not None and not tau >= 0:
        raise ValueError(f"clipped_gossip: tau must be at least 0, got {tau}")
    shares = mixing_row("clipped_gossip", inputs, weights)[1:]
    distances = distances_to_own(inputs)
    radius = adaptive_radius(distances, shares, f) if tau is None else tau
    return moved(inputs, shares * clipped(distances, radius))


@_graph_rule(GAUCHER)
def cg_plus(inputs: Tensor, *, f: int, weights: Tensor | None = None) -> Tensor:
    r"""The own row, moved by the neighbours' weighted offsets from it, the longest of which are clipped to the next.

    .. math:: y = x_0 + \sum_{j \ge 1} w_j (x_j - x_0) \min\Bigl(1, \frac{\tau}{\lVert x_j - x_0 \rVert}\Bigr)

    where :math:`\tau` is the largest distance of a neighbour beyond which others weigh :math:`2b` or more in all, 0 if
    there is none: with equal weights the distance of rank :math:`2f + 1` from above. Its breakdown point is close to
    the best that a graph's spectrum allows. The paper's step size is in the weights here.

    Args:
        inputs: ``[n, d]``, the own row first, then the neighbours'.
        f: Number of Byzantine neighbours to tolerate, ``f >= 0``.
        weights: ``[n]``, the node's row of the mixing matrix, positive, of sum 1; 1 / n each if not given.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 2``.
        ValueError: If the weights are not such, or the own row is not finite.

    Example:
        >>> cg_plus(torch.tensor([[0.0], [1.0], [2.0], [99.0]]), f=1)
        tensor([0.7500])
    """
    shares = mixing_row("cg_plus", inputs, weights)[1:]
    distances = distances_to_own(inputs)
    order = nearest(distances, shares.shape[0])
    unclipped = lightest(shares[order], 2 * hostile_weight(shares, f))
    radius = float((distances[order] * unclipped).max())
    return moved(inputs, shares * clipped(distances, radius))


@_graph_rule(f"Farhadkhani et al., ICML 2023, arXiv:2209.10931; on graphs {GAUCHER}")
def nna(inputs: Tensor, *, f: int, weights: Tensor | None = None) -> Tensor:
    r"""The own row, moved by the weighted offsets of its nearest neighbours; the farthest are left out.

    .. math:: y = x_0 + \sum_{j \ge 1} v_j (x_j - x_0)

    where :math:`v_j = w_j` for the nearest neighbours and 0 for the farthest that weigh :math:`b` in all; the one in
    between keeps the rest of its weight. It is MoNNA's averaging in the form that Gaucher et al. give it: with equal
    weights it goes ``(n - f) / n`` of the way from the own row to :func:`monna`'s mean around it.

    Args:
        inputs: ``[n, d]``, the own row first, then the neighbours'.
        f: Number of Byzantine neighbours to tolerate, ``f >= 0``.
        weights: ``[n]``, the node's row of the mixing matrix, positive, of sum 1; 1 / n each if not given.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 2``.
        ValueError: If the weights are not such, or the own row is not finite.

    Example:
        >>> nna(torch.tensor([[0.0], [1.0], [3.0], [99.0]]), f=1)
        tensor([1.])
    """
    shares = mixing_row("nna", inputs, weights)[1:]
    order = nearest(distances_to_own(inputs), shares.shape[0])
    sorted_shares = shares[order]
    total = float(shares.sum())
    room = total - hostile_weight(shares, f) - (sorted_shares.cumsum(0) - sorted_shares)
    # A weight that is only rounding would still carry a huge row in.
    kept = torch.where(room > SLACK * total, torch.minimum(room, sorted_shares), torch.zeros_like(room))
    factors = torch.zeros_like(shares)
    factors[order] = kept
    return moved(inputs, factors)


@_graph_rule("Wu et al., IEEE TSP 2023, arXiv:2206.04568")
def ios(inputs: Tensor, *, f: int, weights: Tensor | None = None) -> Outcome:
    r"""Iterative outlier scissor: the weighted mean after ``f`` times removing the neighbour farthest from it.

    .. math:: S_{t+1} = S_t \setminus \{\arg\max_{j \in S_t, j \ge 1} \lVert x_j - \bar x_{S_t} \rVert\}, \qquad
              \bar x_S = \frac{\sum_{j \in S} w_j x_j}{\sum_{j \in S} w_j}

    from all rows :math:`S_0` to :math:`S_f`, whose mean is the result. The own row always stays; of equally far
    neighbours the highest leaves. With equal weights it is :func:`faba` with trust in input 0. The paper's guarantee
    is for Byzantine neighbours that weigh less than a third.

    Args:
        inputs: ``[n, d]``, the own row first, then the neighbours'.
        f: Number of Byzantine neighbours to tolerate, ``f >= 0``.
        weights: ``[n]``, the node's row of the mixing matrix, positive, of sum 1; 1 / n each if not given.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 2``.
        ValueError: If the weights are not such, or the own row is not finite.

    Example:
        >>> ios(torch.tensor([[0.0], [1.0], [2.0], [99.0]]), f=1)
        tensor([1.])
    """
    shares = mixing_row("ios", inputs, weights)
    trusted = torch.arange(inputs.shape[0], device=inputs.device)
    # The squared distance to a mean of rows is the mean of the squared distances to them, less their spread.
    distances = squared_distances(inputs)
    for _ in range(f):
        neighbours = trusted[1:]
        totals = distances[neighbours] @ normalised(shares, trusted)
        stay = nearest(totals, neighbours.shape[0] - 1).sort().values
        trusted = torch.cat([trusted[:1], neighbours[stay]])
    return Outcome(weighted_sum(inputs, normalised(shares, trusted)), trusted)


@_graph_rule("Fang et al., IEEE TSIPN 2022, arXiv:1908.08098", weighted=False)
def bridge(inputs: Tensor, *, f: int) -> Tensor:
    r"""BRIDGE-T: per coordinate the mean of the own value and of the neighbours', ``f`` dropped at either end.

    .. math:: y_k = \frac{1}{n - 2f} \Bigl( x_{0, k} + \sum_{j = f + 1}^{n - 1 - f} x_{(j), k} \Bigr)

    with the values :math:`x_{(j), k}` of the :math:`n - 1` neighbours in ascending order. The own value is never
    dropped, unlike in :func:`trimmed_mean`. The paper's other variants treat the own row as any other, so that they
    are these rules on the same inputs: BRIDGE-M :func:`median`, BRIDGE-K :func:`krum`, BRIDGE-B :func:`bulyan`.

    Args:
        inputs: ``[n, d]``, the own row first, then the neighbours'.
        f: Number of Byzantine neighbours to tolerate, ``f >= 0``.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 2``.
        ValueError: If the own row is not finite.

    Example:
        >>> bridge(torch.tensor([[0.0], [1.0], [3.0], [99.0]]), f=1)
        tensor([1.5000])
    """
    neighbours = inputs.shape[0] - 1
    left = neighbours - 2 * f
    middle = mean_of_order_statistics(inputs[1:], f, neighbours - f, dtype=torch.float64)
    return (middle * (left / (left + 1)) + inputs[0].to(torch.float64) / (left + 1)).to(inputs.dtype)
