"""Command line: make the table, and look for configurations."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from . import cuda_build, cuda_rows, page, rows
from .older import add as add_older
from .older import looked_at, without_older
from .older import release as release_in
from .rows import Row, Table

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Machine-code figures of the GPU kernels for every architecture; no GPU needed.",
)
_T = TypeVar("_T", int, str)
#: Rows between two writes of the file: an interrupted run goes on from there.
_BATCH = 10

_Architectures = Annotated[list[int] | None, typer.Option("--architecture", help="80, 90 ...")]
_Precisions = Annotated[list[str] | None, typer.Option("--precision", help="bf16, tf32 ...")]
_HeadSizes = Annotated[list[int] | None, typer.Option("--head-size", help="16, 32 ...")]


@app.command("triton")
def make_triton(
    architecture: _Architectures = None,
    precision: _Precisions = None,
    head_size: _HeadSizes = None,
    older: Annotated[
        Path | None,
        typer.Option(help="A folder with an older Triton, whose figures are added."),
    ] = None,
) -> None:
    """Compile the attention kernels that have changed; write their rows, and the page.

    With options only these rows are made anew; what is known of the others is kept.

    With --older DIR, made by pip install --no-deps --target DIR triton==3.6.0, what that release
    takes of shared and local memory is added, for rows that have no such figures yet.
    """
    from ladnet_fast.kernels.locality_attention.configs import HEAD_SIZES, PRECISIONS

    from . import triton_rows
    from .triton_variants import ARCHITECTURES, LAYOUTS, shipped

    everything = {variant.name: variant for variant in shipped()}
    chosen = [
        v
        for v in everything.values()
        if _within(v.architecture, architecture, ARCHITECTURES, "--architecture")
        and _within(v.precision, precision, PRECISIONS, "--precision")
        and _within(v.head_size, head_size, HEAD_SIZES, "--head-size")
    ]
    known = _known("triton")
    release = _older(older)
    if release != _older(None):
        known = {name: without_older(row) for name, row in known.items()}
    maker = triton_rows.Maker(known, typer.echo)
    for start in range(0, len(chosen), _BATCH):
        batch = chosen[start : start + _BATCH]
        known |= maker.rows(batch)
        if older is not None:
            missing = [v.name for v in batch if not looked_at(known[v.name])]
            known |= add_older(known, missing, older, typer.echo) if missing else {}
        kept = {name: known[name] for name in everything if name in known}
        rows.write("triton", Table(triton_rows.COMPILER, LAYOUTS, kept, release))
    page.write()
    found = {
        name: problems
        for name, row in kept.items()
        if (problems := triton_rows.row_problems(everything[name], row))
    }
    for name, problems in found.items():
        typer.echo(f"{name}: {'; '.join(problems)}")
    typer.echo(f"{len(kept)} of {len(everything)} rows, {len(found)} with problems")
    if found or len(kept) < len(everything):
        raise typer.Exit(1)


@app.command("cuda")
def make_cuda() -> None:
    """Build the CUDA module; write the rows of its kernels, and the page. Needs nvcc."""
    if cuda_build.problem():
        raise typer.BadParameter(cuda_build.problem())
    with tempfile.TemporaryDirectory() as folder:
        made = cuda_rows.make(cuda_build.build_module(Path(folder)))
    old = _known("cuda")
    rows.write("cuda", made)
    page.write()
    for line in cuda_rows.differences(old, made.rows):
        typer.echo(line)
    problems = cuda_rows.problems(made.rows)
    typer.echo("\n".join([*problems, f"{len(made.rows)} rows, {len(problems)} problems"]))
    if problems:
        raise typer.Exit(1)


@app.command("flex")
def make_flex() -> None:
    """Compile FlexAttention from the installed torch's templates; write what it takes."""
    from . import flex

    flex.write(typer.echo)
    typer.echo(f"written: {flex.PATH}; python -m benchmarks.gpu model writes the page that uses it")


@app.command("search")
def search_configurations(
    kernel: Annotated[str, typer.Argument(help="forward, preprocess, backward_keys ...")],
    architecture: _Architectures = None,
    precision: _Precisions = None,
    head_size: _HeadSizes = None,
    limit: Annotated[int, typer.Option(help="Give up after so many configurations.")] = 16,
) -> None:
    """Try configurations in the order of their promise; show the first that may be shipped.

    Example: python -m benchmarks.resources search forward --architecture 90
    """
    from ladnet_fast.kernels.locality_attention.configs import HEAD_SIZES, PRECISIONS

    from . import search
    from .triton_variants import ARCHITECTURES, MODES

    _within(kernel, None, tuple(MODES), "KERNEL")
    for number, kind, size, mode in itertools.product(
        architecture or ARCHITECTURES,
        precision or [p for p in PRECISIONS if p != "fp16"],
        head_size or HEAD_SIZES,
        [mode for mode in MODES[kernel] if not mode.endswith("-queries")],
    ):
        _within(number, None, ARCHITECTURES, "--architecture")
        _within(kind, None, PRECISIONS, "--precision")
        _within(size, None, HEAD_SIZES, "--head-size")
        search.first_clean(kernel, mode, number, kind, size, limit=limit, progress=typer.echo)


def _known(name: str) -> dict[str, Row]:
    """Return the rows of a table; none where there is no file yet."""
    tables = rows.read() if rows.PATH.exists() else {}
    return dict(tables[name].rows) if name in tables else {}


def _older(folder: Path | None) -> str:
    """Return the older release in a folder; without one, that of the table."""
    if folder is not None:
        try:
            return release_in(folder)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--older") from error
    tables = rows.read() if rows.PATH.exists() else {}
    return tables["triton"].older if "triton" in tables else ""


def _within(value: _T, chosen: list[_T] | None, known: tuple[_T, ...], option: str) -> bool:
    """Return whether a value was chosen; complain of choices that there are not."""
    for given in chosen or [value]:
        if given not in known:
            raise typer.BadParameter(
                f"{given!r} is none of {', '.join(str(k) for k in known)}", param_hint=option
            )
    return chosen is None or value in chosen
