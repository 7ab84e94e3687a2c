"""How the life of a GuanYu node went."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

__all__ = ["GuanYuHistory", "StepRecord"]


@dataclass
class StepRecord:
    """One step of one node, from when it was entered until the next one was.

    Bytes are those of envelopes, by kind: ``model``, ``exchange``, ``gradient``, and the small ``model-head``,
    ``exchange-head``, ``gradient-head``. What is published is written once, and read by each that listens.
    """

    step: int
    seconds: float
    read_bytes: dict[str, int] = field(default_factory=dict)
    """Read in all other nodes' stores, by kind."""
    written_bytes: dict[str, int] = field(default_factory=dict)
    """Published in the node's own store, by kind."""
    missing: list[str] = field(default_factory=list)
    """Ids of those that had no message of this step, as far as was known when it ended."""
    distance: float | None = None
    """How far a server's own model was from the median that replaced it; None if there was no exchange."""


@dataclass(frozen=True)
class GuanYuHistory:
    """How a node's life went."""

    node: str
    role: str
    status: str
    """``all steps done``, ``stopped``, or what went wrong."""
    last: Mapping[str, Any]
    """Its last :meth:`~flwr_byzantine.clients.GuanYuNode.status`."""
    model: Tensor | None = None
    """``[d]``: a server's last model, or the last at which a worker computed; None if it cannot be read."""
    steps: Sequence[StepRecord] = ()
    """The last thousand steps, the oldest first."""

    def to_json(self, *, indent: int | None = None) -> str:
        """Everything but the model.

        Example:
            >>> GuanYuHistory("ab", "server", "stopped", {}).to_json()
            '{"node": "ab", "role": "server", "status": "stopped", "last": {}, "steps": []}'
        """
        said = {"node": self.node, "role": self.role, "status": self.status, "last": dict(self.last)}
        return json.dumps({**said, "steps": [asdict(record) for record in self.steps]}, indent=indent)
