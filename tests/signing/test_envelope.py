"""What an envelope carries, what opening it finds, and that nothing a stranger wrote raises.

In one file however long: the table of reasons and the cases that must meet each belong together.
"""

import math
import re
import tracemalloc
from hashlib import sha256

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flwr_byzantine.signing import (
    STATEMENT_BYTES,
    Expected,
    PrivateKey,
    Reason,
    Rejected,
    Verified,
    envelope_bytes,
    open_envelope,
    sign_envelope,
)
from flwr_byzantine.signing._header import HEADER_BYTES, TAG, Header
from tests.signing.people import ABOUT, ALICE, BOB, RING, ROW, STRANGER, expecting, row_envelope

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64]
SHAPES = [(), (1,), (5,), (2, 3), (1,) * 8]
ANY = {"peer": None, "dtype": None, "shape": None}


def resigned(data, key=ALICE, **fields):
    """The envelope after someone with the key wrote what they like over its header: offsets to bytes."""
    header = bytearray(data[:HEADER_BYTES])
    for at, value in fields.items():
        place = int(at.removeprefix("at"))
        header[place : place + len(value)] = value
    return bytes(header) + key.sign(TAG + bytes(header)) + data[STATEMENT_BYTES:]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_tensor_arrives_as_it_was_signed(dtype, shape):
    tensor = (100 * torch.randn(shape, generator=torch.Generator().manual_seed(1))).to(dtype)
    data = row_envelope(tensor)
    found = open_envelope(data, expecting(dtype=dtype, shape=shape), RING)
    assert isinstance(found, Verified)
    assert found.tensor.dtype is dtype
    assert found.payload is None
    assert torch.equal(found.tensor, tensor)
    assert (found.peer, found.run, found.round, found.kind) == (ALICE.peer, "demo", 4, "average")
    assert found.digest == sha256(data[STATEMENT_BYTES:]).digest()
    assert found.statement == data[:STATEMENT_BYTES]
    assert len(data) == envelope_bytes(dtype, shape)


@given(st.binary(max_size=100))
def test_bytes_arrive_as_they_were_signed(payload):
    found = open_envelope(row_envelope(payload), expecting(dtype=bytes, shape=None), RING)
    assert (found.payload, found.tensor) == (payload, None)
    assert envelope_bytes(bytes, [len(payload)]) == STATEMENT_BYTES + len(payload)


def test_the_elements_are_little_endian_and_in_rows():
    columns = torch.tensor([[1, 2], [3, 4]]).T
    assert row_envelope(columns)[STATEMENT_BYTES:] == b"".join(n.to_bytes(8, "little") for n in (1, 3, 2, 4))


@pytest.mark.parametrize(
    "tensor",
    [ROW.clone().requires_grad_(), torch.stack([ROW, ROW], 1)[:, 0], ROW.to_sparse(), torch.nn.Parameter(ROW)],
    ids=["with gradient", "strided", "sparse", "parameter"],
)
def test_a_tensor_is_signed_by_its_values_whatever_its_layout(tensor):
    assert row_envelope(tensor) == row_envelope(ROW)


def test_the_same_content_makes_the_same_envelope():
    assert row_envelope() == row_envelope(ROW.clone())


def test_what_is_opened_shares_no_memory_with_what_came():
    data = bytearray(row_envelope())
    found = open_envelope(data, expecting(), RING)
    data[STATEMENT_BYTES:] = bytes(12)
    assert torch.equal(found.tensor, ROW)
    found.tensor.zero_()
    assert torch.equal(open_envelope(memoryview(row_envelope()), expecting(), RING).tensor, ROW)


def test_signing_copies_the_payload_once_and_a_rejection_not_at_all():
    tensor = torch.zeros(1 << 20)
    size = envelope_bytes(tensor.dtype, tensor.shape)
    tracemalloc.start()
    try:
        data = row_envelope(tensor)
        peaks = [tracemalloc.get_traced_memory()[1]]
        for changes in ({"max_bytes": 2000}, {"max_bytes": size}, {"max_bytes": size, "peer": None, "run": "other"}):
            tracemalloc.reset_peak()
            assert isinstance(open_envelope(data, expecting(**changes), RING), Rejected)
            peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    assert max(peaks) < 1.1 * size


REJECTED = {
    "of more bytes than allowed": (row_envelope(), {"max_bytes": 331}, Reason.TOO_LARGE, "332 bytes, more than 331"),
    "empty": (b"", {}, Reason.MALFORMED, "0 bytes, where a header"),
    "cut in its header": (row_envelope()[:300], {}, Reason.MALFORMED, "300 bytes, where a header"),
    "cut in its payload": (row_envelope()[:-1], {}, Reason.MALFORMED, "has 11 bytes, its header says 12"),
    "longer than it says": (row_envelope() + b"x", {}, Reason.MALFORMED, "has 13 bytes, its header says 12"),
    "of another version": (resigned(row_envelope(), at7=b"\2"), {}, Reason.MALFORMED, "envelope of version 1"),
    "of an unknown dtype": (resigned(row_envelope(), at8=b"\6"), {}, Reason.MALFORMED, "dtype 6 with 1"),
    "of nine dimensions": (resigned(row_envelope(), at9=b"\t"), {}, Reason.MALFORMED, "1 with 9 dimensions"),
    "with a byte in a gap": (resigned(row_envelope(), at10=b"\1"), {}, Reason.MALFORMED, "should be zero"),
    "with a dimension too many": (resigned(row_envelope(), at200=b"\1"), {}, Reason.MALFORMED, "should be zero"),
    "with text after the run": (resigned(row_envelope(), at104=b"x"), {}, Reason.MALFORMED, "a run has 1 to 64"),
    "with control characters": (resigned(row_envelope(), at160=b"\x1b[31m"), {}, Reason.MALFORMED, "a kind has 1"),
    "of no kind": (resigned(row_envelope(), at160=bytes(32)), {}, Reason.MALFORMED, "a kind has 1 to 32"),
    "of an empty shape": (resigned(row_envelope(), at192=bytes(8)), {}, Reason.MALFORMED, "12 bytes are no torch"),
    "of a vast shape": (resigned(row_envelope(), at192=b"\xff" * 8), {}, Reason.MALFORMED, "12 bytes are no torch"),
    "bytes with a shape": (resigned(row_envelope(), at8=b"\0"), {}, Reason.MALFORMED, "bytes have no shape"),
    "of a stranger": (row_envelope(key=STRANGER), {"peer": None}, Reason.UNKNOWN_KEY, "not on the keyring"),
    "signed by another key": (resigned(row_envelope(), key=BOB), {}, Reason.BAD_SIGNATURE, "did not sign it"),
    "in another's store": (row_envelope(key=BOB), {}, Reason.WRONG_PEER, f"signed by peer {BOB.peer[:8]}"),
    "of another run": (row_envelope(run="other"), {}, Reason.WRONG_RUN, "signed for run other"),
    "of a round before": (row_envelope(round=3), {}, Reason.REPLAYED, "signed for round 3"),
    "of a round to come": (row_envelope(round=2**64 - 1), {}, Reason.FROM_THE_FUTURE, "signed for round 1844"),
    "of another kind": (row_envelope(kind="model"), {}, Reason.WRONG_KIND, "signed as model"),
    "of another shape": (row_envelope(ROW[:2]), {}, Reason.WRONG_SHAPE, r"expected shape \[3\], got \[2\]"),
    "of another dtype": (row_envelope(ROW.double()), {}, Reason.WRONG_DTYPE, "expected float32, got float64"),
    "bytes for a tensor": (row_envelope(b"x" * 12), {"shape": None}, Reason.WRONG_DTYPE, "got bytes"),
    "a tensor for bytes": (row_envelope(), {"dtype": bytes, "shape": None}, Reason.WRONG_DTYPE, "expected bytes"),
    "with another payload": (row_envelope()[:-1] + b"!", {}, Reason.DIGEST, "not what was signed"),
    "with a NaN": (row_envelope(ROW * math.nan), {}, Reason.NOT_FINITE, "3 of 3 numbers are not finite"),
    "with an infinity": (row_envelope(ROW / torch.tensor([1.0, 0, 1])), {}, Reason.NOT_FINITE, "1 of 3 numbers"),
}
"""By what is wrong: what came, how expectations differ from the usual, the code, the words."""


@pytest.mark.parametrize("case", REJECTED.values(), ids=list(REJECTED))
def test_an_envelope_is_rejected_that_is(case):
    data, changes, reason, words = case
    found = open_envelope(data, expecting(**changes), RING)
    assert isinstance(found, Rejected)
    assert found.reason is reason
    assert re.search(words, found.detail)
    assert str(found).isprintable()
    assert len(str(found)) < 250


def test_every_reason_of_an_envelope_has_a_case():
    elsewhere = {Reason.UNSEALABLE, Reason.NO_PROOF}
    assert {case[2] for case in REJECTED.values()} == set(Reason) - elsewhere


def test_the_verdict_is_a_sentence_with_who_and_why():
    found = open_envelope(row_envelope(round=3), expecting(), RING)
    assert str(found) == f"round 4: average of peer {ALICE.peer[:8]} left out: signed for round 3"
    several = open_envelope(row_envelope(round=9), expecting(rounds=range(2, 6)), RING)
    assert str(several) == f"average of peer {ALICE.peer[:8]} left out: signed for round 9"


def test_the_owner_of_the_store_answers_for_what_lies_there():
    assert open_envelope(row_envelope(key=BOB), expecting(), RING).peer == ALICE.peer
    assert open_envelope(b"", expecting(), RING).peer == ALICE.peer


def test_a_signer_is_named_only_once_the_signature_proved_it():
    assert open_envelope(row_envelope(round=3), expecting(peer=None), RING).peer == ALICE.peer
    forged = resigned(row_envelope(round=3), key=BOB)
    assert open_envelope(forged, expecting(peer=None), RING).peer is None
    assert str(open_envelope(b"", expecting(peer=None), RING)).startswith(
        "round 4: average of an unknown peer left out"
    )


def test_a_range_of_rounds_takes_each_of_its_rounds():
    window = expecting(rounds=range(2, 5))
    verdicts = [open_envelope(row_envelope(round=number), window, RING) for number in range(1, 6)]
    codes = [getattr(verdict, "reason", None) for verdict in verdicts]
    assert codes == [Reason.REPLAYED, None, None, None, Reason.FROM_THE_FUTURE]


def test_numbers_may_be_not_finite_where_that_is_said():
    found = open_envelope(row_envelope(ROW * math.nan), expecting(finite=False), RING)
    assert found.tensor.isnan().all()


def test_a_signature_of_the_header_alone_is_none_of_an_envelope():
    data = row_envelope()
    untagged = data[:HEADER_BYTES] + ALICE.sign(data[:HEADER_BYTES]) + data[STATEMENT_BYTES:]
    assert open_envelope(untagged, expecting(), RING).reason is Reason.BAD_SIGNATURE


def test_a_peer_taken_off_the_keyring_is_a_stranger():
    assert open_envelope(row_envelope(), expecting(), RING.without(ALICE.peer)).reason is Reason.UNKNOWN_KEY


@pytest.mark.parametrize("payload", [ROW, b"some bytes"], ids=["tensor", "bytes"])
def test_every_bit_matters(payload):
    data = row_envelope(payload)
    wanted = Expected(run="demo", kind="average", rounds=range(1 << 64), max_bytes=2000)
    assert isinstance(open_envelope(data, wanted, RING), Verified)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert isinstance(open_envelope(bytes(flipped), wanted, RING), Rejected), f"bit {bit}"


@given(st.binary(max_size=700))
def test_arbitrary_bytes_are_rejected(data):
    assert isinstance(open_envelope(data, expecting(**ANY), RING), Rejected)


HEADERS = st.lists(
    st.tuples(st.integers(0, HEADER_BYTES - 1), st.binary(min_size=1, max_size=16)), min_size=1, max_size=4
)


@given(HEADERS, st.binary(max_size=40), st.sampled_from([ALICE, STRANGER]))
def test_whatever_a_peer_signs_is_verified_as_signed_or_rejected(changes, payload, key):
    data = row_envelope(b"some bytes")[:STATEMENT_BYTES] + payload
    for at, value in changes:
        data = resigned(data, key, **{f"at{at}": value[: HEADER_BYTES - at]})
    found = open_envelope(data, expecting(**ANY, rounds=range(1 << 64), finite=False), RING)
    if isinstance(found, Verified):
        assert found.statement + payload == data


RUNS = st.text("azAZ09-_.", min_size=1, max_size=64)
KINDS = st.text("az09-", min_size=1, max_size=32)
FORMS = st.one_of(
    st.tuples(st.just(None), st.just(())),
    st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(1, 5), max_size=8).map(tuple)),
)


@given(RUNS, st.integers(0, 2**64 - 1), KINDS, FORMS, st.binary(min_size=32, max_size=32))
def test_a_header_has_one_encoding_and_an_encoding_one_header(run, number, kind, form, digest):
    length = 7 if form[0] is None else math.prod(form[1]) * form[0].itemsize
    header = Header(run, ALICE.peer, number, kind, form, length, digest)
    assert len(header.encode()) == HEADER_BYTES == 256
    assert Header.decode(header.encode()) == header


@given(HEADERS)
def test_what_decodes_encodes_to_the_same_bytes(changes):
    data = resigned(row_envelope(), **{f"at{at}": value[: HEADER_BYTES - at] for at, value in changes})[:HEADER_BYTES]
    header = Header.decode(data)
    assert isinstance(header, str) or header.encode() == data


@pytest.mark.parametrize(
    ("content", "about", "reason"),
    [
        ([1.0], {}, "bytes or a tensor of float32, .* got list"),
        (bytearray(3), {}, "got bytearray"),
        (torch.ones(3, dtype=torch.complex64), {}, "got torch.complex64"),
        (torch.ones(3, device="meta"), {}, "got torch.float32 on meta"),
        (torch.ones(0, 3), {}, r"has 1 to 8 dimensions and elements, got shape \[0, 3\]"),
        (torch.ones((1,) * 9), {}, "has 1 to 8 dimensions"),
        (ROW, {"run": "two words"}, "a run has 1 to 64"),
        (ROW, {"run": "x" * 65}, "a run has 1 to 64"),
        (ROW, {"kind": "Average"}, "a kind has 1 to 32"),
        (ROW, {"round": -1}, "a round is a whole number"),
        (ROW, {"round": 1 << 64}, "a round is a whole number"),
        (ROW, {"round": 1.0}, "a round is a whole number"),
    ],
    ids=str,
)
def test_what_cannot_be_signed_is_the_callers_mistake(content, about, reason):
    with pytest.raises((ValueError, TypeError), match=reason):
        sign_envelope(ALICE, content, **{**ABOUT, **about})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"run": ""}, "a run has"),
        ({"kind": "x y"}, "a kind has"),
        ({"rounds": range(0)}, "rounds are a range"),
        ({"rounds": 4}, "rounds are a range"),
        ({"rounds": range(-1, 3)}, "rounds are a range"),
        ({"rounds": range(1, 9, 2)}, "rounds are a range"),
        ({"max_bytes": 319}, "at least 320 bytes"),
        ({"peer": "alice"}, "a peer's id"),
        ({"dtype": torch.bool}, "no envelope carries torch.bool"),
    ],
    ids=str,
)
def test_what_cannot_be_expected_is_the_callers_mistake(changes, reason):
    with pytest.raises(ValueError, match=reason):
        expecting(**changes)


def test_text_is_no_envelope_but_a_mistake_of_the_caller():
    with pytest.raises(TypeError):
        open_envelope("text", expecting(), RING)


def test_envelopes_of_fresh_keys_are_read_by_any_mapping_of_keys():
    key = PrivateKey.generate()
    found = open_envelope(row_envelope(key=key), expecting(peer=key.peer), {key.peer: key.public()})
    assert isinstance(found, Verified)
