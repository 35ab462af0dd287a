"""docs/gpu-resources.json against the attention kernels, and the rules that rows have to keep."""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

from benchmarks.resources import rows
from benchmarks.resources.triton_rows import COMPILER, row_problems, source_hash
from benchmarks.resources.triton_variants import LAYOUTS, shipped

SHIPPED = {variant.name: variant for variant in shipped()}
REMEDY = f"run: {rows.COMMAND} triton"


@pytest.fixture(scope="module")
def table() -> rows.Table:
    return rows.read()["triton"]


def test_there_is_a_row_for_each_shipped_variant_and_no_other(table):
    differing = set(table.rows) ^ set(SHIPPED)
    assert not differing, REMEDY
    assert list(table.rows) == list(SHIPPED)


def test_every_row_is_of_every_layout_and_of_this_compiler(table):
    assert table.ways == LAYOUTS
    assert table.compiler == COMPILER, REMEDY


def test_no_row_is_older_than_its_kernel_or_than_the_compiler(table):
    stale = [n for n, row in table.rows.items() if row.source != source_hash(SHIPPED[n])]
    assert not stale, f"{len(stale)} rows, {stale[0]} among them, are out of date; {REMEDY}"


def test_every_row_keeps_the_rules(table):
    found = {n: p for n, row in table.rows.items() if (p := row_problems(SHIPPED[n], row))}
    assert not found
