"""What the journals of peers and of GuanYu's nodes have in common: log lines, and bounded counts of what came."""

from __future__ import annotations

import logging
import threading
from collections import Counter

__all__ = ["MAX_KINDS", "NodeJournal"]

MAX_KINDS = 1000
"""Most pairs of sender and reason that are told apart, whatever strangers send."""


class NodeJournal:
    """Any number of threads may write.

    Args:
        name: How log lines call the node.
        log: Where they go.
    """

    def __init__(self, name: str, log: logging.Logger) -> None:
        self._name, self._logger = name, log
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def say(self, line: str, *args: object) -> None:
        """Log one line of one's own."""
        self._logger.info(f"%s: {line}", self._name, *args)

    def warn(self, line: str, *args: object) -> None:
        """Log one line that the operator should read."""
        self._logger.warning(f"%s: {line}", self._name, *args)

    def _count(self, sender: str, code: str) -> int:
        """Count a reason, under ``others`` if there are too many pairs; how often it came. One holds the lock."""
        known = (sender, code) in self._counts or len(self._counts) < MAX_KINDS
        pair = (sender, code) if known else ("others", code)
        self._counts[pair] += 1
        return self._counts[pair]

    def _rejected(self) -> dict[str, dict[str, int]]:
        """The counts by sender and reason. One holds the lock."""
        rejected: dict[str, dict[str, int]] = {}
        for (sender, code), count in self._counts.items():
            rejected.setdefault(sender, {})[code] = count
        return rejected
