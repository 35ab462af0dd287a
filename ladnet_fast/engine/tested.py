"""Test videos of a run: checked before it starts, scored and evaluated at its end."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._outputs import check_outputs
from .._records import record_text
from ..data import Video, feature_shape, num_snippets
from ..data.video import files_of
from ..metrics import Metrics
from .evaluation import GroundTruth, compare, of_videos_alone, output_folder
from .inputs import check_widths
from .process import is_main_process
from .run_folder import METRICS_KIND, RunFolder
from .scoring import Scores, score_videos, write_scores

if TYPE_CHECKING:
    from .training import TrainResult

_OF_FRAMES = ("auc", "ap", "average_precision", "far", "anomalous_auc", "anomalous_ap")
_NO_TRUTH = "no anomalous video has frame-level truth; fill the manifest's column frame_labels"


def loaded_truth(
    videos: Sequence[Video], ground_truth: GroundTruth
) -> list[NDArray[np.uint8]] | None:
    """Load the truth of every frame; None where there are bag labels only.

    Where some anomalous videos have it and others don't, that is an error that names one.
    """
    anomalous = [video for video in videos if video.label == 1]
    if (
        ground_truth.source is None
        and anomalous
        and all(video.frame_labels is None for video in anomalous)
    ):
        return None
    return ground_truth.load(videos, [num_snippets(video) for video in videos])


def check_tested(
    training: Sequence[Video], tested: Sequence[Video], ground_truth: GroundTruth, *, what: str
) -> None:
    """Check test videos before hours of training: labels, widths and ground truth.

    Raises
    ------
    ValueError
        If they can't be scored or evaluated at the end; names the video or file.
    """
    unlabelled = [video.name for video in tested if video.label is None]
    if unlabelled:
        raise ValueError(
            f"{what}: {len(unlabelled)} videos have no label, e.g. {unlabelled[0]!r}; they can be "
            "scored (ladnet-fast score), but not evaluated"
        )
    if training:
        check_widths(tested, feature_shape(training[0].features[0])[-1])
    loaded_truth(tested, ground_truth)


def measure(
    videos: Sequence[Video],
    scores: Mapping[str, Scores],
    truth: Sequence[NDArray[np.uint8]] | None,
) -> Metrics:
    """Return the figures of scored videos; without truth of frames, those of videos alone."""
    if truth is not None:
        return compare(videos, scores, truth)
    whole = of_videos_alone(videos, scores)
    nothing: dict[str, Any] = dict.fromkeys(_OF_FRAMES, math.nan)
    return dataclasses.replace(
        whole,
        **nothing,
        per_class={},
        undefined={
            **{name: why for name, why in whole.undefined.items() if name not in _OF_FRAMES},
            **dict.fromkeys(_OF_FRAMES, _NO_TRUTH),
        },
        num_frames=0,
        num_anomalous_frames=0,
    )


def evaluate_run(
    result: TrainResult, videos: Sequence[Video], ground_truth: GroundTruth
) -> tuple[dict[str, Scores], Metrics]:
    """Score and evaluate test videos; write ``scores/`` and ``metrics.json`` beside the model."""
    scores = score_videos(result.model, videos)
    metrics = measure(videos, scores, loaded_truth(videos, ground_truth))
    if is_main_process():
        folder = RunFolder(result.run_dir)
        with folder.locked():
            check_outputs(folder.files_of_tested(videos), files_of(videos), overwrite=True)
            write_scores(output_folder(folder.scores), videos, scores)
            write_metrics(folder.metrics, metrics, epoch=result.epoch)
    return scores, metrics


def write_metrics(path: Path, metrics: Metrics, **more: Any) -> None:
    """Write figures as JSON, atomically; undefined ones are null, with the reason."""
    text = json.dumps({**more, **metrics.as_dict()}, indent=2, allow_nan=False)
    record_text(path, text + "\n", {"kind": METRICS_KIND})
