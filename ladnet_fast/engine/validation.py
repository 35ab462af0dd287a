"""Choosing the epoch: held-out videos and the figure that compares epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .._extras import import_extra
from ..data import Crop, Video, count_crops, feature_width, iter_crops, num_snippets
from ..data._arrays import hdf5_kept_open
from ..data.features import query_width
from ..data.memory_limit import MemoryLimit
from ..nn import LANet
from .evaluation import GroundTruth, compare, figures, of_videos_alone
from .scoring import Scores

#: Scores videos; with several processes each scores a share and all get the whole.
Scorer = Callable[[LANet, Sequence[Video]], Mapping[str, Scores]]


#: Figures that need bag labels only.
BAG_LABEL_METRICS = ("snippet_auc", "video_auc")


def snippet_auc(videos: Sequence[Video], scores: Mapping[str, Scores]) -> float:
    """Return the area under the ROC curve of snippets, each with its video's label as its own.

    It is how often a snippet of an anomalous video has a higher score than one of a normal video;
    every video has the same weight, however long it is. A perfect detector does not reach 1, since
    most snippets of an anomalous video are normal; but figures of one set of videos compare with
    each other, and follow the AUC over frames from epoch to epoch (docs/accuracy.md has the rank
    correlations).
    """
    metrics = import_extra("sklearn.metrics", extra="tools", purpose="compute areas under curves")
    rows = [scores[video.name] for video in videos]
    lengths = [len(row) for row in rows]
    return float(
        metrics.roc_auc_score(
            np.repeat([video.known_label for video in videos], lengths),
            np.concatenate(rows),
            sample_weight=np.repeat([1 / max(length, 1) for length in lengths], lengths),
        )
    )


class KeptVideos:
    """The crops of videos that are scored after every epoch, read once where memory allows.

    Parameters
    ----------
    memory : MemoryLimit
        What may be kept; videos beyond it are read each time.
    """

    def __init__(self, memory: MemoryLimit) -> None:
        self._memory = memory
        self._crops: dict[str, list[Crop] | None] = {}

    def crops(self, video: Video) -> list[Crop] | None:
        """Return all crops of a video; None where they are too large to be kept."""
        if video.name not in self._crops:
            with hdf5_kept_open():
                rows = num_snippets(video)
                numbers = count_crops(video) * feature_width(video) + (query_width(video) or 0)
                fits = self._memory.take(4 * rows * numbers)
                self._crops[video.name] = list(iter_crops(video)) if fits else None
        return self._crops[video.name]


class Validator:
    """Computes the figures of held-out videos, of which one chooses the epoch.

    Parameters
    ----------
    videos : sequence of Video
        Held out from training.
    metric : str
        A figure's name, or "auto": ``auc`` over frames where there is truth for all videos, else
        ``snippet_auc``.
    ground_truth : GroundTruth
        Of the videos; looked at only for figures over frames.

    Raises
    ------
    ValueError
        If the figure is not defined on these videos: one class only, or no truth.
    """

    def __init__(self, videos: Sequence[Video], metric: str, ground_truth: GroundTruth) -> None:
        self.videos = list(videos)
        has_truth = ground_truth.covers(self.videos)
        if metric == "auto":
            metric = "auc" if has_truth else "snippet_auc"
        self.metric = metric
        labels = {video.label for video in self.videos}
        if metric in BAG_LABEL_METRICS and len(labels) < 2:
            raise ValueError(
                f"the {len(self.videos)} held-out videos all have label {labels.pop()}: {metric} "
                "is not defined; hold out more (training.validation) or none (0)"
            )
        self._truth = None
        if metric not in BAG_LABEL_METRICS:
            if not has_truth:
                absent = next(v for v in self.videos if v.label == 1 and v.frame_labels is None)
                raise ValueError(
                    f"training.metric={metric} needs frame-level truth of the held-out videos, but "
                    f"{absent.name!r} has none; use metric=video_auc, or fill the column "
                    "frame_labels"
                )
            with hdf5_kept_open():
                lengths = [num_snippets(video) for video in self.videos]
            self._truth = ground_truth.load(self.videos, lengths)
            values = {bool(frame) for truth in self._truth for frame in (truth.min(), truth.max())}
            if len(values) < 2:
                raise ValueError(
                    f"the held-out videos have {'no normal' if True in values else 'no anomalous'} "
                    f"frame: {metric} is not defined; hold out more (training.validation) or "
                    "none (0)"
                )

    def __call__(self, model: LANet, scorer: Scorer) -> dict[str, float]:
        """Return the figures of the model, by name; `metric` is among them."""
        scores = scorer(model, self.videos)
        if self._truth is None:
            return {
                "snippet_auc": snippet_auc(self.videos, scores),
                "video_auc": of_videos_alone(self.videos, scores).video_auc,
            }
        return figures(compare(self.videos, scores, self._truth))
