"""Rules over files: how fast, beside reading them and nothing else, and how much memory."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from _rules.measure import Record
from _rules.memory import forget_peak, held_bytes, is_told, peak_bytes
from _rules.shared import most_tolerated
from flwr_byzantine import rules
from flwr_byzantine.native import kernels
from flwr_byzantine.rules.mapped import MappedRow
from flwr_byzantine.rules.streaming import stream

STREAMED = {
    "median": rules.median,
    "trimmed mean": rules.trimmed_mean,
    "multi-krum": rules.multi_krum,
    "nnm >> trimmed mean": rules.nnm >> rules.trimmed_mean,
}
READ_ONLY = "reading the files"
WRITTEN_AT_A_TIME = 1 << 24


def streams(folder: Path | None, n: int, d: int, *, sparse: bool) -> Iterator[Record]:
    """One record for reading and for each rule, each in a process of its own, over files that are not in memory."""
    size = n * d * 2
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        free = shutil.disk_usage(place).free
        if not sparse and size > free / 2:
            raise OSError(f"{place} has {free / 1e9:.0f} GB free, and {size / 1e9:.0f} GB of rows would take too much")
        write(place / "small", n, 100_000, sparse=False)
        write(place / "rows", n, d, sparse=sparse)
        for rule in (READ_ONLY, *STREAMED):
            evict(place / "rows")
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                took = pool.submit(timed, place, rule).result()
            yield {"rule": rule, "n": n, "d": d, "sparse": sparse, "bytes": size, **took}


def write(folder: Path, n: int, d: int, *, sparse: bool) -> None:
    """Files of bfloat16 numbers: normal ones, or zeros that take no room on disk."""
    folder.mkdir()
    block = torch.randn(min(d, WRITTEN_AT_A_TIME), generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    for i in range(n):
        with (folder / str(i)).open("wb") as file:
            file.truncate(2 * d)
            for start in range(0, 0 if sparse else d, len(block)):
                values = block.roll(1000 * i + start)[: d - start]
                file.write(values.view(torch.uint8).numpy())


def evict(folder: Path) -> None:
    """Put the files out of memory, where the system lets us."""
    os.sync()
    for path in folder.iterdir():
        with path.open("rb") as file:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(place: Path, rule: str) -> Record:
    """Run a rule over small files, then over the rows, and tell by how much the most memory held grew."""
    run(place / "small", place / "small-out", rule)
    if is_told():
        forget_peak()
    before, start, begun = held_bytes() if is_told() else 0, time.perf_counter(), time.process_time()
    run(place / "rows", place / "out", rule)
    took = {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - begun}
    (place / "small-out").unlink(missing_ok=True)
    (place / "out").unlink(missing_ok=True)
    more = {"extra_bytes": max(0, peak_bytes() - before)} if is_told() else {}
    return {**took, **more, "kernels": kernels.available()}


def run(folder: Path, to: Path, rule: str) -> None:
    """Run a rule over the files of a folder into another file; or only read them."""
    paths = sorted(folder.iterdir(), key=lambda path: int(path.name))
    if rule == READ_ONLY:
        buffer = np.empty(1 << 24, np.uint8)
        for path in paths:
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass
        return
    rows = [MappedRow(path, torch.bfloat16) for path in paths]
    out = MappedRow.create(to, len(rows[0]), torch.bfloat16)
    stream(STREAMED[rule], rows, out, f=most_tolerated(rule, len(rows)))
