"""The site: `make docs` builds it into build/docs, without a network.

Its sources are the Markdown files of the whole repository, so that a link works alike here, on a
code host and in an editor.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

from ladnet_fast import __version__

project = "ladnet_fast"
author = "The ladnet_fast authors"
release = version = __version__

# Sphinx is given the root of the repository as its source folder.
root_doc = "docs/index"
include_patterns = [
    "*.md", "benchmarks/**.md", "csrc/**.md", "docs/**.md", "docs/api/*.rst", "examples/**.md",
    "kernels/**.md", "tests/**.md",
]  # fmt: skip
exclude_patterns = [".*", "build", "dist", "runs", "demo-output", "benchmarks/templates"]

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_parser",
    "contents",
    "html_pictures",
    "repository_links",
    "mathml",
    "public_names",
]

# Headings have the anchors that code hosts give them.
myst_heading_anchors = 4

# Single backticks are how docstrings name what has a page.
default_role = "py:obj"
# The docstrings say types and shapes; annotations beside them would say half of it twice.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_preprocess_types = False

# A reference to this package has to lead somewhere. Those to other packages stay plain text: an
# inventory of theirs would have to be fetched.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!ladnet_fast\b).*")]
# Types of parameters are words; one that is also the name of several attributes is none of them.
suppress_warnings = ["ref.python"]

html_theme = "furo"
html_title = f"ladnet_fast {__version__}"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["math.css"]
html_copy_source = False
html_show_sphinx = False


def setup(app: Sphinx) -> None:
    """Show CSV as it is: nothing that comes with Sphinx colours it."""
    app.add_lexer("csv", TextLexer)
