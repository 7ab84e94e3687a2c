"""What a node measures: of each step the seconds, the bytes by kind, and whose messages had not come."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from flwr_byzantine.clients.guanyu.history import StepRecord
from flwr_byzantine.protocols.guanyu import Kind

__all__ = ["Meter"]

MAX_RECORDS = 1000
"""The last steps, of which there is a record each."""


class Meter:
    """One node's numbers. Any number of threads may write; all names that it counts by are the node's own.

    Args:
        own: The node's id: what is counted for it was written, all else was read.
        sources: Whom it listens to, and for which kind of message.
        exchange_every: Only at multiples of this are there exchanges.

    Example:
        >>> meter = Meter("s1", [("w1", Kind.GRADIENT), ("w2", Kind.GRADIENT)])
        >>> meter.enter(1, now=10.0), meter.count("w1", "gradient", 400), meter.came("w1", Kind.GRADIENT, 1)
        (None, None, None)
        >>> meter.enter(2, now=12.5)
        >>> meter.records[0].seconds, meter.records[0].read_bytes, meter.records[0].missing
        (2.5, {'gradient': 400}, ['w2'])
    """

    def __init__(self, own: str, sources: Iterable[tuple[str, Kind]], *, exchange_every: int = 1) -> None:
        self._own, self._every = own, exchange_every
        self._lock = threading.Lock()
        self._heard = {(peer, kind): 0 for peer, kind in sources if peer != own}
        self._messages: Counter[str] = Counter()
        self._links: dict[str, Counter[str]] = {}
        self._step, self._since = 0, 0.0
        self._read: Counter[str] = Counter()
        self._written: Counter[str] = Counter()
        self._distances: dict[int, float] = {}
        self.records: deque[StepRecord] = deque(maxlen=MAX_RECORDS)
        """Of the steps behind it, the oldest first."""

    def count(self, owner: str, kind: str, size_bytes: int) -> None:
        """Something was read in a node's store, or written in one's own."""
        with self._lock:
            self._links.setdefault(owner, Counter())[kind] += size_bytes
            (self._written if owner == self._own else self._read)[kind] += size_bytes

    def came(self, sender: str, kind: Kind, step: int) -> None:
        """A message was verified."""
        with self._lock:
            self._messages[kind.value] += 1
        self.reached(sender, kind, step)

    def reached(self, sender: str, kind: Kind, step: int) -> None:
        """A sender has a message of this step, read or not."""
        with self._lock:
            self._heard[sender, kind] = max(step, self._heard.get((sender, kind), 0))

    def note_distance(self, step: int, distance: float) -> None:
        """How far one's own model was from the median that replaced it."""
        with self._lock:
            self._distances[step] = distance
            for record in self.records:  # the work is done on another thread than the one that enters steps
                if record.step == step:
                    record.distance = distance

    def enter(self, step: int, *, now: float) -> None:
        """Be at another step; what was counted since the last call belongs to the one before."""
        with self._lock:
            if self._step:
                missing = sorted({peer for (peer, kind), heard in self._heard.items() if heard < self._due(kind)})
                distance = self._distances.get(self._step)
                bytes_ = dict(self._read), dict(self._written)
                self.records.append(StepRecord(self._step, now - self._since, *bytes_, missing, distance))
            self._step, self._since = step, now
            self._distances = {of: distance for of, distance in self._distances.items() if of >= step}
            self._read.clear()
            self._written.clear()

    def _due(self, kind: Kind) -> int:
        """The newest step, up to this one, that has messages of a kind."""
        return self._step - self._step % self._every if kind is Kind.EXCHANGE else self._step

    def status(self) -> dict[str, Any]:
        """What can be shown, of JSON's types."""
        with self._lock:
            written: Counter[str] = Counter(self._links.get(self._own, {}))
            read: Counter[str] = Counter()
            for owner, kinds in self._links.items():
                if owner != self._own:
                    read.update(kinds)
            senders: dict[str, int] = {}
            for (peer, _), heard in self._heard.items():
                senders[peer] = max(heard, senders.get(peer, 0))
            return {
                "read-bytes": read.total(),
                "written-bytes": written.total(),
                "bytes": {"read": dict(read), "written": dict(written)},
                "links": {owner: dict(kinds) for owner, kinds in self._links.items() if owner != self._own},
                "messages": dict(self._messages),
                "senders": senders,
                "last-step": asdict(self.records[-1]) if self.records else None,
            }
