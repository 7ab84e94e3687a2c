"""The report of a sweep: one HTML file that asks for nothing else, drawn in SVG, for light and dark and for a phone."""

from flwr_byzantine.bench.report._page import report_html

__all__ = ["report_html"]
