"""HTML and SVG by construction: what is no markup is escaped, so that no name or error can become any."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

__all__ = ["NOTHING", "Markup", "chars", "figure", "number", "svg", "table", "tag", "wrapped"]

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]|[\ud800-\udfff]")
MAX_TEXT = 2000
NOTHING = "\N{EN DASH}"
"""Where there is no number."""
CHARACTER = 0.602
"""Width of a character of the monospaced faces, in units of their size."""


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def _part(part: Markup | str | int | None) -> str:
    if isinstance(part, Markup):
        return part
    return "" if part is None else html.escape(CONTROL.sub("\ufffd", str(part)[:MAX_TEXT]))


def tag(name: str, *parts: Markup | str | int | None, **attributes: str | float | None) -> Markup:
    """An element; ``_`` in an attribute's name is ``-``, and one at its end is dropped.

    Example:
        >>> tag("text", "a < b", x=1.50, class_="name")
        '<text x="1.5" class="name">a &lt; b</text>'
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_part(number(value) if isinstance(value, float) else str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{given}>{''.join(_part(part) for part in parts)}</{name}>")


def number(value: float) -> str:
    """A coordinate with at most two decimals.

    Example:
        >>> number(2.0), number(1 / 3)
        ('2', '0.33')
    """
    return f"{value:.2f}".rstrip("0").rstrip(".")


def svg(width: float, height: float, *parts: Markup | None, title: str, desc: str, class_: str = "") -> Markup:
    """A drawing that is read out as its title and description."""
    return tag(
        "svg", tag("title", title), tag("desc", desc), *parts, viewBox=f"0 0 {number(width)} {number(height)}",
        width=float(width), height=float(height), role="img", aria_label=title, class_=class_ or None,
    )  # fmt: skip


def figure(drawing: Markup, caption: Markup | str, *, wide: bool = False) -> Markup:
    """A drawing under its caption; a wide one in a box that scrolls, also by keys."""
    box = tag("div", drawing, class_="box", tabindex="0", role="region", aria_label="scrolls") if wide else drawing
    return tag("figure", tag("figcaption", caption), box)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, summary: str) -> Markup:
    """The same numbers as a table, folded away."""
    header = tag("tr", *(tag("th", name, scope="col") for name in head))
    body = [tag("tr", tag("th", row[0], scope="row"), *(tag("td", value) for value in row[1:])) for row in rows]
    whole = tag("table", tag("thead", header), tag("tbody", *body))
    return tag("details", tag("summary", summary), tag("div", whole, class_="box", tabindex="0"))


def wrapped(text: str, width: int) -> list[str]:
    """A name in lines of at most ``width`` characters where that can be, broken at ``>>``, ``(`` and ``,``.

    Example:
        >>> wrapped("clipping(radius=2.0) >> nnm >> trimmed_mean", 24)
        ['clipping(radius=2.0)', '>> nnm >> trimmed_mean']
    """
    lines = [""]
    for piece in re.split(r"(?= >> )|(?<=\w)(?=\()|(?<=,)(?= )", text):
        if lines[-1] and len(lines[-1]) + len(piece) > width:
            lines.append(piece.strip())
        else:
            lines[-1] += piece
    return [line if len(line) <= 2 * width else line[: 2 * width - 1] + "…" for line in lines]


def chars(lines: Iterable[str], size: float = 12.0) -> float:
    """The width of the longest of these lines in a monospaced face of a size."""
    return max((len(line) for line in lines), default=0) * CHARACTER * size
