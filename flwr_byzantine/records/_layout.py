"""The arrays of a model in the order sent, the row that they make, and records made of rows.

A row holds the floating-point arrays of a model one after the other, in the order sent. Integer and boolean
arrays (counters, masks) are buffers: they have no place in a row and are aggregated apart.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from numpy.typing import NDArray
from torch import Tensor

from flwr_byzantine.records._arrays import NUMPY, ArraySpec, Written, is_finite, npy_view, tensor_view

__all__ = ["Buffers", "Flat", "Layout", "buffer_median", "records_of", "replace_arrays"]

Flat = NDArray[np.floating]
Buffers = Mapping[str, NDArray[np.generic]]
Record = TypeVar("Record", ArrayRecord, MetricRecord)


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

    def segments(self, records: Iterable[ArrayRecord]) -> list[list[Tensor]]:
        """Of each record the floating-point arrays one after the other, flat: views of its bytes, not to be written to.

        An array of another dtype or byte order than :attr:`dtype` is converted, and one in Fortran's order copied.
        The records must hold arrays of this layout's shapes and kinds.
        """
        wanted = [written for written in self.written if written.spec.is_float]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch has no read-only tensors, and says so once
            return [
                [tensor_view(arrays[written.spec.name], written, self.dtype) for written in wanted]
                for arrays in (dict(record.items()) for record in records)
            ]

    def is_as_written(self, record: ArrayRecord) -> bool:
        """Whether a record is, numbers apart, what :meth:`record` makes: as most replies are."""
        if list(record.keys()) != [spec.name for spec in self.arrays]:
            return False
        return all(map(Written.fits, self.written, record.values()))

    def record(self, row: Flat, buffers: Buffers) -> ArrayRecord:
        """The record of a row ``[d]`` and of the buffers, in the names, order, shapes and dtypes sent.

        Numbers too large for a dtype sent become infinite.
        """
        places = self.floats_by_name
        result = {}
        with np.errstate(over="ignore"):
            for spec, dtype, head, _ in self.written:
                values = row[places[spec.name]] if spec.is_float else buffers[spec.name]
                values = np.asarray(values, dtype=spec.dtype).reshape(spec.shape)
                data = b"".join((head, np.ascontiguousarray(values)))  # type: ignore[arg-type]  # a buffer
                result[spec.name] = Array(dtype, spec.shape, NUMPY, data)
        return ArrayRecord(result)

    def is_finite(self, record: ArrayRecord) -> bool:
        """Whether all floating-point numbers of a record of this layout are finite."""
        return all(is_finite(npy_view(record[spec.name]).reshape(-1)) for spec, _ in self.floats)

    @cached_property
    def floats_by_name(self) -> Mapping[str, slice]:
        """The place in a row of each array that has one."""
        return {spec.name: place for spec, place in self.floats}

    @cached_property
    def written(self) -> tuple[Written, ...]:
        """How each array is serialised."""
        return tuple(Written.of(spec) for spec in self.arrays)

    def read_buffers(self, record: ArrayRecord) -> dict[str, NDArray[np.generic]]:
        """The buffers of a record of this layout, as views."""
        return {spec.name: npy_view(record[spec.name]) for spec in self.buffers}


def records_of(content: RecordDict, kind: type[Record]) -> list[Record]:
    """The records of one kind; Flower's own properties copy all of them, checks and all, at each use.

    Example:
        >>> records_of(RecordDict({"a": ArrayRecord(), "m": MetricRecord({"loss": 0.5})}), MetricRecord)
        [{'loss': 0.5}]
    """
    return [record for record in content.values() if isinstance(record, kind)]


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


def buffer_median(values: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
    """Per coordinate the lower median, which is one of the values: exact for integers and booleans.

    Example:
        >>> buffer_median([np.array([1, 5]), np.array([2, 5]), np.array([10**9, -3])])
        array([2, 5])
    """
    place = (len(values) - 1) // 2
    median: NDArray[np.generic] = np.partition(np.stack(values), place, axis=0)[place]
    return median
