"""What a peer tells the server of each round."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from flwr_byzantine.clients.peer import RoundRecord

__all__ = ["round_metrics"]


def round_metrics(
    records: Iterable[RoundRecord], measured: Mapping[int, Mapping[str, float]], rounds: int
) -> dict[str, list[float]]:
    """By name, one number per round: what happened in it, and how good the model was that came out of it.

    Args:
        records: Of the rounds that the peer went through.
        measured: By round, the metrics of the model that it left.
        rounds: How many numbers each name has.
    """
    named: dict[int, dict[str, float]] = {round: dict(found) for round, found in measured.items()}
    for record in records:
        counts = {"rows": len(record.rows), "rejected": len(record.rejected), "kept": int(record.kept is not None)}
        found = {**counts, "seconds": sum(record.seconds.values()), "loss": record.loss}
        given = {name: float(value) for name, value in found.items() if value is not None}
        named[record.round] = given | named.get(record.round, {})
    every = range(1, rounds + 1)
    names = sorted({name for found in named.values() for name in found})
    return {name: [named.get(round, {}).get(name, math.nan) for round in every] for name in names}
