"""Whatever `python -m ladnet_fast` can say has its entry in docs/troubleshooting.md.

The messages are found in the source, so a new one, or a new wording, needs an entry too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from .markdown import ROOT

_PAGE = ROOT / "docs" / "troubleshooting.md"
#: Functions whose strings reach the report, in whatever module of an operator they stand.
_FUNCTIONS = (
    "why_not", "who_serves", "problems", "_size_problems", "_machine_problem",
    "_cached_machine_problem", "_launcher_problem", "_reasons",
)  # fmt: skip
_SOURCES = (
    *sorted((ROOT / "ladnet_fast" / "ops").rglob("*.py")),
    ROOT / "ladnet_fast" / "_native.py",
    ROOT / "ladnet_fast" / "doctor.py",
)
#: Parts of the report that tell nothing wrong.
_NEUTRAL = re.compile(
    r"python .* on|^  torch$|yes, |CPU: |cores|^  extra .*: $|GPU .*: .*, sm_|no message|who serves"
    r"|^compiled modules$|^(packed )?snippets( \w+ bag)?$"
)


def pieces(source: str, functions: tuple[str, ...]) -> Iterator[str]:
    """Yield the fixed words of every message of the functions that are named."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name in functions:
            for statement in node.body:
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    continue  # the docstring
                yield from _strings(statement)


def _strings(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr):
        for part in node.values:
            yield from _strings(part.value if isinstance(part, ast.FormattedValue) else part)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from _strings(child)


def messages() -> list[str]:
    """Return the fixed words of all messages of the report, from Python and from C++."""
    found: set[str] = set()
    for path in _SOURCES:
        functions = _FUNCTIONS
        if path.name == "doctor.py":
            functions = ("_versions", "_hardware", "_built", "_reasons")
        elif path.name == "_native.py":
            functions = ("_load",)
        found |= set(pieces(path.read_text(encoding="utf-8"), functions))
    binding = (ROOT / "csrc" / "bindings" / "cuda.cpp").read_text(encoding="utf-8")
    body = binding.partition("why_no_device(int* count) {")[2].partition("\n}")[0]
    assert body, "csrc/bindings/cuda.cpp no longer has why_no_device(int* count)"
    found |= set(re.findall(r'"([^"]+)"', body))
    return sorted(
        text.strip()
        for text in found
        if len(re.findall("[A-Za-z]{2,}", text)) > 1 and not _NEUTRAL.search(text)
    )


def test_the_source_still_has_the_messages_that_this_test_looks_for() -> None:
    found = "\n".join(messages())
    for words in ("need CPU tensors", "sees no GPU", "sees no device", "no NVIDIA driver"):
        assert words in found


@pytest.mark.parametrize("message", messages())
def test_every_message_of_the_report_has_an_entry(message: str) -> None:
    page = " ".join(_PAGE.read_text(encoding="utf-8").split())
    # Names of tensors and numbers differ from call to call; the words around them do not.
    assert " ".join(message.split()).strip(" ;:(),") in page


def test_fixed_words_are_found_wherever_they_stand() -> None:
    source = '''
def why_not(x):
    """Not a message."""
    reasons = [f"{x} is wrong, surely so: {x}"] if x else ["all bad here"]
    return [*reasons, f"{x if x else 'nested words too'}"]
def other():
    return "not of the report"
'''
    assert {"all bad here", " is wrong, surely so: ", "nested words too"} <= set(
        pieces(source, ("why_not",))
    )
    assert "not of the report" not in set(pieces(source, ("why_not",)))
    assert "Not a message." not in set(pieces(source, ("why_not",)))
