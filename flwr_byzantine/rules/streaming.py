"""Rules over rows larger than memory: a part of the columns at a time, from files or wherever rows are.

What a rule computes of whole rows, their distances above all, is summed over the parts in a first pass. The second pass
runs the rule on one part after the other with these sums in place of the part's own, and so gives the same numbers of
each column as the rule does on all at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from flwr_byzantine.rules._dispatch import faster
from flwr_byzantine.rules._distances import gram_about, is_moderate, row_norms, squared_distances
from flwr_byzantine.rules._order import median
from flwr_byzantine.rules._rule import Aggregator, Rule, run_stages, stages_of
from flwr_byzantine.rules._source import NotFiniteError, Source
from flwr_byzantine.rules.mapped import MappedRow
from flwr_byzantine.rules.rows import Rows

__all__ = ["STREAMED", "stream"]

STREAMED: dict[str, str] = {
    "mean": "", "median": "", "trimmed_mean": "", "meamed": "", "phocas": "", "sign_majority": "",
    "krum": "distances", "multi_krum": "distances", "bulyan": "distances", "multi_bulyan": "distances",
    "mda": "distances", "faba": "distances", "nnm": "distances", "cge": "norms", "clipping": "norms", "arc": "norms",
    "geometric_median": "products", "medoid": "products", "smea": "products", "caf": "products",
}  # fmt: skip
"""The rules that run over parts, each with what it needs of whole rows; products are not kept of clipped rows."""

CHUNK_BYTES = 1 << 26
"""Of all rows' parts together: large enough that a call costs nothing beside it, small beside any memory."""


def stream(
    rule: Aggregator,
    inputs: Sequence[Tensor | MappedRow],
    out: Tensor | MappedRow,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    **keywords: Any,
) -> None:
    """Aggregate rows into ``out``, with no more of them in memory than a part of each.

    Rows by files (:class:`~flwr_byzantine.rules.mapped.MappedRow`) may be larger than memory, in number and each. Rules
    that need distances read them twice, others once; once more each if a row turns out not to be finite.

    Args:
        rule: A rule or composition of those in :data:`STREAMED`.
        inputs: One row per input, alike in length and dtype: float32, bfloat16 or float16.
        out: ``[d]``, written, in any floating-point dtype.
        chunk_bytes: How much of all rows together is in use at a time.
        **keywords: What the rule takes, ``f`` among them. None may be as long as a row.

    Raises:
        ToleranceError: If the rule's bound does not allow as few rows, or as many that are not finite.
        TypeError: If the rule is none that can be streamed, or the dtype is another.
        ValueError: If the rows or ``out`` differ in length or dtype.

    Example:
        >>> from flwr_byzantine.rules import median
        >>> out = torch.zeros(2)
        >>> stream(median, [torch.tensor([1.0, 5.0]), torch.tensor([2.0, 6.0]), torch.tensor([9.0, 0.0])], out, f=1)
        >>> out
        tensor([2., 5.])
    """
    stages = _streamed(rule)
    parts = Parts.of(inputs, chunk_bytes)
    if len(out) != parts.d:
        raise ValueError(f"out must hold {parts.d} numbers as the inputs do, got {len(out)}")
    everyone = list(range(len(inputs)))
    try:
        _run(stages, parts, Whole(everyone), out, keywords)
    except NotFiniteError:
        _run(stages, parts, Whole(parts.finite(), is_finite=True), out, keywords)


def _streamed(rule: Aggregator) -> tuple[Rule[...], ...]:
    """The stages of a rule, all of which can be streamed."""
    stages = stages_of(rule)
    for stage in stages:
        if stage.__name__ not in STREAMED:
            raise TypeError(f"{stage.name} does not run over parts of its inputs; these do: {', '.join(STREAMED)}")
    if {"norms", "products"} <= {STREAMED[stage.__name__] for stage in stages}:
        raise TypeError(f"{rule.name} does not run over parts of its inputs: no products of clipped rows are kept")
    return stages


@dataclass(frozen=True)
class Parts:
    """The same columns of all rows, part after part."""

    rows: Sequence[Tensor | MappedRow]
    bounds: list[int]
    """Where parts begin, and last where the rows end."""

    @property
    def d(self) -> int:
        """How long the rows are."""
        return self.bounds[-1]

    @classmethod
    def of(cls, rows: Sequence[Tensor | MappedRow], chunk_bytes: int) -> Parts:
        """Parts of about so many bytes together, and none so short that mixtures of its rows would be put together."""
        if len(rows) == 0 or len(rows[0]) == 0:
            raise ValueError("no inputs" if len(rows) == 0 else "inputs hold no numbers")
        dtype, d = rows[0].dtype, len(rows[0])
        if dtype not in (torch.float32, torch.bfloat16, torch.float16):
            raise TypeError(f"inputs must be float32, bfloat16 or float16 to be streamed, got {dtype}")
        for i, row in enumerate(rows):
            if len(row) != d or row.dtype != dtype or (isinstance(row, Tensor) and row.ndim != 1):
                raise ValueError(f"input {i} is not {d} numbers of {dtype} as input 0 is")
        most = max(1, chunk_bytes // (len(rows) * dtype.itemsize))
        number = max(1, min(-(-d // most), d // len(rows) ** 2))
        return cls(rows, [d * i // number for i in range(number + 1)])

    def each(self, places: list[int]) -> Iterator[tuple[int, int, Rows]]:
        """From which column, up to which, and these columns of some rows, which are forgotten afterwards."""
        some = [self.rows[i] for i in places]
        for start, stop in pairwise(self.bounds):
            for row in some:
                if isinstance(row, MappedRow):
                    row.expect(stop, stop + stop - start)
            views = [row.read(start, stop) if isinstance(row, MappedRow) else row[start:stop] for row in some]
            yield start, stop, Rows.over(PartSource.of(views))
            for row in some:
                if isinstance(row, MappedRow):
                    row.forget(start, stop)

    def finite(self) -> list[int]:
        """The rows all of whose numbers are finite."""
        finite = torch.ones(len(self.rows), dtype=torch.bool)
        for _, _, rows in self.each(list(range(len(self.rows)))):
            finite &= rows.source.finite_rows()
        return finite.nonzero().flatten().tolist()


class PartSource(Source):
    """Some columns of rows of which the whole was measured before."""


@faster
def gram_about_median(rows: Rows) -> tuple[Tensor, Tensor] | None:
    """The whole rows' products, about the part's columns of the median; a mixture's about that of the rows it mixes."""
    if not isinstance(rows.source, PartSource) or "median" not in rows.source.products:
        return None
    products = rows.source.products["median"]
    if rows.weights is None:
        return products, median(rows)
    return rows.weights @ products @ rows.weights.T, median(Rows.over(rows.source))


@dataclass
class Whole:
    """What is known of whole rows."""

    places: list[int]
    """The rows that take part."""
    is_finite: bool = False
    distances: Tensor | None = None
    norms: Tensor | None = None
    products: dict[str, Tensor] = field(default_factory=dict)

    def measure(self, parts: Parts, needs: list[str]) -> None:
        """Sum over all parts what the rules need, in float64."""
        n = len(self.places)
        distances = torch.zeros(n + 1, n + 1, dtype=torch.float64)  # the origin is the last row
        for _, _, rows in self.each(parts):
            distances[:n, :n] += squared_distances(rows).cpu()
            if "norms" in needs:
                distances[n, :n] += row_norms(rows).cpu().square()
        distances[:n, n] = distances[n, :n]
        self.is_finite = True
        # Mixtures may lie so near one another that those of the others are far out beside them.
        mixed = "products" in needs and len(needs) > 1
        about = ["median"] if n > 1 and (mixed or not is_moderate(distances[:n, :n])) else []
        about += ["origin"] if "norms" in needs and not is_moderate(distances) else []
        if about:
            self.products = self._products(parts, about)
        self.distances = distances[:n, :n].clone()
        self.norms = distances[n, :n].sqrt() if "norms" in needs else None

    def _products(self, parts: Parts, about: list[str]) -> dict[str, Tensor]:
        """For rows so far out that the others' distances say nothing beside theirs."""
        n = len(self.places)
        products = {name: torch.zeros(n, n, dtype=torch.float64) for name in about}
        for start, stop, rows in self.each(parts):
            for name, total in products.items():
                point = median(rows) if name == "median" else rows.new_zeros((stop - start,))
                total += gram_about(rows, point).cpu()
        return products

    def each(self, parts: Parts) -> Iterator[tuple[int, int, Rows]]:
        """The parts of the rows that take part, with what is known of the whole."""
        for start, stop, rows in parts.each(self.places):
            source = rows.source
            source.is_finite = self.is_finite
            source.products = {name: products.to(rows.device) for name, products in self.products.items()}
            source.distances = None if self.distances is None else self.distances.to(rows.device)
            source.norms = None if self.norms is None else self.norms.to(rows.device)
            yield start, stop, rows


def _run(
    stages: tuple[Rule[...], ...], parts: Parts, whole: Whole, out: Tensor | MappedRow, keywords: dict[str, Any]
) -> None:
    needs = [need for stage in stages if (need := STREAMED[stage.__name__])]
    if needs and whole.places:
        whole.measure(parts, needs)
    for start, stop, rows in whole.each(parts):
        keep = torch.tensor(whole.places, device=rows.device)
        result = run_stages(stages, rows, keep, len(parts.rows) - len(whole.places), keywords).value
        rows.source.require_finite()
        if isinstance(out, MappedRow):
            out.write(start, result)
            out.forget(start, stop)
        else:
            out[start:stop] = result
