"""Where a grid takes the time from: the machine, or a test that does not want to wait."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock", "VirtualClock"]


class Clock(Protocol):
    """What tells the time and lets it pass."""

    def now(self) -> float:
        """Seconds since some fixed moment; never goes back."""

    def sleep(self, seconds: float) -> None:
        """Come back ``seconds`` later."""


class SystemClock:
    """The clock of the machine.

    Example:
        >>> clock = SystemClock()
        >>> clock.now() <= clock.now()
        True
    """

    def now(self) -> float:
        """Seconds of :func:`time.monotonic`."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for ``seconds``."""
        time.sleep(seconds)


class VirtualClock:
    """A clock that only moves when somebody sleeps, so that waiting costs no time.

    Example:
        >>> clock = VirtualClock()
        >>> clock.sleep(3600.0)
        >>> clock.now()
        3600.0
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        """``start``, and all that was slept since, in seconds."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Move on by ``seconds`` at once."""
        self._now += max(0.0, seconds)
