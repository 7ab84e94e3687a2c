"""The proof that a peer said two things where it may say one.

A statement is an envelope's header and signature, 320 bytes, without the payload. Two of one peer, for the same run,
round and kind, that differ prove it to everyone who knows the peer's key, whoever shows them and whatever else they
say. Only kinds of which a peer signs one per round can be proved so; heartbeats, say, are no such kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flwr_byzantine.signing._header import DIGEST, HEADER_BYTES, STATEMENT_BYTES, Header, checked_kind, checked_run
from flwr_byzantine.signing.envelope import read_statement, signature_fault
from flwr_byzantine.signing.keys import PeerKey
from flwr_byzantine.signing.verdict import Fault, Reason, Rejected

__all__ = ["PROOF_BYTES", "Convicted", "Ledger", "Proof", "check_proof", "prove", "statement"]

PROOF_BYTES = 2 * STATEMENT_BYTES
"""Length of a proof: two signed headers, whatever the payloads were."""


@dataclass(frozen=True)
class Proof:
    """Two statements of one peer that cannot both be honest; made by :func:`prove`, judged by :func:`check_proof`."""

    first: bytes
    second: bytes

    def encode(self) -> bytes:
        """The proof in 640 bytes, the same whichever of the two came first."""
        return b"".join(sorted([self.first, self.second]))

    @classmethod
    def decode(cls, data: bytes) -> Proof | None:
        """What 640 bytes say, not yet believed; None if they are no encoding of a proof."""
        first, second = data[:STATEMENT_BYTES], data[STATEMENT_BYTES:PROOF_BYTES]
        return cls(first, second) if len(data) == PROOF_BYTES and first < second else None


@dataclass(frozen=True)
class Convicted:
    """A peer that signed two different things for one round: nothing that it says counts any more."""

    peer: str
    round: int
    kind: str

    def __str__(self) -> str:
        return f"round {self.round}: peer {self.peer[:8]} signed two different envelopes of kind {self.kind}"


class Ledger:
    """The first statement of each peer, round and kind; a later one that differs from it makes a proof.

    Its memory is bounded: ``window`` rounds, of the kinds given, of the peers on the keyring.

    Args:
        run: The run.
        kinds: The kinds of which a peer signs one per round.
        window: For how many rounds from the first that is not forgotten statements are taken, ``>= 1``.

    Raises:
        ValueError: If one of them makes no sense.

    Example:
        >>> from flwr_byzantine.signing import Keyring, PrivateKey, sign_envelope
        >>> liar = PrivateKey.generate()
        >>> ring, ledger = Keyring([liar.public("liar")]), Ledger("demo", ["average"])
        >>> for said in (b"this", b"this", b"that"):
        ...     data = sign_envelope(liar, said, run="demo", round=1, kind="average")
        ...     print(type(ledger.observe(statement(data), ring)).__name__)
        NoneType
        NoneType
        Proof
    """

    def __init__(self, run: str, kinds: Iterable[str], *, window: int = 64) -> None:
        if isinstance(kinds, str) or window < 1:
            raise ValueError(f"a ledger needs a list of kinds and window >= 1, got {kinds!r} and {window}")
        self.run, self.kinds, self.window = checked_run(run), frozenset(map(checked_kind, kinds)), window
        self._before = 0
        self._first: dict[tuple[str, int, str], bytes] = {}

    def observe(
        self, data: bytes, keyring: Mapping[str, PeerKey], *, source: str | None = None
    ) -> Proof | Rejected | None:
        """The proof if the statement differs from an earlier one of its peer; None if it is the first, or the same.

        Args:
            data: What was found: any bytes. They need not have been verified.
            keyring: The peers whose signatures count.
            source: The peer in whose store it lay, for the verdict.

        Returns:
            A proof, None, or why the statement does not count.
        """
        header = _signed(data, keyring)
        header = header if isinstance(header, Fault) else self._fault(header) or header
        if isinstance(header, Fault):
            return Rejected(source, *header, kind="statement")
        first = self._first.setdefault((header.peer, header.round, header.kind), data)
        return None if _same(first, data) else Proof(*sorted([first, data]))

    def first(self, peer: str, round: int, kind: str) -> bytes | None:
        """The first statement seen of a peer for a round; None if there is none."""
        return self._first.get((peer, round, kind))

    def digests(self, round: int, kind: str) -> dict[str, bytes]:
        """By the id of each peer, the digest of what it was first seen to sign for a round."""
        seen = {peer: first for (peer, *about), first in sorted(self._first.items()) if about == [round, kind]}
        return {peer: first[DIGEST] for peer, first in seen.items()}

    def forget(self, before_round: int) -> None:
        """Forget the rounds before one; statements for them are replays from now on."""
        self._before = max(self._before, before_round)
        self._first = {key: first for key, first in self._first.items() if key[1] >= self._before}

    def __len__(self) -> int:
        return len(self._first)

    def _fault(self, header: Header) -> Fault | None:
        if header.round < self._before:
            return Fault(Reason.REPLAYED, f"signed for round {header.round}, which is forgotten")
        if header.round >= self._before + self.window:
            return Fault(Reason.FROM_THE_FUTURE, f"signed for round {header.round}")
        return _subject_fault(header, self.run, self.kinds)


def statement(envelope: bytes) -> bytes:
    """The header and signature of an envelope, without its payload.

    Raises:
        ValueError: If it has fewer bytes.

    Example:
        >>> from flwr_byzantine.signing import PrivateKey, sign_envelope
        >>> envelope = sign_envelope(PrivateKey.generate(), b"a long payload", run="demo", round=1, kind="average")
        >>> statement(envelope) == envelope[:-14]
        True
    """
    if len(envelope) < STATEMENT_BYTES:
        raise ValueError(f"an envelope has at least {STATEMENT_BYTES} bytes, got {len(envelope)}")
    return bytes(envelope[:STATEMENT_BYTES])


def prove(a: bytes, b: bytes, keyring: Mapping[str, PeerKey]) -> Proof | None:
    """The proof that two statements make; None if they make none. Whether their kind counts is for the judge.

    Args:
        a: A statement: any bytes.
        b: Another.
        keyring: The peers whose signatures count.

    Returns:
        The same proof whichever comes first.

    Example:
        >>> from flwr_byzantine.signing import Keyring, PrivateKey, sign_envelope
        >>> liar = PrivateKey.generate()
        >>> a, b = (statement(sign_envelope(liar, said, run="demo", round=1, kind="average")) for said in (b"a", b"b"))
        >>> ring = Keyring([liar.public("liar")])
        >>> prove(a, b, ring) == prove(b, a, ring), prove(a, a, ring)
        (True, None)
    """
    return Proof(*sorted([a, b])) if isinstance(_convicting(a, b, keyring), Header) else None


def check_proof(
    data: bytes, keyring: Mapping[str, PeerKey], *, run: str, kinds: Iterable[str], source: str | None = None
) -> Convicted | Rejected:
    """Whom an encoded proof convicts, if it proves anything.

    Args:
        data: What was found: any bytes.
        keyring: The peers that can be convicted.
        run: The run.
        kinds: The kinds of which a peer signs one per round; beware of others, of which honest peers sign several.
        source: The peer in whose store it lay, for the verdict.

    Returns:
        The convicted peer, or why the proof is none.

    Example:
        >>> from flwr_byzantine.signing import Keyring, PrivateKey, sign_envelope
        >>> liar = PrivateKey.generate()
        >>> ring = Keyring([liar.public("liar")])
        >>> a, b = (statement(sign_envelope(liar, said, run="demo", round=1, kind="average")) for said in (b"a", b"b"))
        >>> proof = prove(a, b, ring)
        >>> check_proof(proof.encode(), ring, run="demo", kinds={"average"}).peer == liar.peer
        True
        >>> print(check_proof(b"nonsense", ring, run="demo", kinds={"average"}).reason)
        malformed
    """
    proof = Proof.decode(data)
    if proof is None:
        detail = f"{len(data)} bytes are not two statements in ascending order"
        return Rejected(source, Reason.MALFORMED, detail, kind="proof")
    header = _convicting(proof.first, proof.second, keyring)
    header = header if isinstance(header, Fault) else _subject_fault(header, run, frozenset(kinds)) or header
    if isinstance(header, Fault):
        return Rejected(source, *header, kind="proof")
    return Convicted(header.peer, header.round, header.kind)


def _signed(data: bytes, keyring: Mapping[str, PeerKey]) -> Header | Fault:
    header = read_statement(data)
    return header if isinstance(header, Fault) else signature_fault(header, data, keyring) or header


def _convicting(a: bytes, b: bytes, keyring: Mapping[str, PeerKey]) -> Header | Fault:
    """A header that says who signed two things about what; or why two statements prove nothing."""
    headers: list[Header] = []
    for data in (a, b):
        header = _signed(data, keyring)
        if isinstance(header, Fault):
            return header
        headers.append(header)
    if len({(header.peer, header.run, header.round, header.kind) for header in headers}) > 1:
        return Fault(Reason.NO_PROOF, "its statements are not of one peer, run, round and kind")
    return Fault(Reason.NO_PROOF, "its statements say the same") if _same(a, b) else headers[0]


def _subject_fault(header: Header, run: str, kinds: frozenset[str]) -> Fault | None:
    if header.run != run:
        return Fault(Reason.WRONG_RUN, f"signed for run {header.run}")
    if header.kind not in kinds:
        return Fault(Reason.WRONG_KIND, f"signed as {header.kind}, of which a peer may sign several")
    return None


def _same(a: bytes, b: bytes) -> bool:
    """Whether two statements say the same; their signatures may differ."""
    return a[:HEADER_BYTES] == b[:HEADER_BYTES]
