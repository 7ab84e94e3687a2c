"""Writes the sorting networks of 2 to 64 rows as C++, for each instruction set. Imports nothing, for setup.py's sake.

A full sort is Batcher's odd-even merge sort, emitted depth first so that few values are alive at once. A median is
the smaller of Batcher's and of the windows of Parberry's pairwise network, without what its middle does not depend on.
"""

from __future__ import annotations

__all__ = ["MOST_ROWS", "median_network", "sort_network", "sources"]

MOST_ROWS = 64
"""More rows are sorted in groups, which are merged in the cache."""

INSTRUCTION_SETS = ("avx512", "avx2")

Comparator = tuple[int, int]
Step = tuple[int, int, bool, bool]
"""A comparator, whether its lesser value is needed, and whether its greater one is."""


def sort_network(n: int) -> tuple[list[Comparator], list[int]]:
    """Comparators between wires, and the wires by the place of the value that each then holds (Knuth, TAOCP 3, 5.3.4).

    Example:
        >>> sort_network(3)
        ([(1, 2), (0, 1), (2, 1)], [0, 2, 1])
    """
    comparators: list[Comparator] = []

    def merge(left: list[int], right: list[int]) -> list[int]:
        if not left or not right:
            return left or right
        if len(left) == len(right) == 1:
            comparators.append((left[0], right[0]))
            return [left[0], right[0]]
        odd, even = merge(left[::2], right[::2]), merge(left[1::2], right[1::2])
        merged = [odd[0]]
        for i, wire in enumerate(even):
            merged.append(wire)
            if i + 1 < len(odd):
                comparators.append((wire, odd[i + 1]))
                merged.append(odd[i + 1])
        return merged + odd[len(even) + 1 :]

    def sort(wires: list[int]) -> list[int]:
        half = len(wires) // 2
        return wires if half == 0 else merge(sort(wires[:half]), sort(wires[half:]))

    order = sort(list(range(n)))
    return comparators, order


def median_network(n: int) -> tuple[list[Step], list[int]]:
    """The fewest minima and maxima known here that give the middle of ``n`` values; and the wires of the middle."""
    comparators, order = sort_network(n)
    candidates = [(comparators, sorted({order[(n - 1) // 2], order[n // 2]}))]
    candidates += [(window, sorted({(n - 1) // 2, n // 2})) for window in _pairwise_windows(n)]
    pruned = [(_needed(network, middle), middle) for network, middle in candidates]
    steps, middle = min(pruned, key=lambda found: sum(lesser + greater for _, _, lesser, greater in found[0]))
    return steps, middle if steps is not pruned[0][0] else [order[(n - 1) // 2], order[n // 2]]


def _pairwise_windows(n: int) -> list[list[Comparator]]:
    """Parberry's network of the next power of two, on each ``n`` neighbouring wires: -inf below them, inf above."""
    size = 1 << (n - 1).bit_length()
    comparators: list[Comparator] = []

    def sort(wires: list[int]) -> None:
        if len(wires) < 2:
            return
        comparators.extend(zip(wires[::2], wires[1::2], strict=True))
        sort(wires[::2])
        sort(wires[1::2])
        step = len(wires) // 2
        while step >= 2:
            comparators.extend((wires[i], wires[i + step - 1]) for i in range(1, len(wires) - step + 1, 2))
            step //= 2

    sort(list(range(size)))
    windows = []
    for first in range(size - n + 1):
        inside = [(a - first, b - first) for a, b in comparators if first <= a < first + n and first <= b < first + n]
        windows.append(inside)
    return windows


def _needed(comparators: list[Comparator], wanted: list[int]) -> list[Step]:
    """The comparators that the wanted wires depend on."""
    needed = set(wanted)
    steps: list[Step] = []
    for low, high in reversed(comparators):
        if low in needed or high in needed:
            steps.append((low, high, low in needed, high in needed))
            needed |= {low, high}
    return steps[::-1]


def sources() -> dict[str, str]:
    """The text of each translation unit, by its file's name."""
    return {
        f"{kind}_{instructions}.cpp": _unit(kind, instructions)
        for instructions in INSTRUCTION_SETS
        for kind in ("sort", "median")
    }


def _unit(kind: str, instructions: str) -> str:
    write = _sort if kind == "sort" else _median
    numbers = range(2, MOST_ROWS + 1)
    table = ", ".join(f"{kind}_{n}" for n in numbers)
    functions = "".join(write(n) for n in numbers)
    return f"""// Written by _networks.py.

#include "sorter_{instructions}.h"

#ifdef FB_TARGET
namespace fb {{
namespace {{

{functions}
}} // namespace

extern const Sorter {kind.upper()}_{instructions.upper()}[] = {{nullptr, nullptr, {table}}};

}} // namespace fb
#endif
"""


def _sort(n: int) -> str:
    comparators, order = sort_network(n)
    loads = _loads(comparators, "load(rows[{0}], at)")
    steps = [line for pair in comparators for line in (*loads.get(pair, ()), _step((*pair, True, True)))]
    stores = [f"store(sorted + {place} * COLUMNS + j, v{wire});" for place, wire in enumerate(order)]
    return _function(f"sort_{n}", [*steps, *stores, f"note(check + j, v{order[0]}, v{order[-1]});"])


def _median(n: int) -> str:
    steps, middle = median_network(n)
    loads = _loads([(low, high) for low, high, _, _ in steps], "load(rows[{0}], at, odd)")
    lines = [line for step in steps for line in (*loads.get(step[:2], ()), _step(step))]
    places = ((n - 1) // 2, n // 2)
    stores = [
        f"store(sorted + {place} * COLUMNS + j, v{wire});"
        for place, wire in zip(places, (middle[0], middle[-1]), strict=True)
    ]
    return _function(f"median_{n}", ["Vector odd = zero();", *lines, *stores, "note(check + j, odd, odd);"])


def _loads(comparators: list[Comparator], load: str) -> dict[Comparator, list[str]]:
    """The loads that come before the first comparator of each wire."""
    seen: set[int] = set()
    loads: dict[Comparator, list[str]] = {}
    for pair in comparators:
        for wire in sorted(set(pair) - seen):
            loads.setdefault(pair, []).append(f"Vector v{wire} = {load.format(wire)};")
        seen |= set(pair)
    return loads


def _step(step: Step) -> str:
    low, high, lesser, greater = step
    if lesser and greater:
        return f"put_in_order(v{low}, v{high});"
    return f"v{low} = least(v{low}, v{high});" if lesser else f"v{high} = most(v{low}, v{high});"


def _function(name: str, lines: list[str]) -> str:
    body = "\n".join(f"    {line}" for line in lines)
    return f"""FB_TARGET void {name}(const char *const *rows, size_t from, float *sorted, float *check) {{
  for (size_t j = 0; j < COLUMNS; j += LANES) {{
    const size_t at = (from + j) * sizeof(float);
{body}
  }}
}}
"""
