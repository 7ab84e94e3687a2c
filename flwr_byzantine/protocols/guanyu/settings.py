"""How many servers and workers GuanYu has, how many of them may lie, and whom nobody waits for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from flwr_byzantine.errors import ToleranceError
from flwr_byzantine.rules import Aggregator, mda, median, multi_krum

__all__ = ["GuanYuSettings", "exchange_period"]


@dataclass(frozen=True)
class GuanYuSettings:
    """The numbers that GuanYu's guarantees rest on, and the rules in its two roles.

    Of ``n`` servers ``f`` may be Byzantine, and of ``m`` workers ``f_w``. A receiver takes the first ``q`` models or
    ``q_w`` gradients and waits for no more. By the paper (El-Mhamdi, Guerraoui, Guirguis and Rouault,
    arXiv:1905.03853): ``n >= 3f + 3``, ``m >= 3f_w + 3``, ``2f + 3 <= q <= n - f``, ``2f_w + 3 <= q_w <= m - f_w``.

    Args:
        n: Servers.
        f: Byzantine servers to tolerate.
        m: Workers.
        f_w: Byzantine workers to tolerate.
        q: Models to wait for, one's own included where servers exchange theirs; ``n - f`` unless given.
        q_w: Gradients to wait for; ``m - f_w`` unless given.
        model_rule: What becomes of ``q`` models: the coordinate-wise median.
        gradient_rule: What becomes of ``q_w`` gradients: Multi-Krum, which selects ``q_w - f_w - 2`` of them.
        exchange_every: Steps between two exchanges of models among servers.
        lag: Steps that one may be behind a quorum before one jumps to it.
        window: Steps of which messages that come early are kept, of each sender.
        synchronous: Whether workers take one server's model between exchanges, if it passes their two filters
            (:class:`ModelFilters`), rather than the median of ``q``: messages must then arrive within a known time.
        strict: False allows what the later paper (ByzSGD, PODC 2020 and Distributed Computing 2022) does: ``n > 3f +
            1``, ``m > 3f_w``, ``q >= 2f + 2``, ``q_w >= 2f_w + 1``; and a role in which nobody lies may be of any size.
            :attr:`lost` says what that costs.

    Raises:
        ToleranceError: If a bound does not hold; the message names it.
        ValueError: If another number is out of range.

    Example:
        >>> settings = GuanYuSettings(n=6, f=1, m=18, f_w=5)
        >>> settings.q, settings.q_w, settings.lost
        (5, 13, '')
        >>> GuanYuSettings(n=5, f=1, m=18, f_w=5)
        Traceback (most recent call last):
        ...
        flwr_byzantine.errors.ToleranceError: GuanYu: n = 5 servers break n >= 3f + 3 = 6
    """

    n: int
    f: int
    m: int
    f_w: int
    q: int = 0
    q_w: int = 0
    model_rule: Aggregator = field(default=median, compare=False)
    gradient_rule: Aggregator = field(default=multi_krum, compare=False)
    exchange_every: int = 1
    lag: int = 2
    window: int = 8
    strict: bool = True
    synchronous: bool = False

    def __post_init__(self) -> None:
        numbers = (self.n, self.f, self.m, self.f_w, self.q, self.q_w, self.exchange_every, self.lag, self.window)
        if not all(isinstance(number, int) for number in numbers) or min(numbers) < 0:
            raise ToleranceError(f"GuanYu needs whole numbers that are not negative, got {numbers}")
        if self.exchange_every < 1 or not 1 <= self.lag < self.window:
            raise ValueError(
                f"GuanYu needs exchange_every >= 1 and window > lag >= 1, "
                f"got {self.exchange_every}, {self.window} and {self.lag}"
            )
        object.__setattr__(self, "q", self.q or self.n - self.f)
        object.__setattr__(self, "q_w", self.q_w or self.m - self.f_w)
        self._check("n", self.n, "servers", "f", self.f, 3 * self.f + (3 if self.strict else 2))
        self._check("m", self.m, "workers", "f_w", self.f_w, 3 * self.f_w + (3 if self.strict else 1))
        self._check_quorum("q", self.q, "f", self.f, "n", self.n, 2 * self.f + (3 if self.strict else 2))
        self._check_quorum("q_w", self.q_w, "f_w", self.f_w, "m", self.m, 2 * self.f_w + (3 if self.strict else 1))
        _check_rule("q", self.q, "model_rule", self.model_rule, self.f)
        _check_rule("q_w", self.q_w, "gradient_rule", self.gradient_rule, self.f_w)

    @classmethod
    def byzsgd(
        cls, n: int, f: int, m: int, f_w: int, *, exchange_every: int, synchronous: bool = False
    ) -> GuanYuSettings:
        """The later version: minimum-diameter averaging, and an exchange every ``exchange_every`` steps only.

        Args:
            n: Servers, ``n > 3f + 1``.
            f: Byzantine servers to tolerate.
            m: Workers, ``m > 3f_w``.
            f_w: Byzantine workers to tolerate.
            exchange_every: T, as :func:`exchange_period` gives it.
            synchronous: Whether workers take one filtered model rather than the median of ``q``.

        Raises:
            ToleranceError: If a bound does not hold.

        Example:
            >>> GuanYuSettings.byzsgd(5, 1, 4, 1, exchange_every=exchange_period(10.0, 0.01)).exchange_every
            3
        """
        return cls(
            n, f, m, f_w, gradient_rule=mda, exchange_every=exchange_every, strict=False, synchronous=synchronous
        )

    @property
    def lost(self) -> str:
        """What ``strict=False`` gives up with these numbers, and ``synchronous``; "" if nothing."""
        losses = []
        if min(self.n - 3 * self.f, self.q - 2 * self.f) < 3:
            losses.append("GuanYu's contraction of the servers' models: they stay together only as ByzSGD proves it")
        if self.m < 3 * self.f_w + 3 or self.q_w < 2 * self.f_w + 3:
            losses.append("Multi-Krum's bound on the gradients: only rules of q_w >= 2f_w + 1 hold, such as MDA")
        if self.f == 0 and not self.strict:
            losses.append("any tolerance of a faulty server")
        if self.f_w == 0 and not self.strict:
            losses.append("any tolerance of a faulty worker")
        if self.synchronous:
            losses.append("asynchrony: a server whose model does not come within a known time counts as faulty")
        return "; ".join(losses)

    @property
    def catch_up(self) -> int:
        """How many other servers' models lie around an honest one in each coordinate: ``2f + 1``."""
        return 2 * self.f + 1

    def exchanges_at(self, step: int) -> bool:
        """Whether servers exchange their models at the end of a step, counted from 1."""
        return step % self.exchange_every == 0

    def _check(self, name: str, count: int, what: str, liars: str, f: int, least: int) -> None:
        if not self.strict and f == 0:
            least = 1
        if count < least:
            bound = f"3{liars} + {least - 3 * f}"
            raise ToleranceError(f"GuanYu: {name} = {count} {what} break {name} >= {bound} = {least}")

    def _check_quorum(self, name: str, size: int, liars: str, f: int, of: str, count: int, least: int) -> None:
        if not self.strict and f == 0:
            least = 1
        if size > count - f:
            raise ToleranceError(
                f"GuanYu: {name} = {size} breaks {name} <= {of} - {liars} = {count - f}: "
                f"the {liars} = {f} Byzantine could stop everybody by silence"
            )
        if size < least:
            bound = f"2{liars} + {least - 2 * f}"
            raise ToleranceError(f"GuanYu: {name} = {size} breaks {name} >= {bound} = {least}")


def exchange_period(lipschitz: float, learning_rate: float) -> int:
    r"""ByzSGD's ``T``: how many steps servers take between two exchanges without drifting too far apart.

    .. math:: T = \max\left(1, \left\lfloor \frac{1}{3 l \eta} \right\rfloor\right)

    Args:
        lipschitz: The Lipschitz constant :math:`l` of the gradient, positive.
        learning_rate: The step size :math:`\eta`, positive.

    Raises:
        ValueError: If one is not positive.

    Example:
        >>> exchange_period(lipschitz=1.0, learning_rate=0.05)
        6
    """
    if not (lipschitz > 0 and learning_rate > 0):
        raise ValueError(f"exchange_period needs positive numbers, got {lipschitz} and {learning_rate}")
    return max(1, math.floor(1 / (3 * lipschitz * learning_rate)))


def _check_rule(name: str, size: int, role: str, rule: Aggregator, f: int) -> None:
    if rule.min_inputs(f) > size:
        raise ToleranceError(f"GuanYu: {name} = {size} inputs are fewer than {rule} needs for f = {f} ({rule.bound})")
    if rule.needs or rule.own_row:
        raise ValueError(f"GuanYu: {role} {rule} needs {', '.join(sorted(rule.needs)) or 'a row of its own'}")
