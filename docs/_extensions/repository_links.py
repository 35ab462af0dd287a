"""Links of a page to what the site does not show: the repository's folders and source files.

They lead to the code host if pyproject.toml names one (`Source` of [project.urls]), else they are
the path alone, without a link.
"""

from __future__ import annotations

import os
import re
from importlib import metadata
from pathlib import Path

from sphinx.application import Sphinx

# [words](target), but no picture; the target without an anchor.
_LINK = re.compile(
    r"(?<!!)\[(?P<words>[^\]\[]*(?:`[^`]*`)?[^\]\[]*)\]\((?P<target>[^)\s#]+)(?:#[^)\s]*)?\)"
)


def _host() -> str | None:
    for line in metadata.metadata("ladnet-fast").get_all("Project-URL") or []:
        name, _, url = line.partition(", ")
        if name == "Source":
            return url.rstrip("/")
    return None


def _rewrite(app: Sphinx, docname: str, source: list[str]) -> None:
    page = Path(app.env.doc2path(docname))
    root, host = Path(app.srcdir), _host()

    def replaced(match: re.Match[str]) -> str:
        words, target = match["words"], match["target"]
        path = Path(os.path.normpath(page.parent / target))
        if ":" in target or not path.exists() or not path.is_relative_to(root):
            return match[0]  # another host's, or a broken link, which is told as such
        place = path.relative_to(root).as_posix()
        if path.is_file() and app.project.path2doc(str(path)) in app.env.found_docs:
            return match[0]
        return f"[{words}]({host}/blob/main/{place})" if host else words

    if page.suffix == ".md":
        source[0] = _LINK.sub(replaced, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Rewrite links when a page is read."""
    app.connect("source-read", _rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
