"""The commands ``python -m benchmarks accuracy`` and ``accuracy-report``."""

from __future__ import annotations

import datetime
import json
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ladnet_fast._extras import import_extra
from ladnet_fast._files import atomic_write_text

from .. import results

RESULTS = results.FOLDER / "accuracy"
LOCAL = results.LOCAL / "accuracy"


def accuracy(
    manifests: Annotated[
        list[str],
        typer.Argument(
            metavar="MANIFEST...",
            help="CSV files with bag labels and frame truth, as MANIFEST or NAME=MANIFEST.",
        ),
    ],
    grid: Annotated[
        Path | None,
        typer.Option(help="YAML file of configurations; default: MIL, DDL and the baselines."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0, 1, ... of every configuration.")] = 5,
    out: Annotated[Path, typer.Option(help="Folder for runs and tables.")] = LOCAL,
    workers: Annotated[int, typer.Option(min=1, help="Processes, of one thread each.")] = 2,
    criterion: Annotated[
        str, typer.Option(help="Figure of the held-out bags that chooses the epoch.")
    ] = "video_auc",
    resamples: Annotated[int, typer.Option(min=20, help="Draws of the bootstrap.")] = 400,
    show: Annotated[
        list[str] | None,
        typer.Option(help="Configuration whose most helped and hurt test videos are drawn."),
    ] = None,
) -> None:
    """Train every configuration with every seed and compare them with the grid's baseline.

    A stopped study goes on where it was: start the same command again.

    Example: python -m benchmarks accuracy videos.csv --grid grid.yaml --seeds 5 --out study
    """
    import_extra("sklearn", extra="tools", purpose="run the accuracy benchmark")
    from . import grid as grids
    from . import study
    from .figures import CRITERIA

    names = [entry.name for entry in CRITERIA]
    if criterion not in names:
        raise typer.BadParameter(f"--criterion must be one of {', '.join(names)}; got {criterion}")
    try:
        chosen = grids.DEFAULT if grid is None else grids.read_grid(grid)
        for entry in show or []:
            if entry not in chosen.configurations:
                raise grids.GridError(
                    f"--show {entry} is none of the configurations: "
                    f"{', '.join(chosen.configurations)}"
                )
        jobs = study.jobs_of(manifests, chosen, seeds)
    except (ValueError, FileNotFoundError) as error:
        raise typer.BadParameter(str(error)) from error
    name = "default" if grid is None else grid.stem
    try:
        study.run_jobs(jobs, out, workers=workers, progress=typer.echo)
    except RuntimeError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    for dataset in dict.fromkeys(job.dataset for job in jobs):
        own = [job for job in jobs if job.dataset == dataset]
        command = _command(own[0].source, grid, seeds, criterion, resamples, show or [])
        written = _write(own, out, chosen, name, command, criterion, resamples, show or [])
        typer.echo(f"written: {written}")


def hockey(
    checkout: Annotated[
        Path, typer.Argument(help="Checkout of github.com/tim200002/adl-video-violence-detection.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for bags, truth and manifests.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the order of the clips.")] = 0,
) -> None:
    """Splice fights in ice hockey into bags: videos, frame truth, videos.csv, validation.csv.

    The features are then computed by ladnet-fast extract, as the last line says.

    Example: python -m benchmarks hockey adl-video-violence-detection --out hockey
    """
    import_extra("av", extra="video", purpose="splice the clips")
    from .hockey import make

    try:
        bags = make(checkout, out, seed)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    for split in dict.fromkeys(bag.split for bag in bags):
        labels = [bag.label for bag in bags if bag.split == split]
        typer.echo(f"{split}: {len(labels)} bags, {sum(labels)} of them with fights")
    folder = shlex.quote(str(out))
    typer.echo(f"then: ladnet-fast extract {folder}/bags --out {folder}/features")


def accuracy_speed(
    manifest: Annotated[str, typer.Argument(help="CSV file, or NAME=CSV file.")],
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of both.")] = 2,
    preload: Annotated[str, typer.Option(help="training.preload: auto, true or false.")] = "auto",
    rounds: Annotated[int, typer.Option(min=1, help="Trainings on each side, in turns.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = LOCAL,
) -> None:
    """Measure where the time of ``ladnet-fast train`` goes, beside the bare loop.

    Example: python -m benchmarks accuracy-speed videos.csv --epochs 2
    """
    from . import speed

    try:
        found = speed.measure(
            manifest, epochs, preload=_preload(preload), rounds=rounds, threads=threads
        )
    except (ValueError, FileNotFoundError) as error:
        raise typer.BadParameter(str(error)) from error
    words = ["python", "-m", "benchmarks", "accuracy-speed", _place(manifest)]
    words += ["--epochs", str(epochs)]
    words += ["--preload", preload] if preload != "auto" else []
    words += ["--rounds", str(rounds)] if rounds > 1 else []
    words += ["--threads", str(threads)] if threads > 1 else []
    found = {"command": shlex.join(words), **found}
    kind = {"auto": "", "true": "-preload", "false": "-no-preload"}[preload]
    path = out / f"speed-{found['dataset']}{kind}{'' if threads == 1 else f'-{threads}t'}.json"
    atomic_write_text(path, json.dumps(found, indent=1) + "\n")
    typer.echo(json.dumps(found, indent=1))
    typer.echo(f"written: {path}")


def _preload(text: str) -> Literal["auto", True, False]:
    if text == "auto":
        return "auto"
    if text not in ("true", "false"):
        raise typer.BadParameter(f"--preload must be auto, true or false; got {text!r}")
    return text == "true"


def accuracy_report(
    folder: Annotated[Path, typer.Argument(help="Folder of summaries (.json).")] = RESULTS,
    output: Annotated[Path, typer.Option(help="Markdown file; plots go beside it.")] = Path(
        "docs/accuracy.md"
    ),
) -> None:
    """Write the page on accuracy from summaries.

    Example: python -m benchmarks accuracy-report
    """
    from . import report

    try:
        summaries = report.read_folder(folder)
    except (FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(report.write_page(summaries, output))


def _write(
    jobs: list[Any],
    out: Path,
    grid: Any,
    name: str,
    command: str,
    criterion: str,
    resamples: int,
    show: list[str],
) -> str:
    from . import report
    from .summary import summarise, table

    summary = {
        "study": name,
        "command": command,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        **summarise(
            jobs,
            out,
            grid,
            criterion=criterion,
            resamples=resamples,
            show=show,
            progress=typer.echo,
        ),
    }
    stem = f"{name}-{jobs[0].dataset}"
    atomic_write_text(out / f"{stem}.json", json.dumps(summary, indent=1) + "\n")
    atomic_write_text(out / f"{stem}.csv", table(summary["rows"]))
    return f"{report.write_study(summary, out, stem)}, {stem}.json and {stem}.csv"


def _command(
    source: str, grid: Path | None, seeds: int, criterion: str, resamples: int, show: list[str]
) -> str:
    """Return the command that repeats a data set's part, without this machine's folders."""
    words = ["python", "-m", "benchmarks", "accuracy", _place(source)]
    words += [] if grid is None else ["--grid", _short(grid)]
    words += ["--seeds", str(seeds)]
    words += [] if criterion == "video_auc" else ["--criterion", criterion]
    words += [] if resamples == 400 else ["--resamples", str(resamples)]
    words += [word for entry in show for word in ("--show", entry)]
    return shlex.join(words)


def _place(source: str) -> str:
    from .datasets import name_of

    name, path = name_of(source)
    folder = path.resolve().parent.name
    return f"{'' if folder == name else f'{name}='}{folder}/{path.name}"


def _short(path: Path) -> str:
    root = Path(__file__).parents[2]
    resolved = path.resolve()
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else path.name
