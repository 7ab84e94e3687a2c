"""What every rule should give, in float64, on a few thousand of the columns; and where a peer's rule is another one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from _rules.methods import STEPS, radius
from _rules.shared import Rows, blocks, byzantine

Doubles = NDArray[np.float64]

OWN_DEFINITION = {
    ("byzfl", "krum"): "n-f-1 neighbours",
    ("byzpy", "krum"): "n-f-1 neighbours",
    ("byzfl", "multi-krum"): "n-f-1 neighbours, n-f selected",
    ("byzpy", "multi-krum"): "n-f-1 neighbours, n-f selected",
    ("byzfl", "geometric median"): "3 smoothed steps from 0, not converged",
    ("byzpy", "median"): "the lower of two middle values",
    ("byzpy", "meamed"): "around the lower of two middle values",
    ("byzpy", "geometric median"): "stops at an absolute step of 1e-6",
    ("flwr", "bulyan"): "all selected by one scoring",
}
"""Where a peer's rule is not the one that is timed beside it; (library, rule) to what it is."""


def definition(contender: str, rule: str) -> str | None:
    """In which way a contender's rule is another one, or None."""
    return OWN_DEFINITION.get((contender.partition(",")[0], rule))


def squared_distances(rows: Rows) -> Doubles:
    """``[n, n]``, by differences in float64: slow, and as exact as it gets."""
    n, d = rows.shape
    total = np.zeros((n, n))
    for block in blocks(d, 1 << 14):
        values = rows[:, block].astype(np.float64)
        for i in range(n - 1):
            total[i, i + 1 :] += np.square(values[i + 1 :] - values[i]).sum(axis=1)
    return total + total.T


def gram_of(rows: Rows) -> Doubles:
    """``[n, n]``: inner products in float64, which lose nothing where rows are not far from 0."""
    total = np.zeros((len(rows), len(rows)))
    for block in blocks(rows.shape[1]):
        values = rows[:, block].astype(np.float64)
        total += values @ values.T
    return total


def krum_order(distances: Doubles, neighbors: int) -> NDArray[np.int64]:
    """Rows from the least Krum score to the greatest."""
    others = np.sort(distances + np.diag(np.full(len(distances), np.inf)), axis=1)
    return np.argsort(others[:, :neighbors].sum(axis=1), kind="stable")


class Reference:
    """The rows' float64 results at some columns."""

    def __init__(self, rows: Rows, most: int = 4000) -> None:
        self.rows = rows
        self.n, self.d = rows.shape
        self.columns = np.unique(np.linspace(0, self.d - 1, min(self.d, most)).astype(np.int64))
        self.sample = rows[:, self.columns].astype(np.float64)

    @cached_property
    def gram(self) -> Doubles:
        """Of whole rows."""
        return gram_of(self.rows)

    @cached_property
    def distances(self) -> Doubles:
        """Squared, of whole rows."""
        own = self.gram.diagonal()
        return np.maximum(own[:, None] + own - 2 * self.gram, 0)

    def error(self, rule: str, f: int, contender: str, result: Rows) -> float | None:
        """Largest difference from float64 beside the largest number; None where there is no reference."""
        expected = self.value(rule, f, definition(contender, rule))
        if expected is None:
            return None
        return float(np.abs(result[self.columns] - expected).max() / np.abs(expected).max())

    def value(self, rule: str, f: int, variant: str | None = None) -> Doubles | None:
        """``[columns]``: the result of a rule, or of a peer's variant of it; None if it is not known here."""
        rule = rule.removeprefix("aggregate: ")
        known: dict[str, Callable[[int], Doubles | None]] = {
            "mean": lambda f: self.sample.mean(axis=0),
            "median": lambda f: np.median(self.sample, axis=0),
            "trimmed mean": lambda f: _trimmed(self.sample, f),
            "meamed": lambda f: _near_median(self.sample, self.n - f),
            "krum": lambda f: self.sample[krum_order(self.distances, self.n - f - 2)[0]],
            "multi-krum": lambda f: self.sample[krum_order(self.distances, self.n - f - 2)[: self.n - f - 2]].mean(0),
            "bulyan": lambda f: _near_median(self.sample[self._chosen(f)], self.n - 4 * f),
            "geometric median": lambda f: self._weiszfeld() @ self.sample,
            "centered clipping": lambda f: self._clipped() @ self.sample,
            "mda": self._least_diameter,
            "nnm >> trimmed mean": lambda f: _trimmed(self._mixed(f), f),
        }
        variants: dict[tuple[str, str], Callable[[int], Doubles | None]] = {
            ("krum", "n-f-1 neighbours"): lambda f: self.sample[krum_order(self.distances, self.n - f - 1)[0]],
            ("multi-krum", "n-f-1 neighbours, n-f selected"): lambda f: self.sample[
                krum_order(self.distances, self.n - f - 1)[: self.n - f]
            ].mean(axis=0),
            ("bulyan", "all selected by one scoring"): lambda f: _near_median(
                self.sample[krum_order(self.distances, self.n - f - 2)[: self.n - 2 * f]], self.n - 4 * f
            ),
            ("median", "the lower of two middle values"): lambda f: np.sort(self.sample, axis=0)[(self.n - 1) // 2],
            ("geometric median", "stops at an absolute step of 1e-6"): known["geometric median"],
        }
        return (known.get(rule) if variant is None else variants.get((rule, variant), lambda f: None))(f)

    def _chosen(self, f: int) -> list[int]:
        left = list(range(self.n))
        chosen = []
        for _ in range(self.n - 2 * f):
            among = self.distances[np.ix_(left, left)]
            best = krum_order(among, max(1, len(left) - f - 2))[0] if len(left) > 1 else 0
            chosen.append(left.pop(best))
        return chosen

    def _weiszfeld(self) -> Doubles:
        weights = np.full(self.n, 1 / self.n)
        for _ in range(10_000):
            apart = np.sqrt(self.distances @ weights - weights @ self.distances @ weights / 2)
            moved = 1 / apart / (1 / apart).sum()
            if np.abs(moved - weights).max() < 1e-15:
                break
            weights = moved
        return weights

    def _clipped(self) -> Doubles:
        weights = np.zeros(self.n)
        for _ in range(STEPS):
            squares = self.gram.diagonal() - 2 * self.gram @ weights + weights @ self.gram @ weights
            factors = np.minimum(1, radius(self.d) / np.sqrt(squares)) / self.n
            weights = (1 - factors.sum()) * weights + factors
        return weights

    def _least_diameter(self, f: int) -> Doubles | None:
        hostile = byzantine(self.n)
        honest = [i for i in range(self.n) if i not in hostile]
        apart = self.distances[hostile][:, honest].min() > self.distances[np.ix_(honest, honest)].max()
        return self.sample[honest].mean(axis=0) if apart and f == len(hostile) else None

    def _mixed(self, f: int) -> Doubles:
        nearest = np.argsort(self.distances, axis=1, kind="stable")[:, : self.n - f]
        return np.stack([self.sample[some].mean(axis=0) for some in nearest])


def _trimmed(values: Doubles, f: int) -> Doubles:
    return np.sort(values, axis=0)[f : len(values) - f].mean(axis=0)


def _near_median(values: Doubles, k: int) -> Doubles:
    order = np.argsort(np.abs(values - np.median(values, axis=0)), axis=0, kind="stable")[:k]
    return np.take_along_axis(values, order, axis=0).mean(axis=0)
