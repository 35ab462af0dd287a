"""Mathematics as MathML, which browsers draw by themselves: no script, no font, no network."""

from __future__ import annotations

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.writers.html5 import HTML5Translator

# Hints about sizes; what converts the formula knows other spellings of them only.
_SIZES = re.compile(r"\\(?:textstyle|displaystyle|[Bb]ig)(?![A-Za-z])")


def _converted(latex: str, *, block: bool) -> str:
    latex = _SIZES.sub("", latex)
    try:
        return tex2mathml(latex, as_block=block)
    except MathError as error:
        raise ExtensionError(f"this mathematics has no MathML: {latex}: {error}") from error


def _inline(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.body.append(_converted(node.astext(), block=False))
    raise nodes.SkipNode


def _block(translator: HTML5Translator, node: nodes.Element) -> None:
    latex = node.astext()
    if "\\\\" in latex or "&" in latex:
        latex = rf"\begin{{aligned}}{latex}\end{{aligned}}"
    translator.body.append(f'<div class="math">{_converted(latex, block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the renderer."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
