"""Rules that throw out the inputs that look worst and average the rest."""

from __future__ import annotations

import torch
from torch import Tensor

from flwr_byzantine.rules._distances import row_norms, squared_distances
from flwr_byzantine.rules._primitives import nearest
from flwr_byzantine.rules._rule import Outcome, average, rule

__all__ = ["cge", "faba"]


@rule(
    min_inputs=lambda f: 2 * f + 1,
    bound="n >= 2f + 1",
    source="Gupta et al., DSN-W 2021, arXiv:2008.04699",
    equivariant=False,
    averages=True,
)
def cge(inputs: Tensor, *, f: int) -> Outcome:
    r"""Comparative gradient elimination: the mean of the ``n - f`` inputs with the least norms.

    .. math:: y = \frac{1}{n - f} \sum_{i \in N} x_i

    where :math:`N` holds the :math:`n - f` rows of least Euclidean norm; ties to the lowest row. It does not
    move with its inputs, and it is not (f, kappa)-robust when honest inputs differ.

    Args:
        inputs: ``[n, d]``, one gradient or update per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.

    Example:
        >>> cge(torch.tensor([[1.0], [-2.0], [4.0], [99.0]]), f=1)
        tensor([1.])
    """
    return average(inputs, nearest(row_norms(inputs), inputs.shape[0] - f))


@rule(
    min_inputs=lambda f: 2 * f + 1,
    bound="n >= 2f + 1",
    source="Xia et al., IJCAI 2019, doi:10.24963/ijcai.2019/670",
    averages=True,
)
def faba(inputs: Tensor, *, f: int) -> Outcome:
    r"""The mean of what is left after ``f`` times removing the input farthest from the mean of those left.

    .. math:: S_{t+1} = S_t \setminus \{\arg\max_{i \in S_t} \lVert x_i - \bar x_{S_t} \rVert\}

    from all rows :math:`S_0` to :math:`S_f`, whose mean is the result. Of equally far rows the highest leaves.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.

    Example:
        >>> faba(torch.tensor([[1.0], [2.0], [3.0], [99.0]]), f=1)
        tensor([2.])
    """
    # The squared distance to the mean of some rows is the mean of the squared distances to them, less their spread.
    distances = squared_distances(inputs)
    left = torch.arange(inputs.shape[0], device=inputs.device)
    for _ in range(f):
        totals = distances[left][:, left].sum(1)
        left = left[nearest(totals, left.shape[0] - 1).sort().values]
    return average(inputs, left)
