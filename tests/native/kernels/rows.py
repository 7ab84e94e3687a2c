"""Rows for kernels, and slow, obvious float64 to hold them against."""

from __future__ import annotations

import torch
from torch import Tensor

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
SOME_NUMBERS = [1, 2, 3, 5, 10, 16, 17, 20, 31, 32, 33, 50, 64, 65, 100, 130]


def rows_of(n: int, d: int, dtype: torch.dtype = torch.float32, *, seed: int = 0, offset: float = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(n, d, generator=generator, dtype=torch.float64) + offset).to(dtype)


def scattered(rows: Tensor) -> list[Tensor]:
    """The same rows, each by itself at an odd element of its own memory, which no vector register is aligned to."""
    return [torch.cat([row.new_zeros(1 + i % 3), row])[1 + i % 3 :] for i, row in enumerate(rows)]


def mean_of_places(rows: Tensor, low: int, high: int) -> Tensor:
    """In float64, NaN as the largest number."""
    largest = torch.full((), torch.inf, dtype=torch.float64)
    return torch.where(rows.isnan(), largest, rows.double()).sort(0).values[low:high].mean(0)


def mean_nearest(rows: Tensor, places: tuple[int, int], k: int) -> Tensor:
    values = rows.double()
    centre = values.sort(0).values[places[0] : places[1]].mean(0)
    return values.gather(0, (values - centre).abs().sort(dim=0, stable=True).indices[:k]).mean(0)


def squared_distances(rows: Tensor) -> Tensor:
    values = rows.double()
    return torch.stack([(values - row).square().sum(1) for row in values])


def close(got: Tensor, wanted: Tensor, scale: float = 1.0) -> bool:
    """Equal but for the order of a float64 sum of numbers as large as ``scale``, rounded once to the result's type."""
    kind = torch.finfo(got.dtype)
    least = 1e-13 * scale + kind.smallest_normal * kind.eps
    return torch.allclose(got.double(), wanted, rtol=kind.eps, atol=least, equal_nan=True)
