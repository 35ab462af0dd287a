"""The machine code of the CUDA kernels against the table in the docs.

The build itself fails if a register is spilled: with LADNET_WERROR ptxas's warning is an error.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.resources import cuda_rows, rows

REMEDY = f"if that is meant to be, run: {rows.COMMAND} cuda"


@pytest.fixture(scope="module")
def measured(built_module: Path) -> rows.Table:
    return cuda_rows.make(built_module)


@pytest.mark.slow
def test_nothing_spills_and_rows_are_read_once_in_whole_vectors(measured):
    assert cuda_rows.problems(measured.rows) == []


@pytest.mark.slow
def test_the_table_is_that_of_the_code(measured):
    table = rows.read()["cuda"]
    if measured.compiler != table.compiler:
        pytest.skip(f"the table is of {table.compiler}, this is {measured.compiler}")
    found = cuda_rows.differences(table.rows, measured.rows)
    assert not found, "\n".join([*found, REMEDY])


def test_the_table_itself_has_every_kernel_on_every_architecture_and_nothing_spilled():
    table = rows.read()["cuda"]
    assert cuda_rows.problems(table.rows) == []
    features = {name.partition(" ")[2] for name in table.rows if "Shape<" in name}
    assert len(features) == 24  # 2 kernels, 3 dtypes, 4 shapes of rows
