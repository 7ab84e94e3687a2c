"""Results as lines of JSON, so that a run that was killed goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["append", "markdown", "read"]


def read(path: Path | None) -> list[dict[str, Any]]:
    """The whole lines of a file; one that a kill cut short is left out."""
    rows = []
    for line in path.read_text().splitlines() if path is not None and path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def append(path: Path | None, row: Mapping[str, Any]) -> None:
    """One more line, on a line of its own even after one that was cut short."""
    if path is None:
        return
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, 2)
            ended = file.read(1) == b"\n"
        else:
            ended = True
        file.write((b"" if ended else b"\n") + json.dumps(row).encode() + b"\n")


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
