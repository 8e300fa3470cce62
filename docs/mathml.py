"""A Sphinx extension that writes formulas as MathML: every browser shows it, without scripts or network."""

import re

from docutils import nodes
from latex2mathml.converter import convert

_FUNCTION = re.compile(r"<mi>(sin|cos|tan|cot|tanh|log|ln)</mi>(?!<mo stretchy=\"false\">&#x00028;)")
_BAR = '<mo stretchy="false">&#x0007C;</mo>'
_TIGHT_BAR = '<mo stretchy="false" lspace="0" rspace="0">&#x0007C;</mo>'
# A sign that begins a group, or follows an operator other than a closing bracket, belongs to what follows.
_SIGN = re.compile(
    r"(<mrow>|<mo[^>]*>(?!&#x00029;|&#x0005D;|&#x0007C;)[^<]*</mo>)<mo>(&#x02212;|&#x000B1;|&#x02213;)</mo>"
)


def mathml(text: str, display: str) -> str:
    """Convert LaTeX to MathML, with the spaces that TeX leaves around functions, bars and signs."""
    made = convert(text, display=display).replace(_BAR, _TIGHT_BAR)
    made = _FUNCTION.sub(r'<mi>\1</mi><mspace width="0.17em"/>', made)
    return _SIGN.sub(r'\1<mo form="prefix" lspace="0" rspace="0">\2</mo>', made)


def _inline(translator, node):
    translator.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _display(translator, node):
    translator.body.append(f'<div class="formula">{mathml(node.astext(), "block")}</div>\n')
    raise nodes.SkipNode


def setup(app):
    """Register the renderer `mathml`."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
