"""The worker's two filters of synchronous ByzSGD: one server's model is enough, if it passes both."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import torch
from torch import Tensor

from flwr_byzantine.errors import ToleranceError
from flwr_byzantine.protocols.guanyu.settings import GuanYuSettings

__all__ = ["Last", "Memory", "ModelFilters", "Verdict"]

REMEMBERED = 1000
"""Lipschitz coefficients kept; the quantile of the last ones stands for that of all."""


@dataclass(frozen=True)
class Verdict:
    """Whether a server's model was taken, and why not."""

    accepted: bool
    reason: str = ""


@dataclass(frozen=True)
class Last:
    """The step that a worker took last: where it computed, and what it found there."""

    model: Tensor
    gradient: Tensor
    rate: float

    @property
    def guess(self) -> Tensor:
        """Where one step of its own leads."""
        return self.model - self.rate * self.gradient


@dataclass
class Memory:
    """What the filters remember from step to step; a driver may keep it elsewhere in between.

    Args:
        asked: The number of the server to ask next.
        reach: Rate times length of the gradient at the last exchange's step.
        coefficients: Lipschitz coefficients met, the last ones.
        last: None before the first model.
    """

    asked: int = 0
    reach: float = math.inf
    coefficients: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    last: Last | None = None


class ModelFilters:
    r"""What a worker of synchronous ByzSGD believes of the one model that it asks for between exchanges.

    The worker goes one step by its own last gradient :math:`g_t` from the last model :math:`\theta_t` that it took, to
    a guess :math:`\hat\theta`. The next model :math:`\theta'`, with the worker's gradient :math:`g'` at it, must pass:

    the Lipschitz filter, whose coefficient is at most the quantile :math:`(n - f) / n` of those met before,

    .. math:: k = \frac{\lVert g' - g_t \rVert}{\lVert \hat\theta - \theta_t \rVert}

    and the outliers filter, with t counted from 0 and :math:`\tau = T \lfloor t / T \rfloor` the last exchange's step,

    .. math:: \lVert \hat\theta - \theta' \rVert < \eta_\tau \lVert g_\tau \rVert
              \Bigl(\frac{(3T + 2)(m - f_w)}{4 f_w} + 2 ((t - 1) \bmod T)\Bigr).

    A model that fails is dropped, and the worker asks the next server: :meth:`next_server`. After each exchange, where
    nothing is known yet, or where every server failed, the worker is to :meth:`take` the median of a quorum: whoever a
    liar led astray is back then. Judged without it, the first model passes unseen.

    El-Mhamdi et al., Genuinely Distributed Byzantine Machine Learning, arXiv:1905.03853, from memory: nothing here has
    been compared with its text. Added: a gradient that is not finite fails; the median where every server failed.

    Args:
        settings: The numbers, with :math:`T` = ``exchange_every``.
        memory: Of the steps before; empty at first.

    Raises:
        ToleranceError: If no server can be told from a Byzantine one: ``n < 2f + 1``.

    Example:
        >>> filters = ModelFilters(GuanYuSettings.byzsgd(5, 1, 4, 1, exchange_every=1))
        >>> for step in (1, 2):
        ...     model = torch.full((2,), 1.0 - 0.1 * step)
        ...     filters.judge(step, model, model, rate=0.1).accepted
        True
        True
        >>> filters.judge(3, torch.tensor([9.0, 9.0]), torch.tensor([9.0, 9.0]), rate=0.1).reason
        'outliers filter: 11.71 from the guess, more than 0.4243'
    """

    def __init__(self, settings: GuanYuSettings, *, memory: Memory | None = None) -> None:
        if settings.n < 2 * settings.f + 1:
            raise ToleranceError(f"ModelFilters needs n >= 2f + 1 = {2 * settings.f + 1} servers, got n = {settings.n}")
        self.settings, self.memory = settings, memory or Memory()

    def gathers_at(self, step: int) -> bool:
        """Whether to :meth:`take` the median of a quorum in a step, counted from 1, rather than to judge one model."""
        return (step - 1) % self.settings.exchange_every == 0 or not self.memory.coefficients

    def next_server(self) -> int:
        """The number of the server to ask now: another one each time, so that no liar is asked for ever."""
        asked = self.memory.asked % self.settings.n
        self.memory.asked = asked + 1
        return asked

    def judge(self, step: int, model: Tensor, gradient: Tensor, *, rate: float) -> Verdict:
        """Take a model or leave it; what is taken is remembered.

        Args:
            step: The step, from 1.
            model: ``[d]``, as one server sent it.
            gradient: ``[d]``, the worker's own at this model.
            rate: The step size of this step.

        Returns:
            The verdict; on a refusal ask :meth:`next_server`.
        """
        verdict = self._verdict(step, model, gradient)
        if verdict.accepted:
            self._remember(step, model, gradient, rate)
        return verdict

    def take(self, step: int, model: Tensor, gradient: Tensor, *, rate: float) -> None:
        """Remember the median of a quorum, or what all honest servers begin with, whatever the filters would say."""
        # Only where there is none yet: a median's coefficients are smaller than those of single servers' models.
        if self.memory.last is not None and not self.memory.coefficients:
            self.memory.coefficients.append(_coefficient(gradient, self.memory.last))
        self._remember(step, model, gradient, rate)

    def _remember(self, step: int, model: Tensor, gradient: Tensor, rate: float) -> None:
        if (step - 1) % self.settings.exchange_every == 0:
            self.memory.reach = rate * float(gradient.norm())
        self.memory.last = Last(model.clone(), gradient.clone(), rate)

    def _verdict(self, step: int, model: Tensor, gradient: Tensor) -> Verdict:
        if not bool(torch.isfinite(model).all() and torch.isfinite(gradient).all()):
            return Verdict(False, "the model, or the gradient at it, is not finite")
        last = self.memory.last
        if last is None:
            return Verdict(True)
        distance, most = float((last.guess - model).norm()), self._farthest(step)
        if not distance < most and distance > 0:
            return Verdict(False, f"outliers filter: {distance:.4g} from the guess, more than {most:.4g}")
        return self._lipschitz(gradient, last)

    def _lipschitz(self, gradient: Tensor, last: Last) -> Verdict:
        coefficient = _coefficient(gradient, last)
        known = sorted(self.memory.coefficients)
        # Every model's coefficient counts, taken or not: the quantile leaves room for f liars among n.
        self.memory.coefficients.append(coefficient)
        if not known:
            return Verdict(True)
        share = (self.settings.n - self.settings.f) / self.settings.n
        limit = known[min(len(known) - 1, math.ceil(share * len(known)) - 1)]
        if coefficient <= limit:
            return Verdict(True)
        return Verdict(False, f"Lipschitz filter: coefficient {coefficient:.4g}, more than {limit:.4g}")

    def _farthest(self, step: int) -> float:
        """How far from the guess a model may be."""
        s, since = self.settings, (step - 2) % self.settings.exchange_every
        if s.f_w == 0:
            return math.inf
        period = s.exchange_every
        return self.memory.reach * ((3 * period + 2) * (s.m - s.f_w) / (4 * s.f_w) + 2 * since)


def _coefficient(gradient: Tensor, last: Last) -> float:
    """How much the gradient changed for the worker's own last step; 0 where it took none."""
    moved = last.rate * float(last.gradient.norm())
    return float((gradient - last.gradient).norm()) / moved if moved > 0 else 0.0
