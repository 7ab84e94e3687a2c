"""What a benchmark says of the machine, and of how something grows."""

from __future__ import annotations

import math
import os
import platform
import resource
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch

__all__ = ["cpu_seconds", "exponent", "machine"]


def cpu_seconds(server: int) -> float:
    """Processor time of this process and of another one, a store's server say."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    return usage.ru_utime + usage.ru_stime + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """The slope of log y over log x, by least squares."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    x_mean, y_mean = (statistics.mean(column) for column in zip(*logs, strict=True))
    return sum((x - x_mean) * (y - y_mean) for x, y in logs) / sum((x - x_mean) ** 2 for x, _ in logs)


def machine() -> str:
    """What this runs on, and how fast one thread reads memory."""
    torch.set_num_threads(1)
    values = torch.ones(25_000_000)
    begun = time.perf_counter()
    for _ in range(5):
        values.sum()
    rate = 5 * values.nbytes / (time.perf_counter() - begun) / 1e9
    models = [text for text in Path("/proc/cpuinfo").read_text().splitlines() if text.startswith("model name")]
    name = models[0].partition(": ")[2] if models else platform.processor()
    return (
        f"{name}, {os.cpu_count()} cores; one thread reads {rate:.1f} GB/s; load {os.getloadavg()[0]:.1f} at the start."
    )
