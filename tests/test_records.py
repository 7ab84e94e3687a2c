"""Rows and records."""

import contextlib
import math

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord
from hypothesis import given
from hypothesis import strategies as st

from flwr_byzantine.records import Layout, buffer_median, npy_view, read_npy_header
from flwr_byzantine.testing import HostileReply, make_reply


def record(**arrays):
    return ArrayRecord({name: Array(np.asarray(values)) for name, values in arrays.items()})


MODEL = record(
    w=np.arange(6, dtype=np.float32).reshape(2, 3),
    steps=np.array(7, np.int64),
    b=np.array([0.5, -0.5], np.float16),
    mask=np.array([True, False]),
)


def test_a_row_holds_the_floats_in_the_order_sent():
    layout = Layout.of(MODEL)
    assert layout.size == 8
    assert layout.dtype == np.float32
    assert layout.flatten(MODEL).tolist() == [0, 1, 2, 3, 4, 5, 0.5, -0.5]
    assert [spec.name for spec in layout.buffers] == ["steps", "mask"]


def test_a_record_comes_back_with_names_order_shapes_and_dtypes_as_sent():
    layout = Layout.of(MODEL)
    back = layout.record(layout.flatten(MODEL), layout.read_buffers(MODEL))
    assert list(back) == list(MODEL)
    for name in MODEL:
        expected = MODEL[name].numpy()
        assert back[name].numpy().dtype == expected.dtype
        assert back[name].numpy().shape == expected.shape
        assert np.array_equal(back[name].numpy(), expected)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", "<i8", ">i2", "|u1", "|b1"])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (1, 0, 3)], ids=str)
def test_arrays_are_written_to_the_byte_as_flower_writes_them(dtype, shape):
    values = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    layout = Layout.of(record(w=values))
    (written,) = layout.record(layout.flatten(record(w=values)), {"w": values}).values()
    assert written == Array(values)


def test_double_precision_is_kept():
    layout = Layout.of(record(w=np.zeros(2), v=np.zeros(2, np.float32)))
    assert layout.dtype == np.float64


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
def test_every_way_to_store_the_same_numbers_gives_the_same_row(order, dtype):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    layout = Layout.of(record(w=values))
    sent = record(w=np.asarray(values, dtype=dtype, order=order))
    out = np.empty(6, np.float32)
    layout.subtract(sent, np.ones(6, np.float32), out=out)
    assert out.tolist() == [-1, 0, 1, 2, 3, 4]


def test_numbers_too_large_for_the_row_become_infinite():
    layout = Layout.of(record(w=np.zeros(1, np.float32)))
    out = np.empty(1, np.float32)
    layout.subtract(record(w=np.array([1e300])), np.zeros(1, np.float32), out=out)
    assert np.isinf(out).all()


@pytest.mark.parametrize("values", [np.array(["a"]), np.array([1j]), np.zeros(1, np.longdouble)])
def test_a_model_of_other_kinds_is_refused(values):
    with pytest.raises(ValueError, match="neither float16 to float64"):
        Layout.of(record(w=values))


def test_an_empty_model_has_an_empty_row():
    layout = Layout.of(ArrayRecord())
    assert layout.flatten(ArrayRecord()).shape == (0,)
    assert list(layout.record(np.empty(0, np.float32), {})) == []


def test_views_copy_nothing():
    array = Array(np.arange(1000.0))
    assert not npy_view(array).flags.owndata
    assert np.array_equal(npy_view(array), array.numpy())


def test_buffers_take_a_value_that_somebody_sent():
    assert buffer_median([np.array(2**62 + k) for k in (0, 1, 3)]) == 2**62 + 1
    assert buffer_median([np.array([True]), np.array([True]), np.array([False])]).tolist() == [True]


@given(st.binary(max_size=400))
def test_garbage_is_a_value_error_and_nothing_else(data):
    with pytest.raises(ValueError, match="its bytes are no"):
        read_npy_header(data)


@given(st.text(st.characters(codec="latin-1"), max_size=900))
def test_any_text_as_a_header_is_a_value_error_and_nothing_else(text):
    body = text.encode("latin-1")
    data = b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body
    with pytest.raises(ValueError, match="its bytes are no"):
        read_npy_header(data)


def test_a_vast_claim_is_read_without_allocating_it():
    [reply] = HostileReply.VAST.make(make_reply(1, {"w": np.zeros(2, np.float32)}, {}))
    data = reply.content["arrays"]["w"].data
    assert len(data) == 144
    assert read_npy_header(data).shape == (2**42,)


def test_a_strangers_header_writes_no_warnings(recwarn):
    for descr, shape in [("'<f4'", "(2L,)"), ("'a4'", "(2,)"), ("'\\d'", "(2,)")]:
        body = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode()
        with contextlib.suppress(ValueError):
            read_npy_header(b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body)
    assert not recwarn.list


def test_segments_are_views_of_the_bytes_in_the_order_sent():
    record = ArrayRecord(
        {"w": Array(np.arange(6, dtype="f4").reshape(2, 3)), "steps": Array(np.array(7)), "b": Array(np.ones(2, "f4"))}
    )
    (segments,) = Layout.of(record).segments([record])
    assert [part.tolist() for part in segments] == [[0, 1, 2, 3, 4, 5], [1, 1]]
    for name, part in zip(("w", "b"), segments, strict=True):
        assert part.data_ptr() == npy_view(record[name]).ctypes.data


@pytest.mark.parametrize("stored", ["<f8", ">f4", "<f2"])
def test_segments_of_another_dtype_or_byte_order_are_converted(stored):
    layout = Layout.of(ArrayRecord({"w": Array(np.zeros((2, 3), "f4"))}))
    values = np.asfortranarray(np.arange(6).reshape(2, 3).astype(stored))
    ((part,),) = layout.segments([ArrayRecord({"w": Array(values)})])
    assert part.dtype == torch.float32
    assert part.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize(
    ("value", "finite"), [(0.0, True), (6e4, True), (np.inf, False), (-np.inf, False), (np.nan, False)]
)
def test_one_number_that_is_not_finite_is_seen_and_a_large_one_is_none(dtype, value, finite):
    values = np.ones((3, 4), dtype)
    values[1, 2] = value
    record = ArrayRecord({"w": Array(values), "steps": Array(np.array(7))})
    assert Layout.of(record).is_finite(record) == finite
