"""Envelopes out and in: how a peer signs what it publishes, and what it takes from the stores of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from flwr_byzantine.clients._fetching import fetched
from flwr_byzantine.clients.peer.board import MAX_BOARD_BYTES
from flwr_byzantine.clients.peer.config import PeerConfig
from flwr_byzantine.signing import (
    STATEMENT_BYTES,
    Expected,
    PeerKey,
    PrivateKey,
    Rejected,
    Verified,
    envelope_bytes,
    open_envelope,
    open_sealed,
    seal_envelope,
    sealed_bytes,
    sign_envelope,
)
from flwr_byzantine.stores import TensorStore

__all__ = ["AVERAGE", "BOARD", "MODEL", "Mail", "name_of"]

AVERAGE, MODEL, BOARD = "average", "model", "board"
MOST_RECIPIENTS = 4096


def name_of(kind: str, round: int) -> str:
    """The key that an envelope is published under.

    Example:
        >>> name_of("average", 3), name_of("board", 3)
        ('average:3', 'board')
    """
    return kind if kind == BOARD else f"{kind}:{round}"


@dataclass
class Mail:
    """Signs for one peer, and opens what others signed. Any number of threads may use it.

    Args:
        key: One's own.
        config: The run, and whether payloads are sealed.
        ring: The peers whose signatures count; those admitted later are added.
        form: Dtype and shape of the model; None while it is not known.
        counted: Told the bytes of each envelope that was read.
    """

    key: PrivateKey
    config: PeerConfig
    ring: dict[str, PeerKey]
    form: tuple[torch.dtype, tuple[int, ...]] | None = None
    counted: Callable[[int], None] = lambda _: None

    def sign(self, content: Tensor | bytes, kind: str, round: int) -> bytes:
        """The envelope to publish."""
        run = self.config.run
        if not self.config.secret or kind == BOARD:
            return sign_envelope(self.key, content, run=run, round=round, kind=kind)
        to = [peer for peer in list(self.ring.values()) if peer.sealing is not None]
        return seal_envelope(self.key, content, to=to, run=run, round=round, kind=kind)

    def read(self, reader: TensorStore, peer: str, kind: str, round: int) -> Verified | Rejected | None:
        """What lies in a peer's store, if it is what it should be; None if there is nothing.

        Raises:
            Exception: Whatever the reader raises if the store does not answer.
        """
        expected = self._expected(peer, kind, round)
        data = fetched(reader, name_of(kind, round), expected)
        if not isinstance(data, bytes):
            return data
        self.counted(len(data))
        return self.open(data, expected)

    def open(self, data: bytes, expected: Expected) -> Verified | Rejected:
        """What was signed, or why it is left out."""
        if self.config.secret and expected.kind != BOARD:
            return open_sealed(data, expected, self.ring, self.key)
        ring = self.ring
        if expected.kind == BOARD and expected.peer is not None and expected.peer not in ring:
            ring = {expected.peer: PeerKey(expected.peer)}  # a stranger's: of what it says only its join request counts
        return open_envelope(data, expected, ring)

    def own(self, store: TensorStore, kind: str, round: int) -> tuple[bytes, Verified] | None:
        """What one published oneself, in an earlier life perhaps: the envelope and what is in it."""
        expected = self._expected(self.key.peer, kind, round)
        data = fetched(store, name_of(kind, round), expected)
        if not isinstance(data, bytes):
            return None
        opened = self.open(data, expected)
        return (data, opened) if isinstance(opened, Verified) else None

    def trust(self, key: PeerKey) -> None:
        """Put a peer that was admitted on the keyring."""
        self.ring.setdefault(key.peer, key)

    def _expected(self, peer: str, kind: str, round: int) -> Expected:
        rounds = range(1 << 62) if kind == BOARD else range(round, round + 1)
        limits: Mapping[str, object] = {"dtype": None, "shape": None, "max_bytes": self.config.max_bytes}
        if kind == BOARD:
            limits = {"dtype": bytes, "shape": None, "max_bytes": STATEMENT_BYTES + MAX_BOARD_BYTES}
        elif self.form is not None:
            dtype, shape = self.form
            most = sealed_bytes(dtype, shape, MOST_RECIPIENTS) if self.config.secret else envelope_bytes(dtype, shape)
            limits = {"dtype": dtype, "shape": shape, "max_bytes": most}
        return Expected(run=self.config.run, kind=kind, rounds=rounds, peer=peer, **limits)  # type: ignore[arg-type]
