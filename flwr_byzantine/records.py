"""Between Flower's records and the rows of a matrix: names, shapes and dtypes of a model, and back.

A row holds the floating-point arrays of a model one after the other, in the order sent. Integer and boolean
arrays (counters, masks) are buffers: they have no place in a row and are aggregated apart.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, RecordDict
from numpy.typing import NDArray
from torch import Tensor

from flwr_byzantine.rules.parsing import parsed

__all__ = ["ArraySpec", "Layout", "NpyHeader", "buffer_median", "npy_view", "read_npy_header", "replace_arrays"]

MAX_HEADER_BYTES = 1024
"""Longest .npy header read. NumPy writes 118 bytes for two dimensions and under 800 for its most, 64."""

Flat = NDArray[np.floating]
Buffers = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class ArraySpec:
    """One array of a model as it was sent."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether it belongs into a row."""
        return self.dtype.kind == "f"

    def __str__(self) -> str:
        return f"{self.dtype.name}{list(self.shape)}"


@dataclass(frozen=True)
class Layout:
    """The arrays of a model, in the order sent.

    Example:
        >>> record = ArrayRecord({"w": Array(np.ones((2, 2), np.float32)), "steps": Array(np.array(7))})
        >>> layout = Layout.of(record)
        >>> layout.size
        4
        >>> layout.flatten(record)
        array([1., 1., 1., 1.], dtype=float32)
        >>> layout.record(np.zeros(4, np.float32), {"steps": np.array(8)})["steps"].numpy()
        array(8)
    """

    arrays: tuple[ArraySpec, ...]

    @classmethod
    def of(cls, record: ArrayRecord) -> Layout:
        """The layout of a record that this side made.

        Raises:
            ValueError: If an array holds neither floats of 16 to 64 bits, nor integers, nor booleans.
        """
        specs = []
        for name, array in record.items():
            values = npy_view(array)
            if values.dtype.kind not in "fiub" or values.dtype.itemsize > 8:
                raise ValueError(
                    f"array {name!r} holds {values.dtype}: neither float16 to float64, integer nor boolean"
                )
            specs.append(ArraySpec(name, values.shape, values.dtype))
        return cls(tuple(specs))

    @cached_property
    def floats(self) -> tuple[tuple[ArraySpec, slice], ...]:
        """The arrays that make a row, each with its place there."""
        places, start = [], 0
        for spec in self.arrays:
            if spec.is_float:
                places.append((spec, slice(start, start + spec.size)))
                start += spec.size
        return tuple(places)

    @cached_property
    def buffers(self) -> tuple[ArraySpec, ...]:
        """The arrays that do not."""
        return tuple(spec for spec in self.arrays if not spec.is_float)

    @cached_property
    def size(self) -> int:
        """Length of a row, the dimension d."""
        return sum(spec.size for spec, _ in self.floats)

    @cached_property
    def dtype(self) -> np.dtype[np.floating]:
        """The dtype of a row: the widest float sent, and at least float32."""
        return np.result_type(np.float32, *(spec.dtype for spec, _ in self.floats))

    def flatten(self, record: ArrayRecord) -> Flat:
        """The row ``[d]`` of a record that this side made."""
        row = np.empty(self.size, self.dtype)
        self.subtract(record, np.zeros((), self.dtype), out=row)
        return row

    def subtract(self, record: ArrayRecord, model: Flat, *, out: Flat) -> None:
        """Write the row of ``record`` minus ``model`` into ``out`` ``[d]``, without a copy in between.

        ``record`` must hold arrays of this layout's shapes and kinds. Numbers too large for ``out`` become infinite.
        """
        with np.errstate(all="ignore"):
            for spec, place in self.floats:
                values = npy_view(record[spec.name]).reshape(-1)
                np.subtract(values, model[place] if model.ndim else model, out=out[place], casting="same_kind")

    def segments(self, record: ArrayRecord) -> list[Tensor]:
        """The floating-point arrays of ``record`` one after the other, flat: views of its bytes, not to be written to.

        An array of another dtype or byte order than :attr:`dtype` is converted, and one in Fortran's order copied.
        ``record`` must hold arrays of this layout's shapes and kinds.
        """
        return [_tensor_view(np.ascontiguousarray(npy_view(record[spec.name])), self.dtype) for spec, _ in self.floats]

    def record(self, row: Flat, buffers: Buffers) -> ArrayRecord:
        """The record of a row ``[d]`` and of the buffers, in the names, order, shapes and dtypes sent.

        Numbers too large for a dtype sent become infinite.
        """
        places = self.floats_by_name
        result = {}
        for spec in self.arrays:
            values = row[places[spec.name]].reshape(spec.shape) if spec.is_float else buffers[spec.name]
            with np.errstate(over="ignore"):
                result[spec.name] = Array(np.asarray(values, dtype=spec.dtype).reshape(spec.shape))
        return ArrayRecord(result)

    def is_finite(self, record: ArrayRecord) -> bool:
        """Whether all floating-point numbers of a record of this layout are finite."""
        return all(_is_finite(npy_view(record[spec.name]).reshape(-1)) for spec, _ in self.floats)

    @cached_property
    def floats_by_name(self) -> Mapping[str, slice]:
        """The place in a row of each array that has one."""
        return {spec.name: place for spec, place in self.floats}

    def read_buffers(self, record: ArrayRecord) -> dict[str, NDArray[np.generic]]:
        """The buffers of a record of this layout, as views."""
        return {spec.name: npy_view(record[spec.name]) for spec in self.buffers}


def replace_arrays(content: RecordDict, layout: Layout, model: Flat, update: Flat) -> RecordDict:
    """A copy of a reply's content whose arrays are ``model + update``; its buffers and other records stay.

    Example:
        >>> model, ones = ArrayRecord({"w": Array(np.zeros(2, np.float32))}), np.ones(2, np.float32)
        >>> changed = replace_arrays(RecordDict({"arrays": model}), Layout.of(model), 0 * ones, ones)
        >>> changed["arrays"]["w"].numpy()
        array([1., 1.], dtype=float32)
    """
    name, record = next(iter(content.array_records.items()))
    with np.errstate(all="ignore"):
        arrays = layout.record(model + update, layout.read_buffers(record))
    return RecordDict({**content, name: arrays})


@dataclass(frozen=True)
class NpyHeader:
    """What the head of a .npy file claims."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    fortran_order: bool
    offset: int
    """Where the numbers begin, in bytes."""

    @property
    def total_bytes(self) -> int:
        """Length of a file that holds what is claimed and nothing else."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def read_npy_header(data: bytes) -> NpyHeader:
    """The header of .npy bytes, from their first 1 KiB; nothing else is read and nothing allocated.

    Raises:
        ValueError: If the bytes do not begin with a header of format 1.0 or 2.0.

    Example:
        >>> header = read_npy_header(Array(np.zeros((2, 3), np.float32)).data)
        >>> header.dtype, header.shape
        (dtype('float32'), (2, 3))
    """
    length_bytes = 4 if data[6:7] == b"\2" else 2
    length = int.from_bytes(data[8 : 8 + length_bytes], "little")
    return _parsed(bytes(data[: 8 + length_bytes + min(length, MAX_HEADER_BYTES + 1)]))


@lru_cache(maxsize=256)
def _parsed(head_bytes: bytes) -> NpyHeader:
    """The same of a header alone: a model's arrays have the same ones in each message, and parsing takes 50 us."""
    try:
        header = parsed(lambda: _read_header(io.BytesIO(head_bytes)))
    except Exception as error:  # the parser meets a stranger's text: SyntaxError, RecursionError, MemoryError, ...
        raise ValueError(f"its bytes are no .npy array ({type(error).__name__})") from None
    if any(length < 0 for length in header.shape):
        raise ValueError(f"its .npy header claims the shape {list(header.shape)}")
    return header


def _read_header(head: io.BytesIO) -> NpyHeader:
    version = np.lib.format.read_magic(head)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some texts make Python or NumPy write to the server's stderr
        shape, fortran_order, dtype = read(head, max_header_size=MAX_HEADER_BYTES)
    return NpyHeader(dtype, shape, bool(fortran_order), head.tell())


def npy_view(array: Array) -> NDArray[np.generic]:
    """The numbers of an array as a read-only view of its bytes, whose header must have been checked.

    Example:
        >>> npy_view(Array(np.array([1.0, 2.0]))).flags.writeable
        False
    """
    header = read_npy_header(array.data)
    flat = np.frombuffer(array.data, dtype=header.dtype, offset=header.offset)
    return flat.reshape(header.shape, order="F" if header.fortran_order else "C")


def _is_finite(values: NDArray[np.generic]) -> bool:
    with np.errstate(all="ignore"):
        # A sum of squares is finite only if all numbers are, and costs a third of a look at each.
        return bool(np.isfinite(np.dot(values, values)) or np.isfinite(values).all())


def _tensor_view(values: NDArray[np.generic], dtype: np.dtype[np.floating]) -> Tensor:
    """An array as a flat tensor of ``dtype``, which shares its memory if it has this dtype."""
    if values.dtype != dtype or not values.flags.aligned:
        with np.errstate(over="ignore"):
            values = values.astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch has no read-only tensors, and says so once
        return torch.from_numpy(values.reshape(-1))


def buffer_median(values: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
    """Per coordinate the lower median, which is one of the values: exact for integers and booleans.

    Example:
        >>> buffer_median([np.array([1, 5]), np.array([2, 5]), np.array([10**9, -3])])
        array([2, 5])
    """
    place = (len(values) - 1) // 2
    median: NDArray[np.generic] = np.partition(np.stack(values), place, axis=0)[place]
    return median
