"""The servers' protocol, RESP 2 and 3, without copies of large strings.

redis-py joins a large argument with its command and collects a large reply piece by piece; a tensor of 100 MB is copied
several times each way. Here an argument is sent from where it lies, and a reply is received where it belongs. What a
server sends is untrusted: no length that it states is believed beyond the limit that the caller gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import TypeAlias

from flwr_byzantine.errors import StoreError, StoreUnavailableError, TooLargeError

__all__ = ["Argument", "ProtocolError", "Reader", "Reply", "ReplyError", "pack"]

Argument: TypeAlias = str | bytes | int | tuple[bytes | memoryview, ...]
"""One argument of a command; of a tuple, the parts are sent one after the other."""

SEPARATE_BYTES = 4096  # shorter arguments are joined: a piece of its own costs a system call
BUFFER_BYTES = 16384
MAX_LINE_BYTES = 65536
MAX_ELEMENTS = 100_000
MAX_DEPTH = 8


class ReplyError(StoreError):
    """What a server replied instead of a result, word for word. The connection stays in step."""

    @property
    def text(self) -> str:
        """Its words."""
        return str(self.args[0])


class ProtocolError(StoreUnavailableError):
    """What came is not the servers' protocol; the connection is of no more use."""


Reply: TypeAlias = "int | bytes | ReplyError | list[Reply] | None"


def pack(arguments: Sequence[Argument]) -> list[bytes | memoryview]:
    """A command as pieces to be sent one after the other; large parts are pieces of their own, not copied."""
    packed: list[bytes | memoryview] = []
    small = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        parts = argument if isinstance(argument, tuple) else (_encoded(argument),)
        small.append(b"$%d\r\n" % sum(map(len, parts)))
        for part in parts:
            if len(part) < SEPARATE_BYTES:
                small.append(bytes(part))
            else:
                packed += [b"".join(small), part]
                small = []
        small.append(b"\r\n")
    return [*packed, b"".join(small)]


def _encoded(argument: str | bytes | int) -> bytes:
    return argument if isinstance(argument, bytes) else str(argument).encode()


class Reader:
    """Reads replies; ``receive`` puts some bytes into a buffer and gives their number, 0 at the end of the stream."""

    def __init__(self, receive: Callable[[memoryview], int]) -> None:
        self._receive = receive
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._at = self._end = 0

    @property
    def drained(self) -> bool:
        """Whether all that came has been read."""
        return self._at == self._end

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes; the caller has bounded their number."""
        taken = BytesIO()  # the one way to fill bytes in place: a bytearray is copied to become bytes
        taken.seek(max(count - 1, 0))
        taken.write(b"\0"[:count])
        with taken.getbuffer() as view:
            self.into(view)
        return taken.getvalue()

    def into(self, view: memoryview) -> None:
        """Fill ``view`` with the next bytes."""
        while view:
            if self.drained and len(view) >= BUFFER_BYTES:
                view = view[self._some(view) :]
                continue
            if self.drained:
                self._fill()
            count = min(len(view), self._end - self._at)
            view[:count] = self._buffer[self._at : self._at + count]
            self._at += count
            view = view[count:]

    def array(self) -> int:
        """How many elements the array that comes next has; each is to be read by itself."""
        kind, rest = self._head()
        if kind != b"*":
            raise ProtocolError(f"the server sent {kind!r} instead of an array")
        return _length(rest, MAX_ELEMENTS)

    def string(self) -> int | None:
        """The length of the string that comes next, None for none; it is read by ``take`` or ``into``, then ``end``."""
        kind, rest = self._head()
        if kind == b"_" or (kind, rest) == (b"$", b"-1"):
            return None
        if kind not in b"$=":
            raise ProtocolError(f"the server sent {kind!r} instead of a string")
        return _length(rest)

    def end(self) -> None:
        """Read what ends a string."""
        if self.take(2) != b"\r\n":
            raise ProtocolError("the server sent a string without its end")

    def reply(self, limit: int, depth: int = 0) -> Reply:
        """The whole reply that comes next, of strings of at most ``limit`` bytes; an error in an array is an element.

        Raises:
            ReplyError: If it is an error.
            TooLargeError: If a string in it is longer; it has not been read.
        """
        kind, rest = self._head()
        if kind in b"$=":
            return None if rest == b"-1" else self._whole_string(_length(rest), limit)
        if kind in b"*~%":
            count = 0 if rest == b"-1" else _length(rest, MAX_ELEMENTS) * (2 if kind == b"%" else 1)
            return None if rest == b"-1" else self._elements(count, limit, depth)
        if kind == b":":
            return _integer(rest)
        return None if kind == b"_" else rest

    def answer(self, limit: int, depth: int = 0) -> Reply:
        """Like :meth:`reply`, but an error is what is returned."""
        try:
            return self.reply(limit, depth)
        except ReplyError as error:
            return error

    def _whole_string(self, length: int, limit: int) -> bytes:
        if length > limit:
            raise TooLargeError(f"the server sends {length} bytes, over the limit of {limit}")
        value = self.take(length)
        self.end()
        return value

    def _elements(self, count: int, limit: int, depth: int) -> list[Reply]:
        if depth == MAX_DEPTH:
            raise ProtocolError(f"the server sent arrays more than {MAX_DEPTH} deep")
        return [self.answer(limit, depth + 1) for _ in range(count)]

    def _head(self) -> tuple[bytes, bytes]:
        """The kind of what comes next and the rest of its line; out-of-band messages are passed over, errors raised."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise ReplyError(rest.decode(errors="replace"))
        if kind == b"!":
            raise ReplyError(self._whole_string(_length(rest), MAX_LINE_BYTES).decode(errors="replace"))
        if kind == b">":
            self._elements(_length(rest, MAX_ELEMENTS), MAX_LINE_BYTES, 0)
            return self._head()
        if not kind or kind not in b"+:$=*~%_#,(":
            raise ProtocolError(f"the server sent {line[:40]!r}, which begins no reply")
        return kind, rest

    def _line(self) -> bytes:
        line = bytearray()
        while len(line) <= MAX_LINE_BYTES:
            if self.drained:
                self._fill()
            line += self._buffer[self._at : self._end]
            end = line.find(b"\r\n")
            if end >= 0:
                self._at = self._end - (len(line) - end - 2)
                return bytes(line[:end])
            self._at = self._end
        raise ProtocolError("the server sent a line without end")

    def _fill(self) -> None:
        """Receive into the buffer, all of which has been read."""
        self._at, self._end = 0, self._some(self._buffer)

    def _some(self, view: memoryview) -> int:
        if count := self._receive(view):
            return count
        raise StoreUnavailableError("the server closed the connection")


def _integer(digits: bytes) -> int:
    try:
        return int(digits)
    except ValueError:
        raise ProtocolError(f"the server sent {digits[:40]!r} instead of a number") from None


def _length(digits: bytes, at_most: int | None = None) -> int:
    length = _integer(digits)
    if length < 0 or (at_most is not None and length > at_most):
        raise ProtocolError(f"the server sent a length of {length}")
    return length
