"""Rules that look at each coordinate by itself. All but :func:`mean` need an honest majority."""

from __future__ import annotations

import torch
from torch import Tensor

from flwr_byzantine.rules._blocks import column_blocks
from flwr_byzantine.rules._order import mean_nearest, mean_of_order_statistics, middle
from flwr_byzantine.rules._order import median as _median
from flwr_byzantine.rules._primitives import weighted_sum
from flwr_byzantine.rules._rule import rule

__all__ = ["meamed", "mean", "median", "phocas", "sign_majority", "trimmed_mean"]

YIN = "Yin et al., ICML 2018, arXiv:1803.01498"
FIXING = "Allouah et al., AISTATS 2023, arXiv:2302.01772"


def _kappa_median(n: int, f: int) -> float:
    return 4 * (1 + f / (n - 2 * f)) ** 2


def _kappa_trimmed_mean(n: int, f: int) -> float:
    r = f / (n - 2 * f)
    return 6 * r * (1 + r)


@rule(
    min_inputs=lambda f: f + 1,
    bound="n >= f + 1",
    source="McMahan et al., AISTATS 2017, arXiv:1602.05629",
)
def mean(inputs: Tensor, *, f: int = 0) -> Tensor:
    r"""The average of all inputs, which tolerates no Byzantine input: the baseline.

    .. math:: \bar x = \frac{1}{n} \sum_i x_i

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of non-finite inputs that may be left out. No finite one is.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If no input is left, or more than ``f`` are not finite.

    Example:
        >>> mean(torch.tensor([[1.0], [2.0], [99.0]]))
        tensor([34.])
    """
    n = inputs.shape[0]
    return weighted_sum(inputs, torch.full((n,), 1 / n, dtype=torch.float64))


@rule(min_inputs=lambda f: 2 * f + 1, bound="n >= 2f + 1", source=YIN, kappa=_kappa_median)
def median(inputs: Tensor, *, f: int = 0) -> Tensor:
    r"""The coordinate-wise median.

    .. math:: y_k = \tfrac12 \bigl( x_{(\lceil n/2 \rceil), k} + x_{(\lfloor n/2 \rfloor + 1), k} \bigr)

    where :math:`x_{(1),k} \le \dots \le x_{(n),k}` are the values of coordinate :math:`k` in ascending order:
    for even ``n`` the mean of the two middle values, as in NumPy (``torch.median`` takes the lower one).

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate; it sets the bound only.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.

    Example:
        >>> median(torch.tensor([[1.0], [2.0], [4.0], [99.0]]), f=1)
        tensor([3.])
    """
    return _median(inputs)


@rule(min_inputs=lambda f: 2 * f + 1, bound="n >= 2f + 1", source=YIN, kappa=_kappa_trimmed_mean)
def trimmed_mean(inputs: Tensor, *, f: int) -> Tensor:
    r"""Per coordinate, the mean without the ``f`` lowest and the ``f`` highest values.

    .. math:: y_k = \frac{1}{n - 2f} \sum_{i=f+1}^{n-f} x_{(i),k}

    with the values of coordinate :math:`k` in ascending order. Other libraries trim a fraction of ``n``, which
    may round to nothing; here ``f`` is a count.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.

    Example:
        >>> trimmed_mean(torch.tensor([[1.0], [2.0], [4.0], [99.0]]), f=1)
        tensor([3.])
    """
    return mean_of_order_statistics(inputs, f, inputs.shape[0] - f)


@rule(min_inputs=lambda f: 2 * f + 1, bound="n >= 2f + 1", source="Xie et al., 2018, arXiv:1802.10116")
def meamed(inputs: Tensor, *, f: int) -> Tensor:
    r"""Mean around the median: per coordinate, the mean of the ``n - f`` values nearest to the median.

    .. math:: y_k = \frac{1}{n - f} \sum_{i \in N_k} x_{i,k}

    where :math:`N_k` holds the :math:`n - f` rows whose value is nearest to the median of coordinate :math:`k`;
    ties to the lowest row.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.

    Example:
        >>> meamed(torch.tensor([[1.0], [2.0], [3.0], [99.0]]), f=1)
        tensor([2.])
    """
    n = inputs.shape[0]
    return mean_nearest(inputs, middle(n), n - f)


@rule(min_inputs=lambda f: 2 * f + 1, bound="n >= 2f + 1", source="Xie et al., 2018, arXiv:1805.09682")
def phocas(inputs: Tensor, *, f: int) -> Tensor:
    r"""Mean around the trimmed mean: per coordinate, the mean of the ``n - f`` values nearest to it.

    .. math:: y_k = \frac{1}{n - f} \sum_{i \in N_k} x_{i,k}

    where :math:`N_k` holds the :math:`n - f` rows whose value is nearest to the trimmed mean of coordinate
    :math:`k`; ties to the lowest row.

    Args:
        inputs: ``[n, d]``, one input per row.
        f: Number of Byzantine inputs to tolerate, ``f >= 0``.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If ``n < 2f + 1``.

    Example:
        >>> phocas(torch.tensor([[1.0], [2.0], [3.0], [99.0]]), f=1)
        tensor([2.])
    """
    n = inputs.shape[0]
    return mean_nearest(inputs, (f, n - f), n - f)


@rule(
    min_inputs=lambda f: 2 * f + 1,
    bound="n >= 2f + 1",
    source="Bernstein et al., ICLR 2019, arXiv:1810.05291",
    equivariant=False,
)
def sign_majority(inputs: Tensor, *, f: int = 0) -> Tensor:
    r"""The majority vote of signs (signSGD): a direction in -1, 0 and 1 that needs a learning rate of its own.

    .. math:: y_k = \operatorname{sign} \sum_i \operatorname{sign}(x_{i,k})

    with :math:`\operatorname{sign}(0) = 0`, so that a tie gives 0.

    Args:
        inputs: ``[n, d]``, one gradient or update per row.
        f: Number of Byzantine inputs to tolerate; it sets the bound only.

    Returns:
        ``[d]``, of -1, 0 and 1.

    Raises:
        ToleranceError: If ``n < 2f + 1``.

    Example:
        >>> sign_majority(torch.tensor([[0.1, 2.0], [0.3, -1.0], [-9.0, 0.0]]), f=1)
        tensor([1., 0.])
    """
    result = torch.empty_like(inputs[0])
    for start, stop, block in column_blocks(inputs):
        result[start:stop] = block.sign().sum(0, dtype=torch.float32).sign().to(inputs.dtype)
    return result
