"""Words of messages: names of arguments, as Python or the running command has them; long lists.

Readers and checks serve both callers, and their messages name arguments: ``root=`` helps
somebody who writes Python, ``--root FOLDER`` somebody at a shell. The command line says once,
with `options_named`, that it is the one who asks.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

_commands: ContextVar[bool] = ContextVar("messages name options", default=False)


class _Option(NamedTuple):
    flag: str
    value: str


#: Every argument that a message names, with its option and what is written after that.
OPTIONS = {
    "anomalous_folders": _Option("--anomalous-folder", "NAME"),
    "anomalous_names": _Option("--anomalous-names", "FILE"),
    "axes": _Option("--axes", "ORDER"),
    "boundaries": _Option("--boundaries", "CONVENTION"),
    "check_labels": _Option("--check-labels", ""),
    "frames_per_snippet": _Option("--frames-per-snippet", "NUMBER"),
    "layout": _Option("--layout", "NAME"),
    "length_rule": _Option("--length-rule", "RULE"),
    "normal_folders": _Option("--normal-folder", "NAME"),
    "num_frames": _Option("--num-frames", "FILE"),
    "queries": _Option("--queries", "FOLDER"),
    "remap": _Option("--remap", "OLD=NEW"),
    "root": _Option("--root", "FOLDER"),
    "source": _Option("--gt", "FILE"),
    "threshold": _Option("--threshold", "NUMBER"),
}


def first_few(names: Iterable[object], *, most: int = 3) -> str:
    """Name the first few of many, and count the others: ``a, b, c and 4 more``."""
    every = [str(name) for name in names]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


@contextmanager
def options_named() -> Iterator[None]:
    """Let messages that are made inside the block name options of the command line."""
    token = _commands.set(True)
    try:
        yield
    finally:
        _commands.reset(token)


def either(python: str, command: str) -> str:
    """Return what to say to somebody who writes Python, or who is at the command line."""
    return command if _commands.get() else python


def name_of(argument: str) -> str:
    """Return ``root``, or ``--root``: the argument as the subject of a sentence."""
    return OPTIONS[argument].flag if _commands.get() else argument


def give(argument: str, value: object = None) -> str:
    """Return what to write: ``root=`` or ``--root FOLDER``; with a value, the whole of it."""
    option = OPTIONS[argument]
    if not _commands.get():
        return f"{argument}=" if value is None else f"{argument}={value!r}"
    if value is None:
        return f"{option.flag} {option.value}"
    if isinstance(value, bool):
        return option.flag if value else option.flag.replace("--", "--no-", 1)
    return f"{option.flag} {shlex.quote(str(value))}"
