"""reStructuredText of titles and tables."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["facts", "table", "title"]


def title(text: str, mark: str = "=") -> list[str]:
    """A heading and its line."""
    return [text, mark * len(text), ""]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table with a header row."""
    return [".. list-table::", "   :header-rows: 1", "", *(line for row in [header, *rows] for line in _row(row)), ""]


def facts(rows: Sequence[tuple[str, str]]) -> list[str]:
    """A table of two columns whose first says what the second is."""
    return [
        ".. list-table::",
        "   :stub-columns: 1",
        "   :widths: 20 80",
        "",
        *(x for row in rows for x in _row(row)),
        "",
    ]


def _row(cells: Sequence[str]) -> list[str]:
    return [
        f"   {'*' if first else ' '} - {cell}"
        for first, cell in zip([True, *[False] * len(cells)], cells, strict=False)
    ]
