"""What lies in another's store, as far as it can be known without opening it."""

from __future__ import annotations

from flwr_byzantine.errors import TooLargeError
from flwr_byzantine.signing import Expected, Reason, Rejected
from flwr_byzantine.stores import TensorStore

__all__ = ["fetched"]


def fetched(reader: TensorStore, name: str, expected: Expected) -> bytes | Rejected | None:
    """The bytes under a name, why they are left out unread, or None if there are none.

    Raises:
        Exception: Whatever the reader raises if the store does not answer.

    Example:
        >>> from flwr_byzantine.stores import MemoryStore
        >>> store, expected = MemoryStore(), Expected(run="run", kind="model", rounds=range(1, 2), max_bytes=1024)
        >>> store.publish("model:1", b"signed")
        >>> fetched(store, "model:1", expected), fetched(store, "model:2", expected)
        (b'signed', None)
        >>> store.publish("model:1", bytes(1025))
        >>> fetched(store, "model:1", expected).reason
        <Reason.TOO_LARGE: 'too-large'>
    """
    try:
        return reader.read(name, max_bytes=expected.max_bytes)
    except TooLargeError as error:
        return expected.rejected(expected.peer, Reason.TOO_LARGE, str(error))
