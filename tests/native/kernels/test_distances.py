"""Distances, inner products and finite rows, against float64."""

from __future__ import annotations

import math

import pytest
import torch

from flwr_byzantine.native import kernels
from flwr_byzantine.rules import krum

from .rows import DTYPES, SOME_NUMBERS, rows_of, scattered, squared_distances


def within(got: torch.Tensor, wanted: torch.Tensor, bound: float) -> bool:
    return torch.allclose(got, wanted, rtol=bound, atol=0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", SOME_NUMBERS)
def test_distances_of_all_pairs_at_odd_addresses(n: int, dtype: torch.dtype) -> None:
    rows = rows_of(n, 611, dtype)
    assert within(kernels.squared_distances(scattered(rows)), squared_distances(rows), 1e-6)


@pytest.mark.parametrize("d", [0, 1, 127, 128, 255, 256, 257, 16_384, 40_001])
def test_odd_tails_and_many_blocks(d: int) -> None:
    rows = rows_of(6, d)
    assert within(kernels.squared_distances(rows), squared_distances(rows), 1e-6)


@pytest.mark.parametrize("n", [20, 50])
@pytest.mark.parametrize("attack", [1.0, 1e6, 1e9, 1e15])
def test_updates_far_smaller_than_the_weights_beside_huge_attackers(n: int, attack: float) -> None:
    weights = rows_of(1, 20_000, seed=1)
    rows = weights + 1e-4 * rows_of(n, 20_000, seed=2)
    rows[: n // 5] *= attack
    assert within(kernels.squared_distances(rows), squared_distances(rows), 1e-6)


@pytest.mark.parametrize("difference", [0.1, 0.3, 1 / 3, 1e-3, 0.7])
def test_the_same_difference_everywhere_whose_rounding_does_not_average_out(difference: float) -> None:
    rows = torch.stack([torch.zeros(4096), torch.full((4096,), difference)])
    assert within(kernels.squared_distances(rows), squared_distances(rows), 1e-6)


@pytest.mark.parametrize("scale", [1e-40, 1e-25, 1e-15, 1e15, 1e25, 1e37])
def test_squares_that_float_cannot_hold(scale: float) -> None:
    rows = (rows_of(9, 500, torch.float64) * scale).float()
    assert within(kernels.squared_distances(rows), squared_distances(rows), 1e-6)


def test_rows_of_every_size_side_by_side() -> None:
    sizes = torch.tensor([1e-30, 1e-20, 1e-20, 1.0, 1.0, 1e19, 1e30, 1e38], dtype=torch.float64)
    rows = (rows_of(8, 300, torch.float64).clamp(-3, 3) * sizes[:, None]).float()
    rows[2] = rows[1]
    assert within(kernels.squared_distances(rows), squared_distances(rows), 1e-6)


def test_krum_chooses_as_float64_does() -> None:
    for seed in range(200):
        weights = rows_of(1, 400, seed=1000 + seed)
        rows = weights + 1e-3 * rows_of(15, 400, seed=seed)
        rows[:3] += 1e-3 * (1 + seed % 5)
        chosen = kernels.squared_distances(rows).sort(dim=1).values[:, 1 : 15 - 3 - 2 + 1].sum(1).argmin()
        assert torch.equal(krum(rows.double(), f=3), rows[chosen].double())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_row_that_is_not_finite_is_found_and_leaves_the_others_alone(bad: float, dtype: torch.dtype) -> None:
    rows = rows_of(12, 700, dtype)
    rows[4, 690] = bad
    others = [i for i in range(12) if i != 4]
    distances = kernels.squared_distances(rows)
    assert not distances[4, others].isfinite().any()
    assert within(distances[others][:, others], squared_distances(rows[others]), 1e-6)
    assert kernels.finite_rows(rows).tolist() == [i != 4 for i in range(12)]
    assert not kernels.distances_to(rows, rows[0])[4].isfinite()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [1, 9, 33])
def test_distances_to_a_point_and_products_about_it(n: int, dtype: torch.dtype) -> None:
    rows, point = rows_of(n, 2050, dtype, offset=3), rows_of(1, 2050, seed=5)[0]
    offset = rows.double() - point.double()
    assert within(kernels.distances_to(scattered(rows), point), offset.norm(dim=1), 1e-12)
    assert torch.allclose(kernels.gram_about(scattered(rows), point), offset @ offset.T, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e-150, 1e150, 1e200, 1e307])
def test_distances_in_float64_whose_squares_overflow_or_vanish(scale: float) -> None:
    rows = torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]], dtype=torch.float64) * scale
    wanted = torch.tensor([5.0, 1.0, 0.0], dtype=torch.float64) * scale
    assert torch.allclose(kernels.distances_to(rows, torch.zeros(2)), wanted, rtol=1e-3 if scale < 1e-300 else 1e-12)
