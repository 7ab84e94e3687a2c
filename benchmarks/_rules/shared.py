"""Inputs that every process sees: n float32 rows in one mapped file, each at another offset within its page."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]

PAGE_FLOATS = 1024
STAGGER_FLOATS = 272  # 1,088 bytes: rows start at 64 different cache lines of a page before one repeats
SPREAD = 0.02  # how much more one honest row's noise is than the next one's, so that selections are well defined
HOSTILE = 3.0  # how many times the usual noise a Byzantine row holds


def stride_of(d: int) -> int:
    """Floats from the start of one row to that of the next."""
    return -(-d // PAGE_FLOATS) * PAGE_FLOATS + STAGGER_FLOATS


def byzantine(n: int) -> list[int]:
    """Which rows are Byzantine: every fifth."""
    return [i for i in range(n) if i % 5 == 4]


def most_tolerated(rule: str, n: int) -> int:
    """The f that is timed: n / 5, less where the rule's bound asks for less."""
    return min(n // 5, (n - 3) // 4) if rule == "bulyan" else n // 5


def create(path: Path, n: int, d: int) -> Rows:
    """A file for ``n`` rows of ``d``, mapped; all zero."""
    with path.open("wb") as file:
        file.truncate(4 * n * stride_of(d))
    return attach(path, n, d)


def attach(path: Path, n: int, d: int) -> Rows:
    """The rows of a file: ``[n, d]``, a view with a stride. Its pages are in memory when this returns."""
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0))
    stride = stride_of(d)
    return np.frombuffer(mapped, np.float32, n * stride).reshape(n, stride)[:, :d]


def fill(rows: Rows, seed: int) -> None:
    """Draw independent normal rows: honest ones of slightly different noise, Byzantine ones of three times as much."""
    hostile = set(byzantine(len(rows)))
    for i, row in enumerate(rows):
        np.random.default_rng([seed, i]).standard_normal(dtype=np.float32, out=row)
        row *= HOSTILE if i in hostile else 1 + SPREAD * i / len(rows)


def blocks(d: int, width: int = 1 << 16) -> Iterator[slice]:
    """The columns, a block at a time."""
    return (slice(start, min(d, start + width)) for start in range(0, d, width))
