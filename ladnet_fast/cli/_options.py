"""Options that several commands share, and how they become videos and ground truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from ..data import (
    LAYOUTS,
    Axes,
    Boundaries,
    LeftOut,
    LengthRule,
    Video,
    leave_out,
    missing_features,
    read_list,
    read_manifest,
    select_split,
)
from ..data._wording import OPTIONS, options_named
from ..data.lists import Labels
from ..data.manifest import check_files_exist
from ..engine import GroundTruth
from ._console import console

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
        help="Text file with the names of the anomalous videos, 'name' or 'name class' a line.",
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
NumFrames = Annotated[
    Path | None,
    typer.Option(
        help="Text file with the lengths of a list's videos in frames: 'name frames' a line, or "
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
        help="Concatenated vector (.npy, or text of 0 and 1), or annotations (.txt).",
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
CheckLabels = Annotated[
    bool,
    typer.Option(
        help="Refuse ground truth that contradicts the videos' labels.", rich_help_panel=_TRUTH
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
    normal_folders: Sequence[str] | None = None
    anomalous_folders: Sequence[str] | None = None
    num_frames: Path | None = None
    skip_missing: bool = False

    def __post_init__(self) -> None:
        if self.axes is not None and self.axes not in get_args(Axes):
            raise typer.BadParameter(
                f"--axes must be {' or '.join(get_args(Axes))}; got {self.axes!r}"
            )

    def read(
        self,
        path: Path,
        *,
        split: str | None = None,
        check_files: bool = True,
        labels: Labels = "required",
    ) -> list[Video]:
        """Read a manifest (``.csv``) or, with a layout, a list.

        A manifest with several splits needs ``split``: else training would see the test videos.
        Scoring and evaluating pass ``labels="optional"``.
        """
        return self.read_present(path, split=split, check_files=check_files, labels=labels)[0]

    def read_present(
        self,
        path: Path,
        *,
        split: str | None = None,
        check_files: bool = True,
        labels: Labels = "required",
    ) -> tuple[list[Video], tuple[LeftOut, ...]]:
        """Read as :meth:`read` does; also return what ``--skip-missing`` left out.

        `GroundTruth.left_out` takes the second. With ``check_files`` it is what lacks features.
        """
        with options_named():
            check = check_files and not self.skip_missing
            if self.layout is not None:
                videos = self._read_list(path, split, check, labels)
            else:
                videos = self._read_manifest(path, split, check)
            if not (check_files and self.skip_missing):
                return videos, ()
            present, left_out = leave_out(videos, missing_features(videos))
            check_files_exist(present, path, remedy="correct the paths")
        report_left_out(left_out, len(videos))
        return present, left_out

    def _read_list(
        self, path: Path, split: str | None, check_files: bool, labels: Labels
    ) -> list[Video]:
        if split is not None:
            raise typer.BadParameter("a list has no splits; give each split's own list")
        assert self.layout is not None
        return read_list(
            path,
            self.layout,
            root=self.root,
            remap=self._remap(),
            labels=labels,
            anomalous_names=self.anomalous_names,
            normal_folders=self.normal_folders or (),
            anomalous_folders=self.anomalous_folders or (),
            queries=self.queries,
            frames_per_snippet=self.frames_per_snippet,
            axes=cast("Axes | None", self.axes),
            num_frames=self.num_frames,
            check_files=check_files,
        )

    def _read_manifest(self, path: Path, split: str | None, check_files: bool) -> list[Video]:
        given = [
            OPTIONS[field.name].flag
            for field in dataclasses.fields(self)
            if getattr(self, field.name) and field.name not in ("axes", "skip_missing")
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


def report_left_out(left_out: Sequence[LeftOut], total: int) -> None:
    """Name every video that ``--skip-missing`` left out, and count them."""
    for _, video, missing in left_out:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        say(f"left out: {video.name}, {missing[0]} is missing{more}")
    say(f"--skip-missing: {len(left_out)} of {total} videos are left out")


def say(text: str) -> None:
    """Print a line as it is."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def ground_truth(
    gt: Path | None, boundaries: str | None, length_rule: str, check_labels: bool = True
) -> GroundTruth:
    """Make what ``--gt``, ``--boundaries``, ``--length-rule`` and ``--check-labels`` say."""
    for option, value, allowed in (
        ("--boundaries", boundaries, get_args(Boundaries)),
        ("--length-rule", length_rule, get_args(LengthRule)),
    ):
        if value is not None and value not in allowed:
            raise typer.BadParameter(f"{option} must be one of {', '.join(allowed)}; got {value!r}")
    return GroundTruth(
        gt,
        cast("Boundaries | None", boundaries),
        cast("LengthRule", length_rule),
        check_labels,
    )


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
