"""The numbers of a reply: how long its update is, and whether all of them are finite."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from flwr.app import ArrayRecord
from torch import Tensor

from flwr_byzantine.records import Layout

__all__ = ["Limits", "subtract"]

SLACK = 1.01
"""Above any rounding of a float32 sum of squares."""


class Limits:
    """How far from the model sent a reply may be.

    The length of an array is found once for the bytes that hold it, which do not change: other numbers are other bytes.

    Args:
        layout: That of the model sent.
        model: ``[d]``, the model sent.
        limit: Largest Euclidean norm of an update.
    """

    def __init__(self, layout: Layout, model: Tensor, limit: float) -> None:
        self._layout, self._model, self._limit = layout, model, limit
        self._length = math.sqrt(float(torch.dot(model, model)))
        self._squares: dict[int, tuple[bytes, float]] = {}

    def fault(self, record: ArrayRecord, reply: Sequence[Tensor]) -> str | None:
        """What is wrong with the numbers of a record, whose arrays are given as well, if something is."""
        # An update is no longer than its reply and the model together, and one look at the reply is all that costs.
        arrays, floats = dict(record.items()), zip(self._layout.floats, reply, strict=True)
        length = math.sqrt(sum(self._square(arrays[spec.name].data, part) for (spec, _), part in floats))
        if SLACK * (length + self._length) <= self._limit:
            return None
        update = torch.empty_like(self._model)
        subtract(reply, self._model, out=update)
        norm = float(torch.linalg.vector_norm(update, dtype=torch.float64)) if update.numel() else 0.0
        if norm <= self._limit:
            return None
        bad = int((~torch.isfinite(update)).sum())
        if bad:
            return f"{bad} of {update.numel()} numbers are not finite"
        return f"the norm of its update is {norm:.3g}, more than {self._limit:.3g}"

    def _square(self, data: bytes, values: Tensor) -> float:
        """The sum of squares of an array, nearly."""
        known, square = self._squares.get(id(data), (None, 0.0))
        if known is not data:
            square = float(torch.dot(values, values))
            if type(data) is bytes:  # nothing else that Flower may come to hold is sure not to change
                self._squares[id(data)] = (data, square)
        return square


def subtract(reply: Sequence[Tensor], model: Tensor, *, out: Tensor) -> None:
    """Write a reply's arrays, one after the other, minus the model into ``out`` ``[d]``."""
    start = 0
    for part in reply:
        stop = start + part.numel()
        torch.sub(part, model[start:stop], out=out[start:stop])
        start = stop
