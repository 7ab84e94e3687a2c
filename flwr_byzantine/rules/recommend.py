"""Which rule for how many nodes and liars: a ranked list, from the rules' own bounds and proofs.

The error of a rule that is (f, kappa)-robust is at most kappa times the variance of the honest inputs. So where
nodes are alike, whose updates differ by little, cost decides; where they differ, kappa does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from flwr_byzantine.errors import ToleranceError
from flwr_byzantine.rules import (
    Aggregator,
    bulyan,
    caf,
    centered_clipping,
    geometric_median,
    krum,
    mda,
    median,
    multi_krum,
    nnm,
    smea,
    trimmed_mean,
)
from flwr_byzantine.rules._keywords import as_count

__all__ = ["CANDIDATES", "Candidate", "Heterogeneity", "Recommendation", "recommend"]

Heterogeneity = Literal["none", "mild", "strong"]
"""How much honest nodes differ: not beyond chance, somewhat, or so that some have classes that others lack."""
SUBSETS = 200_000
"""Most subsets that a search is recommended for; the budget of ``smea``."""

Operations = Callable[[int, int, int], float]


def _sorting(n: int, f: int, d: int) -> float:
    return n * math.log2(max(2, n)) * d


def _pairs(n: int, f: int, d: int) -> float:
    return n * n * d + n * d


def _passes(n: int, f: int, d: int) -> float:
    return 4.0 * n * d


def _subsets(n: int, f: int, d: int) -> float:
    return _pairs(n, f, d) + float(math.comb(n, f)) * n * n


COSTS: dict[str, Operations] = {"n d log n": _sorting, "n² d": _pairs, "n d": _passes, "n² d + C(n, f) n²": _subsets}


@dataclass(frozen=True)
class Candidate:
    """A rule that may be recommended, with what its data do not say.

    Args:
        rule: A rule or chain that needs nothing but f.
        cost: Its order of operations, one of the keys of ``COSTS``.
        when: For what it is good.
        minority: What it does to an honest minority whose data differ.
    """

    rule: Aggregator
    cost: str
    when: str
    minority: str


CUT = "is cut per coordinate where it stands out"
MIXED = "counts through its nearest neighbours; left out if far from all"
NEAREST = "left out if it is farther from the rest than liars are"
CANDIDATES = (
    Candidate(trimmed_mean, "n d log n", "the first choice; cheap, with the least proven kappa", CUT),
    Candidate(nnm >> trimmed_mean, "n² d", "nodes that differ, and liars that hide in the spread", MIXED),
    Candidate(nnm >> geometric_median, "n² d", "as before, and outliers in few directions", MIXED),
    Candidate(nnm >> krum, "n² d", "as before, with one well-mixed input as the result", MIXED),
    Candidate(geometric_median, "n² d", "large models of any scale; no coordinate is special", "pulls by its share"),
    Candidate(median, "n d log n", "no f to guess: it is the same for every f", "has no say where it differs"),
    Candidate(multi_krum, "n² d", "nodes that are alike; drops whole inputs, and says which", NEAREST),
    Candidate(krum, "n² d", "as Multi-Krum, where one real update must be the result", "lost: one node is followed"),
    Candidate(mda, "n² d + C(n, f) n²", "few nodes; the tightest group of n - f", NEAREST),
    Candidate(smea, "n² d + C(n, f) n²", "few nodes; the group of least variance", NEAREST),
    Candidate(caf, "n² d", "many directions of attack; no fixed number is dropped", "weighs less the more it differs"),
    Candidate(bulyan, "n² d", "n far above 4f, and no coordinate may jump", "as Krum, then " + CUT),
    Candidate(centered_clipping, "n d", "momenta on the nodes, and a radius that fits them", "counts, shortened"),
)
"""What is ranked: one rule of each kind that a strategy can run with f alone."""


@dataclass(frozen=True)
class Recommendation:
    """One line of the ranked list."""

    rule: Aggregator
    """As a strategy takes it: ``RobustStrategy(rule, num_malicious_nodes=f)``."""
    kappa: float | None
    """Proven upper bound for this n and f, or None if none is known."""
    operations: float
    """Floating-point operations of a round, to the order of magnitude."""
    about: Candidate
    """Its cost class, for what it is good, and what becomes of a minority."""


def recommend(
    n: int, f: int, *, heterogeneity: Heterogeneity = "mild", dimension: int = 1_000_000
) -> list[Recommendation]:
    """The rules that bear ``f`` Byzantine of ``n`` inputs, best first.

    With ``heterogeneity="none"`` the cheaper comes first, and among equally cheap the one with the lesser kappa;
    otherwise the lesser proven kappa, and rules without a proof after all others.

    Args:
        n: Number of nodes.
        f: Byzantine ones among them to tolerate, ``f >= 1``.
        heterogeneity: How much honest nodes differ.
        dimension: Parameters of the model; it orders by cost.

    Returns:
        Candidates whose bound holds and whose search stays within its budget.

    Raises:
        ToleranceError: If ``f >= n / 2``: then no rule of the inputs alone can help. Or if f is 0 or less.
        ValueError: If ``heterogeneity`` is none of the three, or ``dimension`` less than 1.

    Example:
        >>> [each.rule.name for each in recommend(10, 2)][:2]
        ['trimmed_mean', 'median']
        >>> recommend(10, 5)
        Traceback (most recent call last):
        ...
        flwr_byzantine.errors.ToleranceError: f = 5 of n = 10: no rule can help, since half of the inputs or more lie. \
The others can be called the liars with equal right, whatever is computed. Needed: n >= 11, or f <= 4, or clean data \
at the server (fltrust).
    """
    _check(n, f, heterogeneity, dimension)
    found = [
        Recommendation(each.rule, each.rule.kappa(n, f), COSTS[each.cost](n, f, dimension), each)
        for each in CANDIDATES
        if n >= each.rule.min_inputs(f) and ("C(n, f)" not in each.cost or math.comb(n, f) <= SUBSETS)
    ]
    by_kappa = {id(each): math.inf if each.kappa is None else each.kappa for each in found}
    if heterogeneity == "none":
        return sorted(found, key=lambda each: (each.operations, by_kappa[id(each)]))
    return sorted(found, key=lambda each: (by_kappa[id(each)], each.operations))


def _check(n: int, f: int, heterogeneity: str, dimension: int) -> None:
    n, f = as_count("nodes", n, ToleranceError), as_count("byzantine", f, ToleranceError)
    if heterogeneity not in get_args(Heterogeneity):
        raise ValueError(f"heterogeneity must be one of {', '.join(get_args(Heterogeneity))}, got {heterogeneity!r}")
    if dimension < 1:
        raise ValueError(f"dimension must be at least 1, got {dimension}")
    if f == 0:
        raise ToleranceError("f = 0: where nobody lies, the mean is best, and FedAvg is enough. Needed: f >= 1.")
    if n <= 2 * f:
        most = f", or f <= {(n - 1) // 2}" if n > 2 else ""
        raise ToleranceError(
            f"f = {f} of n = {n}: no rule can help, since half of the inputs or more lie. The others can be called "
            f"the liars with equal right, whatever is computed. Needed: n >= {2 * f + 1}{most}, or clean data at the "
            "server (fltrust)."
        )
