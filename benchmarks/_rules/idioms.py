"""What there is in this environment: Flower's own strategies, and what one writes with NumPy or torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from _rules.methods import Contender, on_arrays, on_tensors, whole
from _rules.shared import Rows


def flower(_: int) -> Contender:
    """Flower's own strategies: what each does with the arrays of one layer."""
    from flwr.serverapp.strategy import bulyan, fedtrimmedavg, multikrum

    class Decoded:
        """A reply whose arrays are decoded already, as the functions below read it."""

        def __init__(self, row: Rows) -> None:
            self.row = row
            self.array_records = {"arrays": self}

        def __getitem__(self, _: str) -> Decoded:
            return self

        def to_numpy_ndarrays(self) -> list[Rows]:
            return [self.row]

    def selected(rows: list[Rows], f: int, m: int) -> list[Rows]:
        chosen = multikrum.select_multikrum([Decoded(row) for row in rows], f, m)
        return [reply.row for reply in chosen]

    def averaged(rows: list[Rows], f: int, m: int) -> Rows:
        total = 0
        for row in selected(rows, f, m):  # as aggregate_arrayrecords does
            total = total + row * (1 / m) if m > 1 else row
        return total

    def picked(rows: list[Rows], f: int) -> Any:
        chosen = selected(rows, f, len(rows) - 2 * f)
        centre = np.median(chosen, axis=0)
        return bulyan.aggregate_n_closest_weights([centre], [[row] for row in chosen], len(rows) - 4 * f)[0]

    made: dict[str, Callable[..., Any]] = {
        "median": lambda x, _: np.median(np.stack(x), axis=0),
        "trimmed mean": lambda x, f: fedtrimmedavg.trim_mean(np.stack(x), (f + 0.5) / len(x)),
        "krum": lambda x, f: averaged(x, f, 1),
        "multi-krum": lambda x, f: averaged(x, f, len(x) - f - 2),
        "bulyan": picked,
        "distances": lambda x, _: multikrum.compute_distances([Decoded(row) for row in x]),
    }
    methods = {name: on_arrays(function) for name, function in made.items()} | whole("flwr")
    return Contender(("flwr", "numpy"), methods)


def numpy_idioms(_: int) -> Contender:
    """What one writes with NumPy."""

    def median(x: list[Rows], _: int) -> Rows:
        middle = len(x) // 2
        parted = np.partition(np.stack(x), middle, axis=0)  # at one place: at two it is four times as slow
        return parted[middle] if len(x) % 2 else (parted[:middle].max(axis=0) + parted[middle]) / 2

    def trimmed_mean(x: list[Rows], f: int) -> Rows:
        return np.sort(np.stack(x), axis=0)[f : len(x) - f].mean(axis=0)

    def meamed(x: list[Rows], f: int) -> Rows:
        stacked, k = np.stack(x), len(x) - f
        nearest = np.argpartition(np.abs(stacked - median(x, f)), k - 1, axis=0)[:k]
        return np.take_along_axis(stacked, nearest, axis=0).mean(axis=0)

    def squared(stacked: Rows) -> Rows:
        gram = stacked @ stacked.T
        own = gram.diagonal()
        return own[:, None] + own - 2 * gram

    def multi_krum(x: list[Rows], f: int, m: int) -> Rows:
        stacked = np.stack(x)
        scores = np.sort(squared(stacked), axis=1)[:, 1 : len(x) - f - 1].sum(axis=1)
        return stacked[np.argsort(scores)[:m]].mean(axis=0)

    made: dict[str, Callable[..., Any]] = {
        "mean": lambda x, _: np.stack(x).mean(axis=0),
        "median": median,
        "trimmed mean": trimmed_mean,
        "meamed": meamed,
        "krum": lambda x, f: multi_krum(x, f, 1),
        "multi-krum": lambda x, f: multi_krum(x, f, len(x) - f - 2),
        "distances": lambda x, _: squared(np.stack(x)),
    }
    return Contender(("numpy",), {name: on_arrays(function) for name, function in made.items()})


def torch_idioms(threads: int) -> Contender:
    """What one writes with torch."""
    import torch

    torch.set_num_threads(threads)

    def ordered(x: list[Any]) -> Any:
        return torch.stack(x).sort(dim=0).values

    def meamed(x: list[Any], f: int) -> Any:
        stacked = torch.stack(x)
        nearest = (stacked - median(x, f)).abs().topk(len(x) - f, dim=0, largest=False).indices
        return stacked.gather(0, nearest).mean(dim=0)

    def median(x: list[Any], _: int) -> Any:
        return ordered(x)[(len(x) - 1) // 2 : len(x) // 2 + 1].mean(dim=0)

    def multi_krum(x: list[Any], f: int, m: int) -> Any:
        stacked = torch.stack(x)
        scores = torch.cdist(stacked, stacked).square().sort(dim=1).values[:, 1 : len(x) - f - 1].sum(dim=1)
        return stacked[scores.argsort()[:m]].mean(dim=0)

    made: dict[str, Callable[..., Any]] = {
        "mean": lambda x, _: torch.stack(x).mean(dim=0),
        "median": median,
        "trimmed mean": lambda x, f: ordered(x)[f : len(x) - f].mean(dim=0),
        "meamed": meamed,
        "krum": lambda x, f: multi_krum(x, f, 1),
        "multi-krum": lambda x, f: multi_krum(x, f, len(x) - f - 2),
        "distances": lambda x, _: torch.cdist(stacked := torch.stack(x), stacked).square(),
    }
    return Contender(("torch",), {name: on_tensors(function) for name, function in made.items()})
