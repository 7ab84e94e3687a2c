"""How a Flower server and its nodes speak of long-lived roles: message types, names of records, and seats.

A seat says where a peer's store is, and is signed by that peer: the server hands seats on, and can neither move a peer
to another store nor make one up.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from flwr_byzantine.signing import (
    Expected,
    Keyring,
    PeerKey,
    PrivateKey,
    Rejected,
    envelope_bytes,
    open_envelope,
    sign_envelope,
)

__all__ = ["ARRAYS", "GUANYU", "METRICS", "SETTINGS", "SPIRT", "Seat", "Talk", "read_seat", "run_name"]


@dataclass(frozen=True)
class Talk:
    """What a server and its nodes say to each other in one kind of run.

    Args:
        name: Of the kind, and of the record that says what no other record does.

    Example:
        >>> SPIRT.who, SPIRT.start, SPIRT.report, SPIRT.end
        ('query.spirt', 'train.spirt', 'query.spirt_report', 'query.spirt_end')
    """

    name: str

    @property
    def who(self) -> str:
        """The message type of "who are you?"."""
        return f"query.{self.name}"

    @property
    def start(self) -> str:
        """That of "train with these"."""
        return f"train.{self.name}"

    @property
    def report(self) -> str:
        """That of "how far are you?"."""
        return f"query.{self.name}_report"

    @property
    def end(self) -> str:
        """That of "we are done"."""
        return f"query.{self.name}_end"


SPIRT, GUANYU = Talk("spirt"), Talk("guanyu")
"""The words of SPIRT's peers and of GuanYu's nodes with their server."""
SETTINGS, ARRAYS, METRICS = "settings", "arrays", "metrics"
"""Names of the other records: the settings of a node, the model, the numbers."""

KIND = "seat"
MAX_SEAT_BYTES = 2048
ADDRESS = re.compile(r"(rediss?://|unix:///|memory:)[!-~]{1,1000}")


@dataclass(frozen=True)
class Seat:
    """Where a peer is found.

    Args:
        key: What is known of it.
        store: The URL at which others read what it publishes: ``redis://``, ``rediss://``, ``unix://`` without
            options, or ``memory:`` within one process.

    Raises:
        ValueError: If the URL is no such one.

    Example:
        >>> key = PrivateKey.generate()
        >>> signed = Seat(key.public("alice"), "redis://reader:secret@10.0.0.7:6379").signed(key, run="demo")
        >>> read_seat(signed, peer=key.peer, run="demo").store
        'redis://reader:secret@10.0.0.7:6379'
        >>> read_seat(signed, peer=PrivateKey.generate().peer, run="demo").reason
        <Reason.UNKNOWN_KEY: 'unknown-key'>
    """

    key: PeerKey
    store: str

    def __post_init__(self) -> None:
        if not ADDRESS.fullmatch(self.store) or "?" in self.store:
            raise ValueError(
                f"a peer's store is read at redis://, rediss:// or unix:/// without options, got {self.store!r:.80}"
            )

    def signed(self, key: PrivateKey, *, run: str) -> bytes:
        """The envelope that says so, signed by the peer itself."""
        fields = {"name": self.key.name, "sealing": (self.key.sealing or b"").hex(), "store": self.store}
        return sign_envelope(key, json.dumps(fields).encode(), run=run, round=0, kind=KIND)


def read_seat(data: bytes, *, peer: str, run: str) -> Seat | Rejected | str:
    """The seat of a peer, if it signed one for this run; else why it is left out.

    Args:
        data: Any bytes.
        peer: The id that the peer is said to have, any text.
        run: The run.

    Example:
        >>> print(read_seat(b"nonsense", peer="ab" * 32, run="demo").reason)
        malformed
    """
    try:
        ring = Keyring([PeerKey(peer)])
    except ValueError as error:
        return str(error)
    size = envelope_bytes(bytes, [MAX_SEAT_BYTES])
    opened = open_envelope(data, Expected(run=run, kind=KIND, rounds=range(1), max_bytes=size, dtype=bytes), ring)
    if isinstance(opened, Rejected):
        return opened
    try:
        fields = json.loads(opened.payload or b"")
        sealing = bytes.fromhex(fields["sealing"]) or None
        return Seat(PeerKey(peer, str(fields["name"]), sealing), str(fields["store"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        return f"seat of peer {peer[:8]} left out: {type(error).__name__}: {error!s:.160}"


def run_name(run_id: int) -> str:
    """The name of a Flower run, for which peers sign.

    Example:
        >>> run_name(7)
        'flwr-7'
    """
    return f"flwr-{run_id}"
