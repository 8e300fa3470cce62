"""Configuration of the documentation: `make docs` builds it, offline, into build/docs."""

import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generate  # noqa: E402  (stands beside this file)

project = "signflow"
author = "the signflow authors"
copyright = f"2026, {author}"
release = metadata.version("signflow")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml"]
exclude_patterns = ["_generated/included/*"]
myst_enable_extensions = ["deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
html_math_renderer = "mathml"
autodoc_typehints = "none"  # the docstrings state the types, with shapes
autodoc_member_order = "bysource"
default_role = "code"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
nitpicky = False
highlight_language = "none"

html_theme = "furo"
html_title = f"signflow {release}"
html_static_path = ["static"]
html_css_files = ["docs.css"]
html_theme_options = {"navigation_with_keys": True}
html_show_sphinx = False


def _escape(_app, _what, _name, _obj, _options, lines):
    """Escape the bars of formulas such as |w| in a docstring, which would be references otherwise."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = line.split("`")
            parts[::2] = [part.replace("|", "\\|") for part in parts[::2]]
            lines[number] = "`".join(parts)


def setup(app):
    """Write the generated pages before any page is read."""
    app.connect("builder-inited", lambda _: generate.write(HERE / "_generated"))
    app.connect("autodoc-process-docstring", _escape, priority=100)
