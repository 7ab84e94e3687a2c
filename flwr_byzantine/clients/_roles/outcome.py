"""How a node's training ended, for the server; kept in the node's own store where it outlives the message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from torch import Tensor

from flwr_byzantine.errors import MissingKeyError
from flwr_byzantine.records import Layout
from flwr_byzantine.roster import ARRAYS, METRICS, Talk
from flwr_byzantine.stores import TensorStore

__all__ = ["Outcome", "load_outcome", "load_progress", "save_failure", "save_progress"]

REPORT, MODEL = "outcome:report", "outcome:model"
MAX_STATUS = 60_000


@dataclass(frozen=True)
class Outcome:
    """How a node's training ended."""

    model: Tensor
    """``[d]``, the last model."""
    metrics: Mapping[str, list[float]]
    """By name, one number per round, NaN where there is none."""
    status: Mapping[str, Any]
    """For JSON."""

    def content(self, sent: ArrayRecord, talk: Talk) -> RecordDict:
        """The reply to the server; arrays that are not floating-point are those that it sent."""
        layout = Layout.of(sent)
        arrays = layout.record(self.model.numpy(), layout.read_buffers(sent))
        about = ConfigRecord({"done": True, "status": json.dumps(self.status)[:MAX_STATUS]})
        return RecordDict({ARRAYS: arrays, METRICS: MetricRecord({**self.metrics}), talk.name: about})

    def save(self, store: TensorStore) -> None:
        """Keep it in the node's own store, for whichever process is asked."""
        store.put(MODEL, self.model)
        _write(store, {"metrics": dict(self.metrics), "status": self.status})


def load_outcome(store: TensorStore) -> Outcome | None:
    """What :meth:`Outcome.save` kept, or None as long as there is nothing.

    Raises:
        RuntimeError: If the node failed.
    """
    found = _read(store)
    if "error" in found:
        raise RuntimeError(found["error"])
    return None if "metrics" not in found else Outcome(store.get(MODEL), found["metrics"], found["status"])


def save_progress(store: TensorStore, round: int) -> None:
    """Keep that a round is over."""
    _write(store, {"round": round})


def load_progress(store: TensorStore) -> int:
    """The last round that is over; 0 if none is."""
    return int(_read(store).get("round", 0))


def save_failure(store: TensorStore, error: BaseException) -> None:
    """Keep why the node failed."""
    _write(store, {"error": f"{type(error).__name__}: {error}"})


def _write(store: TensorStore, document: Mapping[str, Any]) -> None:
    store.put(REPORT, torch.frombuffer(bytearray(json.dumps(document).encode()), dtype=torch.uint8))


def _read(store: TensorStore) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(store.get(REPORT).numpy().tobytes())
    except MissingKeyError:
        return {}
    return found
