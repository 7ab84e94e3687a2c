"""Weighted sums, against float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flwr_byzantine.native import kernels

from .rows import DTYPES, close, rows_of, scattered


def weights_of(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [1, 2, 9, 50, 130])
def test_one_sum_at_odd_addresses(n: int, dtype: torch.dtype) -> None:
    rows, weights, out = rows_of(n, 1501, dtype), weights_of(n), torch.empty(1501, dtype=dtype)
    assert kernels.weighted_sum(scattered(rows), weights, out=out)
    assert close(out, weights @ rows.double(), scale=n)


@pytest.mark.parametrize("d", [0, 1, 15, 64, 1024, 1025, 65_536, 70_003])
@pytest.mark.parametrize("k", [1, 3])
def test_odd_tails_and_many_blocks(k: int, d: int) -> None:
    rows, weights, out = rows_of(5, d), weights_of(k, 5), torch.empty(k, d, dtype=torch.float64)
    assert kernels.weighted_sum(rows, weights, out=out)
    assert close(out, weights @ rows.double(), scale=5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(7,), (4, 7), (9, 7)])
def test_what_the_weights_lack_to_one_goes_to_the_centre(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    rows, centre, weights = rows_of(7, 300, dtype), rows_of(1, 300, seed=4)[0], weights_of(*shape)
    out = torch.empty(*shape[:-1], 300, dtype=torch.float64)
    assert kernels.weighted_sum(rows, weights, out=out, centre=centre)
    rest = 1 - weights.sum(-1, keepdim=True)
    assert torch.allclose(out, weights @ rows.double() + rest * centre.double(), rtol=1e-12, atol=1e-12)


def test_a_row_without_a_weight_is_not_read() -> None:
    rows, out = rows_of(4, 100), torch.empty(100)
    rows[2] = torch.nan
    assert kernels.weighted_sum(rows, torch.tensor([0.5, 0.25, 0.0, 0.25], dtype=torch.float64), out=out)
    assert close(out, (0.5 * rows[0] + 0.25 * rows[1] + 0.25 * rows[3]).double(), scale=1e7)


def test_what_is_not_finite_is_told() -> None:
    rows, out = rows_of(4, 100), torch.empty(100)
    rows[2, 99] = torch.inf
    assert not kernels.weighted_sum(rows, weights_of(4), out=out)


def test_rows_of_a_result_may_lie_apart() -> None:
    rows, weights, whole = rows_of(5, 40), weights_of(3, 5), torch.zeros(3, 100)
    kernels.weighted_sum(rows, weights, out=whole[:, 50:90])
    assert close(whole[:, 50:90], weights @ rows.double(), scale=5)
    assert not whole[:, :50].any()
    assert not whole[:, 90:].any()
