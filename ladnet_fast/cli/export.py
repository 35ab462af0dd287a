"""``ladnet-fast export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._console import help_text, say

# Names only: what they stand for is imported by the command, since it takes a while.
KIND = "export"
_FORMATS = ("onnx", "torch")
_EXAMPLE = """
[bold]Examples[/]

ladnet-fast export runs/first --format onnx --out first.onnx

ladnet-fast export runs/first/model.safetensors --format torch --out first.pt2

ladnet-fast export --i3d --format onnx --out i3d.onnx
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export", help=help_text(command), epilog=_EXAMPLE)(command)


def command(
    run: Annotated[
        Path | None,
        typer.Argument(help="Folder of a training run, or its model.safetensors."),
    ] = None,
    format_: Annotated[str, typer.Option("--format", help=f"{' or '.join(_FORMATS)}.")] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(help="File to write.", show_default="the run's name, beside it"),
    ] = None,
    i3d: Annotated[
        bool, typer.Option("--i3d", help="Export I3D, the extractor of features, instead of a run.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that ladnet-fast did not write.")
    ] = False,
) -> None:
    """Write a network as ONNX, or as a graph of torch.export, for programs without this package.

    The file computes scores and features of whole bags of any length. It is run and compared with
    the network before it takes its place.
    """
    if format_ not in _FORMATS:
        raise typer.BadParameter(f"--format must be {' or '.join(_FORMATS)}; got {format_!r}")
    if (run is None) != i3d:
        raise typer.BadParameter("give the folder of a run, or --i3d, but not both")
    from .._outputs import check_outputs
    from .._records import recorded
    from ..engine.weights import CONFIG, WEIGHTS
    from ..export import FORMATS, SUFFIXES

    name = Path("i3d") if run is None else run.parent if run.is_file() else run
    target = out or name.with_name(name.name + SUFFIXES[format_])
    read = [] if run is None else [run, *(run / name for name in (WEIGHTS, CONFIG))]
    check_outputs([target], read, kinds=[KIND], overwrite=overwrite)
    net = _network(run)
    with recorded(target, {"kind": KIND, "format": format_}) as temporary:
        FORMATS[format_](net, temporary)
    say(f"{target}: {target.stat().st_size:,} bytes")


def _network(run: Path | None):  # type: ignore[no-untyped-def]
    if run is None:
        from ..video import I3D

        return I3D.from_pretrained()
    from ..engine import load_model

    return load_model(run)
