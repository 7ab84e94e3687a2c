"""Envelopes out and in: what a node publishes in its own store, and what it takes from the stores of others.

Beside each message, ``model:7`` say, lies the head of its kind, ``model-head``: the last step of which there is one.
So a reader asks for nothing in vain, and one that fell behind knows where the others are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from flwr_byzantine.clients._fetching import fetched
from flwr_byzantine.protocols.guanyu import Kind
from flwr_byzantine.signing import (
    STATEMENT_BYTES,
    Expected,
    PeerKey,
    PrivateKey,
    Rejected,
    Verified,
    envelope_bytes,
    open_envelope,
    sign_envelope,
)
from flwr_byzantine.stores import TensorStore

__all__ = ["Post", "head_of", "name_of"]


def name_of(kind: Kind, step: int) -> str:
    """The key that a message is published under.

    Example:
        >>> name_of(Kind.GRADIENT, 3), head_of(Kind.GRADIENT)
        ('gradient:3', 'gradient-head')
    """
    return f"{kind.value}:{step}"


def head_of(kind: Kind) -> str:
    """The key, and the kind of envelope, of a kind's last step."""
    return f"{kind.value}-head"


@dataclass
class Post:
    """Signs for one node, and opens what others signed. Any number of threads may read.

    Args:
        key: One's own.
        ring: The nodes whose signatures count.
        run: Signatures of another run count for nothing.
        form: Dtype and shape of the model.
        retain_steps: For how many steps what one published stays.
        counted: Told ``(whose store, kind, bytes)`` of all that is read, and of what is written in one's own.
    """

    key: PrivateKey
    ring: Mapping[str, PeerKey]
    run: str
    form: tuple[torch.dtype, tuple[int, ...]]
    retain_steps: int
    counted: Callable[[str, str, int], None] = lambda owner, kind, size_bytes: None
    _published: deque[tuple[int, str]] = field(default_factory=deque)

    def publish(self, store: TensorStore, value: Tensor, kind: Kind, step: int) -> None:
        """Publish a message and its head, and withdraw what is too old. Done twice, it says the same."""
        envelope = sign_envelope(self.key, value, run=self.run, round=step, kind=kind.value)
        head = sign_envelope(self.key, b"", run=self.run, round=step, kind=head_of(kind))
        store.publish(name_of(kind, step), envelope)
        store.publish(head_of(kind), head)
        self.counted(self.key.peer, kind.value, len(envelope))
        self.counted(self.key.peer, head_of(kind), len(head))
        self._published.append((step, name_of(kind, step)))
        while self._published and self._published[0][0] <= step - self.retain_steps:
            store.withdraw(self._published[0][1])
            self._published.popleft()

    def read(self, reader: TensorStore, sender: str, kind: Kind, step: int) -> Verified | Rejected | None:
        """What lies in a node's store, if it is what it should be; None if there is nothing.

        Raises:
            Exception: Whatever the reader raises if the store does not answer.
        """
        dtype, shape = self.form
        expected = Expected(
            run=self.run, kind=kind.value, rounds=range(step, step + 1), peer=sender, dtype=dtype, shape=shape,
            max_bytes=envelope_bytes(dtype, shape),
        )  # fmt: skip
        data = self._fetch(reader, name_of(kind, step), expected)
        return open_envelope(data, expected, self.ring) if isinstance(data, bytes) else data

    def head(self, reader: TensorStore, sender: str, kind: Kind, last: bytes) -> tuple[bytes, int] | Rejected | None:
        """A node's head as it lies there, and its step; the step is 0 if it is the ``last`` one, read before.

        Raises:
            Exception: Whatever the reader raises if the store does not answer.
        """
        expected = Expected(
            run=self.run, kind=head_of(kind), rounds=range(1, 1 << 62), peer=sender, dtype=bytes,
            max_bytes=STATEMENT_BYTES,
        )  # fmt: skip
        data = self._fetch(reader, head_of(kind), expected)
        if not isinstance(data, bytes):
            return data
        if data == last:
            return data, 0
        found = open_envelope(data, expected, self.ring)
        return found if isinstance(found, Rejected) else (data, found.round)

    def _fetch(self, reader: TensorStore, name: str, expected: Expected) -> bytes | Rejected | None:
        data = fetched(reader, name, expected)
        if isinstance(data, bytes):
            self.counted(expected.peer or "", expected.kind, len(data))
        return data
