"""Figures of an older Triton beside those of the installed one."""

from __future__ import annotations

import dataclasses
import shlex
import sys

import pytest

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

from typer.testing import CliRunner

from benchmarks.resources import cli, older, page, rows, triton_variants
from benchmarks.resources.rows import Row, Table, Usage
from benchmarks.resources.triton_rows import COMPILER, source_hash
from benchmarks.resources.triton_variants import LAYOUTS

from .triton_examples import CLEAN, VARIANT

#: What the other process says of the three layouts: as the installed one, spilling, not compiled.
FIGURES = (f"{CLEAN.shared}/0", "233473/24", "-")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a Triton that only tells its version, and a process that has compiled."""
    package = tmp_path / "older" / "triton"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("__version__ = '0.9'\n")
    program = tmp_path / "python"
    said = "".join(f"{VARIANT.name}: {figures}\\n" for figures in FIGURES)
    program.write_text(
        '#!/bin/sh\nif [ "$1" = -c ]; then echo 0.9; exit; fi\n'
        f'[ "${{PYTHONPATH%%:*}}" = {shlex.quote(str(package.parent))} ] || exit 3\n'
        f"printf {shlex.quote(said)}\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(rows, "PATH", tmp_path / "table.json")
    monkeypatch.setattr(page, "PAGE", tmp_path / "table.md")
    monkeypatch.setattr(triton_variants, "shipped", lambda: iter([VARIANT]))
    row = Row((CLEAN,) * len(LAYOUTS), source_hash(VARIANT), "0123")
    rows.write("triton", Table(COMPILER, LAYOUTS, {VARIANT.name: row}))
    cuda = {f"{a} sum_kernel": Row((Usage(1, 0),)) for a in page.ARCHITECTURES}
    rows.write("cuda", Table("nvcc 1.2.3", rows=cuda))
    return package.parent


def test_the_figures_stand_in_the_rows_and_on_the_page_and_are_made_once(folder):
    finished = CliRunner().invoke(cli.app, ["triton", "--older", str(folder)])
    assert finished.exit_code == 0, finished.output
    table = rows.read()["triton"]
    (row,) = table.rows.values()
    assert table.older == "Triton 0.9"
    assert [usage.older for usage in row.usages] == ["=", *FIGURES[1:]]
    assert [usage.older_shared_and_local for usage in row.usages] == [
        (CLEAN.shared, 0), (233_473, 24), None,
    ]  # fmt: skip
    text = page.PAGE.read_text()
    assert "1 configurations spill and 1 need too much shared memory; 1 kernels are for" in text
    assert f"- spills, `{VARIANT.name}`: 24 bytes" in text
    assert f"- too large, `{VARIANT.name}`: 228 KiB" in text
    again = CliRunner().invoke(cli.app, ["triton", "--older", str(folder)])
    assert "older Triton" in finished.output
    assert "older Triton" not in again.output
    # A run without it keeps the figures.
    assert CliRunner().invoke(cli.app, ["triton"]).exit_code == 0
    assert rows.read()["triton"] == table


def test_another_older_release_replaces_all_figures(folder):
    table = rows.read()["triton"]
    known = {
        name: dataclasses.replace(
            row, usages=tuple(dataclasses.replace(usage, older="8/8") for usage in row.usages)
        )
        for name, row in table.rows.items()
    }
    rows.write("triton", dataclasses.replace(table, rows=known, older="Triton 0.8"))
    finished = CliRunner().invoke(cli.app, ["triton", "--older", str(folder)])
    assert finished.exit_code == 0, finished.output
    (row,) = rows.read()["triton"].rows.values()
    assert [usage.older for usage in row.usages] == ["=", *FIGURES[1:]]


def test_a_folder_without_triton_is_refused_with_the_command_that_fills_it(tmp_path):
    with pytest.raises(ValueError, match="pip install --no-deps --target"):
        older.release(tmp_path)
