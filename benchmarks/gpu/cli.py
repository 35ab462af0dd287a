"""Command line of the GPU's checks and benchmarks."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from ladnet_fast._extras import import_extra
from ladnet_fast.ops import _triton

from .. import results
from . import checks, report, table
from .run import STEPS, failures, run
from .sizes import FULL, QUICK, TINY

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    patterns: Annotated[
        list[str] | None, typer.Argument(help="Time only cases whose name contains one of these.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer lengths, shorter rounds, no torch.compile.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(help=f"Only this step: {', '.join(STEPS)}. Repeatable.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the report.")] = results.LOCAL,
    device: Annotated[str, typer.Option(help="A CUDA device; cpu only with --tiny.")] = "cuda",
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Tests of this command: tiny sizes, times mean nothing.")
    ] = False,
    list_cases: Annotated[
        bool, typer.Option("--list", help="Show the names of the cases that would be timed.")
    ] = False,
) -> None:
    """Check every kernel on this machine's GPU, time it against its peers, write one report.

    Checks, which are the tests in tests/gpu: float64 at real sizes, the same bits 100 times, CUDA
    graphs, peak memory. Without a GPU it says so and ends with status 0; with status 1 if a check
    fails or the device does.

    Estimated for an H100, not measured on any GPU: half an hour, --quick ten minutes; compiling
    into empty caches takes more than half of that. The report is written as the run goes, and says
    so where it is incomplete. --only splits a run; give each part an --output of its own.

    Example: python -m benchmarks.gpu --quick --output my-gpu
    """
    chosen = tuple(patterns or ())
    try:
        cases = table.tiny(chosen) if tiny else table.select(quick, chosen)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if list_cases:
        for case in cases:
            typer.echo(f"{case.key}  {', '.join(case.sides)}")
        return
    place = _device(device, tiny)
    if place is None:
        typer.echo("No GPU: torch.cuda.is_available() is False, so there is nothing to measure.")
        return
    steps = _steps(only)
    if set(steps) & set(checks.STEPS):
        import_extra("pytest", extra="dev", purpose="check the kernels")
    sizes = TINY if tiny else QUICK if quick else FULL
    command = shlex.join(["python", "-m", "benchmarks.gpu", *sys.argv[1:]])

    def save(found: dict[str, Any], whole: bool) -> None:
        write = report.write if whole else report.write_data
        write(output, found)

    found = run(place, sizes, cases, steps, command, typer.echo, save)
    page, *others = report.write(output, found)
    typer.echo(f"\nwritten: {page}, {', '.join(path.name for path in others)}")
    failed = failures(found)
    for line in failed:
        typer.echo(f"FAILED: {line}", err=True)
    if failed:
        raise typer.Exit(1)


def _steps(only: list[str] | None) -> tuple[str, ...]:
    unknown = [step for step in only or () if step not in STEPS]
    if unknown:
        raise typer.BadParameter(
            f"--only must be one of {', '.join(STEPS)}; got {', '.join(unknown)}"
        )
    return tuple(only or STEPS)


def _device(name: str, tiny: bool) -> torch.device | None:
    """Return the device, or None where there is no GPU to be had."""
    try:
        place = torch.device(name)
    except RuntimeError as error:
        raise typer.BadParameter(f"--device must be a torch device; got {name!r}") from error
    if place.type == "cuda":
        if not torch.cuda.is_available():
            return None
        if place.index is not None:
            count = torch.cuda.device_count()
            if place.index >= count:
                known = ", ".join(f"cuda:{index}" for index in range(count))
                raise typer.BadParameter(f"--device must be one of {known}; got {name!r}")
            torch.cuda.set_device(place)
        return torch.device("cuda", torch.cuda.current_device())
    if place.type != "cpu" or not tiny:
        raise typer.BadParameter(
            f"--device must be a CUDA device, or cpu together with --tiny; got {name!r}"
        )
    if not _triton.INTERPRETED:
        raise typer.BadParameter(
            "--tiny --device cpu runs the kernels in Triton's interpreter: set TRITON_INTERPRET=1 "
            "in the environment"
        )
    return place
