"""The kernels' library as ctypes sees it: found and loaded once, its arguments checked before they become pointers."""

from __future__ import annotations

import ctypes
import functools
import logging
import os
from collections.abc import Sequence

import torch
from torch import Tensor

from ._build import kernels_library

__all__ = ["Mixture", "Source", "destination", "library"]

log = logging.getLogger(__name__)

SWITCH = "FLWR_BYZANTINE_KERNELS"
DTYPES = {torch.float32: 0, torch.float64: 1, torch.float16: 10, torch.bfloat16: 11}
"""The numbers of element types, as in kernels/element_type.h."""


class Pointed(ctypes.Structure):
    """``fb_rows``: where rows or destinations are."""

    _fields_ = (
        ("rows", ctypes.POINTER(ctypes.c_void_p)),
        ("n", ctypes.c_size_t),
        ("d", ctypes.c_size_t),
        ("dtype", ctypes.c_int32),
        ("threads", ctypes.c_int32),
    )


@functools.cache
def library() -> ctypes.CDLL | None:
    """The library, loaded; None if there is none or ``FLWR_BYZANTINE_KERNELS`` is ``off``. ``build`` compiles it."""
    if os.environ.get(SWITCH) == "off":
        log.info("the compiled kernels are switched off by %s; rules run in torch", SWITCH)
        return None
    path = kernels_library(build=os.environ.get(SWITCH) == "build")
    if path is None:
        log.info("the compiled kernels are not installed; rules run in torch")
        return None
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        log.warning("the compiled kernels cannot be loaded, rules run in torch: %s", error)
        return None


def pointed(rows: Tensor | Sequence[Tensor]) -> Pointed:
    """The addresses of rows that :meth:`Source.takes` has seen. They do not keep the rows alive."""
    if isinstance(rows, Tensor):
        first, step = rows.data_ptr(), rows.stride(0) * rows.element_size()
        addresses = [first + i * step for i in range(len(rows))]
    else:
        addresses = [row.data_ptr() for row in rows]
    array = (ctypes.c_void_p * len(addresses))(*addresses)
    shape = (len(addresses), rows[0].shape[0])
    return Pointed(array, *shape, DTYPES[rows[0].dtype], torch.get_num_threads())


class Source:
    """Rows that a call reads."""

    def __init__(self, rows: Tensor | Sequence[Tensor], *, d: int | None = None) -> None:
        if not self.takes(rows):
            raise TypeError("kernels take float tensors of one dtype and length on the CPU, their numbers side by side")
        self._kept = rows
        self.pointed = pointed(rows)
        self.n, self.d = int(self.pointed.n), int(self.pointed.d)
        if d is not None and self.d != d:
            raise ValueError(f"a row of {d} numbers is needed, got {self.d}")

    @staticmethod
    def takes(rows: Tensor | Sequence[Tensor]) -> bool:
        """Whether there are rows, all of them on the CPU, of one dtype and length, their numbers side by side."""
        if isinstance(rows, Tensor):
            return rows.ndim == 2 and len(rows) > 0 and _fits(rows[0])
        if len(rows) == 0 or not _fits(rows[0]):
            return False
        shape, dtype = rows[0].shape, rows[0].dtype
        return all(row.shape == shape and row.dtype == dtype and row.is_cpu and row.is_contiguous() for row in rows)

    def call(self, name: str, *arguments: ctypes.Structure | int | None) -> bool:
        """Run the function ``name`` of the library on the rows; whether what it met was finite.

        Raises:
            RuntimeError: If the library is not there.
            MemoryError: If there was no memory for the work.
        """
        found = library()
        if found is None:
            raise RuntimeError("the compiled kernels are not available")
        status = int(getattr(found, name)(ctypes.byref(self.pointed), *map(_passed, arguments)))
        if status < 0:
            raise MemoryError(f"no memory for {name} of {self.n} rows of {self.d} numbers")
        return status == 0


class Mixture(ctypes.Structure):
    """``fb_weights``: ``weights @ rows`` in place of the rows, or with None the rows themselves."""

    _fields_ = (("values", ctypes.c_void_p), ("k", ctypes.c_size_t))

    def __init__(self, source: Source, weights: Tensor | None) -> None:
        if weights is not None and (weights.ndim != 2 or weights.shape[1] != source.n or len(weights) == 0):
            raise ValueError(f"weights must be [k, {source.n}] for {source.n} rows, got {list(weights.shape)}")
        self._kept = None if weights is None else weights.to("cpu", torch.float64).contiguous()
        k = source.n if weights is None else len(weights)
        super().__init__(None if self._kept is None else self._kept.data_ptr(), k)

    def check_places(self, low: int, high: int) -> None:
        """Raise a ValueError unless the places are some of the values."""
        if not 0 <= low < high <= self.k:
            raise ValueError(f"places must lie in 0 <= low < high <= {self.k}, got {low} and {high}")


def destination(out: Tensor, k: int, d: int) -> Pointed:
    """``k`` rows of ``d`` numbers that a call writes.

    Raises:
        ValueError: If ``out`` has another shape.
        TypeError: If a kernel cannot write there.
    """
    if out.shape != (k, d):
        raise ValueError(f"out must hold {k} rows of {d} numbers, got {list(out.shape)}")
    if not Source.takes(out):
        raise TypeError("out must be a float tensor on the CPU, its numbers side by side")
    return pointed(out)


def _fits(row: Tensor) -> bool:
    return row.ndim == 1 and row.dtype in DTYPES and row.is_cpu and row.is_contiguous()


def _passed(argument: ctypes.Structure | int | None) -> object:
    if isinstance(argument, ctypes.Structure):
        return ctypes.byref(argument)
    return argument if argument is None else ctypes.c_size_t(argument)
