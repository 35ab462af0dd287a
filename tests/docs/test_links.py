"""Links inside the repository lead somewhere: files, folders and headings."""

from __future__ import annotations

import pytest

from .markdown import PAGES, ROOT, anchors, links

#: Read beside the pages: what they link to and what is on the site as well.
OTHERS = (
    "CHANGELOG.md", "CONTRIBUTING.md", "RELEASE.md", "SECURITY.md",
    *sorted(
        path.relative_to(ROOT).as_posix()
        for folder in ("benchmarks", "csrc", "examples", "kernels", "tests")
        for path in (ROOT / folder).rglob("*.md")
        if "templates" not in path.parts
    ),
)  # fmt: skip
_EXTERNAL = ("http://", "https://", "mailto:")


def broken(page: str, target: str) -> str | None:
    """Return what is wrong with a link of a page; those to other hosts are not looked at."""
    if target.startswith(_EXTERNAL):
        return None
    place, _, anchor = target.partition("#")
    path = ((ROOT / page).parent / place).resolve() if place else ROOT / page
    if not path.exists():
        return f"there is no {path}"
    if not path.is_relative_to(ROOT):
        return f"{path} is outside of the repository"
    if anchor and path.suffix == ".md" and anchor not in anchors(path.relative_to(ROOT).as_posix()):
        return f"{path.name} has no heading #{anchor}"
    return None


@pytest.mark.parametrize("page", [*PAGES, *OTHERS])
def test_every_link_inside_the_repository_leads_somewhere(page: str) -> None:
    problems = [(str(link), broken(page, link.target)) for link in links(page)]
    assert not [problem for problem in problems if problem[1]]


@pytest.mark.parametrize(
    "target",
    ["nowhere.md", "#no-such-heading", "method.md#no-such-heading", "../../outside.md", "dokcs/"],
)
def test_a_link_that_leads_nowhere_is_found(target: str) -> None:
    assert broken("docs/index.md", target)


@pytest.mark.parametrize(
    "target", ["method.md", "../csrc", "method.md#losses", "https://example.invalid/x", "#"]
)
def test_a_link_that_leads_somewhere_is_none_to_complain_of(target: str) -> None:
    assert broken("docs/index.md", target) is None
