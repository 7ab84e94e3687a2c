"""Rules that search the subset of ``n - f`` inputs that holds together best. Exact, within a budget."""

from __future__ import annotations

import torch
from torch import Tensor

from flwr_byzantine.errors import BudgetError
from flwr_byzantine.rules._distances import squared_distances
from flwr_byzantine.rules._rule import Outcome, average, rule

__all__ = ["mda", "smea"]


EQUAL = 1e-12
"""Eigenvalues that differ by less than this share are equal: rounding would choose among them otherwise."""

BATCH = 4096
"""Subsets whose eigenvalues are computed at once."""

COUNTABLE = 2**61
"""Where counting subsets stops, so that sums of two counts still are int64."""


@rule(
    min_inputs=lambda f: 2 * f + 1,
    bound="n >= 2f + 1",
    source="El Mhamdi et al., PODC 2020, arXiv:1905.03853",
    averages=True,
)
def mda(inputs: Tensor, *, f: int, budget: int = 1_000_000) -> Outcome:
    r"""Minimum-diameter averaging: the mean of the ``n - f`` inputs with the least largest distance.

    .. math:: S^* = \arg\min_{|S| = n - f} \max_{i, j \in S} \lVert x_i - x_j \rVert

    Among subsets of equal diameter, the one first in lexicographic order. Exact: a bisection over the
    distances asks whether at most ``f`` rows cover all pairs that are farther apart, by branching on a pair.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``.
        budget: Most branches to visit. Their number is exponential in ``f`` at worst.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.
        BudgetError: If the search visits more branches than ``budget``.

    Example:
        >>> mda(torch.tensor([[1.0], [2.0], [4.0], [99.0]]), f=1)
        tensor([2.3333])
    """
    distances, n = squared_distances(inputs), inputs.shape[0]
    steps = distances.flatten().sort().values[n - 1 :: 2]  # each once: the diagonal's zeros, then every distance twice
    kept: list[int] = []
    gone: list[int] = []
    low, high, visited = 0, steps.shape[0] - 1, 0
    while low < high:
        middle = (low + high) // 2
        covered, visited = _coverable(_farther(distances, steps[middle]), gone, f, visited, budget)
        if covered:
            high = middle
        else:
            low = middle + 1
    graph = _farther(distances, steps[low])
    for row in range(n):  # keep each row in turn if the rest still can be covered
        must_go: list[int] = [other for other in graph[row] if other not in gone]
        if len(kept) < n - f and row not in gone and len(gone) + len(must_go) <= f:
            spare = f - len(gone) - len(must_go)
            covered, visited = _coverable(graph, gone + must_go, spare, visited, budget)
            if covered:
                kept.append(row)
                gone += must_go
    return average(inputs, torch.tensor(kept, device=inputs.device))


def _farther(distances: Tensor, limit: Tensor) -> list[list[int]]:
    """For each row the rows that are farther away than ``limit``."""
    graph: list[list[int]] = []
    farther: list[list[bool]] = (distances > limit).tolist()
    for row in farther:
        others: list[int] = [other for other, far in enumerate(row) if far]
        graph.append(others)
    return graph


def _coverable(graph: list[list[int]], gone: list[int], f: int, visited: int, budget: int) -> tuple[bool, int]:
    """Whether ``f`` rows, besides those that are gone, touch every edge; and how many branches were visited by now.

    Of the row with most edges, it or all its neighbours must go. A branch is the edges left of each row, and f.
    """
    branches = [(_without(graph, [len(others) for others in graph], gone), f)]
    while len(branches) > 0:
        degrees, spare = branches.pop()
        visited += 1
        if visited > budget:
            raise BudgetError(f"mda: more than budget = {budget} branches; a larger budget or smaller f is needed")
        degree = max(degrees)
        if degree == 0:
            return True, visited
        if spare > 0 and sum(degrees) <= 2 * spare * degree:
            row = degrees.index(degree)
            neighbours: list[int] = [other for other in graph[row] if degrees[other] > 0]
            if degree <= spare:
                branches.append((_without(graph, degrees, neighbours), spare - degree))
            branches.append((_without(graph, degrees, [row]), spare - 1))
    return False, visited


def _without(graph: list[list[int]], degrees: list[int], rows: list[int]) -> list[int]:
    """How many edges each row keeps once some rows leave. A row that has left has none, nor has one without others."""
    left = list(degrees)
    for row in rows:
        for other in graph[row]:
            if left[other] > 0:
                left[other] -= 1
        left[row] = 0
    return left


@rule(
    min_inputs=lambda f: 2 * f + 1,
    bound="n >= 2f + 1",
    source="Allouah et al., ICML 2023, arXiv:2302.04787",
    averages=True,
)
def smea(inputs: Tensor, *, f: int, budget: int = 200_000) -> Outcome:
    r"""Smallest maximum eigenvalue averaging: the mean of the ``n - f`` inputs that vary least in any direction.

    .. math:: S^* = \arg\min_{|S| = n - f} \lambda_{\max}\Bigl(\tfrac{1}{|S|} \sum_{i \in S}
              (x_i - \bar x_S)(x_i - \bar x_S)^\top\Bigr)

    The eigenvalue is exact, from the centred Gram matrix of the subset. Among equals, the first subset in
    lexicographic order.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``.
        budget: Most subsets to look at; there are ``C(n, f)``.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.
        BudgetError: If there are more subsets than ``budget``.

    Example:
        >>> smea(torch.tensor([[1.0], [2.0], [3.0], [99.0]]), f=1)
        tensor([2.])
    """
    n = inputs.shape[0]
    binomials = _binomials(n)
    count = int(binomials[n, f])
    if count > budget:
        raise BudgetError(f"smea: C({n}, {f}) = {count} subsets are more than budget = {budget}")
    distances = squared_distances(inputs)
    best, best_value = torch.arange(n - f, device=inputs.device), torch.inf
    for start in range(0, count, BATCH):
        members = _subsets(binomials, n - f, start, min(count, start + BATCH)).to(inputs.device)
        among = distances[members.unsqueeze(2), members.unsqueeze(1)]
        centred = among - among.mean(1, keepdim=True) - among.mean(2, keepdim=True) + among.mean((1, 2), keepdim=True)
        values = torch.linalg.eigvalsh(-centred / 2)[:, -1].clamp(min=0)
        place = int((values <= values.min() * (1 + EQUAL)).nonzero()[0])
        if float(values[place]) < best_value * (1 - EQUAL):
            best, best_value = members[place], float(values[place])
    return average(inputs, best)


def _binomials(n: int) -> Tensor:
    """``int64[n + 1, n + 1]``: Pascal's triangle, none above :data:`COUNTABLE`."""
    table = torch.zeros(n + 1, n + 1, dtype=torch.int64)
    table[:, 0] = 1
    for i in range(1, n + 1):
        table[i, 1:] = (table[i - 1, 1:] + table[i - 1, :-1]).clamp(max=COUNTABLE)
    return table


def _subsets(binomials: Tensor, size: int, start: int, stop: int) -> Tensor:
    """``int64[stop - start, size]``: the subsets number ``start`` up to ``stop`` of n in lexicographic order."""
    n, rank = binomials.shape[0] - 1, torch.arange(start, stop)
    missing = torch.full_like(rank, size)
    inside = torch.zeros(stop - start, n, dtype=torch.bool)
    for i in range(n):
        holding = torch.where(missing > 0, binomials[n - i - 1][(missing - 1).clamp(min=0)], 0)
        inside[:, i] = rank < holding
        rank = torch.where(inside[:, i], rank, rank - holding)
        missing = missing - inside[:, i].to(torch.int64)
    return inside.nonzero()[:, 1].reshape(-1, size)
