"""Where and with what a sweep ran."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["machine", "versions"]

PACKAGES = ("flwr-byzantine", "flwr", "torch", "numpy", "scikit-learn")


def versions() -> dict[str, str]:
    """The versions of Python and of what computes; a package that is not there is left out.

    Example:
        >>> {"python", "torch", "flwr"} <= set(versions())
        True
    """
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str | int | float]:
    """Processor, cores, memory and system; no name of the machine.

    Example:
        >>> machine()["cores"] >= 1
        True
    """
    found: dict[str, str | int | float] = {"processor": _processor(), "cores": os.cpu_count() or 1}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory-gb"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    found["system"] = f"{platform.system()} {platform.machine()}"
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
