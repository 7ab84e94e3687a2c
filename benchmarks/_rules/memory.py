"""How much memory this process holds, and held at most; where /proc tells. ru_maxrss would begin with the parent's."""

from __future__ import annotations

import ctypes
from pathlib import Path


def is_told() -> bool:
    """Whether this system tells."""
    return Path("/proc/self/clear_refs").exists()


def peak_bytes() -> int:
    """The most memory that this process has held since the last :func:`forget_peak`."""
    return _status("VmHWM")


def held_bytes() -> int:
    """The memory that this process holds."""
    return _status("VmRSS")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def forget_peak() -> None:
    """Give back what the allocator keeps, and begin the peak anew."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
