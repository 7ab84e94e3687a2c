"""What a rule is: a pure function of a matrix, with its resilience bound as data beside it.

A function becomes a :class:`Rule` by the decorator :func:`rule`, and a pre-aggregator by
:func:`pre_aggregator`. Rules compose left to right into a :class:`Chain`, which is itself a rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec

from torch import Tensor

from flwr_byzantine.rules._aggregator import Aggregator, Chain, Rule, stages_of
from flwr_byzantine.rules._calls import Outcome, average, run_stages

__all__ = [
    "Aggregator",
    "Chain",
    "Outcome",
    "Rule",
    "average",
    "pre_aggregator",
    "rule",
    "run_stages",
    "stages_of",
]

P = ParamSpec("P")


def rule(
    *,
    min_inputs: Callable[[int], int],
    bound: str,
    source: str,
    equivariant: bool = True,
    averages: bool = False,
    kappa: Callable[[int, int], float] | None = None,
    aligned: tuple[str, ...] = (),
    places: tuple[str, ...] = (),
    own_row: bool = False,
) -> Callable[[Callable[Concatenate[Tensor, P], Tensor | Outcome]], Rule[P]]:
    """Make a function ``(inputs, *, f, ...)`` of finite inputs ``[n, d]`` a :class:`Rule`.

    Args:
        min_inputs: From f to the least n that the rule tolerates it in.
        bound: The same in words.
        source: The defining publication.
        equivariant: Whether the result moves with its inputs.
        averages: Whether the result is the plain mean of the selected inputs.
        kappa: From (n, f) to the proven kappa of (f, kappa)-robustness.
        aligned: Names of keywords that hold one row per input, as the inputs do.
        places: Names of keywords that hold rows of the inputs by number.
        own_row: Whether input 0 is the caller's own, which must be finite.
    """
    metadata = {
        "min_inputs": min_inputs, "bound": bound, "source": source, "equivariant": equivariant,
        "averages": averages, "kappa": kappa, "aligned": aligned, "places": places, "own_row": own_row,
        "outputs": None,
    }  # fmt: skip
    return lambda function: Rule(function, metadata)


def pre_aggregator(
    *,
    min_inputs: Callable[[int], int],
    bound: str,
    source: str,
    equivariant: bool = True,
    kappa: Callable[[int, int, float], float] | None = None,
    outputs: Callable[..., int] = lambda n, **_: n,
) -> Callable[[Callable[Concatenate[Tensor, P], Tensor | Outcome]], Rule[P]]:
    """Make a function from finite inputs ``[n, d]`` to ``[n', d]`` a stage that a rule can follow.

    ``kappa`` takes (n, f, kappa of what follows); ``outputs`` takes n and the bound keywords and gives n'.
    The rest is as in :func:`rule`.
    """
    metadata = {
        "min_inputs": min_inputs, "bound": bound, "source": source, "equivariant": equivariant,
        "averages": False, "kappa": kappa, "aligned": (), "places": (), "own_row": False,
        "outputs": outputs,
    }  # fmt: skip
    return lambda function: Rule(function, metadata)
