"""What GuanYu tells about each step, beside Flower's own result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from logging import WARNING

from flwr.app import ArrayRecord
from flwr.common.logger import log

from flwr_byzantine.admission import Admitted, printable
from flwr_byzantine.protocols.guanyu.wire import RECORD, Choice
from flwr_byzantine.strategies._report import RobustResult

__all__ = ["GuanYuResult", "RejectedModel", "StepReport", "choices"]


@dataclass(frozen=True)
class RejectedModel:
    """A server's model that a worker left, by its own account: a worker may lie about it."""

    worker: int
    """Its node id."""
    server: str
    reason: str


@dataclass(frozen=True)
class StepReport:
    """One step of all honest servers."""

    step: int
    """Of the protocol, from 1; it stays while gradients are too few."""
    drift: float
    """Largest Euclidean distance between two honest servers' models at the end."""
    drift_before_exchange: float
    """The same after their own updates, before they exchanged models."""
    models_bytes: int
    """Sent to all workers: each distinct model once per message."""
    gradients_bytes: int
    """Received from the workers that were admitted, as numbers."""
    refused: int
    """Messages between servers and from workers that did not count, but for those beyond a quorum."""
    rejected_models: tuple[RejectedModel, ...] = ()
    """What the filters of the synchronous version left, by the accounts of the workers that were admitted."""
    taken_models: Mapping[str, int] = field(default_factory=dict)
    """By server, how many of them computed at its model; by an empty name, at the median of a quorum."""

    def as_metrics(self) -> dict[str, float]:
        """What of it is shown beside the workers' metrics."""
        return {
            "guanyu-step": self.step,
            "guanyu-drift": self.drift,
            "guanyu-drift-before-exchange": self.drift_before_exchange,
            "guanyu-models-bytes": self.models_bytes,
            "guanyu-models-rejected": len(self.rejected_models),
        }


@dataclass(repr=False)
class GuanYuResult(RobustResult):
    """Flower's result, a report of each round and step, and each honest server's model."""

    steps: Mapping[int, StepReport] = field(default_factory=dict)
    """By round."""
    models: Mapping[str, ArrayRecord] = field(default_factory=dict)
    """By server. ``arrays`` is their median: what a client that asked a quorum would get."""


def choices(step: int, admitted: Admitted, servers: Sequence[str]) -> tuple[tuple[RejectedModel, ...], dict[str, int]]:
    """What workers say of the models that they left, logged in a line for each server; and how many took whose.

    Args:
        step: Of the protocol.
        admitted: The workers' replies.
        servers: All servers' names.
    """
    left: list[RejectedModel] = []
    taken: Counter[str] = Counter()
    for node, content in zip(admitted.nodes, admitted.contents, strict=True):
        try:
            choice = Choice.of(content.config_records[RECORD], servers)
        except (KeyError, TypeError, ValueError) as error:
            log(WARNING, "step %d: node %d does not say which models it left: %s", step, node, printable(str(error)))
            continue
        taken[choice.server] += 1
        left += [RejectedModel(node, server, printable(reason)) for server, reason in choice.rejected.items()]
    reasons = {model.server: model.reason for model in reversed(left)}
    for server, count in sorted(Counter(model.server for model in left).items()):
        log(WARNING, "step %d: model of %s rejected by %d workers: %s", step, server, count, reasons[server])
    return tuple(left), dict(taken)
