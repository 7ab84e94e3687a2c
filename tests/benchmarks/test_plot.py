"""Plots are well-formed, put points where the axes say, and never draw what cannot be drawn."""

import xml.etree.ElementTree as ET

import pytest
from _plot import BOTTOM, COLOURS, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, Line, line_plot, ticks
from hypothesis import assume, given
from hypothesis import strategies as st

SVG = "{http://www.w3.org/2000/svg}"


def plot(*lines, x_log=False, y_log=False):
    return line_plot(lines, title="a < b", x=Axis("x & y", log=x_log), y=Axis("y", log=y_log))


def points(text):
    found = [each.get("points") for each in ET.fromstring(text).iter(f"{SVG}polyline")]
    return [[tuple(map(float, point.split(","))) for point in each.split()] for each in found]


@pytest.mark.parametrize(("log", "values"), [(False, (0, 5, 10)), (True, (1, 100, 10000))])
def test_the_ends_of_the_axes_are_the_corners_of_the_frame(log, values):
    low, middle, high = values
    [line] = points(plot(Line("a", [(low, low), (middle, middle), (high, high)]), x_log=log, y_log=log))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    assert line == [(LEFT, bottom), ((LEFT + right) / 2, (TOP + bottom) / 2), (right, TOP)]


def test_names_and_titles_may_hold_any_character():
    texts = [each.text for each in ET.fromstring(plot(Line("<&>", [(0, 0), (1, 1)]))).iter(f"{SVG}text")]
    assert {"<&>", "a < b", "x & y"} <= set(texts)


def test_points_that_are_not_finite_are_left_out():
    [line] = points(plot(Line("a", [(0, 0), (1, float("nan")), (float("inf"), 1), (2, 2)])))
    assert len(line) == 2


def test_every_line_has_a_colour_on_light_and_on_dark_pages_and_a_mark():
    text = plot(*(Line(str(number), [(0, number), (1, 1)]) for number in range(len(COLOURS))))
    light, dark = text.split("prefers-color-scheme:dark")
    assert all(on_light in light and on_dark in dark for on_light, on_dark in COLOURS)
    marks = {each.get("d") for each in ET.fromstring(text).iter(f"{SVG}path")}
    assert len(marks) == len(COLOURS)


def test_what_cannot_be_drawn_is_told():
    with pytest.raises(ValueError, match="nothing that can be drawn"):
        plot(Line("a", []))
    with pytest.raises(ValueError, match="log of 0"):
        plot(Line("a", [(1, 0), (2, 1)]), y_log=True)
    with pytest.raises(ValueError, match="6 colours, got 7"):
        plot(*(Line("a", [(0, 0), (1, 1)]) for _ in range(7)))


@given(st.floats(-1e9, 1e9), st.floats(1e-9, 1e9) | st.just(0.0))
def test_ticks_enclose_what_they_are_for(low, width):
    assume(width == 0 or width > 1e-3 * abs(low))
    found, spare = ticks(low, low + width), 1e-6 * max(width, abs(low))
    assert found[0] <= low + spare
    assert found[-1] >= low + width - spare
    assert 2 <= len(found) <= 12


@given(st.floats(1e-12, 1e12), st.floats(1, 1e12))
def test_ticks_of_logarithms_do_too(low, times):
    found = ticks(low, low * times, log=True)
    assert found[0] <= low * 1.001
    assert found[-1] >= low * times / 1.001
    assert 2 <= len(found) <= 13
