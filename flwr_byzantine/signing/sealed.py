r"""Payloads that only the peers they are meant for can read, where the way to a store has no TLS.

.. code-block:: text

    offset  bytes
         0      8  "flwrsea", version 1
         8      2  dtype and number of dimensions, as in an envelope
        10      2  number of recipients, 1 to 4096
        12      4  zero
        16     64  the dimensions
        80     32  a fresh X25519 public key
       112     32  what commits to the secret
       144     80  for each recipient: its id, and the secret wrapped for it
             then  the content, encrypted, and a tag of 16 bytes

A secret is drawn for each payload, so the nonces of AES-256-GCM can be zero. The whole is the payload of a signed
envelope; all that is encrypted is bound to its run, peer, round and kind, and to everything before it.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from torch import Tensor

from flwr_byzantine.signing._content import (
    CODE_OF,
    DTYPES,
    MAX_DIMS,
    Content,
    Form,
    described,
    finiteness_fault,
    form_fault,
    restored,
)
from flwr_byzantine.signing._header import context
from flwr_byzantine.signing.envelope import form_faults, open_envelope, signed
from flwr_byzantine.signing.expected import Expected, Verified, envelope_bytes
from flwr_byzantine.signing.keys import PeerKey, PrivateKey, exchange
from flwr_byzantine.signing.verdict import Fault, Reason, Rejected

__all__ = ["open_sealed", "seal_envelope", "sealed_bytes"]

MAGIC = b"flwrsea\x01"
LABEL = b"flwr-byzantine sealed payload v1 "
LAYOUT = struct.Struct("<8sBBH4x8Q32s32s")
SLOT_BYTES = 32 + 32 + 16
TAG_BYTES = 16
MAX_RECIPIENTS = 4096
MAX_CONTENT_BYTES = (1 << 31) - 1 - TAG_BYTES  # what one call of the library encrypts
NONCE = bytes(12)


@dataclass(frozen=True)
class _Seal:
    """A sealed payload in its parts."""

    form: Form
    count: int
    fresh: bytes
    commitment: bytes

    def encode(self) -> bytes:
        dtype, shape = self.form
        dims = shape + (0,) * (MAX_DIMS - len(shape))
        return LAYOUT.pack(MAGIC, CODE_OF[dtype], len(shape), self.count, *dims, self.fresh, self.commitment)

    @classmethod
    def decode(cls, payload: bytes) -> _Seal | None:
        if len(payload) < LAYOUT.size + SLOT_BYTES + TAG_BYTES:
            return None
        _, code, ndim, count, *dims, fresh, commitment = LAYOUT.unpack_from(payload)
        length = len(payload) - LAYOUT.size - SLOT_BYTES * count - TAG_BYTES
        if code not in DTYPES or ndim > MAX_DIMS or not 0 < count <= MAX_RECIPIENTS or length < 0:
            return None
        seal = cls((DTYPES[code], tuple(dims[:ndim])), count, fresh, commitment)
        whole = seal.encode() == payload[: LAYOUT.size] and length <= MAX_CONTENT_BYTES
        return None if form_fault(seal.form, length) or not whole else seal


def seal_envelope(
    key: PrivateKey, content: Content, *, to: Iterable[PeerKey], run: str, round: int, kind: str
) -> bytes:
    """The envelope in which a peer says what ``content`` is to the peers it names, and to nobody else.

    Besides the encryption's own output, the content is copied once, into the envelope.

    Args:
        key: The peer's own.
        content: As for :func:`~flwr_byzantine.signing.sign_envelope`, of less than 2 GiB.
        to: Who is to read it, 1 to 4096 peers; all of them read the same. The sender itself only if it is among them.
        run: 1 to 64 ASCII letters, digits, ``-_.``.
        round: ``>= 0``.
        kind: 1 to 32 small letters, digits, ``-``.

    Raises:
        TypeError: If the content is something else.
        ValueError: If one of them is out of its range, or a peer has no sealing key.

    Example:
        >>> alice, bob = PrivateKey.generate(), PrivateKey.generate()
        >>> data = seal_envelope(alice, b"hello", to=[bob.public()], run="demo", round=1, kind="greeting")
        >>> expected = Expected(run="demo", kind="greeting", rounds=range(1, 2), max_bytes=999)
        >>> open_sealed(data, expected, {alice.peer: alice.public()}, bob).payload
        b'hello'
    """
    form, plain = described(content)
    recipients = _recipients(to)
    if len(plain) > MAX_CONTENT_BYTES:
        raise ValueError(f"a sealed payload has at most {MAX_CONTENT_BYTES} bytes, got {len(plain)}")
    bound, secret, fresh = context(run, key.peer, round, kind), secrets.token_bytes(32), X25519PrivateKey.generate()
    head = _Seal(form, len(recipients), fresh.public_key().public_bytes_raw(), _derived(secret, b"commitment")).encode()
    slots = b"".join(bytes.fromhex(peer.peer) + _wrapped(secret, fresh, peer, bound + head) for peer in recipients)
    sealed = AESGCM(_derived(secret, b"content")).encrypt(NONCE, plain, bound + head + slots)
    return signed(key, [head, slots, sealed], (None, ()), (run, round, kind))


def open_sealed(
    data: bytes | bytearray | memoryview, expected: Expected, keyring: Mapping[str, PeerKey], own: PrivateKey
) -> Verified | Rejected:
    """What a peer sealed for this one, if it is what was expected; else why it is left out.

    The checks are those of :func:`~flwr_byzantine.signing.open_envelope`, with ``unsealable`` for what cannot be read
    once the signature is known to be good.

    Args:
        data: What was found: any bytes.
        expected: What it must be; the dtype and the shape are those inside, ``max_bytes`` that of the whole.
        keyring: The peers whose signatures count.
        own: The reader's key.

    Returns:
        A tensor or bytes with the statement and digest of the envelope around them; or what was found wrong.

    Example:
        >>> from flwr_byzantine.signing import Expected, PrivateKey
        >>> alice, bob, eve = PrivateKey.generate(), PrivateKey.generate(), PrivateKey.generate()
        >>> data = seal_envelope(alice, b"hello", to=[bob.public()], run="demo", round=1, kind="greeting")
        >>> expected = Expected(run="demo", kind="greeting", rounds=range(1, 2), max_bytes=999)
        >>> print(open_sealed(data, expected, {alice.peer: alice.public()}, eve).reason)
        unsealable
    """
    outer = open_envelope(data, replace(expected, dtype=bytes, shape=None), keyring)
    if isinstance(outer, Rejected) or outer.payload is None:
        return outer
    content = _content(outer.payload, outer, expected, own)
    if isinstance(content, Fault):
        return expected.rejected(outer.peer, *content)
    tensor, payload = (content, None) if isinstance(content, Tensor) else (None, content)
    return replace(outer, tensor=tensor, payload=payload)


def sealed_bytes(dtype: torch.dtype | type[bytes], shape: Iterable[int], recipients: int) -> int:
    """The size in bytes of an envelope with such a content, sealed for so many peers.

    Example:
        >>> sealed_bytes(torch.float32, [1000], 4)
        4800
    """
    return envelope_bytes(dtype, list(shape)) + LAYOUT.size + SLOT_BYTES * recipients + TAG_BYTES


def _recipients(to: Iterable[PeerKey]) -> list[PeerKey]:
    recipients = sorted(to, key=lambda peer: peer.peer)
    if not 0 < len({peer.peer for peer in recipients}) == len(recipients) <= MAX_RECIPIENTS:
        raise ValueError(f"a payload is sealed for 1 to {MAX_RECIPIENTS} different peers, got {len(recipients)}")
    without = [peer.label for peer in recipients if peer.sealing is None]
    if without:
        raise ValueError(f"nothing can be sealed for {', '.join(without[:8])}: no sealing key on the keyring")
    return recipients


def _content(payload: bytes, outer: Verified, expected: Expected, own: PrivateKey) -> Content | Fault:
    seal = _Seal.decode(payload)
    if seal is None:
        return Fault(Reason.UNSEALABLE, "its payload is no sealed one")
    fault = next(form_faults(seal.form, expected), None)
    if fault is not None:
        return fault
    plain = _unsealed(payload, seal, context(outer.run, outer.peer, outer.round, outer.kind), own)
    if isinstance(plain, Fault):
        return plain
    content = restored(memoryview(plain), seal.form)
    detail = finiteness_fault(content) if expected.finite else None
    return content if detail is None else Fault(Reason.NOT_FINITE, detail)


def _unsealed(payload: bytes, seal: _Seal, bound: bytes, own: PrivateKey) -> bytes | Fault:
    begin = LAYOUT.size + SLOT_BYTES * seal.count
    slots = {payload[at : at + 32]: payload[at + 32 : at + SLOT_BYTES] for at in range(LAYOUT.size, begin, SLOT_BYTES)}
    wrapped = slots.get(bytes.fromhex(own.peer))
    if wrapped is None:
        return Fault(Reason.UNSEALABLE, "it is sealed for others")
    secret = _unwrapped(wrapped, own, seal.fresh, bound + payload[: LAYOUT.size])
    if secret is None or _derived(secret, b"commitment") != seal.commitment:
        return Fault(Reason.UNSEALABLE, "the secret wrapped for this peer is not the one it commits to")
    try:
        cipher = AESGCM(_derived(secret, b"content"))
        return cipher.decrypt(NONCE, memoryview(payload)[begin:], bound + payload[:begin])
    except InvalidTag:
        return Fault(Reason.UNSEALABLE, "it was encrypted otherwise, or for another peer, run, round or kind")


def _wrapped(secret: bytes, fresh: X25519PrivateKey, peer: PeerKey, bound: bytes) -> bytes:
    return _wrapping(exchange(fresh, peer.sealing or b""), peer).encrypt(NONCE, secret, bound)


def _unwrapped(wrapped: bytes, own: PrivateKey, fresh: bytes, bound: bytes) -> bytes | None:
    try:
        return _wrapping(own.exchange(fresh), own.public()).decrypt(NONCE, wrapped, bound)
    except (InvalidTag, ValueError):
        return None


def _wrapping(shared: bytes | None, peer: PeerKey) -> AESGCM:
    """The cipher of one slot: its key is used once, as the fresh key is."""
    if shared is None:
        raise ValueError(f"peer {peer.label} and the fresh key share no secret")
    return AESGCM(_derived(shared, b"wrap " + bytes.fromhex(peer.peer) + (peer.sealing or b"")))


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=LABEL + purpose).derive(secret)
