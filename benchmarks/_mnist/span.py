"""The optimised attacks of ByzFL's table, searched in the span of the honest rows instead of in full length.

A search tries a rule twenty times a round on the honest rows and on one more that moves along a line. All of
these lie in a space of h + 2 dimensions, and rules that only look at lengths and angles (clipping, NNM, the geometric
median, ...) give the same there; a coordinate-wise rule after them needs their result in full length, once per trial.
It is the same search with the same rules, but for rounding, at a quarter of the time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flwr_byzantine.attacks import Attack, attack, optimal
from flwr_byzantine.rules import Aggregator, Chain, Rule, rule

__all__ = ["searched"]

PIECE = 1 << 16
"""Coordinates at a time that are turned into float64."""
EVERY = 4
"""Of so many coordinates one is looked at to tell which strength harms a coordinate-wise rule more."""


def searched(base: Attack[...], under_attack: Aggregator, *, forward: bool) -> Attack[...]:
    """``optimal(base, under_attack, forward=forward)``, searched in the span.

    Args:
        base: ``ipm`` or ``alie``.
        under_attack: A rule or chain in which all but the last only look at lengths and angles.
        forward: Whether to search as ByzFL does.
    """
    if base.__name__ not in ("ipm", "alie"):
        raise ValueError(f"searched takes ipm or alie, got {base.name}")
    *before, last = under_attack.stages if isinstance(under_attack, Chain) else [under_attack]

    def strongest(honest: Tensor, *, f: int) -> Tensor:
        place, way = _line(base, honest)
        vectors = torch.stack([*honest, place, way])
        low = _coordinates(vectors)
        tried = _tried(before, last, vectors, low)
        strength = _strength(low, tried, f=f, forward=forward)
        return (place.double() + strength * way.double()).to(honest.dtype)

    strongest.__name__ = f"searched({base.name}, {under_attack.name})"
    return attack(source=base.source, knows="rule")(strongest)


def _line(base: Attack[...], honest: Tensor) -> tuple[Tensor, Tensor]:
    """The hostile row at strength 0, and what is added to it per unit."""
    centre = honest.mean(0)
    if base.__name__ == "ipm":
        return torch.zeros_like(centre), -centre
    # By hand, since torch's std(0) takes ten times as long.
    deviation = ((honest - centre).square_().sum(0) / (len(honest) - 1)).sqrt_()
    return centre, deviation * base.keywords.get("sign", 1.0)


def _coordinates(vectors: Tensor) -> Tensor:
    """``float64[k, k]``: k vectors in coordinates of their span, with the same lengths and angles."""
    gram = vectors.new_zeros(len(vectors), len(vectors), dtype=torch.float64)
    for piece in vectors.split(PIECE, dim=1):
        wide = piece.double()
        gram += wide @ wide.T
    values, axes = torch.linalg.eigh(gram)
    return axes * values.clamp(min=0).sqrt()


def _tried(before: list[Rule[...]], last: Rule[...], vectors: Tensor, low: Tensor) -> Aggregator:
    """The rule for rows in coordinates of the span, which answers there or, coordinate-wise, by its harm alone."""
    if last.__name__ not in COORDINATE_WISE:
        return Chain(*before, last)
    back = torch.linalg.pinv(low, rtol=1e-12)
    some = vectors[:, ::EVERY].contiguous()
    centre, room = some[:-2].mean(0), torch.empty(2 * len(some), some.shape[1], dtype=some.dtype)

    @rule(min_inputs=last.min_inputs, bound=last.bound, source=last.source)
    def by_coordinate(inputs: Tensor, f: int) -> Tensor:
        different, which = torch.unique(inputs, dim=0, return_inverse=True)  # mixing makes many rows alike
        rows = torch.mm((different @ back).to(some.dtype), some, out=room[: len(different)])
        made = last([rows[place] for place in which.tolist()], f=f)
        harm = torch.linalg.vector_norm(made - centre, dtype=torch.float64)
        middle = low[:-2].mean(0)
        return middle + harm * torch.eye(len(middle), dtype=middle.dtype)[0]

    return Chain(*before, by_coordinate)


COORDINATE_WISE = ("trimmed_mean", "median", "meamed", "phocas")


def _strength(low: Tensor, tried: Aggregator, *, f: int, forward: bool) -> float:
    """The strength that the search of :func:`optimal` finds."""
    place, way = low[-2], low[-1]

    @attack(source="a line", knows="honest", factor="t", affine=True)
    def moved(honest: Tensor, *, f: int, t: float = 0.0) -> Tensor:
        return place + t * way

    hostile = optimal(moved, tried, forward=forward)(low[:-2], f=f)[0]
    return float((hostile - place) @ way / (way @ way))
