"""A folder of scores: what an earlier call left there, and writing what is missing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import __version__
from .._choices import SCORING_PRECISIONS
from .._outputs import OutputError
from .._records import (
    DamagedFileError,
    digest_of,
    record_of,
    record_text,
    recorded,
    verify,
    wrote,
)
from .._tensors import tensors_digest
from .._values import choice
from ..data import FeatureSource, Video
from ..nn import LANet
from ..ops._impl import requested
from .plots import score_figure
from .scoring import KIND, Scores, read_scores, score_path, score_table, write_scores

PLOT = "plot"
KINDS = (KIND, PLOT)


class ScoreFolder:
    """The scores of one network in a folder.

    Every file has a record of what it was made from: the network's weights, implementation and
    precision, and the feature files with their sizes, times and hashes. Scores that would come out
    the same are not computed again.

    Parameters
    ----------
    folder : path-like
        Need not exist yet.
    model : LANet
        In evaluation mode, on the device where it will run.
    overwrite : bool
        Compute everything again, whoever wrote what is there.
    precision : {"fp32", "bf16"}
        In which the scores are computed; see `score_video`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        model: LANet,
        *,
        overwrite: bool = False,
        precision: str = "fp32",
    ) -> None:
        self.folder, self.overwrite = Path(folder), overwrite
        self.precision = choice("precision", precision, SCORING_PRECISIONS)
        self._network = {
            "version": __version__,
            "weights": tensors_digest(model.state_dict(), {"network": repr(model)}),
            "impl": requested(model.attention.impl),
            "device": next(model.parameters()).device.type,
            "torch": torch.__version__,
        }
        if precision != "fp32":  # records of earlier versions have no such entry
            self._network["precision"] = precision

    def files(self, name: str, *, plot: bool) -> list[Path]:
        """Return the files that the scores of the video ``name`` are written to."""
        scores = score_path(self.folder, name)
        suffixes = (".npy", ".csv", ".png") if plot else (".npy", ".csv")
        return [scores.with_name(f"{Path(name).name}{suffix}") for suffix in suffixes]

    def check(self, video: Video) -> None:
        """Refuse to replace the scores of other features under the video's name.

        Raises
        ------
        OutputError
            Names both, and what to do.
        """
        path = score_path(self.folder, video.name)
        record = record_of(path) if path.is_file() and not self.overwrite else None
        if record is None or record.made.get("kind") != KIND:
            return
        before, now = record.made["features"], _described(video.features)
        same_place = [entry["path"] for entry in before] == [entry["path"] for entry in now]
        if not same_place and list(map(_content, before)) != list(map(_content, now)):
            raise OutputError(
                f"{path} holds the scores of other features, {before[0]['path']}, not of "
                f"{now[0]['path']}; "
                "name another folder with --out, rename the video, or replace them with "
                "--overwrite"
            )

    def check_crops(self, name: str, features: Sequence[Path]) -> None:
        """Refuse scores of another number of crops before features are extracted for them.

        Raises
        ------
        OutputError
            Names both, and what to do.
        """
        path = score_path(self.folder, name)
        record = record_of(path) if path.is_file() and not self.overwrite else None
        if record is None or record.made.get("kind") != KIND:
            return
        before, now = len(record.made.get("features", ())), len(features)
        if before and before != now:
            raise OutputError(
                f"{path} holds scores of {before} crop{'s' * (before != 1)}, and now there are "
                f"{now}; name another folder with --out, or replace them with --overwrite"
            )

    def earlier(self, video: Video) -> Scores | None:
        """Return the scores that are there and would come out the same; None if there are none."""
        if self.overwrite:
            return None
        made = self._made(video)
        for path in self.files(video.name, plot=False):
            try:
                record = verify(path) if path.is_file() else None
            except DamagedFileError:
                return None
            if record is None or {**record.made, "fps": None} != {**made, "fps": None}:
                return None
        return read_scores(self.folder, [video])[video.name]

    def write(self, video: Video, scores: Scores) -> None:
        """Write ``NAME.npy`` and ``NAME.csv``; see `write_scores`."""
        write_scores(self.folder, [video], {video.name: scores}, made=self._made(video))

    def tell_times(self, video: Video, scores: Scores, fps: float) -> None:
        """Give ``NAME.csv`` its column of times, unless it has it; see `score_table`."""
        path = self.files(video.name, plot=False)[-1]
        made = {**self._made(video), "fps": fps}
        record = record_of(path)
        if record is None or record.made != made or not wrote(path):
            record_text(path, score_table(video, scores, fps), made)

    def plot(
        self,
        video: Video,
        scores: Scores,
        *,
        ground_truth: NDArray[np.uint8] | None = None,
        fps: float | None = None,
    ) -> None:
        """Write ``NAME.png``, unless the one that is there shows the same; see `score_figure`."""
        path = self.files(video.name, plot=True)[-1]
        about: dict[str, Any] = {
            "title": video.name,
            "frames_per_snippet": video.frames_per_snippet,
            "num_frames": video.num_frames,
            "fps": fps,
        }
        shown = {"scores": torch.from_numpy(scores)}
        if ground_truth is not None:
            shown["ground_truth"] = torch.from_numpy(ground_truth)
        made = {"kind": PLOT, "shown": tensors_digest(shown, {}), **about}
        if fps is not None:
            made["axis"] = "h:mm:ss"  # pictures with other axes are drawn again
        record = record_of(path) if path.is_file() and not self.overwrite else None
        if record is not None and record.made == made and wrote(path):
            return
        figure = score_figure(scores, ground_truth=ground_truth, **about)
        with recorded(path, made) as temporary:
            figure.savefig(temporary, dpi=110, format="png")

    def _made(self, video: Video) -> dict[str, Any]:
        return {
            "kind": KIND,
            "video": video.name,
            "features": _described(video.features),
            "query": None if video.query is None else _described([video.query]),
            "frames_per_snippet": video.frames_per_snippet,
            "num_frames": video.num_frames,
            **self._network,
        }


def _described(sources: Sequence[FeatureSource]) -> list[dict[str, Any]]:
    described = []
    for source in sources:
        status = source.path.stat()
        described.append(
            {
                "path": os.path.abspath(source.path),
                "key": source.key,
                "size": status.st_size,
                "mtime_ns": status.st_mtime_ns,
                # An HDF5 file holds many videos: too much to read for one of them.
                "sha256": None if source.key is not None else digest_of(source.path),
            }
        )
    return described


def _content(entry: Mapping[str, Any]) -> Any:
    return entry["sha256"] or (entry["path"], entry["key"])
