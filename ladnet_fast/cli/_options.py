"""Options that several commands share, and how they become ground truth and a device."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from .._choices import LAYOUT_NAMES, Axes, Boundaries, LengthRule
from ._lists import ListOptions, report_left_out

if TYPE_CHECKING:
    from ..engine import GroundTruth

__all__ = ["ListOptions", "chosen_device", "ground_truth", "report_left_out", "takes_lists"]

_DATA = "Data"
_TRUTH = "Ground truth"

Layout = Annotated[
    str | None,
    typer.Option(
        help=f"Layout of a list that is not a manifest: {', '.join(LAYOUT_NAMES)}.",
        rich_help_panel=_DATA,
        show_default="a manifest",
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        help="Folder from which a list's relative paths start (or the HDF5 file).",
        rich_help_panel=_DATA,
        show_default="the list's folder",
    ),
]
Remap = Annotated[
    str | None,
    typer.Option(
        metavar="OLD=NEW",
        help="Replace the start of a list's paths, as they were on another machine.",
        rich_help_panel=_DATA,
    ),
]
AnomalousNames = Annotated[
    Path | None,
    typer.Option(
        help="Text file with the names of the anomalous videos: 'name' or 'name class' per line.",
        rich_help_panel=_DATA,
    ),
]
NormalFolder = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Videos of a list with this folder in their path are normal; repeatable.",
        rich_help_panel=_DATA,
    ),
]
AnomalousFolder = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Videos of a list with this folder in their path are anomalous; repeatable.",
        rich_help_panel=_DATA,
    ),
]
Queries = Annotated[
    Path | None,
    typer.Option(
        help="Folder (or list) of the second modality's features, NAME__vggish.npy.",
        rich_help_panel=_DATA,
    ),
]
FramesPerSnippet = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Frames that one row of a list's features stands for.",
        rich_help_panel=_DATA,
        show_default="the layout's, mostly 16",
    ),
]
AxesOption = Annotated[
    str | None,
    typer.Option(
        "--axes",
        help="Order of the first two axes of feature files (a, b, D): "
        f"{' or '.join(get_args(Axes))}.",
        rich_help_panel=_DATA,
        show_default="the manifest's or layout's, else by shape",
    ),
]
NumFrames = Annotated[
    Path | None,
    typer.Option(
        help="Text file with the lengths of a list's videos in frames: 'name frames' per line, or "
        "annotations that give them.",
        rich_help_panel=_DATA,
    ),
]
SkipMissing = Annotated[
    bool,
    typer.Option(
        "--skip-missing",
        help="Leave out videos whose files are missing, here and in the ground truth.",
        rich_help_panel=_DATA,
    ),
]
Split = Annotated[
    str | None,
    typer.Option(help="Take the manifest's videos of this split only.", rich_help_panel=_DATA),
]
Truth = Annotated[
    Path | None,
    typer.Option(
        "--gt",
        help="Ground truth: one vector for all videos, end to end (.npy, or text of 0 and 1), or "
        "annotations (.txt).",
        rich_help_panel=_TRUTH,
        show_default="the manifest's frame_labels",
    ),
]
BoundaryOption = Annotated[
    str | None,
    typer.Option(
        help="What an annotation's two numbers mean: "
        + ", ".join(f"'{choice}'" for choice in get_args(Boundaries)).replace("[", r"\[")
        + ". Required with annotations.",
        rich_help_panel=_TRUTH,
    ),
]
LengthRuleOption = Annotated[
    str,
    typer.Option(
        help="Frames that a video's truth has: 'num_frames', as the manifest says; 'snippets', T x "
        "16 (UCF-Crime); 'flow', frames - 1 rounded down to whole snippets (XD-Violence); 'auto', "
        "the first of these that is known.",
        rich_help_panel=_TRUTH,
    ),
]
CheckLabels = Annotated[
    bool,
    typer.Option(
        help="Refuse ground truth that contradicts the videos' labels.", rich_help_panel=_TRUTH
    ),
]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda or cuda:N; auto takes a GPU if there is one.")
]


#: Options of every command that reads lists: annotation, and the field of `ListOptions`.
_LISTS: dict[str, tuple[Any, str]] = {
    "layout": (Layout, "layout"),
    "root": (Root, "root"),
    "remap": (Remap, "remap"),
    "anomalous_names": (AnomalousNames, "anomalous_names"),
    "queries": (Queries, "queries"),
    "frames_per_snippet": (FramesPerSnippet, "frames_per_snippet"),
    "axes": (AxesOption, "axes"),
    "normal_folder": (NormalFolder, "normal_folders"),
    "anomalous_folder": (AnomalousFolder, "anomalous_folders"),
    "num_frames": (NumFrames, "num_frames"),
    "skip_missing": (SkipMissing, "skip_missing"),
}


def takes_lists(
    without: Sequence[str] = (),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command the options of lists, as its argument ``lists``.

    Parameters
    ----------
    without : sequence of str
        Those that the command has no use for.
    """
    names = [name for name in _LISTS if name not in without]
    defaults = {field.name: field.default for field in dataclasses.fields(ListOptions)}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def called(**given: Any) -> None:
            chosen = {_LISTS[name][1]: given.pop(name) for name in names}
            command(**given, lists=ListOptions(**chosen))

        own = inspect.signature(command, eval_str=True).parameters.values()
        shared = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, annotation=_LISTS[name][0],
                default=defaults[_LISTS[name][1]],
            )
            for name in names
        ]  # fmt: skip
        parameters = [parameter for parameter in own if parameter.name != "lists"] + shared
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {p.name: p.annotation for p in parameters}
        return called

    return decorate


def ground_truth(
    gt: Path | None, boundaries: str | None, length_rule: str, check_labels: bool = True
) -> GroundTruth:
    """Make the ground truth that ``--gt`` and the options that belong to it describe."""
    for option, value, allowed in (
        ("--boundaries", boundaries, get_args(Boundaries)),
        ("--length-rule", length_rule, get_args(LengthRule)),
    ):
        if value is not None and value not in allowed:
            raise typer.BadParameter(f"{option} must be one of {', '.join(allowed)}; got {value!r}")
    from ..engine import GroundTruth

    return GroundTruth(
        gt,
        cast("Boundaries | None", boundaries),
        cast("LengthRule", length_rule),
        check_labels,
    )


def chosen_device(name: str) -> str:
    """Return the torch device that ``--device`` names; raise where there is none such here."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda"):
        raise typer.BadParameter(f"--device must be auto, cpu, cuda or cuda:N; got {name!r}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device {name}: torch sees no CUDA device here; use auto or cpu")
    return name
