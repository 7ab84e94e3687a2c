"""A matrix a block of columns at a time, so that what is computed from it stays in a cache and no copy is made."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flwr_byzantine.rules._dispatch import primitive

__all__ = ["block_width", "column_blocks", "sortable", "value_blocks"]

BLOCK_COLUMNS = 1 << 15
"""Columns in one block: 128 KiB of float32 a row, which amortises a call and still fits a cache level."""

BLOCK_COLUMNS_ON_A_DEVICE = 1 << 22
"""The same on an accelerator, where launching a kernel costs as much as a million numbers."""


def block_width(on_a_device: bool) -> int:
    """How many columns a block has."""
    return BLOCK_COLUMNS_ON_A_DEVICE if on_a_device else BLOCK_COLUMNS


def sortable(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which numbers are compared: float32 for half precision, exactly and faster."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@primitive
def column_blocks(rows: Tensor, share: int = 1) -> Sequence[tuple[int, int, Tensor]]:
    """The columns of ``rows`` in blocks of a share of the usual width: from which column, up to which, and a view."""
    d, width = rows.shape[1], max(1, block_width(rows.is_cuda) // share)
    return [(start, min(d, start + width), rows[:, start : start + width]) for start in range(0, d, width)]


@primitive
def value_blocks(rows: Tensor) -> Sequence[tuple[int, int, list[Tensor]]]:
    """The columns of ``rows`` in blocks: from which column, up to which, and these columns of each row."""
    d, width = rows.shape[1], block_width(rows.is_cuda)
    return [
        (start, min(d, start + width), list(rows[:, start : start + width].unbind())) for start in range(0, d, width)
    ]
