"""The site's table of contents, added to docs/index.md, which code hosts show without one."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

from sphinx.application import Sphinx

#: Captions, and pages in their order, seen from docs/; a page that nobody placed comes last.
CONTENTS = {
    "Start": ["quickstart", "installing", "demo"],
    "Use": ["own-videos", "own-features", "field-data", "training", "command-line", "python",
            "report", "live"],
    "Data": ["data-formats", "checking", "packing", "extractors"],
    "Understand": ["method", "kernels", "accuracy", "performance"],
    "When something is off": ["faq", "troubleshooting"],
    "API": [
        f"api/{name}"
        for name in ("ladnet_fast", "functional", "nn", "losses", "data", "data-check", "engine",
                     "metrics", "video", "video-extractors", "video-audio", "live", "report",
                     "export")
    ],
    "Kernels": ["/kernels/*/README", "/csrc/**", "gpu-resources", "testing-gpu-code", "/tests/**"],
    "Project": ["/README", "/CONTRIBUTING", "/*", "/benchmarks/**", "/examples/**"],
}  # fmt: skip


def _add(app: Sphinx, docname: str, source: list[str]) -> None:
    if docname == app.config.root_doc:
        for caption, pages in CONTENTS.items():
            # A pattern that matches nothing would be a warning.
            there = [page for page in pages if "*" not in page or _matches(app, page)]
            if caption == "Project":
                there += _unplaced(app)
            lines = "\n".join(there)
            source[0] += (
                f"\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {caption}\n\n{lines}\n```\n"
            )


def _matches(app: Sphinx, pattern: str) -> bool:
    return any(fnmatch(page, pattern.removeprefix("/")) for page in app.env.found_docs)


def _unplaced(app: Sphinx) -> list[str]:
    """Return the pages of docs/ that no caption has."""
    placed = {page for pages in CONTENTS.values() for page in pages}
    pages = (page.removeprefix("docs/") for page in app.env.found_docs if page.startswith("docs/"))
    return sorted(page for page in pages if page not in {*placed, "index"})


def _lead_to_it(app: Sphinx, problem: Exception | None) -> None:
    """Lead from the site's top, where a browser begins, to the first page."""
    if problem is None and app.builder.format == "html":
        first = app.builder.get_target_uri(app.config.root_doc)
        page = f'<!doctype html><meta http-equiv="refresh" content="0; url={first}">'
        Path(app.outdir, "index.html").write_text(page + "\n", encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the table when the page is read, and the site's top when all is written."""
    app.connect("source-read", _add)
    app.connect("build-finished", _lead_to_it)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
