"""What the rules for a node of a graph are made of: weights, distances from the own row, clipping, and the step.

Input 0 is the own row, the others are the neighbours'.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flwr_byzantine.rules._distances import distances_to
from flwr_byzantine.rules._primitives import nearest, weighted_sum

__all__ = [
    "SLACK",
    "adaptive_radius",
    "clipped",
    "distances_to_own",
    "hostile_weight",
    "lightest",
    "mixing_row",
    "moved",
    "normalised",
]

SLACK = 1e-9
"""Share of the weights that may be due to rounding when they are added in float64."""


def mixing_row(name: str, inputs: Tensor, weights: Tensor | None) -> Tensor:
    """``float64[n]``: the weights that were given, found to be a part of a row of a mixing matrix, or 1 / n each."""
    n = inputs.shape[0]
    if weights is None:
        return torch.full([n], 1 / n, dtype=torch.float64, device=inputs.device)
    wide = weights.flatten().to(device=inputs.device, dtype=torch.float64)
    if wide.shape[0] != n or not bool((wide > 0).all()) or float(wide.sum()) > 1 + 1e-5:
        raise ValueError(f"{name}: the weights must be {n} positive numbers of sum 1, the own weight first")
    return wide


def distances_to_own(inputs: Tensor) -> Tensor:
    """``float64[n - 1]``: the distance of each neighbour's row to the own one, never infinite."""
    return distances_to(inputs[1:], inputs[0]).clamp(max=torch.finfo(torch.float64).max)


def hostile_weight(shares: Tensor, f: int) -> float:
    """The most that ``f`` of the neighbours weigh."""
    return float(shares.sort(descending=True).values[:f].sum())


def lightest(sorted_shares: Tensor, hostile: float) -> Tensor:
    """``bool``: the first of some weights that together make no more than all of them less ``hostile``."""
    reached = sorted_shares.cumsum(0)
    total = float(sorted_shares.sum())
    return reached <= total - hostile + SLACK * total


def adaptive_radius(distances: Tensor, shares: Tensor, f: int) -> float:
    """The radius that bounds what the ``f`` heaviest can do by how far the nearest neighbours are."""
    if f == 0:
        return math.inf
    hostile = hostile_weight(shares, f)
    order = nearest(distances, shares.shape[0])
    kept = shares[order] * lightest(shares[order], hostile)
    largest = float((distances[order] * (kept > 0)).max())
    if largest == 0:
        return 0.0
    # In units of the largest distance kept, so that no square overflows or vanishes.
    return largest * math.sqrt(float((kept * (distances[order] / largest).clamp(max=1).square()).sum()) / hostile)


def clipped(distances: Tensor, radius: float) -> Tensor:
    """What share of each offset a ball of that radius leaves."""
    return torch.where(distances > radius, radius / distances, torch.ones_like(distances))


def moved(inputs: Tensor, factors: Tensor) -> Tensor:
    """``[d]``: the own row and ``factors`` times the neighbours' offsets from it."""
    found = weighted_sum(inputs[1:], factors, centre=inputs[0])
    return found.nan_to_num(nan=math.nan)  # of the largest numbers there are, a mean may be rounded to infinity


def normalised(shares: Tensor, trusted: Tensor) -> Tensor:
    """The weights of the trusted rows, of sum 1, and 0 for the others."""
    left = shares[trusted] / shares.max()  # equal weights become 1, and their sum a number
    result = torch.zeros_like(shares)
    result[trusted] = left / left.sum()
    return result
