"""A rule with a clock beside it."""

from __future__ import annotations

import time
from typing import Any

from flwr_byzantine.rules import Aggregator, Outcome

__all__ = ["Timed"]


class Timed(Aggregator):
    """The same rule, which notes how much processor time its calls take.

    Args:
        rule: The rule.

    Example:
        >>> import torch
        >>> from flwr_byzantine.rules import median
        >>> timed = Timed(median)
        >>> timed(torch.tensor([[1.0], [2.0], [9.0]]), f=1), timed.calls
        (tensor([2.]), 1)
    """

    def __init__(self, rule: Aggregator) -> None:
        self.rule, self.calls, self.seconds = rule, 0, 0.0
        self.source, self.bound, self.equivariant = rule.source, rule.bound, rule.equivariant
        self.averages, self.own_row = rule.averages, rule.own_row

    @property
    def per_call_s(self) -> float | None:
        """The mean processor time of a call, in seconds; None before the first."""
        return self.seconds / self.calls if self.calls else None

    @property
    def name(self) -> str:
        """That of the rule."""
        return self.rule.name

    @property
    def f(self) -> int | None:
        """That of the rule."""
        return self.rule.f

    @property
    def needs(self) -> frozenset[str]:
        """Those of the rule."""
        return self.rule.needs

    @property
    def accepts(self) -> frozenset[str]:
        """Those of the rule."""
        return self.rule.accepts

    @property
    def holds_tensors(self) -> bool:
        """Whether the rule does."""
        return self.rule.holds_tensors

    def bind(self, **keywords: Any) -> Aggregator:
        """The rule with these keywords given, without the clock."""
        return self.rule.bind(**keywords)

    def min_inputs(self, f: int) -> int:
        """That of the rule."""
        return self.rule.min_inputs(f)

    def kappa(self, n: int, f: int) -> float | None:
        """That of the rule."""
        return self.rule.kappa(n, f)

    def apply(self, inputs: Any, **keywords: Any) -> Outcome:
        """What the rule makes of the inputs."""
        begun = time.process_time()
        try:
            return self.rule.apply(inputs, **keywords)
        finally:
            self.seconds += time.process_time() - begun
            self.calls += 1
