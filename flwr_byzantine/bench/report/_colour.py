"""The ramp of accuracies: near the paper where all is well, more ink the more is lost; one for each theme."""

from __future__ import annotations

import itertools

__all__ = ["DARK", "LEVELS", "LIGHT", "contrast", "fill", "ink_on", "level", "ramp_css"]

Stops = tuple[tuple[float, str], ...]

LEVELS = 40
LIGHT: Stops = (
    (0.0, "#5c140d"), (0.25, "#9c3b1f"), (0.5, "#d9743f"), (0.75, "#f3b27c"), (0.9, "#fadcb9"), (1.0, "#f8f5ef"),
)  # fmt: skip
DARK: Stops = (
    (0.0, "#ffe9cc"), (0.25, "#f0b077"), (0.5, "#c9743a"), (0.75, "#7f4522"), (0.9, "#482c1d"), (1.0, "#23211f"),
)  # fmt: skip
"""Accuracy and colour. Lightness changes one way only, so that the order shows without hue."""
INKS = ("#000000", "#ffffff")  # of any other pair neither stands out enough in the middle of the ramp


def level(accuracy: float) -> int:
    """Which step of the ramp, 0 to :data:`LEVELS`.

    Example:
        >>> level(0.0), level(0.912), level(1.0)
        (0, 36, 40)
    """
    return round(min(max(accuracy, 0.0), 1.0) * LEVELS)


def fill(stops: Stops, step: int) -> str:
    """The colour of a step."""
    at = step / LEVELS
    for (low, first), (high, second) in itertools.pairwise(stops):
        if at <= high:
            share = (at - low) / (high - low)
            mixed = (round(a + share * (b - a)) for a, b in zip(_rgb(first), _rgb(second), strict=True))
            return "#" + "".join(f"{value:02x}" for value in mixed)
    return stops[-1][1]


def ink_on(colour: str) -> str:
    """The one of the two inks that is read better on a colour."""
    return max(INKS, key=lambda ink: contrast(ink, colour))


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast ratio, 1 to 21.

    Example:
        >>> contrast("#000000", "#ffffff")
        21.0
    """
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def ramp_css(stops: Stops) -> str:
    """A class for each step: the cell's fill, and its number's."""
    lines = []
    for step in range(LEVELS + 1):
        colour = fill(stops, step)
        lines.append(f".r{step}{{fill:{colour}}}.i{step}{{fill:{ink_on(colour)}}}")
    return "".join(lines)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    parts = [value / 255 for value in _rgb(colour)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
