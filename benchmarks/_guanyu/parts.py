"""Where the processor time of a step of :class:`~flwr_byzantine.strategies.GuanYu` goes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Self

import _guanyu.work
from flwr_byzantine.clients._guanyu_offer import Offer
from flwr_byzantine.strategies import GuanYu
from flwr_byzantine.strategies._guanyu_replicas import Replicas
from flwr_byzantine.testing import InProcessGrid

__all__ = ["NAMES", "Parts"]

_PLACES: tuple[tuple[str, Any, str], ...] = (
    ("gradients", _guanyu.work, "gradient_of"),
    ("models at workers", Offer, "median"),
    ("rule over gradients", Replicas, "_aggregate"),
    ("models at servers", Replicas, "_middle"),
    ("servers, the rest", GuanYu, "aggregate_train"),
    ("messages out", GuanYu, "configure_train"),
    ("transport", InProcessGrid, "push_messages"),
    ("transport", InProcessGrid, "pull_messages"),
)
NAMES = (*dict.fromkeys(name for name, _, _ in _PLACES), "rest")


class Parts:
    """A stopwatch of this process's time on each part, less what other parts took within it.

    Example:
        >>> with Parts() as parts:
        ...     ...  # train
        >>> parts.lap(1.0)["rest"]
        1.0
    """

    def __init__(self) -> None:
        self._spent: Counter[str] = Counter()
        self._within = [0.0]
        self._whole: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> Self:
        for name, owner, attribute in _PLACES:
            self._whole.append((owner, attribute, getattr(owner, attribute)))
            setattr(owner, attribute, self._timed(name, getattr(owner, attribute)))
        return self

    def __exit__(self, *_: object) -> None:
        while self._whole:
            setattr(*self._whole.pop())

    def lap(self, total_s: float) -> dict[str, float]:
        """Seconds by part since the last lap, which took ``total_s`` in all; "rest" is what no part took."""
        found = {name: self._spent[name] for name in NAMES[:-1]}
        self._spent.clear()
        return {**found, "rest": total_s - sum(found.values())}

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **keywords: Any) -> Any:
            self._within.append(0.0)
            begun = time.process_time()
            try:
                return function(*args, **keywords)
            finally:
                spent = time.process_time() - begun
                self._spent[name] += spent - self._within.pop()
                self._within[-1] += spent

        return timed
