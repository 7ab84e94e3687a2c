"""What a server or worker of GuanYu is told before it starts, checked as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flwr_byzantine.clients._choose import rule_of
from flwr_byzantine.clients._settings import Settings
from flwr_byzantine.protocols.guanyu import GuanYuSettings
from flwr_byzantine.rules import Aggregator
from flwr_byzantine.signing import Expected

__all__ = ["GuanYuConfig"]


@dataclass(frozen=True, kw_only=True)
class GuanYuConfig(Settings):
    """How servers and workers train together, and how patient they are; all have the same.

    Raises:
        TypeError: If a value is of another type.
        ValueError: If a value is out of its range, or there is no such rule.

    Example:
        >>> config = GuanYuConfig.from_mapping({"byzantine-servers": 1, "byzantine-workers": 2, "learning-rate": 0.5})
        >>> settings = config.settings(servers=6, workers=9)
        >>> settings.q, settings.q_w
        (5, 7)
        >>> GuanYuConfig.from_mapping({"leaning-rate": 0.5})
        Traceback (most recent call last):
        ...
        ValueError: there is no setting 'leaning-rate'; did you mean 'learning-rate'?
    """

    run: str = "run"
    """Its name: signatures of another run count for nothing."""
    byzantine_servers: int = 0
    """How many servers may lie, f."""
    byzantine_workers: int = 0
    """How many workers may lie, f_w."""
    model_quorum: int = 0
    """Models to wait for, q; 0 for n - f. At most n - f; less lets honest servers stop too."""
    gradient_quorum: int = 0
    """Gradients to wait for, q_w; 0 for m - f_w."""
    model_rule: str = "median"
    gradient_rule: str = "multi-krum"
    exchange_every: int = 1
    """Steps between two exchanges of models among servers."""
    strict: bool = True
    """Whether GuanYu's own bounds hold, or the weaker ones of the later paper."""
    steps: int | None = None
    """The last step; None for no end."""
    learning_rate: float = 0.1
    decay: float = 0.0
    """The rate of step t is ``learning_rate / (1 + decay (t - 1))``: GuanYu's proof wants one that shrinks."""
    lag: int = 2
    """Steps that one may be behind a quorum before one jumps to it."""
    retain_steps: int = 20
    """For how many steps what one published can still be read."""
    poll_s: float = 0.01
    """The shortest pause between two looks at another's store; it grows by a quarter while nothing comes."""
    max_poll_s: float = 0.5
    idle_s: float = 300.0
    """After how long without anything from anybody one gives up."""
    store_patience_s: float = 300.0
    """For how long one's own store may be away before one gives up."""
    stay_s: float = 5.0
    """How long one's store stays readable after the last step, so that others can finish."""

    def __post_init__(self) -> None:
        self._check_types()
        if not (0 < self.learning_rate < math.inf and 0 <= self.decay < math.inf):
            raise ValueError(f"learning_rate must be > 0 and decay >= 0, got {self.learning_rate} and {self.decay}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be >= 1, got {self.steps}")
        if self.retain_steps < 4 * self.lag:
            raise ValueError(f"retain_steps must be >= 4 lag = {4 * self.lag}, got {self.retain_steps}")
        if not 0 < self.poll_s <= self.max_poll_s:
            raise ValueError(f"poll_s must be > 0 and at most max_poll_s, got {self.poll_s} and {self.max_poll_s}")
        if not (self.idle_s > 0 and self.store_patience_s > 0 and self.stay_s >= 0):
            raise ValueError("idle_s and store_patience_s must be > 0 and stay_s >= 0")
        Expected(run=self.run, kind="model", rounds=range(1), max_bytes=1 << 20)  # its run is checked there
        _ = rule_of(self.model_rule), rule_of(self.gradient_rule)

    def settings(self, servers: int, workers: int) -> GuanYuSettings:
        """The numbers and rules that the machines work with.

        Args:
            servers: n, how many there are.
            workers: m, how many there are.

        Raises:
            ToleranceError: If a bound does not hold; the message names it.
            ValueError: If another number is out of range.
        """
        return GuanYuSettings(
            servers, self.byzantine_servers, workers, self.byzantine_workers, self.model_quorum, self.gradient_quorum,
            model_rule=_bound(self.model_rule, self.byzantine_servers),
            gradient_rule=_bound(self.gradient_rule, self.byzantine_workers),
            exchange_every=self.exchange_every, lag=self.lag, window=max(8, 2 * self.lag), strict=self.strict,
        )  # fmt: skip

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 1.

        Example:
            >>> GuanYuConfig(learning_rate=0.5, decay=1.0).rate(2)
            0.25
        """
        return self.learning_rate / (1 + self.decay * (step - 1))


def _bound(text: str, f: int) -> Aggregator:
    rule = rule_of(text)
    return rule.bind(f=f) if "f" in rule.accepts else rule
