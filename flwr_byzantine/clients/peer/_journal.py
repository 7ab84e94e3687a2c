"""What a peer counts, remembers and logs: bounded, whatever strangers send."""

from __future__ import annotations

import logging
from collections import Counter, deque
from dataclasses import asdict
from typing import Any

from flwr_byzantine.clients._node_journal import MAX_KINDS, NodeJournal
from flwr_byzantine.clients.peer.history import RoundRecord
from flwr_byzantine.protocols import Reason, Report

__all__ = ["Journal"]

log = logging.getLogger("flwr_byzantine.peer")

MAX_REJECTED = 200
RECENT_ROUNDS = 20
MAX_RECORDS = 10_000
"""Of a peer that runs for ever, the last ones."""
LIFE = {
    Reason.ADMITTED,
    Reason.CONVICTED,
    Reason.EVICTED,
    Reason.LEFT,
    Reason.RETURNED,
    Reason.SUSPECTED,
    Reason.TRUSTED,
}
"""What happened to a member, rather than something that was left out."""
QUIET = {Reason.DUPLICATE, Reason.LATE, Reason.UNREACHABLE, Reason.BEHIND}
"""Of every day: counted, and said at the level of information."""


class Journal(NodeJournal):
    """One peer's records. Any number of threads may write.

    Args:
        name: How log lines call it.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, log)
        self._said: Counter[tuple[str, str]] = Counter()
        self._recent: deque[RoundRecord] = deque(maxlen=RECENT_ROUNDS)
        self._phase: tuple[str, float] = ("", 0.0)
        self._open: RoundRecord | None = None
        self.records: deque[RoundRecord] = deque(maxlen=MAX_RECORDS)
        self.read_bytes = self.written_bytes = 0

    def report(self, report: Report) -> None:
        """Count and log what the machine reports."""
        if report.reason in LIFE:
            log.info("%s: member: %s", self._name, report)
        self.reject(report.peer, f"{report.reason}: {report.detail}" if report.detail else str(report.reason), report)

    def reject(self, peer: str, reason: str, report: Report | None = None) -> None:
        """Count something that was left out, note it in the round, and log it once a round."""
        parts = reason.split(": ")
        code = ": ".join(parts[: 2 if parts[0] == Reason.REFUSED else 1])
        with self._lock:
            self._count(peer, code)
            pair = (peer, reason)
            if self._open is not None and pair not in self._open.rejected and len(self._open.rejected) < MAX_REJECTED:
                self._open.rejected.append(pair)
            self._said[(peer, code)] += 1 if len(self._said) < MAX_KINDS or (peer, code) in self._said else 0
            first = self._said[(peer, code)] == 1
        if first and (report is None or report.reason not in LIFE):
            level = logging.INFO if report is not None and report.reason in QUIET else logging.WARNING
            log.log(level, "%s: peer %s: %s", self._name, peer[:8], reason)

    def phase(self, phase: str, now: float) -> None:
        """Note which phase it is, so that the time of each is known."""
        with self._lock:
            before, since = self._phase
            if phase == before:
                return
            if self._open is not None and before:
                self._open.seconds[before] = self._open.seconds.get(before, 0.0) + now - since
            self._phase = (phase, now)

    def add_bytes(self, *, read: int = 0, written: int = 0) -> None:
        """Count what went over the stores."""
        with self._lock:
            self.read_bytes += read
            self.written_bytes += written
            if self._open is not None:
                self._open.read_bytes += read
                self._open.written_bytes += written

    def begin(self, round: int) -> None:
        """A round begins."""
        with self._lock:
            self._open = RoundRecord(round)

    def note(self, **values: Any) -> None:
        """Set fields of the open round's record."""
        with self._lock:
            for name, value in values.items():
                if self._open is not None:
                    setattr(self._open, name, value)

    def end(self, round: int, now: float) -> RoundRecord | None:
        """The record of the open round if it is before this one; it is closed and logged."""
        phase = self._phase[0]
        self.phase("", now)
        self.phase(phase, now)
        with self._lock:
            record = self._open if self._open is not None and self._open.round < round else None
            if record is None:
                return None
            self._open = None
            self.records.append(record)
            self._recent.append(record)
            repeated = {pair: count - 1 for pair, count in self._said.items() if count > 1}
            self._said.clear()
        self._log(record, repeated)
        return record

    def _log(self, record: RoundRecord, repeated: dict[tuple[str, str], int]) -> None:
        outcome = f"kept the model: {record.kept}" if record.kept else f"aggregated {len(record.rows)} averages"
        self.say("round %d: %s in %.2f s", record.round, outcome, sum(record.seconds.values()))
        for (peer, code), count in repeated.items():
            log.info("%s: round %d: peer %s: %s %d times more", self._name, record.round, peer[:8], code, count)

    def status(self) -> dict[str, Any]:
        """What can be shown, of JSON's types."""
        with self._lock:
            last = self._recent[-1] if self._recent else None
            return {
                "rejected": self._rejected(),
                "read-bytes": self.read_bytes,
                "written-bytes": self.written_bytes,
                "rounds": [asdict(record) for record in self._recent],
                "last-rows": len(last.rows) if last else 0,
                "kept": last.kept if last else None,
            }
