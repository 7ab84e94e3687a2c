"""The floor under every rule: the mean of the rows, each read once, as fast as this machine does it."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from _rules.shared import Rows, blocks

SOURCE = Path(__file__).with_name("floor.cpp")


def library() -> ctypes.CDLL | None:
    """``floor.cpp``, compiled for this machine; None without a compiler."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return None
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    built = Path(tempfile.gettempdir()) / f"flwr-byzantine-floor-{digest}.so"
    if not built.exists():
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder, "floor.so")
            options = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
            subprocess.run([compiler, *options, str(SOURCE), "-o", str(made)], check=True)
            shutil.copy(made, built.with_suffix(f".{id(made)}"))
            built.with_suffix(f".{id(made)}").replace(built)
    return ctypes.CDLL(str(built))


def means(threads: int) -> dict[str, Callable[[list[Rows], int], Rows]]:
    """The ways to take the mean that there are here, by name."""
    loaded = library()
    if loaded is None:
        return {"mean by blocks": lambda rows, _: _by_blocks(rows)}
    pool = ThreadPoolExecutor(threads)

    def compiled(function: Any) -> Callable[[list[Rows], int], Rows]:
        def mean(rows: list[Rows], _: int) -> Rows:
            result = np.empty_like(rows[0])
            pointers = (ctypes.c_void_p * len(rows))(*(row.ctypes.data for row in rows))
            out, n = ctypes.c_void_p(result.ctypes.data), ctypes.c_size_t(len(rows))
            width = -(-len(result) // (64 * threads)) * 64
            parts = [(start, min(len(result), start + width)) for start in range(0, len(result), width)]
            calls = [(pointers, n, ctypes.c_size_t(start), ctypes.c_size_t(stop), out) for start, stop in parts]
            if threads == 1:
                function(*calls[0])
            else:
                list(pool.map(lambda call: function(*call), calls))
            return result

        return mean

    return {
        "mean by columns": compiled(loaded.mean_by_columns),
        "mean by rows": compiled(loaded.mean_by_rows),
    }


def _by_blocks(rows: list[Rows]) -> Rows:
    result = np.empty_like(rows[0])
    for block in blocks(len(result), 1 << 14):
        np.copyto(result[block], rows[0][block])
        for row in rows[1:]:
            np.add(result[block], row[block], out=result[block])
        np.divide(result[block], len(rows), out=result[block])
    return result
