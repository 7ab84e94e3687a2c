"""A peer's status for Prometheus: the text, and a small HTTP endpoint that gives it.

>>> print(metrics_text({"peer": "3f9a12cd", "name": "alice", "round": 4, "phase": "gathering"}), end="")
# HELP flwr_byzantine_peer_info The peer's full id; always 1.
# TYPE flwr_byzantine_peer_info gauge
flwr_byzantine_peer_info{peer="3f9a12cd",name="alice",id="3f9a12cd"} 1
# HELP flwr_byzantine_peer_round The round that the peer is in.
# TYPE flwr_byzantine_peer_round gauge
flwr_byzantine_peer_round{peer="3f9a12cd",name="alice"} 4
# HELP flwr_byzantine_peer_phase What the peer is doing; always 1.
# TYPE flwr_byzantine_peer_phase gauge
flwr_byzantine_peer_phase{peer="3f9a12cd",name="alice",phase="gathering"} 1
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from flwr_byzantine.clients.prometheus import (
    METRICS_TYPE,
    Family,
    Sample,
    Status,
    StatusServer,
    given,
    rejections,
    written,
)

__all__ = ["METRICS_TYPE", "MetricsServer", "metrics_text"]

BYTES = (("read", "Bytes read from other peers' stores."), ("written", "Bytes published in the peer's own store."))


def metrics_text(status: Mapping[str, Any]) -> str:
    """The status of a peer in Prometheus' text format; what it does not tell is left out.

    Args:
        status: As :meth:`flwr_byzantine.clients.Peer.status` gives it.

    Example:
        >>> text = metrics_text({"peer": "ab" * 32, "name": "", "rejected": {"cd" * 32: {"late": 2}}})
        >>> print(text.splitlines()[-1])
        flwr_byzantine_peer_rejected_total{peer="abababab",name="",reason="late",sender="cdcdcdcd"} 2
    """
    own = {"peer": str(status.get("peer", ""))[:8], "name": str(status.get("name", ""))}
    return written(_families(status), own, prefix="flwr_byzantine_peer_")


def _families(status: Mapping[str, Any]) -> Iterator[Family]:
    members: Mapping[str, Mapping[str, Any]] = status.get("members", {})
    last: Mapping[str, Any] = next(iter(reversed(status.get("rounds", []))), {})
    seconds: Mapping[str, float] = last.get("seconds", {})
    yield Family("info", "gauge", "The peer's full id; always 1.", [Sample({"id": str(status.get("peer", ""))}, 1)])
    yield Family("round", "gauge", "The round that the peer is in.", given(status, "round"))
    phase = [Sample({"phase": str(status["phase"])}, 1)] if "phase" in status else []
    yield Family("phase", "gauge", "What the peer is doing; always 1.", phase)
    counts = Counter(str(member.get("standing", "")) for member in members.values())
    standings = [Sample({"standing": standing}, count) for standing, count in sorted(counts.items())]
    yield Family("members", "gauge", "How many peers stand so with this one.", standings)
    yield Family("member_round", "gauge", "The round that a member last said it is in.", _of(members, "round"))
    ages = _of(members, "heartbeat-age-s")
    yield Family("heartbeat_age_seconds", "gauge", "Time since a member was last heard.", ages)
    yield rejections(status)
    for way, about in BYTES:
        yield Family(f"{way}_bytes_total", "counter", about, given(status, f"{way}-bytes"))
    phases = [Sample({"phase": phase}, value) for phase, value in sorted(seconds.items())]
    yield Family("phase_seconds", "gauge", "Seconds per phase of the last round.", phases)
    away = [Sample({}, int(bool(status["store-away"])))] if "store-away" in status else []
    yield Family("store_away", "gauge", "Whether the peer's own store does not answer.", away)
    waiting = [Sample({}, len(status["candidates"]))] if "candidates" in status else []
    yield Family("candidates", "gauge", "How many peers have asked to join.", waiting)
    yield Family("loss", "gauge", "Mean loss of the last round's own batches.", given(last, "loss"))


def _of(members: Mapping[str, Mapping[str, Any]], field: str) -> list[Sample]:
    """A number of each member that has it."""
    return [sample for peer, member in sorted(members.items()) for sample in given(member, field, member=peer[:8])]


class MetricsServer(StatusServer):
    """Answers ``GET /metrics`` with Prometheus' text and ``GET /status`` with JSON, until it is closed.

    It has neither password nor TLS, and tells who is in the mesh: keep it on loopback, or behind what guards it.

    Args:
        status: What gives the peer's status; called once per request, from another thread.
        host: The address to listen on.
        port: Its port, 0 for a free one.

    Raises:
        OSError: If the port is taken.

    Example:
        >>> import json
        >>> from urllib.request import urlopen
        >>> with MetricsServer(lambda: {"peer": "ab" * 32, "round": 3}) as server:
        ...     with urlopen(server.url + "/status") as reply:
        ...         json.load(reply)["round"]
        3
    """

    def __init__(self, status: Status, *, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(status, metrics_text, host=host, port=port)
