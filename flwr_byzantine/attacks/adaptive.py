"""Attacks that know the defence: the rule of the server, or the momentum that it clips around."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from flwr_byzantine.attacks._attack import Attack, attack, mean_row, unit
from flwr_byzantine.rules import Aggregator

__all__ = ["optimal", "rop"]

REFERENCE_WEIGHT = 0.9
"""Weight of the reference in the direction that :func:`rop` turns from: ``lamb`` in the authors' code."""


def optimal(
    attack: Attack[...],
    rule: Aggregator,
    *,
    evaluations: int = 20,
    start: float = 0.0,
    step: float = 10.0,
    ratio: float = 0.8,
    forward: bool = False,
) -> Attack[...]:
    r"""The attack whose strength is searched anew at every call to do a known rule the most harm.

    .. math:: t^* = \arg\max_t \lVert F(g_1, \dots, g_h, v(t), \dots, v(t)) - \mu \rVert

    where :math:`F` is the rule, :math:`\mu` the mean of the honest rows :math:`g_i` and :math:`v(t)` the
    hostile row of strength t. The search is Rouault's ``line_maximize``: from ``start`` in steps that double
    while they do more harm, then back and forth in steps that shrink, keeping only what does more. The
    numbers are those of ByzFL's optimal attacks, whose search differs: its shrinking steps only go upwards
    from the best so far (``forward=True``). Here the attack as given is tried too unless ``forward``, so that
    the result never does less harm than it, and a strength at which the harm is not finite never wins.

    Args:
        attack: An attack with a :attr:`Attack.factor`; other keywords are given by ``bind`` before.
        rule: The rule of the server, or a chain, called as ``rule(inputs, f=f)``; bind what else it needs.
        evaluations: How many strengths are tried, ``>= 1``.
        start: The first strength.
        step: The first step, ``> 0``.
        ratio: What a step shrinks to after one that does no more harm, between 0.5 and 1.
        forward: Search as ByzFL does: upwards only, and without the attack as given.

    Returns:
        An attack that takes ``f`` alone and knows the rule.

    Raises:
        ValueError: If the attack has no factor.

    Example:
        >>> import torch
        >>> from flwr_byzantine.attacks import ipm
        >>> from flwr_byzantine.rules import median
        >>> optimal(ipm, median)(torch.tensor([[1.0], [2.0], [4.0]]), f=1) < 1
        tensor([[True]])
    """
    factor = attack.factor
    if factor is None:
        raise ValueError(f"{attack.name} has no strength to search")

    def strongest(honest: Tensor, *, f: int) -> Tensor:
        centre, inputs = mean_row(honest), torch.cat([honest, honest[:1].expand(f, -1)])
        line = attack.line(honest, f=f) if attack.affine else lambda t: attack(honest, f=f, **{factor: t})

        def harm(hostile: Tensor) -> float:
            inputs[len(honest) :] = hostile
            value = float((rule(inputs, f=f).to(torch.float64) - centre).norm())
            return value if math.isfinite(value) else -math.inf

        most, strength = _line_maximize(lambda t: harm(line(t)), evaluations, start, step, ratio, forward)
        given = attack(honest, f=f)
        return given if not forward and harm(given) > most else attack(honest, f=f, **{factor: strength})

    strongest.__name__ = f"optimal({attack.name}, {rule.name})"
    strongest.__doc__ = f"Rows of ``{attack.name}`` at the strength that does ``{rule.name}`` the most harm."
    return Attack(strongest, {"source": f"{attack.source}; Rouault", "knows": "rule", "factor": None})


def _line_maximize(
    at: Callable[[float], float], evaluations: int, start: float, step: float, ratio: float, forward: bool
) -> tuple[float, float]:
    """The largest value found and where; ``at`` gives the value for a strength."""
    x = best_x = start
    best = at(start)
    expanding = True
    for _ in range(evaluations - 1):
        if expanding or forward or x < best_x:
            x = best_x + step if expanding or forward else x + step
        else:
            x = x - step if x >= step else _halve_until_positive(x - step, x)
        tried = at(x)
        better = tried > best
        if better:
            best, best_x = tried, x
        expanding = expanding and better
        step *= 2 if expanding else ratio
    return best, best_x


def _halve_until_positive(low: float, high: float) -> float:
    """The first non-negative point met when going from ``low`` half the way to ``high``, again and again."""
    while low < 0:
        low = (low + high) / 2
    return low


@attack(source="Özfatura et al., 2022, arXiv:2208.09894", knows="honest", factor="z")
def rop(honest: Tensor, *, f: int, reference: Tensor, angle: float = 270.0, z: float = 1.0, pi: float = 1.0) -> Tensor:
    r"""Relocated orthogonal perturbation: a step sideways from where centered clipping clips to.

    .. math:: x_k = \pi m + (1 - \pi) \mu + z (\sin\alpha \, e + \cos\alpha \, u), \quad
              u \propto \lambda m + (1 - \lambda) \mu

    where :math:`m` is the reference, the momentum that the server clips around, :math:`\mu` the mean of the
    honest rows, :math:`u` the direction of both (:math:`\lambda = 0.9`), and :math:`e` the vector of ones
    made orthogonal to it; :math:`u, e` have length 1. Defaults of :math:`\pi`, :math:`\alpha` and
    :math:`\lambda` are those of the authors' code, which takes for :math:`z` the :func:`alie_z` of form A.
    That is 0 at small f, so here it is 1: the hostile row lies at distance 1 from its place.

    Args:
        honest: ``[h, d]``, the honest rows: momenta if the clients send these.
        f: Number of hostile rows, ``f >= 0``.
        reference: ``[d]``, the last aggregate; zeros in the first round.
        angle: Of the perturbation to :math:`u` in degrees; 90 and 270 are orthogonal, 180 is opposite.
        z: Length of the perturbation; more than the clipping radius is clipped.
        pi: Where to put it, from 0, the honest mean, to 1, the reference.

    Returns:
        ``[f, d]``, all rows equal.

    Raises:
        ValueError: If the reference is not ``[d]``.

    Example:
        >>> import torch
        >>> rop(torch.tensor([[3.0, 0.0], [5.0, 0.0]]), f=1, reference=torch.tensor([2.0, 0.0]))
        tensor([[ 2., -1.]])
    """
    if reference.shape != honest.shape[1:]:
        raise ValueError(f"reference must have shape {list(honest.shape[1:])}, got {list(reference.shape)}")
    centre, last = mean_row(honest), reference.to(honest.device, torch.float64)
    towards = unit(REFERENCE_WEIGHT * last + (1 - REFERENCE_WEIGHT) * centre)
    sideways = _orthogonal(towards)
    alpha = math.radians(angle)
    perturbation = unit(math.sin(alpha) * sideways + math.cos(alpha) * towards)
    return pi * last + (1 - pi) * centre + z * perturbation


def _orthogonal(direction: Tensor) -> Tensor:
    """Ones made orthogonal to ``direction``, of length 1; of alternating sign where these are parallel."""
    ones = torch.ones_like(direction)
    alternating = ones.clone()
    alternating[1::2] = -1
    for vector in (ones, alternating):
        rest = vector - (vector @ direction) * direction
        if float(rest.norm()) > PARALLEL * math.sqrt(direction.numel()):
            return unit(rest)
    return torch.zeros_like(direction)


PARALLEL = 1e-6
"""Sine of an angle below which two directions count as parallel; float64 rounding is far below it."""
