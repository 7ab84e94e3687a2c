"""How many liars a rule tolerates among the replies of a round, and the randomness of the round."""

from __future__ import annotations

import torch

from flwr_byzantine.rules import Aggregator

__all__ = ["largest_tolerated", "seeded"]


def largest_tolerated(rule: Aggregator, n: int, f: int, faulty: int) -> int | None:
    """The largest f' between ``f - faulty`` and ``f`` that the rule tolerates among ``n``, or None.

    Example:
        >>> from flwr_byzantine.rules import krum
        >>> largest_tolerated(krum, n=9, f=3, faulty=0), largest_tolerated(krum, n=8, f=3, faulty=1)
        (3, 2)
        >>> largest_tolerated(krum, n=8, f=3, faulty=0) is None
        True
    """
    return next((g for g in range(f, max(0, f - faulty) - 1, -1) if n >= rule.min_inputs(g)), None)


def seeded(seed: int, server_round: int) -> torch.Generator:
    """The randomness of one round, on the CPU."""
    return torch.Generator().manual_seed(1_000_003 * seed + server_round)
