"""Registers, shared memory and loops of compiled kernels, from docs/gpu-resources.json."""

from __future__ import annotations

import functools

from ...resources import rows
from ...resources.rows import Row, Usage


@functools.cache
def _tables() -> dict[str, rows.Table]:
    return rows.read()


def triton(name: str) -> Usage:
    """Return what a Triton kernel takes where bags are of one length.

    ``name`` is that of its row, e.g. "sm_90 bf16 forward additive d128 128x128/64w8s2".
    """
    table = _tables()["triton"]
    return _row(table, name).usages[table.ways.index("dense")]


def known(name: str) -> bool:
    """Return whether the table has a row of a Triton kernel."""
    return name in _tables()["triton"].rows


def cuda(name: str) -> Usage:
    """Return what a kernel of the CUDA module takes, e.g. "sm_90 judge_kernel"."""
    return _row(_tables()["cuda"], name).usages[0]


def _row(table: rows.Table, name: str) -> Row:
    if name not in table.rows:
        raise KeyError(
            f"{rows.PATH} has no row {name!r}; make it with: {rows.COMMAND} triton, then "
            f"{rows.COMMAND} cuda"
        )
    return table.rows[name]
