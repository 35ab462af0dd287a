"""The site builds without a warning, asks no other host for anything, and has every public name."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from .markdown import ROOT

MODULES = (
    "functional", "nn", "losses", "data", "data.check", "engine", "metrics", "video",
    "video.extractors", "video.audio", "live", "report", "export",
)  # fmt: skip
# What a browser fetches by itself; links that a reader may click are none of these.
_FETCHED = re.compile(
    r"""<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)\s*=\s*["'](?:https?:)?//[^"']+"""
    r"""|url\(\s*["']?(?:https?:)?//[^)]+|@import\s+["'](?:https?:)?//[^"']+"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs",
         "-d", folder / "doctrees", ".", folder / "html"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.mark.slow(seconds=20)
@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="the site is built with Python 3.11 or newer"
)
def test_the_site_builds_and_is_whole_by_itself(site: Path) -> None:
    assert (site / "index.html").is_file()
    for path in [*site.rglob("*.html"), *site.rglob("*.css")]:
        found = _FETCHED.search(path.read_text(encoding="utf-8"))
        assert not found, f"{path.relative_to(site)} asks another host: {found and found[0]}"
        gone = [str(target) for target in _local(path) if not target.exists()]
        assert not gone, f"{path.relative_to(site)} leads nowhere"
    text = "".join(path.read_text(encoding="utf-8") for path in (site / "docs/api").glob("*.html"))
    missing = [name for name in _public() if f'id="{name}"' not in text]
    assert not missing
    assert ":math:" not in text
    assert "<math" in text


def _local(page: Path) -> list[Path]:
    """Return the files of the site that a page names."""
    if page.suffix != ".html":
        return []
    named = re.findall(
        r"""\b(?:href|src|srcset)=["']([^"'#?]+)""", page.read_text(encoding="utf-8")
    )
    return [page.parent / unquote(name) for name in named if not re.match(r"[a-z]+:|//", name)]


def _public() -> list[str]:
    """Return what the modules offer, by full names."""
    found = []
    for module in MODULES:
        loaded = importlib.import_module(f"ladnet_fast.{module}")
        names = getattr(loaded, "__all__", None) or [
            name
            for name, value in vars(loaded).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == loaded.__name__
        ]
        found += [f"ladnet_fast.{module}.{name}" for name in names]
    return found


@pytest.mark.parametrize(
    "text",
    [
        '<script async src="https://cdn.example/x.js">',
        "<link rel='stylesheet' href='//fonts.example/css'>",
        "@import 'https://fonts.example/a.css'",
        "src: url(https://fonts.example/a.woff2)",
    ],
)
def test_what_a_browser_would_fetch_elsewhere_is_found(text: str) -> None:
    assert _FETCHED.search(text)


def test_a_link_to_click_is_not_fetched() -> None:
    assert not _FETCHED.search('<a href="https://arxiv.org/abs/2208.05636">')
