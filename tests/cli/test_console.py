"""Names and messages reach the terminal as they are, and errors as one message."""

from __future__ import annotations

import errno
import io
import math

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from safetensors import SafetensorError

from ladnet_fast._out_of_memory import NotEnoughMemoryError
from ladnet_fast._printable import printable
from ladnet_fast.cli import _console, print_any_name
from ladnet_fast.cli._console import (
    class_table,
    message_of,
    metrics_table,
    plain,
    progress_bar,
    say,
)
from ladnet_fast.cli._reporter import RichReporter
from ladnet_fast.metrics import ClassMetrics, Metrics

from ..names import NASTY_NAMES


def console(*, terminal: bool = False) -> Console:
    """A console with the settings of the commands' own, and room for long lines."""
    return Console(
        file=io.StringIO(), width=400, force_terminal=terminal, emoji=False, highlight=False,
        color_system=None, legacy_windows=False, _environ={},
    )  # fmt: skip


def printed(to: Console) -> str:
    assert isinstance(to.file, io.StringIO)
    return to.file.getvalue()


def metrics(name: str) -> Metrics:
    figures = ClassMetrics(0.5, 0.5, 0.5, math.nan, 1, 16)
    return Metrics(
        auc=0.5, ap=0.5, average_precision=0.5, far=0.5, anomalous_auc=math.nan, anomalous_ap=0.5,
        video_auc=0.5, per_class={name: figures}, undefined={"anomalous_auc": name}, threshold=0.5,
        num_videos=2, num_anomalous_videos=1, num_frames=32, num_anomalous_frames=8,
    )  # fmt: skip


@pytest.mark.parametrize("name", NASTY_NAMES, ids=ascii)
def test_tables_show_names_as_they_are(name: str) -> None:
    for table in (metrics_table(metrics(name), name), class_table(metrics(name))):
        to = console()
        to.print(table)
        assert printable(name) in printed(to)


@pytest.mark.parametrize("name", NASTY_NAMES, ids=ascii)
def test_messages_show_names_as_they_are(name: str) -> None:
    for write in (
        lambda to: say(name, to=to),
        lambda to: say(name, mark="error:", style="bold red", to=to),
        lambda to: RichReporter(to).message(name),
    ):
        to = console()
        write(to)
        text = printed(to)
        assert text.removeprefix("error: ") == printable(name, keep="\n") + "\n"


@pytest.mark.parametrize("name", NASTY_NAMES, ids=ascii)
def test_progress_shows_names_as_they_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    to = console(terminal=True)
    monkeypatch.setattr(_console, "console", to)
    with progress_bar(f"{name} {{of}} {{}}".replace("\n", " ")) as callback:
        callback(name, 1, 2)
    if len(name) < 100 and "\t" not in name:  # the bar takes what room there is
        assert printable(name).replace("\\n", " ") in printed(to).replace("\\n", " ")


def test_the_commands_consoles_have_no_emoji_codes() -> None:
    for ours in (_console.console, _console.errors):
        assert ours.render_str(":smile:").plain == ":smile:"


def test_a_style_is_for_the_mark_alone() -> None:
    to = Console(file=io.StringIO(), force_terminal=True, color_system="standard", _environ={})
    say("[b]x", mark="error:", style="bold red", to=to)
    assert printed(to) == "\x1b[1;31merror: \x1b[0m[b]x\n"


def test_a_cell_is_plain_text() -> None:
    assert plain("[b]x", "table.title") == Text("[b]x", style="table.title")


# ---- errors -------------------------------------------------------------------------------------


def raised(call) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is the point
        call()
    return caught.value


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("[s,e) is missing"), "[s,e) is missing"),
        (ValueError(), "ValueError"),
        (OSError("words"), "words"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a[/b]"), "a[/b]: No such file"),
        (OSError(errno.EXDEV, "Cross-device link", "a", None, "b"), "a -> b: Cross-device link"),
        (OSError(errno.ENOSPC, "No space left", "x"), "x: No space left; free some space"),
        (SafetensorError("header too large"), "a safetensors file can't be read"),
        (ValueError("not \udcff UTF-8\nsecond line"), "not \\udcff UTF-8\nsecond line"),
        (MemoryError(), "not enough memory; do less at a time"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has"),
         "not enough GPU memory: 20.00 GiB more were asked for; do less"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8589934592 "
                      "bytes."), "not enough memory: 8.0 GiB more were asked for; do less"),
        (RuntimeError("CUDA error: out of memory"), "not enough memory; do less"),
        (RuntimeError("Invalid buffer size: 7.28 TiB"), "not enough memory"),
        (RuntimeError("std::bad_alloc"), "not enough memory"),
        (NotEnoughMemoryError("not enough memory; give less"), "not enough memory; give less"),
    ],
)  # fmt: skip
def test_an_expected_error_is_one_message(error: BaseException, message: str) -> None:
    assert (message_of(error) or "").startswith(message) or message in (message_of(error) or "")


@pytest.mark.parametrize(
    "allocate",
    [
        lambda: torch.empty(1 << 60, dtype=torch.uint8),
        lambda: torch.zeros(1 << 62, 1 << 62),
        lambda: np.empty(1 << 60, np.uint8),
        lambda: bytearray(1 << 62),
    ],
    ids=["torch", "torch, overflowing", "numpy", "python"],
)
def test_memory_that_no_machine_has_is_one_message(allocate) -> None:
    assert (message_of(raised(allocate)) or "").startswith("not enough memory")


@pytest.mark.parametrize(
    "bug",
    [
        RuntimeError("size mismatch"),
        RecursionError("maximum recursion depth exceeded, out of memory"),
        NotImplementedError("out of memory"),
        TypeError("x"),
        AssertionError("x"),
        KeyError("x"),
        KeyboardInterrupt(),
    ],
    ids=lambda bug: type(bug).__name__,
)
def test_a_bug_has_no_message(bug: BaseException) -> None:
    assert message_of(bug) is None


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp932", "utf-8"])
def test_a_stream_that_lacks_a_letter_prints_it_escaped(encoding: str) -> None:
    for name in NASTY_NAMES:
        written = io.BytesIO()
        stream = io.TextIOWrapper(written, encoding=encoding, errors="strict")
        print_any_name(stream)
        to = Console(file=stream, width=400, legacy_windows=False, _environ={})
        table = Table()
        table.add_column(plain(name))
        table.add_row(plain(name))
        to.print(table)
        say(name, to=to)
        stream.flush()
        assert written.getvalue()
    print_any_name(None)
