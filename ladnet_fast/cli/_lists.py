"""How the options of lists become videos, and the messages about videos that are left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import typer

from .._choices import LAYOUT_NAMES, Axes
from .._wording import OPTIONS
from ._console import say

if TYPE_CHECKING:
    from ..data import LeftOut, Video
    from ..data.lists import Labels


@dataclasses.dataclass(frozen=True)
class ListOptions:
    """How lists are read; see `ladnet_fast.data.read_list`."""

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
    every_split: bool = False  # all videos of a manifest with splits, where none is named

    def __post_init__(self) -> None:
        if self.axes is not None and self.axes not in get_args(Axes):
            raise typer.BadParameter(
                f"--axes must be {' or '.join(get_args(Axes))}; got {self.axes!r}"
            )

    def files(self) -> list[Path]:
        """Return what reading opens beside the list and the features: inputs, never replaced."""
        named = (self.anomalous_names, self.queries, self.num_frames, self.root)
        return [path for path in named if path is not None]

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
        """Read as `read` does; also return what ``--skip-missing`` left out.

        The second result goes to `GroundTruth.left_out`. Videos are left out only with
        ``check_files``: those that lack features.
        """
        from ..data import leave_out, missing_features
        from ..data.manifest import check_files_exist

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
        from ..data import read_list

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
        from ..data import read_manifest

        given = [
            OPTIONS[field.name].flag
            for field in dataclasses.fields(self)
            if getattr(self, field.name)
            and field.name not in ("axes", "skip_missing", "every_split")
        ]
        if given or (path.suffix.lower() != ".csv" and not path.is_dir()):
            raise typer.BadParameter(
                f"{path} is read as a manifest (.csv) unless --layout says how the list is "
                f"written ({', '.join(LAYOUT_NAMES)})"
                + (f"; {', '.join(given)} are for lists" if given else "")
            )
        videos = read_manifest(path, check_files=check_files)
        videos = self.with_axes(videos)
        return videos if self.every_split and split is None else _of_split(path, videos, split)

    def with_axes(self, videos: Sequence[Video]) -> list[Video]:
        """Give ``--axes`` to the videos of which a manifest, or nothing, says them."""
        axes = cast("Axes | None", self.axes)
        return [v if v.axes else dataclasses.replace(v, axes=axes) for v in videos]

    def _remap(self) -> tuple[str, str] | None:
        if self.remap is None:
            return None
        old, separator, new = self.remap.partition("=")
        if not (old and separator):
            raise typer.BadParameter(f"--remap must be OLD=NEW; got {self.remap!r}")
        return old, new


def _of_split(path: Path, videos: list[Video], split: str | None) -> list[Video]:
    from ..data import select_split

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
