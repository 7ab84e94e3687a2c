"""One array of a model: its name, shape and dtype, the .npy bytes that it is sent as, and its numbers in them."""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from flwr.app import Array
from numpy.typing import NDArray
from torch import Tensor

from flwr_byzantine.rules.parsing import parsed

__all__ = ["NUMPY", "ArraySpec", "NpyHeader", "Written", "is_finite", "npy_view", "read_npy_header", "tensor_view"]

MAX_HEADER_BYTES = 1024
"""Longest .npy header read. NumPy writes 118 bytes for two dimensions and under 800 for its most, 64."""

NUMPY = "numpy.ndarray"
"""Flower's word for arrays that are serialised as .npy bytes."""


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


class Written(NamedTuple):
    """How an array is serialised by this side, and by most others."""

    spec: ArraySpec
    dtype: str
    """What Flower calls its dtype."""
    head: bytes
    """What the .npy bytes begin with."""
    total_bytes: int

    @classmethod
    @lru_cache(maxsize=4096)
    def of(cls, spec: ArraySpec) -> Written:
        """As NumPy writes it, in C's order."""
        head = io.BytesIO()
        described = np.lib.format.dtype_to_descr(spec.dtype)
        np.lib.format.write_array_header_1_0(head, {"descr": described, "fortran_order": False, "shape": spec.shape})
        return cls(spec, str(spec.dtype), head.getvalue(), head.tell() + spec.size * spec.dtype.itemsize)

    def fits(self, array: Array) -> bool:
        """Whether an array is serialised so, whatever its numbers."""
        data = array.data
        if type(data) is not bytes or len(data) != self.total_bytes or not data.startswith(self.head):
            return False
        return array.stype == NUMPY and array.dtype == self.dtype and array.shape == self.spec.shape


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


def is_finite(values: NDArray[np.generic]) -> bool:
    """Whether all numbers are finite.

    Example:
        >>> is_finite(np.array([1.0, np.inf]))
        False
    """
    with np.errstate(all="ignore"):
        # A sum of squares is finite only if all numbers are, and costs a third of a look at each.
        return bool(np.isfinite(np.dot(values, values)) or np.isfinite(values).all())


def tensor_view(array: Array, written: Written, dtype: np.dtype[np.floating]) -> Tensor:
    """The numbers of an array one after the other, in C's order: a view of its bytes if they lie so.

    Example:
        >>> tensor_view(Array(np.ones(2)), Written.of(ArraySpec("w", (2,), np.dtype("f8"))), np.dtype("f4"))
        tensor([1., 1.])
    """
    if array.data[: len(written.head)] == written.head:
        values = np.frombuffer(array.data, dtype=written.spec.dtype, offset=len(written.head))
    else:
        values = npy_view(array).reshape(-1)
    if values.dtype != dtype or not values.flags.aligned:
        with np.errstate(over="ignore"):
            values = values.astype(dtype)
    return torch.from_numpy(values)
