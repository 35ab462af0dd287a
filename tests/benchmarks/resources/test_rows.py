"""The file that holds the tables."""

from __future__ import annotations

import pytest

from benchmarks.resources import rows
from benchmarks.resources.rows import Row, Table, Usage


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "PATH", tmp_path / "table.json")
    return rows.PATH


WGMMA = Usage(255, 1024, tensor_cores="wgmma", async_copies=8, far_loop=40, longer=1)
TABLES = {
    "three": Table(
        "compiler 1",
        ("a", "b", "c"),
        {
            "sm_80 differing": Row((WGMMA, Usage(2, 0), Usage(3, 0, local=4)), "source", "code"),
            "sm_80 alike": Row((WGMMA,) * 3, "source", "code"),
            "sm_90 with spaces <a, b>": Row((Usage(0, 0),) * 3),
        },
    ),
    "one": Table(
        "compiler 2",
        rows={
            "sm_80 all": Row((Usage(1, 2, 3, "k", 4, 5, 6, 7, 8, 9, 10, 11),), older="="),
            "sm_80 not looked at": Row((Usage(1, 2, tensor_cores="mma.sync+wgmma"),)),
            "sm_80 other": Row((Usage(1, 2, tensor_cores="mma.sync"),), "s", "i", "16/8"),
        },
        older="compiler 1",
    ),
}


def test_tables_are_read_as_they_were_written_whatever_is_zero_or_alike():
    for name, table in TABLES.items():
        rows.write(name, table)
    assert rows.read() == TABLES
    assert list(rows.read()["three"].rows) == list(TABLES["three"].rows)


def test_a_row_is_a_line_without_its_zeros_at_the_end(path):
    rows.write("three", TABLES["three"])
    lines = [line.strip().rstrip(",") for line in path.read_text().splitlines()]
    assert '"alike":["source","code",255,1024,0,"w",8,40,1]' in lines
    assert '"with spaces <a, b>":[]' in lines


def test_a_row_that_equals_another_names_the_word_that_differs(path):
    first, second = Row((WGMMA,), "s", "i", "="), Row((Usage(1, 2),), "s", "i", "-")
    names = {
        "sm_100 fp16 f d64": first,  # before the row of bf16, so it stands for itself
        "sm_100 bf16 f d64": first,
        "sm_100 bf16 g d64": second,
        "sm_100 fp16 g d64": Row(second.usages, "t", "jj"),
        "sm_110 bf16 f d64": Row(first.usages, "u", "k", "-"),
        "sm_110 bf16 g d64": Row(first.usages, "v", "l", "="),
        "sm_110 fp16 g d64": Row(second.usages, "w", "m", "8/0"),
    }
    table = Table("compiler 1", rows=names, older="compiler 0")
    rows.write("triton", table)
    assert rows.read() == {"triton": table}
    text = path.read_text()
    for line in (
        '"d64":["t","jj","bf16","?"]',
        '"sm_110 bf16 f": ["sm_100","uk","-"]',  # all of its group do
        '"d64":["v","l",255,1024,0,"w",8,40,1]',
        '"sm_110 fp16 g": ["sm_100","wm","8/0"]',
    ):
        assert line in text
    path.write_text(text.replace('"sm_100","uk"', '"sm_90","uk"'))
    with pytest.raises(ValueError, match="is no table of this version"):
        rows.read()


def test_writing_a_table_keeps_the_other():
    rows.write("one", TABLES["one"])
    rows.write("three", TABLES["three"])
    rows.write("one", Table("compiler 3"))
    assert rows.read() == {**TABLES, "one": Table("compiler 3")}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"schema": 0}',
        '{"schema": 6, "columns": ["registers"]}',
        '{"schema": 6, "columns": COLUMNS, "triton": {"rows": {}}}',
        '{"schema": 6, "columns": COLUMNS, "triton": []}',
        '{"schema": 6, "columns": COLUMNS, "t": '
        '{"compiler": "", "ways": ["a", "b"], "rows": {"sm_80": {"k": ["", "", [1]]}}}}',
    ],
)
def test_a_file_of_another_kind_is_refused_with_the_remedy(path, text):
    path.write_text(text.replace("COLUMNS", str(list(rows._COLUMNS)).replace("'", '"')))
    with pytest.raises(ValueError, match=r"delete it and run: python -m benchmarks\.resources "):
        rows.read()


def test_a_far_loop_is_compared_with_that_of_no_prior():
    assert Usage(1, 1, far_loop=102, longer=2).far_loop_ratio == 1.02
    assert Usage(1, 1).far_loop_ratio == 1.0
