"""Formulas as MathML, which browsers draw themselves: no script, no font and no picture is loaded."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

NEAREST = {
    r"\Bigl": r"\left",
    r"\Bigr": r"\right",
    r"\bigl": r"\left",
    r"\bigr": r"\right",
    r"\tfrac": r"\frac",
    r"\dots": r"\ldots",
}
"""What docutils' converter does not know, and what comes nearest."""


def mathml(tex: str, block: bool) -> str:
    """One formula of LaTeX as a ``<math>`` element."""
    for command, known in NEAREST.items():
        tex = tex.replace(command, known)
    return tex2mathml(tex, as_block=block)


def visit_inline(writer: Any, node: nodes.math) -> None:
    """Write the formula in place of the node."""
    writer.body.append(mathml(node.astext(), block=False))
    raise nodes.SkipNode


def visit_block(writer: Any, node: nodes.math_block) -> None:
    """Write the formula on a line of its own."""
    writer.body.append(f'<div class="formula">{mathml(node.astext(), block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Make it the renderer of formulas in HTML."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("config-inited", lambda _, config: setattr(config, "html_math_renderer", "mathml"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
