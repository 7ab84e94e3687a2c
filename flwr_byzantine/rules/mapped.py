"""Rows in files: seen a part at a time, so that neither a row nor the memory of a machine bounds their length."""

from __future__ import annotations

import mmap
import warnings
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

__all__ = ["MappedRow"]

FORGET = getattr(mmap, "MADV_DONTNEED", None)
EXPECT = getattr(mmap, "MADV_WILLNEED", None)
"""Advice to the kernel; None where it takes none."""


class MappedRow:
    """A row of numbers in a file, of which only the parts in use are in memory.

    Args:
        path: The file. It must stay as it is while it is mapped.
        dtype: Of the numbers, which lie side by side in this machine's byte order.
        offset_bytes: Where the first number begins, such as after the header of an ``.npy`` file.
        d: How many numbers; if None, as many as the file holds.

    Raises:
        ValueError: If the file does not hold as many numbers, or holds none.
        OSError: If it cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     row = MappedRow.create(Path(folder, "row"), 3, torch.bfloat16)
        ...     row.write(1, torch.tensor([2.0, 3.0]))
        ...     MappedRow(Path(folder, "row"), torch.bfloat16).read(0, 3)
        tensor([0., 2., 3.], dtype=torch.bfloat16)
    """

    def __init__(self, path: Path | str, dtype: torch.dtype, *, offset_bytes: int = 0, d: int | None = None) -> None:
        self._open(Path(path), dtype, offset_bytes, d, writable=False)

    @classmethod
    def create(cls, path: Path | str, d: int, dtype: torch.dtype) -> Self:
        """A new file of ``d`` zeros that can be written to; it takes no room on disk before that.

        Raises:
            ValueError: If ``d`` is less than 1.
            OSError: If the file exists, or cannot be made.
        """
        with Path(path).open("xb") as file:
            file.truncate(d * dtype.itemsize)
        row = cls.__new__(cls)
        row._open(Path(path), dtype, 0, d, writable=True)
        return row

    def _open(self, path: Path, dtype: torch.dtype, offset_bytes: int, d: int | None, *, writable: bool) -> None:
        held = (path.stat().st_size - offset_bytes) // dtype.itemsize
        self.d = held if d is None else d
        self.dtype = dtype
        self._offset_bytes, self._writable = offset_bytes, writable
        if not 0 < self.d <= held or offset_bytes < 0:
            raise ValueError(f"{path} holds {max(0, held)} numbers of {dtype}, needed {d}")
        with path.open("r+b" if writable else "rb") as file:
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            self._map = mmap.mmap(file.fileno(), offset_bytes + self.d * dtype.itemsize, access=access)

    def __len__(self) -> int:
        return self.d

    def read(self, start: int, stop: int) -> Tensor:
        """``[stop - start]``: these numbers, in place. They are not to be written to."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch has no read-only tensors, and says so
            return torch.frombuffer(self._map, dtype=self.dtype, count=stop - start, offset=self._byte(start))

    def write(self, start: int, values: Tensor) -> None:
        """Put numbers in place, from ``start`` on, rounded to this row's dtype.

        Raises:
            TypeError: If the row was not made by :meth:`create`.
        """
        if not self._writable:
            raise TypeError("a row that was not made by create() is only read")
        self.read(start, start + len(values)).copy_(values)

    def expect(self, start: int, stop: int) -> None:
        """Say that these numbers will be read soon, so that the disk begins now."""
        self._advise(EXPECT, start, min(self.d, stop))

    def forget(self, start: int, stop: int) -> None:
        """Let these numbers leave memory; what was written stays in the file, and they can be read again."""
        self._advise(FORGET, start, stop)

    def _byte(self, place: int) -> int:
        return self._offset_bytes + place * self.dtype.itemsize

    def _advise(self, advice: int | None, start: int, stop: int) -> None:
        # From the page of the first number; the last one's page is left where it holds the next part's first too.
        first = self._byte(start) // mmap.PAGESIZE * mmap.PAGESIZE
        last = self._byte(stop) if stop == self.d else self._byte(stop) // mmap.PAGESIZE * mmap.PAGESIZE
        if advice is not None and first < last:
            self._map.madvise(advice, first, last - first)
