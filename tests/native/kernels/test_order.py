"""Order statistics coordinate by coordinate, against float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flwr_byzantine.native import kernels

from .rows import DTYPES, SOME_NUMBERS, close, mean_nearest, mean_of_places, rows_of, scattered


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", SOME_NUMBERS)
def test_every_window_of_places_at_odd_addresses(n: int, dtype: torch.dtype) -> None:
    rows = rows_of(n, 203, dtype)
    out = torch.empty(203, dtype=dtype)
    for low, high in {(0, 1), (n - 1, n), (0, n), ((n - 1) // 2, n // 2 + 1), (n // 5, n - n // 5)}:
        assert kernels.mean_of_order_statistics(scattered(rows), low, high, out=out)
        assert close(out, mean_of_places(rows, low, high))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_all_numbers_of_rows(dtype: torch.dtype) -> None:
    for n in range(1, 131):
        rows = rows_of(n, 67, dtype, seed=n)
        out = torch.empty(67, dtype=dtype)
        for low, high in [((n - 1) // 2, n // 2 + 1), (n // 4, n - n // 4)]:
            kernels.mean_of_order_statistics(rows, low, high, out=out)
            assert close(out, mean_of_places(rows, low, high))
        kernels.mean_nearest(rows, ((n - 1) // 2, n // 2 + 1), n - n // 4, out=out)
        assert close(out, mean_nearest(rows, ((n - 1) // 2, n // 2 + 1), n - n // 4))


@pytest.mark.parametrize("d", [0, 1, 63, 64, 65, 32_768, 32_769, 70_001])
def test_odd_tails_and_many_blocks(d: int) -> None:
    rows = rows_of(7, d)
    out = torch.empty(d)
    assert kernels.mean_of_order_statistics(rows, 2, 5, out=out)
    assert close(out, mean_of_places(rows, 2, 5))
    assert kernels.mean_nearest(rows, (3, 4), 5, out=out)
    assert close(out, mean_nearest(rows, (3, 4), 5))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), n=st.integers(1, 40))
def test_signed_zeros_denormals_and_extremes(data: st.DataObject, n: int) -> None:
    numbers = [0.0, -0.0, 1.0, -1.0, 2.0, 1e-45, -1e-45, 1e-38, 3e38, -3e38, 1.0000001, 16777216.0]
    rows = torch.tensor(data.draw(st.lists(st.sampled_from(numbers), min_size=n, max_size=n)))[:, None]
    low = data.draw(st.integers(0, n - 1))
    out = torch.empty(1)
    assert kernels.mean_of_order_statistics(rows, low, low + 1, out=out)
    assert torch.equal(out.double(), mean_of_places(rows, low, low + 1))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), n=st.integers(2, 40))
def test_of_equally_near_values_that_of_the_lowest_row(data: st.DataObject, n: int) -> None:
    values = data.draw(st.lists(st.integers(-3, 3), min_size=3 * n, max_size=3 * n))
    rows = torch.tensor(values, dtype=torch.float32).reshape(n, 3)
    low, k, out = data.draw(st.integers(0, n - 2)), data.draw(st.integers(1, n)), torch.empty(3, dtype=torch.float64)
    for high in (low + 1, low + 2):
        assert kernels.mean_nearest(rows, (low, high), k, out=out)
        assert close(out, mean_nearest(rows, (low, high), k))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("n", [5, 20, 40, 70])
def test_what_is_not_finite_is_flagged_and_nan_is_the_largest(n: int, bad: float, dtype: torch.dtype) -> None:
    rows = rows_of(n, 150, dtype)
    rows[n // 2, 140] = bad
    out = torch.empty(150, dtype=dtype)
    for low, high in [((n - 1) // 2, n // 2 + 1), (1, n - 1)]:
        assert not kernels.mean_of_order_statistics(rows, low, high, out=out)
        assert close(out, mean_of_places(rows, low, high))
    assert not kernels.mean_nearest(rows, (1, 2), 3, out=out)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 3), (20, 20), (50, 47), (70, 9)])
def test_mixtures(n: int, m: int, dtype: torch.dtype) -> None:
    rows = rows_of(n, 200, dtype)
    weights = torch.rand(m, n, generator=torch.Generator().manual_seed(1), dtype=torch.float64) / n
    mixed = weights @ rows.double()
    out = torch.empty(200, dtype=torch.float64)
    # Mixtures of floats are summed in float, eight rows at a time.
    bound = 1e-13 if dtype == torch.float64 else 1e-6 * float(rows.abs().max())
    assert kernels.mean_of_order_statistics(scattered(rows), m // 4, m - m // 4, out=out, weights=weights)
    assert torch.allclose(out, mean_of_places(mixed, m // 4, m - m // 4), rtol=0, atol=bound)
    assert kernels.mean_nearest(rows, ((m - 1) // 2, m // 2 + 1), m, out=out, weights=weights)
    assert torch.allclose(out, mixed.mean(0), rtol=0, atol=bound)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    rows, results, before = rows_of(9, 300_001), [], torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            out = torch.empty(300_001)
            kernels.mean_nearest(rows, (4, 5), 6, out=out)
            results.append((out, kernels.squared_distances(rows)))
    finally:
        torch.set_num_threads(before)
    for out, distances in results[1:]:
        assert torch.equal(out, results[0][0])
        assert torch.equal(distances, results[0][1])
