"""Pre-aggregators ``[n, d] -> [n', d]``: what a rule can follow, as in ``nnm.bind(f=2) >> trimmed_mean.bind(f=2)``."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flwr_byzantine.rules._distances import row_norms, squared_distances
from flwr_byzantine.rules._primitives import mixed, scaled
from flwr_byzantine.rules._random import Randomness, permutation, seed_of
from flwr_byzantine.rules._rule import pre_aggregator

__all__ = ["arc", "bucketing", "clipping", "nnm"]


@pre_aggregator(
    min_inputs=lambda f: 2 * f + 1,
    bound="n >= 2f + 1",
    source="Allouah et al., AISTATS 2023, arXiv:2302.01772",
    kappa=lambda n, f, inner: 8 * f / (n - f) * (inner + 1),
)
def nnm(inputs: Tensor, *, f: int) -> Tensor:
    r"""Nearest-neighbour mixing: each input becomes the mean of the ``n - f`` inputs nearest to it.

    .. math:: y_i = \frac{1}{n - f} \sum_{j \in N_i} x_j

    where :math:`N_i` holds the :math:`n - f` rows nearest to :math:`x_i`, itself included; ties to the lowest
    row. Followed by a robust rule it makes kappa of the best order, f/n.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``.

    Returns:
        ``[n, d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.

    Example:
        >>> nnm(torch.tensor([[1.0], [2.0], [6.0]]), f=1)
        tensor([[1.5000],
                [1.5000],
                [4.0000]])
    """
    n = inputs.shape[0]
    order = squared_distances(inputs).sort(dim=1, stable=True).indices[:, : n - f]
    weights = torch.zeros(n, n, dtype=torch.float64, device=inputs.device)
    return mixed(inputs, weights.scatter_(1, order, 1 / (n - f)))


@pre_aggregator(
    min_inputs=lambda f: f + 1,
    bound="ceil(n / size) inputs must suffice for what follows",
    source="Karimireddy et al., ICLR 2022, arXiv:2006.09365",
    outputs=lambda n, *, size=2, **_: math.ceil(n / size),
)
def bucketing(inputs: Tensor, *, f: int = 0, size: int = 2, generator: Randomness = None) -> Tensor:
    r"""The means of random buckets of ``size`` inputs each; the last bucket may hold fewer.

    .. math:: y_b = \frac{1}{|B_b|} \sum_{i \in B_b} x_{\pi(i)}

    with a random order :math:`\pi`. At most ``f`` buckets hold a Byzantine input, so the rule that follows keeps
    its ``f`` among fewer inputs, which differ less from one another.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate; it sets the bound only.
        size: Inputs per bucket, ``size >= 1``; the paper's 2.
        generator: Randomness, or a seed; seed 0 if not given. Hand in another one each round: attackers who know
            the order can choose their buckets.

    Returns:
        ``[ceil(n / size), d]``.

    Raises:
        ToleranceError: If ``n < f + 1``.
        ValueError: If ``size < 1``.

    Example:
        >>> bucketing(torch.tensor([[1.0], [1.0], [1.0], [1.0], [7.0]])).shape
        torch.Size([3, 1])
    """
    if size < 1:
        raise ValueError(f"bucketing: size must be at least 1, got {size}")
    n = inputs.shape[0]
    order = permutation(inputs, n, seed_of(generator))
    weights = torch.zeros(math.ceil(n / size), n, dtype=torch.float64, device=inputs.device)
    for bucket, members in enumerate(torch.split(order, size)):
        weights[bucket, members] = 1 / members.shape[0]
    return mixed(inputs, weights)


@pre_aggregator(
    min_inputs=lambda f: 1,
    bound="any n >= 1",
    source="Pascanu et al., ICML 2013, arXiv:1211.5063",
    equivariant=False,
)
def clipping(inputs: Tensor, *, f: int = 0, radius: float) -> Tensor:
    r"""The inputs, each scaled down to length ``radius`` if it is longer.

    .. math:: y_i = x_i \min\Bigl(1, \frac{C}{\lVert x_i \rVert}\Bigr)

    A radius fixed beforehand, whatever its value, takes (f, kappa)-robustness from the rule that follows;
    :func:`arc` does not.

    Args:
        inputs: ``[n, d]``, one gradient or update per row.
        f: Number of non-finite inputs that may be left out.
        radius: :math:`C > 0`, in the unit of the inputs.

    Returns:
        ``[n, d]``.

    Raises:
        ToleranceError: If no input is left, or more than ``f`` are not finite.
        ValueError: If ``radius`` is not positive.

    Example:
        >>> clipping(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), radius=2.5)
        tensor([[1.5000, 2.0000],
                [0.0000, 1.0000]])
    """
    if not radius > 0:
        raise ValueError(f"clipping: radius must be positive, got {radius}")
    return _clipped(inputs, row_norms(inputs), radius)


@pre_aggregator(
    min_inputs=lambda f: 2 * f + 1,
    bound="n >= 2f + 1",
    source="Allouah et al., ICLR 2025, arXiv:2405.14432",
    equivariant=False,
    kappa=lambda n, f, inner: inner + 2 * f / (n - 2 * f),
)
def arc(inputs: Tensor, *, f: int) -> Tensor:
    r"""Adaptive robust clipping: the longest inputs scaled down to the length of the next one.

    .. math:: y_i = x_i \min\Bigl(1, \frac{C}{\lVert x_i \rVert}\Bigr), \qquad
              k = \Bigl\lfloor \frac{2f}{n} (n - f) \Bigr\rfloor

    where :math:`C` is the norm of the :math:`(k + 1)`-th longest input.

    Args:
        inputs: ``[n, d]``, one gradient or update per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``.

    Returns:
        ``[n, d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.

    Example:
        >>> arc(torch.tensor([[1.0], [2.0], [99.0]]), f=1)
        tensor([[1.],
                [2.],
                [2.]])
    """
    n = inputs.shape[0]
    norms = row_norms(inputs)
    k = 2 * f * (n - f) // n
    return _clipped(inputs, norms, float(norms.sort(descending=True).values[k]))


def _clipped(inputs: Tensor, norms: Tensor, radius: float) -> Tensor:
    return scaled(inputs, torch.where(norms > radius, radius / norms, torch.ones_like(norms)))
