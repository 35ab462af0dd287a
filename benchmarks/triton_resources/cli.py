"""Command line: make the table, and look for configurations."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Annotated, TypeVar

import typer
from ladnet_fast.kernels.locality_attention.configs import HEAD_SIZES, PRECISIONS

from . import report, search, table
from .variants import ARCHITECTURES, MODES, Variant, shipped

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Machine-code figures of the Triton kernels for every architecture; no GPU needed.",
)
_T = TypeVar("_T", int, str)
#: Rows between two writes of the file: an interrupted run goes on from there.
_BATCH = 20

_Architectures = Annotated[list[int] | None, typer.Option("--architecture", help="80, 90 ...")]
_Precisions = Annotated[list[str] | None, typer.Option("--precision", help="bf16, tf32 ...")]
_HeadSizes = Annotated[list[int] | None, typer.Option("--head-size", help="16, 32 ...")]


@app.callback(invoke_without_command=True)
def make_table(
    context: typer.Context,
    architecture: _Architectures = None,
    precision: _Precisions = None,
    head_size: _HeadSizes = None,
) -> None:
    """Compile what has changed, and write docs/triton-resources.json and .md.

    With options only these rows are made anew; what is known of the others is kept.
    """
    if context.invoked_subcommand is not None:
        return
    everything = list(shipped())
    chosen = [
        v
        for v in everything
        if _within(v.architecture, architecture, ARCHITECTURES, "--architecture")
        and _within(v.precision, precision, PRECISIONS, "--precision")
        and _within(v.head_size, head_size, HEAD_SIZES, "--head-size")
    ]
    known = table.read() if table.PATH.exists() else {}
    for some in _batches(chosen):
        known |= table.refresh(some, known, typer.echo)
        table.write(_ordered(known, everything))
    rows = {v: known[v.name] for v in everything if v.name in known}
    table.write({v.name: row for v, row in rows.items()})
    report.write(rows)
    found = {v.name: problems for v, row in rows.items() if (problems := table.problems(v, row))}
    for name, problems in found.items():
        typer.echo(f"{name}: {'; '.join(problems)}")
    typer.echo(f"{len(rows)} of {len(everything)} rows, {len(found)} with problems")
    if found or len(rows) < len(everything):
        raise typer.Exit(1)


@app.command("search")
def search_configurations(
    kernel: Annotated[str, typer.Argument(help=", ".join(MODES))],
    architecture: _Architectures = None,
    precision: _Precisions = None,
    head_size: _HeadSizes = None,
    limit: Annotated[int, typer.Option(help="Give up after so many configurations.")] = 16,
) -> None:
    """Try configurations in the order of their promise; show the first that may be shipped.

    Example: python -m benchmarks.triton_resources search forward --architecture 90
    """
    _within(kernel, None, tuple(MODES), "KERNEL")
    for number, kind, size, mode in itertools.product(
        architecture or ARCHITECTURES,
        precision or [p for p in PRECISIONS if p != "fp16"],
        head_size or HEAD_SIZES,
        MODES[kernel],
    ):
        _within(number, None, ARCHITECTURES, "--architecture")
        _within(kind, None, PRECISIONS, "--precision")
        _within(size, None, HEAD_SIZES, "--head-size")
        search.first_clean(kernel, mode, number, kind, size, limit=limit, progress=typer.echo)


def _within(value: _T, chosen: list[_T] | None, known: tuple[_T, ...], option: str) -> bool:
    """Return whether a value was chosen; complain of choices that there are not."""
    for given in chosen or [value]:
        if given not in known:
            raise typer.BadParameter(
                f"{given!r} is none of {', '.join(str(k) for k in known)}", param_hint=option
            )
    return chosen is None or value in chosen


def _batches(variants: list[Variant]) -> Iterator[list[Variant]]:
    for start in range(0, len(variants), _BATCH):
        yield variants[start : start + _BATCH]


def _ordered(rows: table.Rows, variants: list[Variant]) -> table.Rows:
    return {v.name: rows[v.name] for v in variants if v.name in rows}
