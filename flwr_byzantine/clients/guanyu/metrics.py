"""A GuanYu node's status for Prometheus.

>>> print(metrics_text({"node": "3f9a12cd", "name": "s1", "role": "server", "step": 4}), end="")
# HELP flwr_byzantine_guanyu_info The node's full id; always 1.
# TYPE flwr_byzantine_guanyu_info gauge
flwr_byzantine_guanyu_info{node="3f9a12cd",name="s1",role="server",id="3f9a12cd"} 1
# HELP flwr_byzantine_guanyu_step The step that the node is in.
# TYPE flwr_byzantine_guanyu_step gauge
flwr_byzantine_guanyu_step{node="3f9a12cd",name="s1",role="server"} 4
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flwr_byzantine.clients.prometheus import Family, Sample, given, rejections, written

__all__ = ["metrics_text"]


def metrics_text(status: Mapping[str, Any]) -> str:
    """The status of a node in Prometheus' text format; what it does not tell is left out.

    Args:
        status: As :meth:`flwr_byzantine.clients.GuanYuNode.status` gives it.

    Example:
        >>> text = metrics_text({"node": "ab" * 32, "last-step": {"missing": ["cd" * 32], "seconds": 0.25}})
        >>> [line for line in text.splitlines() if "missing" in line][-1]
        'flwr_byzantine_guanyu_missing_senders{node="abababab",name="",role=""} 1'
    """
    own = {"node": str(status.get("node", ""))[:8], "name": str(status.get("name", "")), "role": status.get("role", "")}
    return written(_families(status), own, prefix="flwr_byzantine_guanyu_")


def _families(status: Mapping[str, Any]) -> Iterator[Family]:
    last: Mapping[str, Any] = status.get("last-step") or {}
    yield Family("info", "gauge", "The node's full id; always 1.", [Sample({"id": str(status.get("node", ""))}, 1)])
    yield Family("step", "gauge", "The step that the node is in.", given(status, "step"))
    phase = [Sample({"phase": str(status["phase"])}, 1)] if status.get("phase") else []
    yield Family("phase", "gauge", "What a server is doing; always 1.", phase)
    yield Family("step_seconds", "gauge", "Seconds of the last step.", given(last, "seconds"))
    yield Family("model_distance", "gauge", "A server's, from the last exchange's median.", given(last, "distance"))
    missing = [Sample({}, len(last["missing"]))] if "missing" in last else []
    yield Family("missing_senders", "gauge", "How many had not sent for the last step when it ended.", missing)
    newest = [Sample({"sender": peer[:8]}, step) for peer, step in sorted(status.get("senders", {}).items())]
    yield Family("sender_step", "gauge", "The newest step of which a sender's message came.", newest)
    messages = [Sample({"kind": kind}, count) for kind, count in sorted(status.get("messages", {}).items())]
    yield Family("messages_total", "counter", "Verified messages by kind.", messages)
    yield rejections(status)
    yield from _traffic(status)
    away = [Sample({}, int(bool(status["store-away"])))] if "store-away" in status else []
    yield Family("store_away", "gauge", "Whether the node's own store does not answer.", away)


def _traffic(status: Mapping[str, Any]) -> Iterator[Family]:
    read = [
        Sample({"sender": peer[:8], "kind": kind}, count)
        for peer, kinds in sorted(status.get("links", {}).items())
        for kind, count in sorted(kinds.items())
    ]
    yield Family("read_bytes_total", "counter", "Bytes read in others' stores, by whose and by kind.", read)
    own = sorted(status.get("bytes", {}).get("written", {}).items())
    samples = [Sample({"kind": kind}, count) for kind, count in own]
    yield Family("written_bytes_total", "counter", "Bytes published in the node's own store, by kind.", samples)
