"""What a node counts and logs: bounded, whatever strangers send."""

from __future__ import annotations

import logging
from typing import Any

from flwr_byzantine.clients._node_journal import NodeJournal

__all__ = ["Journal"]

log = logging.getLogger("flwr_byzantine.guanyu")

SAID = (1, 10, 100, 1000, 10_000)
"""At which repetitions a reason is logged again."""


class Journal(NodeJournal):
    """One node's counts. Any number of threads may write.

    Args:
        name: How log lines call the node.

    Example:
        >>> journal = Journal("server-1")
        >>> journal.reject("ab" * 32, "not-finite: model of step 3: 4 numbers are not finite")
        >>> journal.status()["rejected"]
        {'abababababababababababababababababababababababababababababababab': {'not-finite': 1}}
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, log)

    def reject(self, sender: str, reason: str, *, quiet: bool = False) -> None:
        """Count something that was left out, by what stands before the first colon; log the first and some later.

        Args:
            sender: Who said it.
            reason: Why it was left out.
            quiet: Whether it is of every day, and no line is logged.
        """
        code = reason.partition(":")[0]
        with self._lock:
            count = self._count(sender, code)
        if count in SAID and not quiet:
            self.warn("node %s: %s%s", sender[:8], reason, f" ({count} times by now)" if count > 1 else "")

    def status(self) -> dict[str, Any]:
        """What can be shown, of JSON's types."""
        with self._lock:
            return {"rejected": self._rejected()}
