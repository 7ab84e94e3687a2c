"""Who is timed. Libraries load when asked: each contender is a process of its own, some in another environment.

A peer gets the rows in the form that it likes best, a list of arrays or tensors, and is called as its own classes call
themselves; Flower's aggregation is called without Flower's decoding of replies, which ``aggregate`` times.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from _rules.idioms import flower, numpy_idioms, torch_idioms
from _rules.libraries import byzfl, byzpy
from _rules.methods import STEPS, Contender, on_arrays, on_tensors, radius, whole


def ours(threads: int) -> Contender:
    """This package, over a list of rows that are never stacked."""
    import torch

    from flwr_byzantine import rules
    from flwr_byzantine.native import kernels as compiled
    from flwr_byzantine.rules._distances import squared_distances
    from flwr_byzantine.rules.rows import Rows

    torch.set_num_threads(threads)
    mixed = rules.nnm >> rules.trimmed_mean
    made: dict[str, Callable[..., Any]] = {
        "mean": lambda x, _: rules.mean(x),
        "median": lambda x, f: rules.median(x, f=f),
        "trimmed mean": lambda x, f: rules.trimmed_mean(x, f=f),
        "meamed": lambda x, f: rules.meamed(x, f=f),
        "krum": lambda x, f: rules.krum(x, f=f),
        "multi-krum": lambda x, f: rules.multi_krum(x, f=f),
        "bulyan": lambda x, f: rules.bulyan(x, f=f),
        "geometric median": lambda x, f: rules.geometric_median(x, f=f),
        "centered clipping": lambda x, f: rules.centered_clipping(x, f=f, tau=radius(len(x[0])), steps=STEPS),
        "mda": lambda x, f: rules.mda(x, f=f),
        "nnm >> trimmed mean": lambda x, f: mixed(x, f=f),
        "distances": lambda x, _: squared_distances(Rows.of(x)),
    }
    methods = {name: on_tensors(function) for name, function in made.items()} | whole("ours")
    return Contender(("flwr-byzantine", "torch"), methods, {"kernels": "yes" if compiled.available() else "no"})


def ours_seen(threads: int) -> Contender:
    """This package's rounds where each reply was looked at when it came."""
    import torch

    torch.set_num_threads(threads)
    return Contender(("flwr-byzantine", "torch"), whole("ours", seen=True))


def floor(threads: int) -> Contender:
    """The mean of the rows, read once, in C++ if there is a compiler: two ways, of which the faster counts."""
    from _rules.floor import means

    return Contender(("numpy",), {name: on_arrays(function) for name, function in means(threads).items()})


CONTENDERS: dict[str, Callable[[int], Contender]] = {
    "floor": floor,
    "ours": ours,
    "ours, seen": ours_seen,
    "ours, torch": ours,
    "flwr": flower,
    "numpy": numpy_idioms,
    "torch": torch_idioms,
    "byzfl, numpy": partial(byzfl, arrays=True),
    "byzfl, torch": partial(byzfl, arrays=False),
    "byzpy": byzpy,
}
ROUNDS = ("floor", "ours", "ours, seen", "ours, torch", "flwr")
"""Who aggregates whole rounds."""
LIBRARIES = ("flwr", "byzfl, numpy", "byzfl, torch", "byzpy")
IDIOMS = ("numpy", "torch")
ELSEWHERE = ("byzfl, numpy", "byzfl, torch", "byzpy")
"""Those that live in an environment of their own."""
VARIABLES = {"ours, torch": {"FLWR_BYZANTINE_KERNELS": "off"}}
"""What makes a contender another one."""
