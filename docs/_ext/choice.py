"""The tables of the page "Which rule?", from the data that ``flwr-byzantine recommend`` ranks by."""

from __future__ import annotations

from collections.abc import Sequence

import tables

from flwr_byzantine.rules.recommend import CANDIDATES, Candidate

__all__ = ["costs", "minorities"]


def costs(sizes: Sequence[tuple[int, int]]) -> str:
    """Cost and proven kappa of each rule that ``flwr-byzantine recommend`` ranks."""
    header = ["Rule", "Cost", *(f"n={n} f={f}" for n, f in sizes)]
    floor = ["*floor*", "", *(f"{f / (n - 2 * f):.3g}" for n, f in sizes)]
    rows = [[f"``{c.rule.name}``", c.cost, *(_cell(c, n, f) for n, f in sizes)] for c in CANDIDATES]
    return "\n".join(tables.table(header, [*rows, floor]))


def _cell(candidate: Candidate, n: int, f: int) -> str:
    if n < candidate.rule.min_inputs(f):
        return "\\-"
    kappa = candidate.rule.kappa(n, f)
    return "?" if kappa is None else f"{kappa:.3g}"


def minorities() -> str:
    """For what each rule is good, and what it does to an honest minority."""
    rows = [[f"``{c.rule.name}``", c.when, c.minority] for c in CANDIDATES]
    return "\n".join(tables.table(["Rule", "For", "An honest minority"], rows))
