"""The written sorting networks: right by the 0-1 principle (Knuth, TAOCP 3, 5.3.4, theorem Z), as small as is known."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flwr_byzantine.native._networks import MOST_ROWS, Comparator, median_network, sort_network, sources


def run(comparators: list[Comparator], values: list[int]) -> list[int]:
    for low, high in comparators:
        if values[low] > values[high]:
            values[low], values[high] = values[high], values[low]
    return values


def median(n: int, values: list[int]) -> list[int]:
    """What the middle wires hold, the values that are not needed replaced by nonsense."""
    steps, middle = median_network(n)
    wires: list[float] = list(values)
    for low, high, lesser, greater in steps:
        pair = sorted((wires[low], wires[high]))
        wires[low] = pair[0] if lesser else float("nan")
        wires[high] = pair[1] if greater else float("nan")
    return [int(wires[wire]) for wire in middle]


@pytest.mark.parametrize("n", range(2, 12))
def test_all_zeros_and_ones_are_sorted(n: int) -> None:
    comparators, order = sort_network(n)
    for values in itertools.product((0, 1), repeat=n):
        sorted_values = run(comparators, list(values))
        assert [sorted_values[wire] for wire in order] == sorted(values)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), n=st.integers(2, MOST_ROWS))
def test_zeros_and_ones_of_every_number_of_rows(data: st.DataObject, n: int) -> None:
    values = data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    comparators, order = sort_network(n)
    sorted_values = run(comparators, list(values))
    assert [sorted_values[wire] for wire in order] == sorted(values)
    assert set(median(n, values)) == {sorted(values)[(n - 1) // 2], sorted(values)[n // 2]}


@pytest.mark.parametrize(("n", "full", "middle"), [(5, 18, 12), (10, 62, 42), (20, 194, 126), (50, 790, 530)])
def test_minima_and_maxima_are_few(n: int, full: int, middle: int) -> None:
    assert 2 * len(sort_network(n)[0]) == full
    assert sum(lesser + greater for _, _, lesser, greater in median_network(n)[0]) == middle


def test_every_number_of_rows_is_written_for_every_instruction_set() -> None:
    assert set(sources()) == {f"{kind}_{isa}.cpp" for kind in ("sort", "median") for isa in ("avx512", "avx2")}
    for name, text in sources().items():
        kind = name.partition("_")[0]
        assert all(f"void {kind}_{n}(" in text for n in range(2, MOST_ROWS + 1))
