"""Metrics that one node cannot own: the median per key, each node's number counting for itself only."""

from __future__ import annotations

import math

import torch
from flwr.app import MetricRecord, RecordDict

from flwr_byzantine.records import records_of
from flwr_byzantine.rules import median

__all__ = ["median_metrics"]


def median_metrics(contents: list[RecordDict], weighted_by_key: str) -> MetricRecord:
    """The median of each metric over the nodes that reported a finite number for it.

    Args:
        contents: Replies of one form, each with one MetricRecord.
        weighted_by_key: The metric that states a number of examples; it is left out, as Flower does.

    Returns:
        One number, or one list of numbers, per key; a key for which nobody reported a finite number is left out.

    Example:
        >>> replies = [RecordDict({"m": MetricRecord({"loss": x, "num-examples": 9})}) for x in (0.5, 0.6, 1e9)]
        >>> dict(median_metrics(replies, "num-examples"))
        {'loss': 0.6}
    """
    records = [records_of(content, MetricRecord)[0] for content in contents]
    result = MetricRecord()
    for key in records[0] if records else ():
        values = [record[key] for record in records if key in record]
        if key == weighted_by_key:
            continue
        if isinstance(values[0], list):
            columns = [_median(list(column)) for column in zip(*values, strict=True)]
            if all(column is not None for column in columns):
                result[key] = [column for column in columns if column is not None]
        elif (value := _median(values)) is not None:  # type: ignore[arg-type]
            result[key] = value
    return result


def _median(values: list[float]) -> float | None:
    finite = [[float(value)] for value in values if abs(value) <= 1.7e308 and math.isfinite(value)]
    return median(torch.tensor(finite, dtype=torch.float64)).item() if finite else None
