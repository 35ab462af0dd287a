"""Commands and options that the text of a page names, outside of its blocks, exist."""

from __future__ import annotations

import re
import shlex

import pytest

from . import commands
from .markdown import PAGES, PROGRAMS, Block, code_in_text
from .shell import Command

#: Options of other programs, each with a command that has it; None: of a program from elsewhere.
_OTHERS = {
    "--cold": "python -m benchmarks pack --cold",
    "--gpus": None,
    "--preload": "python -m benchmarks accuracy-speed --preload false",
}


def check(code: Block) -> None:
    """Raise CommandError if code within the text names what does not exist."""
    if re.match(rf"({'|'.join(PROGRAMS)}) ", code.text):
        commands.check_mentioned(shlex.split(code.text))
    elif option := re.match(r"--[a-z][\w-]*", code.text):
        if option[0] in _OTHERS:
            if of := _OTHERS[option[0]]:
                commands.check(Command(tuple(of.split())))
        elif option[0] not in commands.options():
            raise commands.CommandError(f"no command of ladnet-fast has an option {option[0]}")


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_in_the_text_exist(page: str) -> None:
    problems = []
    for code in code_in_text(page):
        try:
            check(code)
        except commands.CommandError as error:
            problems.append(f"{code}: {error}")
    assert not problems


@pytest.mark.parametrize(
    "text",
    [
        "Say `ladnet-fast trian`.",
        "Say `ladnet-fast train --epoch 3`.",
        "Say `ladnet-fast score --merge-gap`.",
        "With `--no-such-option` it does.",
        "See `python -m ladnet_fast.nowhere`.",
        "See `make tset`.",
    ],
)
def test_a_name_in_the_text_that_does_not_exist_is_found(text: str) -> None:
    (code,) = code_in_text("docs/made-up.md", text)
    with pytest.raises(commands.CommandError):
        check(code)


@pytest.mark.parametrize(
    "text", ["Say `ladnet-fast COMMAND --help`.", "`--report`", "`ladnet-fast score --model`"]
)
def test_a_name_in_the_text_that_exists_is_none_to_complain_of(text: str) -> None:
    (code,) = code_in_text("docs/made-up.md", text)
    check(code)
