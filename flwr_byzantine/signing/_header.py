r"""The header of an envelope, and what is signed of it.

.. code-block:: text

    offset  bytes
         0      7  "flwrbyz"
         7      1  version, 1
         8      1  dtype: 0 bytes, 1 float32, 2 float64, 3 float16, 4 bfloat16, 5 int64
         9      1  number of dimensions, 0 to 8
        10      6  zero
        16      8  round
        24      8  length of the payload in bytes
        32     32  the peer's raw Ed25519 public key
        64     32  SHA-256 of the payload
        96     64  run, ASCII, padded with zeros
       160     32  kind, ASCII, padded with zeros
       192     64  the dimensions; zero beyond their number
       256     64  Ed25519 signature for the tag and the 256 bytes before
       320         the payload

Numbers are unsigned and little-endian. Every field has its place, so there is one encoding of a content; the payload
begins at a multiple of 64, as vector units like it.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from flwr_byzantine.signing._content import CODE_OF, DTYPES, MAX_DIMS, Form, form_fault

__all__ = ["DIGEST", "HEADER_BYTES", "STATEMENT_BYTES", "TAG", "Header", "checked_kind", "checked_run", "context"]

MAGIC, VERSION = b"flwrbyz", 1
TAG = b"flwr-byzantine envelope v1\0"
"""Signed before the header, so that no signature made for another purpose counts as one of these."""
LAYOUT = struct.Struct("<7sBBB6xQQ32s32s64s32s8Q")
CONTEXT = struct.Struct("<32sQ64s32s")
HEADER_BYTES = LAYOUT.size
STATEMENT_BYTES = HEADER_BYTES + 64
"""Length of a header with its Ed25519 signature."""
DIGEST = slice(64, 96)
RUN = re.compile(r"[A-Za-z0-9._-]{1,64}")
KIND = re.compile(r"[a-z0-9-]{1,32}")


@dataclass(frozen=True)
class Header:
    """Who says what about which round."""

    run: str
    peer: str
    round: int
    kind: str
    form: Form
    length: int
    digest: bytes

    def __post_init__(self) -> None:
        context(self.run, self.peer, self.round, self.kind)
        fault = form_fault(self.form, self.length)
        if fault:
            raise ValueError(fault)

    def encode(self) -> bytes:
        """The header's bytes."""
        dtype, shape = self.form
        dims = shape + (0,) * (MAX_DIMS - len(shape))
        run, kind = self.run.encode("ascii"), self.kind.encode("ascii")
        fields = (self.round, self.length, bytes.fromhex(self.peer), self.digest, run, kind, *dims)
        return LAYOUT.pack(MAGIC, VERSION, CODE_OF[dtype], len(shape), *fields)

    @classmethod
    def decode(cls, data: bytes) -> Header | str:
        """The header in 256 bytes, or what is wrong with them."""
        magic, version, code, ndim, round_, length, peer, digest, run, kind, *dims = LAYOUT.unpack(data)
        if (magic, version) != (MAGIC, VERSION):
            return f"it does not begin as an envelope of version {VERSION}"
        if code not in DTYPES or ndim > MAX_DIMS:
            return f"dtype {code} with {ndim} dimensions is unknown"
        form, texts = (DTYPES[code], tuple(dims[:ndim])), (_text(run), _text(kind))
        try:
            header = cls(texts[0], peer.hex(), round_, texts[1], form, length, digest)
        except ValueError as error:
            return str(error)
        return header if header.encode() == data else "its header has bytes that should be zero"


def context(run: str, peer: str, round: int, kind: str) -> bytes:
    """Who says something, in which round and what for: 136 bytes.

    Raises:
        ValueError: If one of them is out of its range.
    """
    if not isinstance(round, int) or not 0 <= round < 1 << 64:
        raise ValueError(f"a round is a whole number from 0 to 2**64 - 1, got {round!r:.80}")
    names = (checked_run(run).encode("ascii"), checked_kind(kind).encode("ascii"))
    return CONTEXT.pack(bytes.fromhex(peer), round, *names)


def checked_run(run: str) -> str:
    """A run's name.

    Raises:
        ValueError: If it is none.
    """
    if not isinstance(run, str) or not RUN.fullmatch(run):
        raise ValueError(f"a run has 1 to 64 ASCII letters, digits, '-', '_' or '.', got {run!a:.80}")
    return run


def checked_kind(kind: str) -> str:
    """A kind of envelope.

    Raises:
        ValueError: If it is none.
    """
    if not isinstance(kind, str) or not KIND.fullmatch(kind):
        raise ValueError(f"a kind has 1 to 32 small letters, digits or '-', got {kind!a:.80}")
    return kind


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode("latin-1")
