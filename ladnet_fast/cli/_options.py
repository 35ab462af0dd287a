"""Options that several commands share, and how they become videos and ground truth."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from ..data import (
    LAYOUTS,
    Axes,
    Boundaries,
    LengthRule,
    Video,
    read_list,
    read_manifest,
    select_split,
)
from ..engine import GroundTruth

_DATA = "Data"
_TRUTH = "Ground truth"

Layout = Annotated[
    str | None,
    typer.Option(
        help=f"How a list that is no manifest is written: {', '.join(LAYOUTS)}.",
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
        help="Text file with the names of the anomalous videos, one a line.",
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
        help="Frames that a row of a list's features stands for.",
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
Split = Annotated[
    str | None,
    typer.Option(help="Take the manifest's videos of this split only.", rich_help_panel=_DATA),
]
Truth = Annotated[
    Path | None,
    typer.Option(
        "--gt",
        help="Concatenated vector (.npy) or annotations (.txt).",
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
        help="Frames of a video: 'num_frames' as the manifest says, 'snippets' T x 16 (UCF-Crime), "
        "'flow' frames - 1 rounded down to snippets (XD-Violence), 'auto' the first that is known.",
        rich_help_panel=_TRUTH,
    ),
]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda or cuda:N; auto takes a GPU if there is one.")
]


@dataclasses.dataclass(frozen=True)
class ListOptions:
    """How lists are read; see :func:`ladnet_fast.data.read_list`."""

    layout: str | None = None
    root: Path | None = None
    remap: str | None = None
    anomalous_names: Path | None = None
    queries: Path | None = None
    frames_per_snippet: int | None = None
    axes: str | None = None

    def __post_init__(self) -> None:
        if self.axes is not None and self.axes not in get_args(Axes):
            raise typer.BadParameter(
                f"--axes must be {' or '.join(get_args(Axes))}; got {self.axes!r}"
            )

    def read(
        self, path: Path, *, split: str | None = None, check_files: bool = True
    ) -> list[Video]:
        """Read a manifest (``.csv``) or, with a layout, a list.

        A manifest with several splits needs ``split``: else training would see the test videos.
        """
        if self.layout is not None:
            if split is not None:
                raise typer.BadParameter("a list has no splits; give each split's own list")
            return read_list(
                path,
                self.layout,
                root=self.root,
                remap=self._remap(),
                anomalous_names=self.anomalous_names,
                queries=self.queries,
                frames_per_snippet=self.frames_per_snippet,
                axes=cast("Axes | None", self.axes),
                check_files=check_files,
            )
        given = [
            f"--{field.name.replace('_', '-')}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) is not None and field.name != "axes"
        ]
        if given or path.suffix.lower() != ".csv":
            raise typer.BadParameter(
                f"{path} is read as a manifest (.csv) unless --layout says how the list is "
                f"written ({', '.join(LAYOUTS)})"
                + (f"; {', '.join(given)} are for lists" if given else "")
            )
        videos = read_manifest(path, check_files=check_files)
        if self.axes is not None:  # for videos of which the manifest doesn't say it
            axes = cast("Axes", self.axes)
            videos = [v if v.axes else dataclasses.replace(v, axes=axes) for v in videos]
        return _of_split(path, videos, split)

    def _remap(self) -> tuple[str, str] | None:
        if self.remap is None:
            return None
        old, separator, new = self.remap.partition("=")
        if not (old and separator):
            raise typer.BadParameter(f"--remap must be OLD=NEW, got {self.remap!r}")
        return old, new


def _of_split(path: Path, videos: list[Video], split: str | None) -> list[Video]:
    if split is not None:
        return select_split(videos, split)
    splits = sorted({video.split for video in videos if video.split is not None})
    if len(splits) > 1:
        raise typer.BadParameter(
            f"{path} has the splits {', '.join(splits)}; choose one with --split"
        )
    return videos


def ground_truth(gt: Path | None, boundaries: str | None, length_rule: str) -> GroundTruth:
    """Make what ``--gt``, ``--boundaries`` and ``--length-rule`` say."""
    for option, value, allowed in (
        ("--boundaries", boundaries, get_args(Boundaries)),
        ("--length-rule", length_rule, get_args(LengthRule)),
    ):
        if value is not None and value not in allowed:
            raise typer.BadParameter(f"{option} must be one of {', '.join(allowed)}; got {value!r}")
    return GroundTruth(gt, cast("Boundaries | None", boundaries), cast("LengthRule", length_rule))


def chosen_device(name: str) -> str:
    """Return the torch device of ``--device``; an error where it can't be had."""
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
