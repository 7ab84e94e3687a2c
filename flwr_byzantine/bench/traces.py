"""What happened in a training, round by round, as it is written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Trace"]

MAX_REASON = 160


@dataclass
class Trace:
    """Nodes are numbers: the honest ones first, then the Byzantine.

    Example:
        >>> trace = Trace(nodes=3, honest=2, accuracies={1: 0.5, 2: 0.75})
        >>> trace.reject(2, 2, "array 'w' holds NaN")
        >>> trace.as_dict()["final"], trace.as_dict()["rejected"]
        (0.75, [[2, 2, "array 'w' holds NaN"]])
    """

    nodes: int
    honest: int
    accuracies: dict[int, float] = field(default_factory=dict)
    """By round, 0 to 1."""
    selected: dict[int, list[int]] = field(default_factory=dict)
    """By round, the nodes that the rule chose; empty for a rule that chooses none."""
    rejected: list[tuple[int, int, str]] = field(default_factory=list)
    """Round, node and reason."""
    kept: list[int] = field(default_factory=list)
    """Rounds in which the model stayed as it was."""
    rule_seconds: float | None = None
    """Processor time of one call of the rule, on average; None if it is not known."""

    def reject(self, round: int, node: int, reason: str) -> None:
        """Note a reply that was left out."""
        self.rejected.append((round, node, reason[:MAX_REASON]))

    def as_dict(self) -> dict[str, Any]:
        """For JSON; ``final`` is the accuracy that was measured last."""
        return {
            "nodes": self.nodes,
            "honest": self.honest,
            "final": self.accuracies[max(self.accuracies)] if self.accuracies else None,
            "accuracy": [[round, value] for round, value in sorted(self.accuracies.items())],
            "selected": [[round, nodes] for round, nodes in sorted(self.selected.items())],
            "rejected": [list(entry) for entry in self.rejected],
            "kept": self.kept,
            "rule-seconds": self.rule_seconds,
        }
