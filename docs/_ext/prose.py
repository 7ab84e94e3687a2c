"""The text below a field is prose: napoleon would take what stands before its first colon for a type."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

FIELDS = {"attribute", "data", "property"}
BEFORE_NAPOLEON, AFTER_NAPOLEON = 400, 600


def aside(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Hide the text from napoleon."""
    if what in FIELDS:
        app.env.current_document["prose"] = list(lines)
        lines.clear()


def back(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Put it back as it was."""
    if what in FIELDS:
        lines[:] = app.env.current_document["prose"]


def setup(app: Sphinx) -> dict[str, bool]:
    """Act around napoleon."""
    app.connect("autodoc-process-docstring", aside, priority=BEFORE_NAPOLEON)
    app.connect("autodoc-process-docstring", back, priority=AFTER_NAPOLEON)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
