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

#: Usages of which the second takes the most registers.
USAGES = (CLEAN, dataclasses.replace(CLEAN, registers=CLEAN.registers + 1), CLEAN)


#: What the other process says of it, and what the page: as the installed one, too large, refused.
SAID = {
    f"{CLEAN.shared}/0": "0 configurations spill and 0 need too much shared memory.",
    "233473/24": "1 configurations spill and 1 need too much shared memory.",
    "-": "0 configurations spill and 0 need too much shared memory; 1 kernels are for",
}


@pytest.fixture(params=SAID)
def figures(request):
    return request.param


@pytest.fixture
def folder(tmp_path, monkeypatch, figures):
    """A folder with a Triton that only tells its version, and a process that has compiled."""
    package = tmp_path / "older" / "triton"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("__version__ = '0.9'\n")
    program = tmp_path / "python"
    said = f"{VARIANT.name}: {figures}\\n"
    program.write_text(
        '#!/bin/sh\nif [ "$1" = -c ]; then echo 0.9; exit; fi\n'
        f'[ "${{PYTHONPATH%%:*}}" = {shlex.quote(str(package.parent))} ] || exit 3\n'
        f'[ "$3" = {shlex.quote(f"{VARIANT.name} 1")} ] || exit 4\n'
        f"printf {shlex.quote(said)}\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(rows, "PATH", tmp_path / "table.json")
    monkeypatch.setattr(page, "PAGE", tmp_path / "table.md")
    monkeypatch.setattr(triton_variants, "shipped", lambda: iter([VARIANT]))
    row = Row(USAGES, source_hash(VARIANT), "0123")
    rows.write("triton", Table(COMPILER, LAYOUTS, {VARIANT.name: row}))
    cuda = {f"{a} sum_kernel": Row((Usage(1, 0),)) for a in page.ARCHITECTURES}
    rows.write("cuda", Table("nvcc 1.2.3", rows=cuda))
    return package.parent


def test_the_figures_stand_in_the_rows_and_on_the_page_and_are_made_once(folder, figures):
    finished = CliRunner().invoke(cli.app, ["triton", "--older", str(folder)])
    assert finished.exit_code == 0, finished.output
    table = rows.read()["triton"]
    (row,) = table.rows.values()
    assert table.older == "Triton 0.9"
    same = figures == f"{CLEAN.shared}/0"
    assert row.heaviest == 1
    assert row.older == ("=" if same else figures)
    expected = {"-": None, "233473/24": (233_473, 24)}.get(figures, (CLEAN.shared, 0))
    assert row.older_shared_and_local == expected
    text = " ".join(page.PAGE.read_text().split())
    assert SAID[figures] in text
    for line in (
        f"- spills, `{VARIANT.name}`: 24 bytes",
        f"- too large, `{VARIANT.name}`: 228 KiB",
    ):
        assert (line in text) == (figures == "233473/24")
    again = CliRunner().invoke(cli.app, ["triton", "--older", str(folder)])
    assert "older Triton" in finished.output
    assert "older Triton" not in again.output
    # A run without it keeps the figures.
    assert CliRunner().invoke(cli.app, ["triton"]).exit_code == 0
    assert rows.read()["triton"] == table


def test_another_older_release_replaces_all_figures(folder, figures):
    table = rows.read()["triton"]
    known = {name: dataclasses.replace(row, older="8/8") for name, row in table.rows.items()}
    rows.write("triton", dataclasses.replace(table, rows=known, older="Triton 0.8"))
    finished = CliRunner().invoke(cli.app, ["triton", "--older", str(folder)])
    assert finished.exit_code == 0, finished.output
    (row,) = rows.read()["triton"].rows.values()
    assert row.older == ("=" if figures == f"{CLEAN.shared}/0" else figures)


def test_a_folder_without_triton_is_refused_with_the_command_that_fills_it(tmp_path):
    with pytest.raises(ValueError, match="pip install --no-deps --target"):
        older.release(tmp_path)
