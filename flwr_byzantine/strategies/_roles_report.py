"""What nodes tell after training among themselves, sorted into Flower's result."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from flwr.app import ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy import Result
from torch import Tensor

from flwr_byzantine.admission import Admitted, Rejected
from flwr_byzantine.records import Flat, Layout
from flwr_byzantine.roster import Seat, Talk

__all__ = ["PeerReport", "RolesResult", "models_of", "peer_reports", "round_summaries"]

MAX_STATUS = 1 << 20


@dataclass(frozen=True)
class PeerReport:
    """What a node told in the end. It is the node's word: a liar's is worth nothing."""

    peer: str
    """Its peer id."""
    name: str
    distance: float
    """The largest difference, of any coordinate, between its model and the median of the result."""
    metrics: Mapping[str, list[float]]
    """By name, one number per round, NaN where there is none."""
    status: Mapping[str, Any]
    """What the node says of itself: members, rejections with reasons, bytes, seconds."""
    role: str = ""
    """Its role, where there are several."""

    @property
    def called(self) -> str:
        """Its name, or what there is of it, and its role."""
        return ", ".join(filter(None, (self.name or self.peer[:8], self.role)))


@dataclass(repr=False)
class RolesResult(Result):
    """Flower's result, and what each node told."""

    models: Mapping[int, ArrayRecord] = field(default_factory=dict)
    """By node id, their last models."""
    rejected: Sequence[Rejected] = ()
    """Nodes that took no part or failed, and final replies left out, with the reason."""

    @property
    def reports(self) -> Mapping[int, PeerReport]:
        """By node id, what each told."""
        raise NotImplementedError

    def __repr__(self) -> str:
        lines = [f"\t{report.called}: {report.distance:.3g} from the median" for report in self.reports.values()]
        lines += [f"\t{rejected}" for rejected in self.rejected]
        return super().__repr__() + "\nNodes:\n" + "\n".join(lines) + "\n"


def models_of(admitted: Admitted, layout: Layout, model: Flat) -> dict[int, ArrayRecord]:
    """By node id, the model that it replied with, in the names, order, shapes and dtypes sent."""
    found = {}
    for place, (node, row) in enumerate(zip(admitted.nodes, admitted.rows, strict=True)):
        buffers = {name: values[place] for name, values in admitted.buffers.items()}
        found[node] = layout.record(model + row.numpy(), buffers)
    return found


def peer_reports(
    admitted: Admitted, middle: Tensor, seats: Mapping[int, Seat], talk: Talk, role: str = ""
) -> dict[int, PeerReport]:
    """By node id, what each of the admitted told; ``middle`` is a row ``[d]`` as theirs are."""
    reports = {}
    for node, content, row in zip(admitted.nodes, admitted.contents, admitted.rows, strict=True):
        key = seats[node].key
        distance = float((row - middle).abs().max()) if len(row) else 0.0
        status = _status(content, talk)
        reports[node] = PeerReport(key.peer, key.name, distance, _series(content), status, role)
    return reports


def round_summaries(
    reports: Iterable[PeerReport], rounds: int, *, who: str = "peers", prefix: str = ""
) -> dict[int, MetricRecord]:
    """By round, the median over the nodes of each metric, with its least and greatest value.

    Args:
        reports: The nodes'.
        rounds: How many there are.
        who: The name for how many nodes there are.
        prefix: Before the name of each metric.

    Example:
        >>> peers = [PeerReport("aa", "", 0.0, {"loss": [loss]}, {}) for loss in (0.5, 0.25, math.nan, 9.0)]
        >>> dict(round_summaries(peers, rounds=1)[1])
        {'loss': 0.5, 'loss-max': 9.0, 'loss-min': 0.25, 'peers': 4}
    """
    told = [report.metrics for report in reports]
    names = sorted({name for metrics in told for name in metrics})
    summaries = {}
    for round in range(1, rounds + 1):
        summary = MetricRecord()
        for name in names:
            values = [metrics[name][round - 1] for metrics in told if len(metrics.get(name, ())) == rounds]
            finite = torch.tensor([value for value in values if math.isfinite(value)], dtype=torch.float64)
            if len(finite):
                least, middle, greatest = float(finite.min()), float(finite.median()), float(finite.max())
                summary.update({prefix + name: middle, f"{prefix}{name}-max": greatest, f"{prefix}{name}-min": least})
        summary[who] = len(told)
        summaries[round] = summary
    return summaries


def _series(content: RecordDict) -> dict[str, list[float]]:
    metrics = next(iter(content.metric_records.values()))
    return {name: [float(value) for value in values] for name, values in metrics.items() if isinstance(values, list)}


def _status(content: RecordDict, talk: Talk) -> dict[str, Any]:
    """What a node says of itself, if it can be read."""
    record = content.config_records.get(talk.name)
    text = record.get("status") if record is not None else None
    if not isinstance(text, str) or len(text) > MAX_STATUS:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}
