"""What passes admission, what does not, and why."""

import math
import re
import tracemalloc

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord
from hypothesis import given
from hypothesis import strategies as st

from flwr_byzantine.admission import AdmissionPolicy, TrainAdmission, admit_evaluate, admit_train, printable
from flwr_byzantine.records import Layout, npy_view
from flwr_byzantine.testing import HostileReply, make_error_reply, make_reply

MODEL = ArrayRecord(
    {
        "fc.weight": Array(np.ones((10, 84), np.float32)),
        "fc.bias": Array(np.zeros(10, np.float32)),
        "steps": Array(np.array(5)),
    }
)
LAYOUT = Layout.of(MODEL)
FLAT = LAYOUT.flatten(MODEL)

HARMLESS = {
    HostileReply.HUNDREDFOLD: "well-formed, and within the limits that hold by default",
    HostileReply.FORTRAN_ORDER: "the header says so, and is read",
    HostileReply.BIG_ENDIAN: "the header says so, and is read",
    HostileReply.OTHER_WIDTH: "floats of another width are converted",
    HostileReply.SECOND_REPLY: "the first of the two counts",
}
"""What is admitted by default. All else is rejected."""

REASONS = {
    HostileReply.ALL_NAN: "850 of 850 numbers are not finite",
    HostileReply.ONE_NAN: "1 of 850 numbers are not finite",
    HostileReply.INFINITE: "850 of 850 numbers are not finite",
    HostileReply.NEAR_OVERFLOW: "the norm of its update is",
    HostileReply.WRONG_SHAPE: r"array 'fc.weight' expected float32\[10, 84\], got float32\[11, 84\]",
    HostileReply.RESHAPED: r"array 'fc.weight' expected float32\[10, 84\], got",
    HostileReply.MISSING_ARRAY: "array 'steps' is missing",
    HostileReply.EXTRA_ARRAY: "array 'extra' was not sent",
    HostileReply.OTHER_ORDER: "its arrays are in another order than sent",
    HostileReply.TWO_ARRAY_RECORDS: "expected 1 ArrayRecord, got 2",
    HostileReply.NO_ARRAY_RECORD: "expected 1 ArrayRecord, got 0",
    HostileReply.STRINGS: "expected float32",
    HostileReply.OBJECTS: "expected float32",
    HostileReply.GARBAGE: "its bytes are no .npy array",
    HostileReply.BAD_STYPE: "is serialised as 'pickle'",
    HostileReply.TRUNCATED: "expected 3488 bytes, got 3485",
    HostileReply.VAST: r"expected float32\[10, 84\], got float32\[4398046511104\]",
    HostileReply.NESTED_HEADER: "its bytes are no .npy array",
    HostileReply.DECLARED_SHAPE: "is declared as",
    HostileReply.HUGE_WEIGHT: "metric 'num-examples' must lie between 0 and 1e\\+09, got 1e\\+12",
    HostileReply.NEGATIVE_WEIGHT: "got -99",
    HostileReply.NAN_WEIGHT: "got nan",
    HostileReply.LIST_WEIGHT: "got a list of 2",
    HostileReply.NO_WEIGHT: "its metrics differ from the other replies' in 'num-examples'",
    HostileReply.NO_METRICS: "expected 1 MetricRecord, got 0",
    HostileReply.EXTRA_METRIC: "its metrics differ from the other replies' in 'extra'",
    HostileReply.LIST_METRIC: "its metrics differ from the other replies' in",
    HostileReply.HUGE_METRIC: "its metrics hold 100",
    HostileReply.CLIENT_RAISES: "error 2: ",
}


def honest(node, seed=None):
    rng = np.random.default_rng(node if seed is None else seed)
    arrays = {
        "fc.weight": 1 + 0.01 * rng.standard_normal((10, 84)).astype(np.float32),
        "fc.bias": 0.01 * rng.standard_normal(10).astype(np.float32),
        "steps": np.array(6),
    }
    return make_reply(node, arrays, {"num-examples": 20, "loss": 0.5})


def admit(replies, **keywords):
    return admit_train(replies, LAYOUT, FLAT, **keywords)


def test_replies_stay_where_they_came_until_their_updates_are_asked_for():
    reply = honest(3)
    admitted = admit([reply])
    ((weight, _),) = admitted.replies
    assert weight.data_ptr() == npy_view(reply.content["arrays"]["fc.weight"]).ctypes.data
    assert "rows" not in vars(admitted)
    assert admitted.rows is admitted.rows


def test_rows_are_updates_by_ascending_node_id():
    admitted = admit([honest(7), honest(3)])
    assert admitted.nodes == (3, 7)
    expected = LAYOUT.flatten(honest(3).content["arrays"]) - FLAT
    assert np.array_equal(admitted.rows[0].numpy(), expected)
    assert [int(v) for v in admitted.buffers["steps"]] == [6, 6]
    assert admitted.rejected == ()


@pytest.mark.parametrize("fault", [f for f in HostileReply if f not in HARMLESS], ids=lambda f: f.name)
def test_every_hostile_reply_is_rejected_with_a_reason_and_the_others_stay(fault):
    replies = [honest(node) for node in range(1, 11)]
    admitted = admit([*fault.make(honest(11)), *replies])
    assert admitted.nodes == tuple(range(1, 11))
    assert [rejected.node_id for rejected in admitted.rejected] == [11]
    assert admitted.faulty == 1
    text = str(admitted.rejected[0])
    assert text.isprintable()
    assert len(text) < 400
    assert re.search(REASONS.get(fault, ""), text)


@pytest.mark.parametrize("fault", list(HostileReply), ids=lambda f: f.name)
def test_replies_seen_as_they_came_are_judged_as_they_are_alone(fault):
    replies = [honest(1), *fault.make(honest(11)), honest(2)]
    admission = TrainAdmission(LAYOUT, FLAT)
    for reply in replies:
        admission.see(reply)
    seen, unseen = admission.admit(replies), admit(replies)
    assert (seen.nodes, seen.rejected) == (unseen.nodes, unseen.rejected)
    assert torch.equal(seen.rows, unseen.rows)


def test_what_was_seen_of_a_reply_does_not_vouch_for_numbers_that_took_their_place():
    reply, admission = honest(3), TrainAdmission(LAYOUT, FLAT)
    admission.see(reply)
    reply.content["arrays"]["fc.bias"].data = Array(np.full(10, np.nan, np.float32)).data
    assert admission.admit([reply]).rejected[0].reason == "10 of 850 numbers are not finite"


def test_bytes_that_may_change_are_read_at_each_look():
    reply, admission = honest(3), TrainAdmission(LAYOUT, FLAT)
    reply.content["arrays"]["fc.bias"].data = bytearray(reply.content["arrays"]["fc.bias"].data)
    admission.see(reply)
    reply.content["arrays"]["fc.bias"].data[-4:] = np.float32(np.inf).tobytes()
    assert admission.admit([reply]).rejected[0].reason == "1 of 850 numbers are not finite"


@pytest.mark.parametrize("fault", HARMLESS, ids=lambda f: f.name)
def test_what_is_harmless_is_admitted(fault):
    replies = [honest(node) for node in range(1, 11)]
    assert admit([*fault.make(honest(11)), *replies]).nodes == tuple(range(1, 12))


def test_a_hundredfold_update_is_rejected_where_a_norm_bound_is_set():
    admitted = admit(
        [*HostileReply.HUNDREDFOLD.make(honest(11)), honest(1)], policy=AdmissionPolicy(max_update_norm=10.0)
    )
    assert admitted.nodes == (1,)
    assert "more than 10" in admitted.rejected[0].reason


def test_a_second_reply_is_left_out_but_is_no_further_fault():
    admitted = admit([*HostileReply.SECOND_REPLY.make(honest(11)), honest(1)])
    assert [str(rejected) for rejected in admitted.rejected] == [
        "reply of node 11 left out: a second reply of the same node"
    ]
    assert admitted.faulty == 0


def test_a_good_reply_does_not_mend_a_bad_one():
    [bad] = HostileReply.ALL_NAN.make(honest(11))
    admitted = admit([bad, honest(11), honest(1)])
    assert admitted.nodes == (1,)
    assert admitted.faulty == 1


def test_a_row_found_bad_leaves_no_trace_in_the_next():
    [bad] = HostileReply.ONE_NAN.make(honest(2))
    admitted = admit([honest(1), bad, honest(3)])
    assert admitted.nodes == (1, 3)
    assert torch.equal(admitted.rows, admit([honest(1), honest(3)]).rows)


def test_an_error_of_the_superlink_is_counted_for_the_node_it_was_meant_for():
    reply = make_error_reply(1, "Node Unavailable", code=5)
    sent = {reply.metadata.reply_to_message_id: 42}
    assert admit([reply], addressees=sent).rejected[0].node_id == 42


def test_text_of_strangers_is_made_printable_and_short():
    assert printable("a\nb\x1b[31m") == "a\\nb\\x1b[31m"
    assert len(printable("x" * 10_000)) < 200


def test_metrics_that_few_have_are_rejected_and_those_that_most_have_are_usual():
    replies = [make_reply(n, {}, {"num-examples": 1, **({} if n == 3 else {"loss": 0.1})}) for n in range(1, 6)]
    admitted = admit_evaluate(replies)
    assert admitted.nodes == (1, 2, 4, 5)
    assert "differ from the other replies' in 'loss'" in admitted.rejected[0].reason


def test_no_replies_are_no_rows():
    admitted = admit([])
    assert admitted.rows.shape == (0, 850)
    assert admitted.faulty == 0


def test_a_policy_out_of_range_is_the_callers_mistake():
    with pytest.raises(ValueError, match="max_update_norm must be positive"):
        AdmissionPolicy(max_update_norm=0.0)


@given(st.lists(st.sampled_from(list(HostileReply)), max_size=6))
def test_any_mix_of_hostile_replies_never_raises_and_loses_no_honest_one(faults):
    replies = [honest(node) for node in range(1, 9)]
    for place, fault in enumerate(faults):
        replies += fault.make(honest(100 + place))
    admitted = admit(replies)
    assert set(range(1, 9)) <= set(admitted.nodes)
    assert torch.isfinite(admitted.rows).all()


@given(st.binary(max_size=300), st.sampled_from(["float32", "", "O", "nonsense"]), st.sampled_from([(10,), (), (-1,)]))
def test_arbitrary_bytes_in_place_of_an_array_never_raise(data, dtype, shape):
    reply = honest(9)
    reply.content["arrays"]["fc.bias"] = Array(dtype, shape, "numpy.ndarray", data)
    assert admit([reply, honest(1)]).nodes == (1,)


class Counted(str):
    """A name that counts how often it is compared."""

    comparisons = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.comparisons += 1
        return str.__eq__(self, other)


def test_a_strangers_names_are_looked_at_once_each():
    sent = ArrayRecord({f"layer.{k}": Array(np.zeros(1, np.float32)) for k in range(3000)})
    layout = Layout.of(sent)
    one = sent["layer.0"]
    reply = make_reply(9, ArrayRecord({Counted(f"x{k}"): one for k in range(30_000)}), {"num-examples": 1})
    Counted.comparisons = 0
    admitted = admit_train([reply], layout, layout.flatten(sent))
    assert Counted.comparisons < 100_000  # each with each would be 90 million
    assert admitted.rejected[0].reason == "array 'layer.0' is missing"


def test_a_vast_declared_dtype_is_not_parsed():
    reply = honest(9)
    held = reply.content["arrays"]["fc.bias"]
    reply.content["arrays"]["fc.bias"] = Array("f4," * 1_000_000, held.shape, held.stype, held.data)
    tracemalloc.start()
    admitted = admit([reply, honest(1)])
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 32 << 20  # its million fields would take more than a hundred MiB
    assert "is declared as f4,f4," in admitted.rejected[0].reason


@pytest.mark.parametrize("dtype", ["float32", "<f4", "f4", ">f4"])
def test_every_way_to_declare_the_same_dtype_is_admitted(dtype):
    reply = honest(9)
    held = reply.content["arrays"]["fc.bias"]
    reply.content["arrays"]["fc.bias"] = Array(dtype, held.shape, held.stype, held.data)
    assert admit([reply]).nodes == (9,)


def test_empty_lists_count_as_metrics():
    reply = make_reply(9, {}, {"num-examples": 1, **{f"k{k}": [] for k in range(10_000)}})
    assert "its metrics hold 10001 numbers" in admit_evaluate([reply]).rejected[0].reason


@pytest.mark.parametrize("norm", [math.inf, 1e300])
def test_a_vast_norm_bound_admits_nothing_that_a_rule_cannot_square(norm):
    faults = [HostileReply.INFINITE, HostileReply.NEAR_OVERFLOW]
    replies = [reply for node, fault in enumerate(faults, start=11) for reply in fault.make(honest(node))]
    assert admit([*replies, honest(1)], policy=AdmissionPolicy(max_update_norm=norm)).nodes == (1,)
