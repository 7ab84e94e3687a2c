"""How a data set is dealt out to nodes that differ: at random, by Dirichlet draws, or a share sorted by label."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["deal", "dirichlet", "gamma"]

IID, DIRICHLET, GAMMA = "iid", "dirichlet", "gamma"


def deal(text: str, labels: Tensor, nodes: int, *, seed: int) -> list[Tensor]:
    """Row numbers per node, as a text says; together they hold every row once.

    Args:
        text: ``iid``, ``dirichlet:0.1`` or ``gamma:0.33``.
        labels: ``int64[n]``.
        nodes: How many share the rows, ``>= 1``.
        seed: The same seed deals the same rows.

    Raises:
        ValueError: If it is none of these, or there are fewer rows than nodes.

    Example:
        >>> [len(rows) for rows in deal("iid", torch.arange(7) % 2, 3, seed=0)]
        [3, 2, 2]
    """
    kind, value = heterogeneity(text)
    if len(labels) < nodes:
        raise ValueError(f"{len(labels)} examples cannot be dealt to {nodes} nodes")
    if kind == DIRICHLET:
        return dirichlet(labels, nodes, alpha=value, seed=seed)
    return gamma(labels, nodes, alike=value, seed=seed)


def heterogeneity(text: str) -> tuple[str, float]:
    """The kind and the number of a text, ``gamma:1`` for ``iid``.

    Raises:
        ValueError: If it is none.

    Example:
        >>> heterogeneity("dirichlet:0.1")
        ('dirichlet', 0.1)
    """
    kind, _, number = text.partition(":")
    if text == IID:
        return GAMMA, 1.0
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if (kind == GAMMA and 0 <= value <= 1) or (kind == DIRICHLET and 0 < value < float("inf")):
        return kind, value
    raise ValueError(f"{text!r}: it is iid, dirichlet:ALPHA with ALPHA > 0, or gamma:SHARE with SHARE in 0..1")


def gamma(labels: Tensor, nodes: int, *, alike: float, seed: int) -> list[Tensor]:
    """A share of the rows at random, the rest in the order of their labels, as in ByzFL's experiments.

    Args:
        labels: ``int64[n]``.
        nodes: How many share the rows.
        alike: The share that is dealt at random: 1 makes all nodes alike, 0 gives each few labels.
        seed: Of the order.

    Example:
        >>> labels = torch.tensor([1, 0, 1, 0])
        >>> [labels[rows].tolist() for rows in gamma(labels, 2, alike=0.0, seed=0)]
        [[0, 0], [1, 1]]
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    cut = int(alike * len(labels))
    rest = order[cut:]
    rest = rest[labels[rest].argsort(stable=True)]
    pairs = zip(order[:cut].tensor_split(nodes), rest.tensor_split(nodes), strict=True)
    return _none_empty([torch.cat(pair) for pair in pairs])


def dirichlet(labels: Tensor, nodes: int, *, alpha: float, seed: int) -> list[Tensor]:
    """Every class in shares drawn from a symmetric Dirichlet distribution (Hsu et al., 2019, arXiv:1909.06335).

    A node that would get nothing gets one row of the largest.

    Args:
        labels: ``int64[n]``.
        nodes: How many share the rows.
        alpha: The concentration, positive; below 1 most nodes miss some classes.
        seed: Of the draws.

    Example:
        >>> sum(len(rows) for rows in dirichlet(torch.arange(50) % 5, 4, alpha=0.1, seed=0))
        50
    """
    draws = torch.Generator().manual_seed(seed)
    parts: list[list[int]] = [[] for _ in range(nodes)]
    for label in sorted(set(labels.tolist())):
        rows = (labels == label).nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=draws)]
        weights = torch._standard_gamma(torch.full((nodes,), alpha, dtype=torch.float64), generator=draws)
        ends = (weights.cumsum(0) / weights.sum().clamp(min=1e-300) * len(rows)).long()[:-1].tolist()
        for part, dealt in zip(parts, rows.tensor_split(ends), strict=True):
            part.extend(dealt.tolist())
    return _none_empty([torch.tensor(part, dtype=torch.int64) for part in parts])


def _none_empty(parts: list[Tensor]) -> list[Tensor]:
    """The same, but that a node that would get nothing gets the last row of the largest."""
    for place, part in enumerate(parts):
        if not len(part):
            largest = max(range(len(parts)), key=lambda each: len(parts[each]))
            parts[place], parts[largest] = parts[largest][-1:], parts[largest][:-1]
    return parts
