"""The page of the docs."""

from __future__ import annotations

from benchmarks.resources import page, rows


def test_it_shows_the_table_that_is_checked_in():
    written = page.PAGE.read_text(encoding="utf-8")
    assert written == page.render(rows.read()), f"run: {rows.COMMAND} triton"
