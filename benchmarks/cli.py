"""Command line of the benchmarks."""

from __future__ import annotations

import datetime
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from . import bars, long_video, machine, report, results, runner
from . import compare as comparing
from .ceilings import measure_ceilings
from .measure import FULL, QUICK
from .registry import all_cases, select

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Benchmarks of ladnet_fast against PyTorch, with every result checked first.",
)

_Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Threads of every side; default: what torch takes by itself."),
]
_Output = Annotated[Path, typer.Option(help="Folder for the results files.")]
_Quick = Annotated[bool, typer.Option("--quick", help="The small table, in minutes.")]


@app.command("list")
def list_cases() -> None:
    """Show the cases: their names, subsets and sides."""
    for case in all_cases():
        typer.echo(f"{case.key}  [{', '.join(sorted(case.subsets))}]  {', '.join(case.sides)}")


@app.command()
def run(
    patterns: Annotated[
        list[str] | None, typer.Argument(help="Only cases whose name contains one of these.")
    ] = None,
    quick: _Quick = False,
    bars: Annotated[bool, typer.Option("--bars", help="Only what the speed bars need.")] = False,
    memory: Annotated[bool, typer.Option(help="Also measure peak memory.")] = True,
    threads: _Threads = None,
    output: _Output = results.LOCAL,
) -> None:
    """Check and time cases with the instruction set in use (LADNET_CPU chooses another).

    Example: python -m benchmarks run --quick
    """
    subset = "quick" if quick else "bars" if bars else "full"
    options = [f"--{subset}"] if subset != "full" else []
    options += [] if memory else ["--no-memory"]
    chosen = patterns or []
    command = _command("run", *chosen, *options, threads=threads)
    threads = threads or torch.get_num_threads()
    plan = QUICK if quick else FULL
    try:
        cases = select(subset, tuple(chosen))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    torch.set_num_threads(threads)
    busy_cores = machine.busy_cores()
    ceilings = [entry.as_dict() for entry in measure_ceilings(threads, plan)]
    rows = runner.run_cases(cases, plan=plan, threads=threads, memory=memory, progress=typer.echo)
    part = "-".join([*([] if subset == "full" else [subset]), *chosen])
    _finish(output, part, _results(command, threads, busy_cores, ceilings, rows))


@app.command()
def cpu(
    long: Annotated[
        bool, typer.Option("--long", help="Score a synthetic 24-hour video instead.")
    ] = False,
    threads: _Threads = None,
    output: _Output = results.LOCAL,
) -> None:
    """Make the whole CPU table: all cases, then the speed bars with the instruction set below.

    Example: python -m benchmarks cpu --output benchmarks/results
    """
    if long:
        command = _command("cpu", "--long", threads=threads)
        threads = threads or torch.get_num_threads()
        busy_cores = machine.busy_cores()
        rows = [long_video.score_day(threads)]
        _finish(output, "long", _results(command, threads, busy_cores, [], rows))
        return
    own = machine.instruction_set()
    lower = [name for name in machine.instruction_sets() if name not in (own, "baseline")]
    thread_options = [] if threads is None else ["--threads", str(threads)]
    arguments = [*thread_options, "--output", str(output)]
    _run_again([], arguments)
    for name in lower:
        _run_again(["--bars", "--no-memory"], arguments, LADNET_CPU=name)


@app.command()
def compare(
    revision: Annotated[str, typer.Argument(help="What to compare with, as git says it.")],
    patterns: Annotated[
        list[str] | None, typer.Argument(help="Only cases whose name contains one of these.")
    ] = None,
    side: Annotated[
        list[str] | None, typer.Option(help="A side to time, again for more; default: ours.")
    ] = None,
    slower: Annotated[
        float | None,
        typer.Option(min=0, metavar="PERCENT", help="Fail if a side is slower by more than that."),
    ] = None,
    quick: _Quick = False,
    threads: _Threads = None,
) -> None:
    """Time cases in this tree and in another revision of it, in turns, each checked first.

    Compile this tree before: pip install -e . The other revision is installed below build/compare.

    Example: python -m benchmarks compare HEAD~1 attention_forward/additive --slower 3
    """
    try:
        cases = select("quick" if quick else "full", tuple(patterns or []))
        tree = comparing.install(revision)
    except (ValueError, comparing.CompareError) as error:
        raise typer.BadParameter(str(error)) from error
    head = ["Case", "Side", "Before (ms)", "Now (ms)", "Times faster", "p20 to p80"]
    body, behind = [], []
    for number, case in enumerate(cases, 1):
        typer.echo(f"[{number}/{len(cases)}] {case.key}")
        options: dict[str, Any] = {"plan": QUICK if quick else FULL, "sides": tuple(side or ())}
        threads = threads or torch.get_num_threads()
        try:
            for found in comparing.compare(tree, case, threads=threads, **options):
                if isinstance(found, str):
                    typer.echo(f"    {found}")
                    continue
                ratio = found.times_faster
                typer.echo(f"    {found.side}: {ratio['p50']:.3f} times as fast")
                times = [f"{seconds * 1e3:.4g}" for seconds in (found.before, found.now)]
                spread = f"{ratio['p20']:.3f} to {ratio['p80']:.3f}"
                body.append([found.case, found.side, *times, f"{ratio['p50']:.3f}", spread])
                if slower is not None and ratio["p50"] < 1 / (1 + slower / 100):
                    behind.append(f"{found.case}, {found.side}")
        except comparing.CompareError as error:
            typer.echo(f"    {error}")
            behind.append(case.key)
    typer.echo("\n" + report.markdown(head, body))
    if behind:
        typer.echo(f"\nslower than allowed, or failed: {'; '.join(behind)}")
        raise typer.Exit(1)


@app.command("report")
def make_report(
    folder: Annotated[
        Path, typer.Argument(help="Folder of results files, as the other commands write them.")
    ] = results.FOLDER,
    output: Annotated[Path, typer.Option(help="Markdown file; plots go beside it.")] = Path(
        "docs/performance.md"
    ),
) -> None:
    """Write the report from results files.

    Example: python -m benchmarks report
    """
    try:
        runs = results.read_folder(folder)
    except (FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(report.write_report(runs, output))


def _command(*words: str, threads: int | None) -> str:
    """Return the command that repeats this run, for the report."""
    set_here = [
        f"{name}={os.environ[name]}"
        for name in ("LADNET_CPU", "LADNET_LINEAR")
        if os.environ.get(name)
    ]
    option = [] if threads is None else ["--threads", str(threads)]
    return shlex.join([*set_here, "python", "-m", "benchmarks", *words, *option])


def _run_again(options: list[str], arguments: list[str], **environment: str) -> None:
    """Run ``run`` in a process of its own: the instruction set is chosen once a process."""
    command = [sys.executable, "-m", "benchmarks", "run", *options, *arguments]
    finished = subprocess.run(command, env={**os.environ, **environment}, check=False)
    if finished.returncode:
        raise typer.Exit(finished.returncode)


def _results(
    command: str,
    threads: int,
    busy_cores: float,
    ceilings: list[dict[str, Any]],
    rows: list[dict[str, Any]],
) -> dict[str, Any]:
    return {
        "command": command,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "busy_cores": busy_cores,
        "machine": machine.describe(threads),
        "ceilings": ceilings,
        "measurements": rows,
    }


def _finish(folder: Path, part: str, found: dict[str, Any]) -> None:
    """Write and show results. A part of the table gets a file of its own beside the whole one."""
    suffix = re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-")
    name = "-".join(filter(None, [machine.slug(found["machine"]), suffix]))
    path = results.write(folder, name, found)
    typer.echo()
    rows = found["measurements"]
    bounds = bars.bounds_of(found["machine"]["instruction_set"], found["ceilings"])
    typer.echo(report.bars_table(rows, bounds, measured_only=True))
    for line in report.silent(rows):
        typer.echo(line)
    typer.echo(f"\nwritten: {path} and {path.with_suffix('.csv').name}")
    if any(row["status"] in ("wrong", "error") and row["own"] for row in rows):
        raise typer.Exit(1)
