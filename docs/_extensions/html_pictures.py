"""Pictures that a page names in HTML: copied to the same place beside the page.

Sphinx looks at Markdown's pictures only, and a page's place on the site is that in the repository.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx

_PICTURE = re.compile(r"""<(?:img|source)\b[^>]*\b(?:src|srcset)\s*=\s*["']([^"':]+)["']""")


def _copy(app: Sphinx, problem: Exception | None) -> None:
    if problem is not None or app.builder.format != "html":
        return
    root = Path(app.srcdir)
    for name in app.env.found_docs:
        page = Path(app.env.doc2path(name))
        if page.suffix != ".md":
            continue
        for target in _PICTURE.findall(page.read_text(encoding="utf-8")):
            picture = (page.parent / target).resolve()
            if picture.is_file() and picture.is_relative_to(root):
                copy = Path(app.outdir) / picture.relative_to(root)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(picture, copy)


def setup(app: Sphinx) -> dict[str, bool]:
    """Copy when all pages are written."""
    app.connect("build-finished", _copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
