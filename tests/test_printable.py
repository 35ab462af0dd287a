from __future__ import annotations

import pytest

from ladnet_fast._printable import printable

from .names import NASTY_NAMES


@pytest.mark.parametrize(
    "text",
    ["", "a b", "a[/b]", r"$\frac{$", ":smile:", "日本\u3000語 ünï", "👩\u200d🔬", "a\u00a0b"],
)
def test_what_can_be_shown_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\udcff", r"\udcff"),
        ("\u202egpj", r"\u202egpj"),
        ("\u2028\x00\x7f\x85", r"\u2028\x00\x7f\x85"),
    ],
)
def test_what_cannot_be_shown_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_line_breaks_of_a_message_can_stay() -> None:
    assert printable("a\nb\tc", keep="\n") == "a\nb\\tc"


@pytest.mark.parametrize("name", NASTY_NAMES, ids=ascii)
def test_the_result_is_one_line_that_any_terminal_can_take(name: str) -> None:
    shown = printable(name)
    assert len(shown.splitlines()) == 1
    shown.encode("utf-8")
    assert printable(shown) == shown
