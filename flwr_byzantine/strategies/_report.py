"""What a robust strategy tells about each round, in the log and beside Flower's own result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from logging import INFO, WARNING
from typing import Any

from flwr.common.logger import log
from flwr.serverapp.strategy import Result

from flwr_byzantine.admission import Admitted, Rejected

__all__ = ["RobustResult", "RoundReport", "log_admission", "log_selection"]


@dataclass(frozen=True)
class RoundReport:
    """What happened to the replies of one round."""

    admitted: tuple[int, ...]
    """Nodes whose train reply was computed on, in ascending order."""
    rejected: tuple[Rejected, ...]
    """Train replies that were left out, with the reason."""
    selected: tuple[int, ...] | None
    """Nodes that the rule chose, or None for a rule that does not choose."""
    f: int | None
    """Byzantine replies that the rule tolerated among the admitted, or None if the bound did not hold."""
    evaluate_rejected: tuple[Rejected, ...] = ()
    """Evaluate replies that were left out, with the reason."""

    @property
    def bound_met(self) -> bool:
        """Whether the rule's bound held, so that the model took a step."""
        return self.f is not None

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "admitted": list(self.admitted),
            "rejected": {str(rejected.node_id): rejected.reason for rejected in self.rejected},
            "selected": None if self.selected is None else list(self.selected),
            "f": self.f,
            "bound-met": self.bound_met,
            "evaluate-rejected": {str(rejected.node_id): rejected.reason for rejected in self.evaluate_rejected},
        }


@dataclass(repr=False)
class RobustResult(Result):
    """Flower's result, and a report of each round."""

    rounds: Mapping[int, RoundReport] = field(default_factory=dict)

    def __repr__(self) -> str:
        lines = [
            f"\tround {number}: {len(report.admitted)} admitted, {len(report.rejected)} rejected, "
            f"{'all' if report.selected is None else len(report.selected)} used, "
            f"{f'f = {report.f}' if report.bound_met else 'bound not met, model kept'}"
            for number, report in self.rounds.items()
        ]
        return super().__repr__() + "\nReplies:\n" + "\n".join(lines) + "\n"


def log_admission(phase: str, server_round: int, admitted: Admitted) -> None:
    """Log how many replies were admitted, in Flower's words, and why each other one was not."""
    log(INFO, "%s: Received %d results and %d failures", phase, len(admitted.nodes), len(admitted.rejected))
    for rejected in admitted.rejected:
        log(WARNING, "\t> round %d: reply of node %d left out: %s", server_round, rejected.node_id, rejected.reason)


def log_selection(n: int, chosen: tuple[int, ...] | None, f: int | None) -> None:
    """Log how many of the admitted replies made the next model."""
    used = f"all {n} replies" if chosen is None else f"{len(chosen)} of {n} replies"
    log(INFO, "\t└──> Aggregated %s, tolerating f = %d", used, f)
