"""What a page of Markdown holds that can be checked: blocks of code, links, headings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
#: Beside README.md, all pages for users. A new page is found by itself.
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
#: What begins a line of a block without a language that is meant for a shell.
PROGRAMS = (
    "ladnet-fast", "pip", "python", "python3", "pytest", "make", "torchrun", "git", "cmake",
)  # fmt: skip

_REASON = re.compile(r"\s*<!--\s*not run:\s*(?P<reason>\S.*?)\s*-->\s*", re.DOTALL)
_PROGRAM = re.compile(rf"(\$ |\w+=\S+ )*({'|'.join(PROGRAMS)})( |$)")


@dataclass(frozen=True)
class Block:
    """A block of code: where it is, its language, and why it is not run, if that is said."""

    page: str
    line: int
    language: str
    text: str
    reason: str | None = None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Link:
    """A link or picture, as it is written."""

    page: str
    line: int
    target: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.target}"


def blocks(page: str, text: str | None = None) -> list[Block]:
    """Return the blocks of a page, fenced and indented ones, in their order."""
    found, reason = [], None
    for token in _tokens(_text(page) if text is None else text):
        if token.type in ("fence", "code_block"):
            language = token.info.partition(" ")[0] or _guess(token.content)
            assert token.map is not None
            # The line of the code itself, counted from 1.
            first = token.map[0] + (2 if token.type == "fence" else 1)
            found.append(Block(page, first, language, token.content, reason))
        if token.type == "html_block":
            match = _REASON.fullmatch(token.content)
            reason = match["reason"] if match else None
        else:
            reason = None
    return found


def code_in_text(page: str, text: str | None = None) -> list[Block]:
    """Return the words of a page that are marked as code within its text."""
    return [
        Block(page, token.map[0] + 1 if token.map else 0, "text", child.content)
        for token in _tokens(_text(page) if text is None else text)
        for child in token.children or ()
        if child.type == "code_inline"
    ]


def links(page: str, text: str | None = None) -> list[Link]:
    """Return links and pictures, also those written as HTML."""
    found = []
    for token in _tokens(_text(page) if text is None else text):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "html_block":
            found += [Link(page, line, target) for target in _html_targets(token.content)]
        for child in token.children or ():
            if child.type == "html_inline":
                found += [Link(page, line, target) for target in _html_targets(child.content)]
            target = child.attrGet("href") or child.attrGet("src")
            if target is not None:
                found.append(Link(page, line, str(target)))
    return found


@cache
def anchors(page: str) -> frozenset[str]:
    """Return the anchors of a page's headings, as code hosts make them."""
    return frozenset(_anchors(_text(page)))


def _anchors(text: str) -> Iterator[str]:
    tokens, seen = _tokens(text), Counter[str]()
    for heading, inline in pairwise(tokens):
        if heading.type == "heading_open":
            shown = "".join(
                child.content
                for child in inline.children or ()
                if child.type in ("text", "code_inline")
            )
            slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
            yield f"{slug}-{seen[slug]}" if seen[slug] else slug
            seen[slug] += 1
    yield from re.findall(r'<a (?:id|name)="([^"]+)"', text)


def _html_targets(text: str) -> list[str]:
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    return re.findall(r"""\b(?:href|src|srcset)\s*=\s*["']([^"']+)""", text)


def _guess(content: str) -> str:
    """Return the language of a block that names none: commands, or text."""
    return "sh" if any(_PROGRAM.match(line) for line in content.splitlines()) else "text"


def _text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def _tokens(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(text)
