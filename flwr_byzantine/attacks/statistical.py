"""Attacks made from the mean, the deviation or the range of the honest rows, or from one row of theirs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import Literal

import torch
from torch import Tensor

from flwr_byzantine.attacks._attack import attack, mean_row, std_row, unit
from flwr_byzantine.rules._random import generator_for

__all__ = ["alie", "alie_z", "fang", "ipm", "mimic", "mimic_target"]


@attack(source="Xie et al., UAI 2019, arXiv:1903.03936", knows="honest", factor="epsilon", affine=True)
def ipm(honest: Tensor, *, f: int, epsilon: float = 0.1) -> Tensor:
    r"""Inner product manipulation, or "Fall of Empires": a multiple of the honest mean, turned around.

    .. math:: x_k = -\varepsilon \mu

    where :math:`\mu` is the mean of the honest rows. A small :math:`\varepsilon` hides among honest rows of
    large variance; a large one attacks rules that are blind to length. The default 0.1 is that of
    Karimireddy, He and Jaggi (arXiv:2006.09365); ByzFL uses 2 (its "Fall of Empires" sends
    :math:`(1 - \tau) \mu` with :math:`\tau = 3`), Blades 1, Garfield 10.

    Args:
        honest: ``[h, d]``, the honest rows.
        f: Number of hostile rows, ``f >= 0``.
        epsilon: Length of the hostile row in units of the mean.

    Returns:
        ``[f, d]``, all rows equal.

    Example:
        >>> import torch
        >>> ipm(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), f=1, epsilon=0.5)
        tensor([[-1.0000, -1.5000]])
    """
    return -epsilon * mean_row(honest)


def alie_z(n: int, f: int, form: Literal["A", "B"] = "B") -> float:
    r"""How many standard deviations "a little" is: the largest number that still hides the attackers.

    .. math:: z_A = \Phi^{-1}\!\left(\frac{n - f - s}{n - f}\right), \quad
              z_B = \Phi^{-1}\!\left(\frac{n - s}{n}\right), \quad
              s = \left\lfloor \frac{n}{2} + 1 \right\rfloor - f

    where :math:`s` honest rows must lie further out than the hostile ones to give them a majority, and
    :math:`\Phi` is the standard normal distribution function. Form B is that of the NeurIPS paper, ``krum``,
    ByzPy and Garfield; form A that of epfml, Blades and FL-Byzantine-Library. A is 0 or less, so no attack,
    at small f.

    Args:
        n: Number of all rows, honest and hostile.
        f: Number of hostile rows.
        form: ``"A"`` or ``"B"``.

    Returns:
        The number of standard deviations.

    Raises:
        ValueError: If the form is neither, or no finite number exists since the attackers are a majority.

    Example:
        >>> round(alie_z(20, 8), 3), round(alie_z(20, 8, form="A"), 3)
        (1.036, 0.674)
    """
    if form not in ("A", "B"):
        raise ValueError(f"form must be 'A' or 'B', got {form!r}")
    population = n if form == "B" else n - f
    share = (population - (math.floor(n / 2 + 1) - f)) / population
    if not 0 < share < 1:
        raise ValueError(f"alie has no finite z of form {form} for f = {f} attackers among n = {n}: give z")
    return NormalDist().inv_cdf(share)


@attack(source="Baruch et al., NeurIPS 2019, arXiv:1902.06156", knows="honest", factor="z", affine=True)
def alie(
    honest: Tensor,
    *,
    f: int,
    z: float | None = None,
    form: Literal["A", "B"] = "B",
    ddof: int = 1,
    sign: float = 1.0,
) -> Tensor:
    r"""A little is enough: the honest mean, moved by a few standard deviations in every coordinate.

    .. math:: x_k = \mu \pm z \sigma

    where :math:`\mu` and :math:`\sigma` are mean and standard deviation of the honest rows per coordinate.
    The default of :math:`z` is :func:`alie_z`, form B; ByzFL fixes it at 1.5. The deviation divides by ``h -
    ddof``: 1 in ByzFL, epfml and here, 0 in ByzPy and ``krum``. The sign is + in ByzFL, ByzPy, Garfield and
    Blades, - in epfml.

    Args:
        honest: ``[h, d]``, the honest rows; one row alone has deviation 0.
        f: Number of hostile rows, ``f >= 0``.
        z: Number of standard deviations, or None for :func:`alie_z` of ``n = h + f``.
        form: Which :func:`alie_z`, if ``z`` is None.
        ddof: What the deviation's divisor is short of ``h``.
        sign: 1 to add the deviation, -1 to subtract it.

    Returns:
        ``[f, d]``, all rows equal.

    Raises:
        ValueError: If ``z`` is None and :func:`alie_z` has no value.

    Example:
        >>> import torch
        >>> alie(torch.tensor([[1.0], [4.0], [7.0]]), f=1, z=1.5)
        tensor([[8.5000]])
    """
    strength = alie_z(honest.shape[0] + f, f, form) if z is None else z
    return mean_row(honest) + sign * strength * std_row(honest, ddof)


@attack(source="Karimireddy et al., ICLR 2022, arXiv:2006.09365", knows="honest")
def mimic(honest: Tensor, *, f: int, target: int | None = None) -> Tensor:
    r"""Copies of one honest row, to over-represent the client whose data differ most from the others'.

    .. math:: x_k = g_{i^*}

    ByzFL and ByzPy copy a fixed row. The paper chooses it once, in a warm-up, and keeps it: do so by
    ``mimic.bind(target=mimic_target(rounds))``. Without a target this round is the warm-up.

    Args:
        honest: ``[h, d]``, the honest rows.
        f: Number of hostile rows, ``f >= 0``.
        target: Which row to copy, ``0 <= target < h``, or None for ``mimic_target([honest])``.

    Returns:
        ``[f, d]``, all rows equal.

    Raises:
        ValueError: If there is no such row.

    Example:
        >>> import torch
        >>> mimic(torch.tensor([[1.0], [2.0], [3.0]]), f=2, target=1)
        tensor([[2.],
                [2.]])
    """
    row = mimic_target([honest]) if target is None else target
    if not 0 <= row < honest.shape[0]:
        raise ValueError(f"target must be one of the {honest.shape[0]} honest rows, got {target}")
    return honest[row]


def mimic_target(rounds: Iterable[Tensor]) -> int:
    r"""The row that :func:`mimic` should copy: the furthest along the direction of largest variance.

    .. math:: v_t = \sum_i \langle g_i^t - \mu_t, z_{t-1} \rangle (g_i^t - \mu_t), \quad
              z_t \propto \frac{t-1}{t} z_{t-1} + \frac{1}{t} \frac{v_t}{\lVert v_t \rVert}, \quad
              i^* = \arg\max_i \lvert \langle g_i^T, z_T \rangle \rvert

    where :math:`\mu_t` is the running mean over all rounds so far and :math:`z_0` is normal, seeded with 0.
    This is one power step per round, as in the authors' code, whose warm-up is one round; give a round
    several times for more steps. That code takes the largest product with its sign, although the sign of
    :math:`z` is chance; the absolute value here is that of ByzFL's ``WorkerWithMaxVariance``.

    Args:
        rounds: The honest rows ``[h, d]`` of each warm-up round, always in the same order of clients.

    Returns:
        Index of the row, ``0 <= i < h``.

    Raises:
        ValueError: If there is no round, or a round differs in shape from the first.

    Example:
        >>> import torch
        >>> mimic_target([torch.tensor([[0.0, 0.1], [0.0, -0.1], [9.0, 0.0]])] * 3)
        2
    """
    direction = centre = rows = None
    for t, honest in enumerate(rounds, start=1):
        if rows is not None and honest.shape != rows.shape:
            raise ValueError(f"round {t} has shape {list(honest.shape)}, the first has {list(rows.shape)}")
        rows = honest.to(torch.float64)
        if direction is None or centre is None:
            centre = torch.zeros_like(rows[0])
            start = generator_for(rows, None)
            direction = torch.randn(centre.shape, generator=start, dtype=centre.dtype, device=centre.device)
        centre = centre + (mean_row(rows) - centre) / t
        deviations = _at_most_one(rows - centre)
        step = unit((deviations @ direction) @ deviations)
        direction = unit(direction * (t - 1) / t + step / t) if bool(step.any()) else direction
    if rows is None or direction is None:
        raise ValueError("mimic_target needs at least one round")
    return int((_at_most_one(rows) @ direction).abs().argmax())


@attack(source="Fang et al., USENIX Security 2020, arXiv:1911.11815", knows="honest")
def fang(honest: Tensor, *, f: int, b: float = 2.0, generator: torch.Generator | None = None) -> Tensor:
    r"""Values drawn just beyond the honest range, on the side that the honest mean points away from.

    .. math:: x_{kj} \sim \begin{cases}
        U[\max_j, b \max_j] & s_j = -1, \max_j > 0 \\ U[\max_j, \max_j / b] & s_j = -1, \max_j \le 0 \\
        U[\min_j / b, \min_j] & s_j = 1, \min_j > 0 \\ U[b \min_j, \min_j] & s_j = 1, \min_j \le 0
        \end{cases}

    where :math:`s_j` is the sign of the honest mean in coordinate j, and :math:`\min_j, \max_j` the honest
    range; where the mean is 0 so is the value. Every attacker draws its own, as in the paper; in Blades all
    send one row.

    Args:
        honest: ``[h, d]``, the honest rows.
        f: Number of hostile rows, ``f >= 0``.
        b: Width of the interval, ``b >= 1``; the paper uses 2.
        generator: Source of the draws, or None for a fresh one seeded with 0: the same draws at every call.

    Returns:
        ``[f, d]``.

    Raises:
        ValueError: If ``b < 1``.

    Example:
        >>> import torch
        >>> fang(torch.tensor([[1.0, -3.0], [2.0, -4.0]]), f=1, b=1.0)
        tensor([[ 1., -3.]])
    """
    if not b >= 1:
        raise ValueError(f"b must be at least 1, got {b}")
    sign = mean_row(honest).sign()
    low, high = (edge.to(torch.float64) for edge in honest.aminmax(dim=0))
    edge = torch.where(sign < 0, high, low)
    # Outwards is away from 0 where the edge lies beyond 0 on the attacked side, and towards 0 elsewhere.
    far = torch.where(edge * sign < 0, edge * b, edge / b)
    source = generator_for(honest, generator)
    share = torch.rand(f, honest.shape[1], generator=source, dtype=torch.float64, device=source.device)
    return (edge + share.to(edge.device) * (far - edge)) * sign.abs()


def _at_most_one(rows: Tensor) -> Tensor:
    """``rows`` in a unit in which none exceeds 1, so that no product of them overflows."""
    largest = rows.abs().max() if rows.numel() else rows.new_zeros(())
    return rows / largest if bool(largest > 0) else rows
