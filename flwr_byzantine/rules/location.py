"""Estimators of location: the geometric median, and clipping around a centre."""

from __future__ import annotations

import torch
from torch import Tensor

from flwr_byzantine.rules._distances import (
    centred_gram,
    distances_to,
    distances_with,
    gram_about_point,
    row_norms,
    squared_distances,
    within_reach,
)
from flwr_byzantine.rules._primitives import checked_vector, weighted_sum
from flwr_byzantine.rules._rule import rule

__all__ = ["centered_clipping", "geometric_median", "minimised"]


AT_AN_INPUT = 1e-9
"""The current point is taken to be at an input nearer than this share of the median distance."""


def _kappa_geometric_median(n: int, f: int) -> float:
    return 4 * (1 + f / (n - 2 * f)) ** 2


@rule(
    min_inputs=lambda f: 2 * f + 1,
    bound="n >= 2f + 1",
    source="Pillutla et al., IEEE TSP 2022, arXiv:1912.13445; Vardi and Zhang, PNAS 2000",
    kappa=_kappa_geometric_median,
)
def geometric_median(inputs: Tensor, *, f: int = 0, tolerance: float = 1e-9, max_iterations: int = 10_000) -> Tensor:
    r"""The point whose sum of distances to the inputs is least.

    .. math:: y = \arg\min_z \sum_i \lVert x_i - z \rVert

    Weiszfeld's iteration from the mean, or from the coordinate-wise median if an input is far out, with Vardi and
    Zhang's step where it meets an input, run to convergence. It moves with its inputs; the three
    smoothed steps from 0 that are common elsewhere do not.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate; it sets the bound only.
        tolerance: Stops once a step is shorter than this share of the median distance to the inputs.
        max_iterations: Most steps.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.

    Example:
        >>> geometric_median(torch.tensor([[0.0, 0.0], [2.0, 0.0], [1.0, 1.0], [1.0, -1.0]]), f=1)
        tensor([1., 0.])
    """
    return minimised(inputs, torch.ones(inputs.shape[0], dtype=torch.float64), tolerance, max_iterations)


def minimised(inputs: Tensor, mass: Tensor, tolerance: float, max_iterations: int) -> Tensor:
    """``[d]``: the geometric median of inputs with a mass ``float64[n]`` each."""
    # z = p + sum_i w_i (x_i - p) for a point p: every distance follows from w and the inner products about p, so that
    # any number of iterations costs one pass over the inputs.
    inputs = within_reach(inputs)
    gram, start, centre = centred_gram(inputs, squared_distances(inputs))
    own, mass = gram.diagonal(), mass.to(gram.device)
    weights = torch.full_like(own, float(start.sum()) / own.shape[0])
    products = gram @ weights
    for _ in range(max_iterations):
        distances = (own - 2 * products + weights @ products).clamp(min=0).sqrt()
        typical = float(distances.median())
        following = _weiszfeld_step(gram, distances, weights, mass, typical)
        change, before = following - weights, products
        weights, products = following, gram @ following
        if float(change @ (products - before)) <= (tolerance * typical) ** 2:
            break
    return weighted_sum(inputs, weights + (1 - weights.sum()) * start, centre=centre)


def _weiszfeld_step(gram: Tensor, distances: Tensor, weights: Tensor, mass: Tensor, typical: float) -> Tensor:
    """The next weights: mass by distance, held back by the inputs at the current point (Vardi and Zhang)."""
    at = distances <= AT_AN_INPUT * typical
    inverse = torch.where(at, torch.zeros_like(distances), mass / distances)
    if float(inverse.sum()) == 0:
        return weights
    target = inverse / inverse.sum()
    if not bool(at.any()):
        return target
    pull = target - weights
    force = float((pull @ gram @ pull).clamp(min=0).sqrt() * inverse.sum())
    held = min(1.0, float(mass[at].sum()) / force) if force > 0 else 1.0
    return (1 - held) * target + held * weights


@rule(
    min_inputs=lambda f: 2 * f + 1,
    bound="n >= 2f + 1",
    source="Karimireddy et al., ICML 2021, arXiv:2012.10333",
    equivariant=False,
)
def centered_clipping(
    inputs: Tensor, *, f: int = 0, center: Tensor | None = None, tau: float = 10.0, steps: int = 1
) -> Tensor:
    r"""The centre, moved by the mean of the offsets from it, each clipped to length ``tau``.

    .. math:: v \leftarrow v + \frac{1}{n} \sum_i (x_i - v) \min\Bigl(1, \frac{\tau}{\lVert x_i - v \rVert}\Bigr)

    repeated ``steps`` times. The state is handed in: ``center`` is the aggregate of the last round, and inputs
    should be momenta of gradients or updates.

    Args:
        inputs: ``[n, d]``, one gradient or update per row.
        f: Number of Byzantine inputs to tolerate; it sets the bound only.
        center: ``[d]``, where to start; zeros if not given, as in the paper's first round.
        tau: Clipping radius, ``tau > 0``, in the unit of the inputs; the paper's 10 for momentum 0.9 and less.
        steps: How many times to repeat; the paper's 1.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.
        ValueError: If ``tau`` is not positive, or the center not a finite ``[d]``.

    Example:
        >>> centered_clipping(torch.tensor([[1.0], [2.0], [3.0], [9e9]]), f=1, tau=4.0)
        tensor([2.5000])
    """
    if not tau > 0:
        raise ValueError(f"centered_clipping: tau must be positive, got {tau}")
    if center is None:
        return _clipped_about_origin(inputs, tau, steps)
    return _clipped(inputs, checked_vector("centered_clipping: the center", center, inputs), tau, steps)


def _clipped_about_origin(inputs: Tensor, tau: float, steps: int) -> Tensor:
    if steps < 1:
        return torch.zeros_like(inputs[0])
    if steps > 1 and inputs.dtype != torch.float64:
        gram = gram_about_point(inputs, None, distances_with(inputs, None))
        return weighted_sum(inputs, _repeatedly_clipped(gram, tau, steps))
    weights = (tau / row_norms(inputs)).clamp(max=1) / inputs.shape[0]
    return _clipped(inputs, weighted_sum(inputs, weights), tau, steps - 1)


def _clipped(inputs: Tensor, centre: Tensor, tau: float, steps: int) -> Tensor:
    if steps > 1 and inputs.dtype != torch.float64:
        gram = gram_about_point(inputs, centre, distances_with(inputs, centre))
        return weighted_sum(inputs, _repeatedly_clipped(gram, tau, steps), centre=centre, dtype=inputs.dtype)
    for _ in range(steps):  # of whatever size, unlike products
        weights = (tau / distances_to(inputs, centre)).clamp(max=1) / inputs.shape[0]
        centre = weighted_sum(inputs, weights, centre=centre, dtype=inputs.dtype)
    return centre.to(inputs.dtype)


def _repeatedly_clipped(gram: Tensor, tau: float, steps: int) -> Tensor:
    r"""``[n]``: the weights w of :math:`v = c + \sum_i w_i (x_i - c)` after some steps, from the products about c."""
    weights = torch.zeros_like(gram[0])
    for _ in range(steps):
        squares = gram.diagonal() - 2 * gram @ weights + weights @ gram @ weights
        share = (tau / squares.clamp(min=0).sqrt()).clamp(max=1) / gram.shape[0]
        weights = (1 - share.sum()) * weights + share
    return weights
