"""The search for configurations, and the command line, without compiling anything."""

from __future__ import annotations

import dataclasses
import json

import pytest

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

from typer.testing import CliRunner

from benchmarks.resources import cli, cuda_build, cuda_rows, page, rows, search, triton_variants
from benchmarks.resources.rows import Row, Table, Usage
from benchmarks.resources.triton_rows import COMPILER, Maker, source_hash
from benchmarks.resources.triton_variants import ARCHITECTURES, LAYOUTS, MODES
from ladnet_fast.kernels.locality_attention.configs import HEAD_SIZES, PRECISIONS

from .triton_examples import CLEAN, VARIANT


@pytest.mark.parametrize("kernel", MODES)
def test_there_is_something_to_try_for_everything(kernel):
    for architecture in ARCHITECTURES:
        for precision in PRECISIONS:
            for size in HEAD_SIZES:
                found = search.promising(kernel, architecture, precision, size)
                assert found, (kernel, architecture, precision, size)
                assert len(set(found)) == len(found)


def test_wgmma_gets_its_64_rows():
    assert all(c.block_m >= 64 for c in search.promising("forward", 90, "bf16", 128))
    assert all(c.block_n >= 64 for c in search.promising("backward_keys", 90, "bf16", 128))


def test_the_first_clean_configuration_is_taken(monkeypatch):
    tried = []

    def usage(self, variant, layout):
        tried.append((variant, layout))
        return dataclasses.replace(CLEAN, local=8 if len(tried) in (1, 3) else 0, shared=0)

    monkeypatch.setattr(Maker, "usage", usage)
    lines: list[str] = []
    found = search.first_clean("forward", "logit", 90, "bf16", 128, limit=5, progress=lines.append)
    assert found == tried[-1][0].config
    assert len({variant.config for variant, _ in tried}) == 3
    # The second one spills for padded bags, the third for none.
    layouts = ["dense", "dense", "padded", "dense", "padded", "packed"]
    assert [layout for _, layout in tried] == layouts
    assert {variant.config.block_band for variant, _ in tried} == {0}  # logit has no banded product
    spills = [True, False, True, False, False, False]
    assert ["registers spill" in line for line in lines] == spills
    tried.clear()
    assert (
        search.first_clean("forward", "none", 90, "bf16", 128, limit=1, progress=lines.append)
        is None
    )


CUDA = Usage(registers=30, shared=0, threads=128, instructions=64)


def of_cuda(usage: Usage) -> Table:
    return Table(
        "nvcc 1.2.3", rows={f"{a} sum_kernel": Row((usage,)) for a in cuda_rows.ARCHITECTURES}
    )


@pytest.fixture
def written(tmp_path, monkeypatch):
    """The files with one shipped variant, whose row is known, and one kernel of the CUDA module."""
    monkeypatch.setattr(rows, "PATH", tmp_path / "table.json")
    monkeypatch.setattr(page, "PAGE", tmp_path / "table.md")
    monkeypatch.setattr(triton_variants, "shipped", lambda: iter([VARIANT]))
    row = Row((CLEAN,) * 3, source_hash(VARIANT), "0123")

    def write(row: Row) -> None:
        known = {VARIANT.name: row, f"{VARIANT.name}w7": row}
        rows.write("triton", Table("Triton 0.1", LAYOUTS, known))

    write(row)
    rows.write("cuda", of_cuda(CUDA))
    return row, write


def test_the_table_is_written_anew_without_what_is_no_longer_shipped(written):
    row, _ = written
    finished = CliRunner().invoke(cli.app, ["triton"])
    assert finished.exit_code == 0, finished.output
    assert "1 of 1 rows, 0 with problems" in finished.output
    assert rows.read() == {
        "triton": Table(COMPILER, LAYOUTS, {VARIANT.name: row}),
        "cuda": of_cuda(CUDA),
    }
    assert json.loads(rows.PATH.read_text())["command"] == rows.COMMAND
    written_page = page.PAGE.read_text()
    assert (
        "| forward, additive |  |  |  | 128x128/64w8s2 255 r 160 K 517 i 1.000 |  |" in written_page
    )
    assert "| sm_90 | 3 | wgmma | 160 of 227 KiB | 1.000 | 1.000 | 1.000 |" in written_page
    assert "| `sum_kernel` | 128 | 0 | 0 | 0 | 30 | 30 | 30 | 30 |" in written_page


def test_problems_are_told_and_end_with_an_error(written):
    row, write = written
    write(dataclasses.replace(row, usages=(CLEAN, dataclasses.replace(CLEAN, local=4), CLEAN)))
    finished = CliRunner().invoke(cli.app, ["triton", "--architecture", "90"])
    assert finished.exit_code == 1
    assert f"{VARIANT.name}: padded: 4 bytes of local memory" in finished.output


def test_the_cuda_module_is_built_and_what_differs_is_told(written, monkeypatch):
    made = of_cuda(dataclasses.replace(CUDA, registers=31))
    monkeypatch.setattr(cuda_build, "problem", lambda: "")
    monkeypatch.setattr(cuda_build, "build_module", lambda folder: folder / "module.so")
    monkeypatch.setattr(cuda_rows, "make", lambda module: made)
    finished = CliRunner().invoke(cli.app, ["cuda"])
    assert finished.exit_code == 0, finished.output
    assert "sm_90 sum_kernel: registers 30 -> 31" in finished.output
    assert rows.read()["cuda"] == made
    assert set(rows.read()["triton"].rows) == {VARIANT.name, f"{VARIANT.name}w7"}
    made.rows["sm_80 sum_kernel"] = Row((dataclasses.replace(CUDA, local=8),))
    finished = CliRunner().invoke(cli.app, ["cuda"])
    assert finished.exit_code == 1
    assert "sm_80 sum_kernel: local is 8, must be 0" in finished.output


def test_what_is_missing_to_build_the_cuda_module_is_named(monkeypatch):
    monkeypatch.setattr(cuda_build, "problem", lambda: "needs on PATH: nvcc (the CUDA toolkit)")
    finished = CliRunner().invoke(cli.app, ["cuda"])
    assert finished.exit_code == 2
    assert "nvcc (the CUDA toolkit)" in finished.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["triton", "--architecture", "75"], "75 is none of 80, 86, 90, 100, 110, 120"),
        (["triton", "--precision", "fp64"], "'fp64' is none of bf16"),
        (["search", "sideways"], "'sideways' is none of forward"),
    ],
)
def test_choices_that_there_are_not(arguments, message, written):
    finished = CliRunner().invoke(cli.app, arguments)
    assert finished.exit_code == 2
    assert message in " ".join(finished.output.replace("│", " ").split())
