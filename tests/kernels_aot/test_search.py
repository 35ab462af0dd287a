"""The search for configurations, and the command line, without compiling anything."""

from __future__ import annotations

import dataclasses
import json

import pytest

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

from ladnet_fast.kernels.locality_attention.configs import HEAD_SIZES, PRECISIONS
from typer.testing import CliRunner

from benchmarks.triton_resources import cli, report, search, table
from benchmarks.triton_resources.table import Row
from benchmarks.triton_resources.variants import ARCHITECTURES, MODES

from .test_table import CLEAN, VARIANT


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

    def refresh(variants, known, progress):
        (variant,) = variants
        tried.append(variant)
        spills = 1 if len(tried) in (1, 3) else 0
        resources = dataclasses.replace(CLEAN.resources, spills=spills, shared_bytes=0)
        return {variant.name: dataclasses.replace(CLEAN, resources=resources)}

    monkeypatch.setattr(table, "refresh", refresh)
    lines: list[str] = []
    found = search.first_clean("forward", "logit", 90, "bf16", 128, limit=5, progress=lines.append)
    assert found == tried[-1].config
    assert len({v.config for v in tried}) == 3
    # The second one spills for padded bags, the third for none.
    layouts = ["dense", "dense", "padded", "dense", "padded", "packed"]
    assert [v.layout for v in tried] == layouts
    assert {v.config.block_band for v in tried} == {0}  # logit has no banded product
    assert ["instructions spill" in line for line in lines] == [
        True,
        False,
        True,
        False,
        False,
        False,
    ]
    tried.clear()
    assert (
        search.first_clean("forward", "none", 90, "bf16", 128, limit=1, progress=lines.append)
        is None
    )


@pytest.fixture
def written(tmp_path, monkeypatch):
    """The command line with one shipped variant, whose row is known."""
    path = tmp_path / "table.json"
    monkeypatch.setattr(table, "PATH", path)
    monkeypatch.setattr(report, "PAGE", path.with_suffix(".md"))
    monkeypatch.setattr(cli, "shipped", lambda: iter([VARIANT]))
    build = VARIANT.build()
    row = dataclasses.replace(CLEAN, fingerprint=build.fingerprint)

    def write(row: Row) -> None:
        table.write({VARIANT.name: row, "no longer shipped": row}, path)

    write(row)
    return path, row, write


def test_the_table_is_written_anew_without_what_is_no_longer_shipped(written):
    path, row, _ = written
    finished = CliRunner().invoke(cli.app, [])
    assert finished.exit_code == 0, finished.output
    assert "1 of 1 rows, 0 with problems" in finished.output
    assert table.read(path) == {VARIANT.name: row}
    assert json.loads(path.read_text())["command"] == table.COMMAND
    page = path.with_suffix(".md").read_text()
    assert "| forward, additive |  |  |  | 128x128/64w8s2 255 r 160 K 517 i 1.000 |  |" in page
    assert "| sm_90 | 1 | wgmma | 160 of 227 KiB | 1.000 |  |" in page


def test_problems_are_told_and_end_with_an_error(written):
    _, row, write = written
    write(dataclasses.replace(row, resources=dataclasses.replace(row.resources, spills=4)))
    finished = CliRunner().invoke(cli.app, ["--architecture", "90"])
    assert finished.exit_code == 1
    assert f"{VARIANT.name}: 4 instructions spill registers" in finished.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--architecture", "75"], "75 is none of 80, 86, 90, 100, 120"),
        (["--precision", "fp64"], "'fp64' is none of bf16"),
        (["search", "backward"], "'backward' is none of forward"),
    ],
)
def test_choices_that_there_are_not(arguments, message, written):
    finished = CliRunner().invoke(cli.app, arguments)
    assert finished.exit_code == 2
    assert message in " ".join(finished.output.replace("│", " ").split())
