"""The table of resources: its rows, and the file that holds them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, fields
from typing import Any

from ladnet_fast._files import atomic_write_text

from .tools import ROOT

SCHEMA = 7
PATH = ROOT / "docs" / "gpu-resources.json"
COMMAND = "python -m benchmarks.resources"


@dataclass(frozen=True)
class Usage:
    """What a compiled kernel takes; counts of instructions are static.

    The next five are those of Triton's kernels for attention, and so is the last one; the four
    before that are those of the CUDA module; elsewhere they stay 0.
    """

    registers: int
    """Of a thread."""
    shared: int
    """Bytes of a block."""
    local: int = 0
    """Bytes of a thread in local memory: its stack, which has the registers that are spilled."""
    tensor_cores: str = ""
    """Kinds in the whole kernel: "wgmma", "mma.sync+wgmma", "" if none."""
    async_copies: int = 0
    """Those of a turn of a far loop; of the one that has the fewest."""
    far_loop: int = 0
    """Instructions of a turn of the longest far loop; 0 where there is none."""
    longer: int = 0
    """By how many it is longer than with ``prior="none"``, in the same configuration."""
    threads: int = 0
    """Of a block."""
    vector_loads: int = 0
    """Global loads of 16 bytes in loops."""
    vector_stores: int = 0
    """Global stores of 16 bytes in loops."""
    instructions: int = 0
    """Of the whole kernel, padding included."""
    chained: int = 0
    """Products in loops that wait for what another product has added to a carried sum."""

    @property
    def far_loop_ratio(self) -> float:
        """The length of the far loop against that without a prior; 1 where there is none."""
        return self.far_loop / (self.far_loop - self.longer) if self.far_loop else 1.0


@dataclass(frozen=True)
class Row:
    """What one kernel takes on one architecture, and of which source that is true.

    ``usages`` has one entry for each way of compiling it that the table names. ``source`` is a hash
    of all text that the code depends on, ``intermediate`` one of what the compiler makes of that
    text first; both are empty in rows of the CUDA module, which the tests build whole.

    ``older`` is what an older Triton makes of the `heaviest`: "=" the same ``shared`` and
    ``local``, else both of them as "1024/8"; "-" if it can't compile it, "" if that has not been
    looked at.
    """

    usages: tuple[Usage, ...]
    source: str = ""
    intermediate: str = ""
    older: str = ""

    @property
    def heaviest(self) -> int:
        """The number of the usage that takes the most registers; of several the last."""
        return max(range(len(self.usages)), key=lambda i: (self.usages[i].registers, i))

    @property
    def older_shared_and_local(self) -> tuple[int, int] | None:
        """Bytes of shared and of local memory with the older Triton; None if there are none."""
        if self.older == "=":
            usage = self.usages[self.heaviest]
            return usage.shared, usage.local
        shared, _, local = self.older.partition("/")
        return (int(shared), int(local)) if local else None


#: By name; the first word of a name is the architecture: ``sm_90 judge_kernel``.
Rows = dict[str, Row]


@dataclass(frozen=True)
class Table:
    """The rows of one compiler, e.g. "nvcc 13.0.88"; ``ways`` names the entries of each row.

    ``older`` is the compiler of `Row.older`.
    """

    compiler: str
    ways: tuple[str, ...] = ("",)
    rows: Rows = field(default_factory=dict)
    older: str = ""


_COLUMNS = ("source", "intermediate", *(column.name for column in fields(Usage)), "older")
#: As the file has them, since most rows have one.
_LETTERS = {"mma.sync": "m", "wgmma": "w", "tcgen05": "t"}
#: And what older compilers made of a row, in a table that has one: mostly the same.
_OLDER = {"=": "", "": "?"}
#: Words of a row's name, and what stands in their place in the row that it mostly equals, which
#: comes before it. Where it does, that word stands for all that the compiler made of it; where all
#: rows of a group do, once for the group, before their hashes.
_LIKE = {"fp16": "bf16", "sm_110": "sm_100"}
#: How many words of their names rows of a table share with those that they stand among; one if it
#: is not said here.
_SHARED_WORDS = {"triton": 3}
_DEFAULTS = ("", "", *astuple(Usage(0, 0)), "")


def write(name: str, table: Table) -> None:
    """Write the table called ``name``, "triton" or "cuda"; the other one is kept as it is."""
    tables = {**(read() if PATH.exists() else {}), name: table}
    lines = [
        f' "schema": {SCHEMA},',
        f' "command": {json.dumps(COMMAND)},',
        f' "columns": {json.dumps(_COLUMNS)},',
    ]
    parts = (_lines(key, tables[key]) for key in sorted(tables))
    atomic_write_text(PATH, "\n".join(["{", *lines, ",\n".join(parts), "}"]) + "\n")


def read() -> dict[str, Table]:
    """Read the tables.

    Raises
    ------
    ValueError
        If the file is none of this version.
    """
    try:
        found = json.loads(PATH.read_text(encoding="utf-8"))
        if found["schema"] != SCHEMA or tuple(found["columns"]) != _COLUMNS:
            raise ValueError(f"schema {found['schema']}, columns {found['columns']}")
        heads = ("schema", "command", "columns")
        return {name: _table(**part) for name, part in found.items() if name not in heads}
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"{PATH} is no table of this version ({error}); delete it and run: {COMMAND} triton, "
            f"then {COMMAND} cuda"
        ) from error


def _lines(name: str, table: Table) -> str:
    """Return a table as JSON, a line for each row, by the first words of their names.

    A column is one value, or a list where the ways of compiling differ; zeros at the end of a row
    are left out. See `_LIKE` for a row that equals another, and for groups of nothing else.
    """
    groups: dict[str, dict[str, list[Any]]] = {}
    before: Rows = {}
    for key, row in table.rows.items():
        words = key.split(" ")
        shared = min(_SHARED_WORDS.get(name, 1), len(words) - 1)
        values = _encode(key, row, bool(table.older), before)
        before[key] = row
        groups.setdefault(" ".join(words[:shared]), {})[" ".join(words[shared:])] = values
    body = ",\n".join(
        f" {json.dumps(key)}: {_group_lines(key, rows, groups)}" for key, rows in groups.items()
    )
    head = f'"compiler": {json.dumps(table.compiler)}, "ways": {json.dumps(table.ways)}'
    if table.older:
        head += f', "older": {json.dumps(table.older)}'
    return f' {json.dumps(name)}: {{{head}, "rows": {{\n{body}\n }}}}'


def _group_lines(
    key: str, rows: dict[str, list[Any]], groups: Mapping[str, Mapping[str, Any]]
) -> str:
    """Return a group as JSON: the other word and the hashes, if all rows equal others."""
    for word, other in _like(key).items():
        rest = next(iter(rows.values()))[3:]  # what an older compiler makes of it
        alike = all(
            values[2:] == [word, *rest] and len(values[0]) == len(values[1])
            for values in rows.values()
        )
        if alike and list(rows) == list(groups.get(other, {})):
            hashes = " ".join(values[0] + values[1] for values in rows.values())
            return json.dumps([word, hashes, *rest], separators=(",", ":"))
    lines = (
        f" {json.dumps(name)}:{json.dumps(values, separators=(',', ':'))}"
        for name, values in rows.items()
    )
    return "{\n" + ",\n".join(lines) + "\n }"


def _like(name: str) -> dict[str, str]:
    """Return the names of the rows that a row may equal, by the word that they have instead."""
    words = name.split(" ")
    return {
        other: " ".join(other if w == word else w for w in words)
        for word, other in _LIKE.items()
        if word in words
    }


def _encode(name: str, row: Row, has_older: bool, before: Rows) -> list[Any]:
    values: list[Any] = [row.source, row.intermediate]
    older = _OLDER.get(row.older, row.older) if has_older else row.older
    for word, other in _like(name).items():
        if other in before and before[other].usages == row.usages:
            return [*values, word, older] if older else [*values, word]
    for column in zip(*map(astuple, row.usages), strict=True):
        shown = [_LETTERS.get(value, value) for value in column]
        values.append(shown[0] if len(set(shown)) == 1 else shown)
    values.append(older)
    while values and values[-1] == _DEFAULTS[len(values) - 1]:
        values.pop()
    return values


def _table(compiler: str, ways: list[str], rows: Mapping[str, Any], older: str = "") -> Table:
    decoded: Rows = {}
    for group, kernels in rows.items():
        if isinstance(kernels, list):
            kernels = _ungrouped(group, kernels, rows)
        for rest, values in kernels.items():
            name = f"{group} {rest}"
            decoded[name] = _decode(name, values, len(ways), bool(older), decoded)
    return Table(compiler, tuple(ways), decoded, older)


def _ungrouped(group: str, found: list[str], rows: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the rows of a group that `_group_lines` has written as a list."""
    word, hashes, *older = found
    names = rows[_like(group)[word]]
    return {
        rest: [both[: len(both) // 2], both[len(both) // 2 :], word, *older]
        for rest, both in zip(names, hashes.split(" "), strict=True)
    }


def _decode(name: str, values: list[Any], ways: int, has_older: bool, before: Rows) -> Row:
    if len(values) > 2 and isinstance(values[2], str):
        source, intermediate, word, older = [*values, ""][:4]
        usages = before[_like(name)[word]].usages
    else:
        source, intermediate, *columns, older = [*values, *_DEFAULTS[len(values) :]]
        ways_of = (value if isinstance(value, list) else [value] * ways for value in columns)
        words = {letter: word for word, letter in _LETTERS.items()}
        usages = tuple(
            Usage(*(words.get(value, value) for value in each))
            for each in zip(*ways_of, strict=True)
        )
    if has_older:
        older = {shown: value for value, shown in _OLDER.items()}.get(older, older)
    return Row(usages, source, intermediate, older)
