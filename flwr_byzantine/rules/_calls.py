"""What a call of a rule does around its function: rows that are not finite, the bounds, and one stage after another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from flwr_byzantine.rules._dispatch import is_plain
from flwr_byzantine.rules._primitives import mean_of, put_together
from flwr_byzantine.rules._rows import kept_rows
from flwr_byzantine.rules.rows import Inputs, Rows

if TYPE_CHECKING:
    from flwr_byzantine.rules._aggregator import Rule

__all__ = ["Outcome", "apply_to_finite_rows", "average", "run_stages"]


class Outcome(NamedTuple):
    """What a rule computed: the value, and the rows that it selected if it is a rule that selects."""

    value: Tensor
    """``[d]``; for a pre-aggregator ``[n', d]``."""
    selected: Tensor | None = None
    """int64 row indices, in the order of selection, or None."""


def average(inputs: Tensor, selected: Tensor) -> Outcome:
    """The plain mean of the selected inputs."""
    return Outcome(mean_of(inputs, selected), selected)


def apply_to_finite_rows(stages: tuple[Rule[...], ...], inputs: Inputs, keywords: Mapping[str, Any]) -> Outcome:
    """Exclude non-finite rows, count them against f, check every bound, and run the stages."""
    rows = Rows.of(inputs)
    if is_plain():
        matrix = rows.matrix()
        keep = kept_rows(matrix)
        excluded = matrix.shape[0] - keep.shape[0]
        return run_stages(stages, matrix[keep] if excluded else matrix, keep, excluded, keywords)
    try:
        # All are taken to be finite until one is seen that is not: most of what a rule computes shows it.
        outcome = run_stages(stages, rows, torch.arange(rows.shape[0], device=rows.device), 0, keywords)
        rows.source.require_finite()
        return outcome
    except ValueError:
        if rows.source.is_finite:
            raise
    keep = kept_rows(rows)
    left = rows.some(keep.tolist())
    left.source.is_finite = True
    return run_stages(stages, left, keep, rows.shape[0] - left.shape[0], keywords)


def run_stages(
    stages: tuple[Rule[...], ...], rows: Tensor, keep: Tensor, excluded: int, keywords: Mapping[str, Any]
) -> Outcome:
    """Run the stages on the rows that are kept."""
    outcome = Outcome(rows)
    traceable = True
    for stage in stages:
        value = outcome.value
        traceable = traceable and value.shape[0] == keep.shape[0]
        given = {**stage.keywords, **{k: v for k, v in keywords.items() if k in stage.accepts}}
        outcome = stage.run(value, keep, excluded, given)
    selected = keep[outcome.selected] if traceable and outcome.selected is not None else None
    return Outcome(put_together(outcome.value), selected)
