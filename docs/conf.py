"""Sphinx's configuration. Nothing here needs a network: not the build, and not the pages once built."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

project = "flwr_byzantine"
author = "The flwr_byzantine authors"
project_copyright = f"2026, {author}"
version = release = installed("flwr-byzantine")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "mathml",
    "pages",
    "prose",
]
exclude_patterns = ["_ext", "_static"]
suppress_warnings = ["config.cache"]  # rules are objects, which no cache of the environment can hold
nitpicky = True
# A type in an annotation need not be a page: Tensor is torch's. What a docstring names by a role must be there.
nitpick_ignore_regex = [("py:(class|obj)", r".*"), ("py:.*", r"(flwr|torch|numpy|redis|time|concurrent)\..*")]

myst_enable_extensions = ["deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"flwr_byzantine {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5cad", "color-brand-content": "#0b5cad"},
    "dark_css_variables": {"color-brand-primary": "#7cb7f2", "color-brand-content": "#7cb7f2"},
}
pygments_style, pygments_dark_style = "a11y-high-contrast-light", "a11y-high-contrast-dark"
