"""Frame-level ground truth, from any of the field's files, with lengths and labels checked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ladnet_fast.data._arrays import map_npy
from ladnet_fast.data._text import read_text
from ladnet_fast.data.annotations import (
    Boundaries,
    check_boundaries,
    intervals_to_frames,
    read_annotations,
)
from ladnet_fast.data.video import DataError, Video, require_videos

LengthRule = Literal["auto", "num_frames", "snippets", "flow"]
FrameLabels = NDArray[np.uint8]

# Published concatenated vectors, to tell which one a user has when it doesn't fit.
KNOWN_LENGTHS = {
    1_109_680: "UCF-Crime's 290 test videos",
    2_330_384: "XD-Violence's 800 test videos",
    142_912: "ShanghaiTech's test videos",
    140_112: "ShanghaiTech's test videos as PEL4VAD cuts them",
}


def ground_truth_length(
    video: Video, num_snippets: int, *, length_rule: LengthRule = "auto"
) -> int:
    """Return the number of frames for which ``video`` has ground truth.

    Parameters
    ----------
    video : Video
        Its ``num_frames`` and ``frames_per_snippet`` are used.
    num_snippets : int
        T, the number of rows of its features.
    length_rule : "auto", "num_frames", "snippets" or "flow"
        "num_frames": all frames. "snippets": T * frames_per_snippet (UCF-Crime). "flow":
        num_frames - 1 rounded down to a multiple of frames_per_snippet, since optical flow needs
        pairs of frames (XD-Violence). "auto": "num_frames" where that is known, else "snippets".

    Raises
    ------
    ValueError
        If the rule needs a number that ``video`` doesn't have.
    """
    if length_rule not in get_args(LengthRule):
        raise ValueError(
            f"length_rule must be one of {', '.join(get_args(LengthRule))}, got {length_rule!r}"
        )
    if length_rule == "auto":
        length_rule = "snippets" if video.num_frames is None else "num_frames"
    if length_rule != "snippets" and video.num_frames is None:
        raise ValueError(f"{video.name}: length_rule {length_rule!r} needs the video's num_frames")
    if length_rule != "num_frames" and video.frames_per_snippet is None:
        raise ValueError(
            f"{video.name}: its snippets share the frames evenly (frames_per_snippet is None), "
            "so the number of frames must come from num_frames, which is not known; "
            "give it in the manifest"
        )
    if length_rule == "num_frames":
        assert video.num_frames is not None
        return video.num_frames
    assert video.frames_per_snippet is not None
    if length_rule == "snippets":
        return num_snippets * video.frames_per_snippet
    assert video.num_frames is not None
    return (video.num_frames - 1) // video.frames_per_snippet * video.frames_per_snippet


def read_frame_labels(path: str | os.PathLike[str]) -> FrameLabels:
    """Read a vector of 0 and 1, one for each frame.

    Parameters
    ----------
    path : path-like
        ``.npy`` of any numeric or boolean dtype, (F,), (F, 1) or (1, F); or text of numbers
        separated by blanks, commas or line ends.

    Returns
    -------
    ndarray, (F,), uint8

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    DataError
        If it is corrupt, empty, of higher rank, or has a value other than 0 and 1.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"ground truth {path} does not exist or is not a file")
    if path.suffix.lower() == ".npy":
        array = map_npy(path)
    else:
        text = read_text(path, what="ground truth")
        try:
            array = np.array([float(field) for field in text.replace(",", " ").split()])
        except ValueError as error:
            raise DataError(f"ground truth {path} is neither .npy nor numbers: {error}") from error
    if array.size == 0 or array.size != max(array.shape, default=0):
        raise DataError(
            f"ground truth {path} has shape {array.shape}; expected (F,), a value for each frame"
        )
    vector = np.asarray(array).reshape(-1)
    if vector.dtype.kind not in "biuf":
        raise DataError(f"ground truth {path} has dtype {vector.dtype}; expected 0 and 1")
    wrong = np.flatnonzero((vector != 0) & (vector != 1))
    if wrong.size:
        raise DataError(
            f"ground truth {path}: frame {wrong[0]} is {vector[wrong[0]]}; "
            "only 0 (normal) and 1 (anomalous) are allowed"
        )
    return vector.astype(np.uint8)


def load_ground_truth(
    videos: Sequence[Video],
    num_snippets: Sequence[int],
    *,
    source: str | os.PathLike[str] | None = None,
    boundaries: Boundaries | None = None,
    length_rule: LengthRule = "auto",
    check_labels: bool = True,
) -> list[FrameLabels]:
    """Load the ground truth of every video and check that it fits.

    Parameters
    ----------
    videos : sequence of Video
        With a concatenated vector, in its order.
    num_snippets : sequence of int
        T of each video's features.
    source : path-like, optional
        ``.npy``: one vector, the videos' frames end to end. ``.txt``: temporal annotations (see
        `read_annotations`). Default: each video's own ``frame_labels`` file.
    boundaries : "[s,e)", "[s,e]" or "[s-1,e)"
        Required with annotations, and only then; see `intervals_to_frames`.
    length_rule : "auto", "num_frames", "snippets" or "flow"
        Number of frames that each video must have; see `ground_truth_length`.
    check_labels : bool
        Also refuse a normal video with anomalous frames and an anomalous one without any: the
        sign of a list in another order.

    Returns
    -------
    list of ndarray, (F_i,), uint8
        1 where a frame is anomalous. A normal video that no file speaks of is all 0.

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    DataError
        If a length does not fit or labels are contradicted; the message names the video, both
        lengths and the likely cause.
    ValueError
        If an argument is not allowed.
    """
    require_videos(videos)
    if len(num_snippets) != len(videos):
        raise ValueError(
            f"num_snippets must have one entry per video: {len(videos)}, got {len(num_snippets)}"
        )
    for video, snippets in zip(videos, num_snippets, strict=True):
        if snippets < 1:
            raise ValueError(f"num_snippets of {video.name!r} must be at least 1, got {snippets}")
    lengths = [
        ground_truth_length(video, snippets, length_rule=length_rule)
        for video, snippets in zip(videos, num_snippets, strict=True)
    ]
    annotated = source is not None and Path(source).suffix.lower() != ".npy"
    if annotated:
        check_boundaries(boundaries)
    elif boundaries is not None:
        raise ValueError(
            f"boundaries={boundaries!r} is for annotation files; "
            "vectors with a value for each frame have no boundaries to interpret"
        )
    if source is None:
        truth = [
            _from_own_file(video, snippets, length)
            for video, snippets, length in zip(videos, num_snippets, lengths, strict=True)
        ]
    elif annotated:
        assert boundaries is not None
        truth = _from_annotations(videos, lengths, Path(source), boundaries)
    else:
        truth = _from_concatenated(videos, num_snippets, lengths, Path(source))
    if check_labels:
        _check_labels(videos, truth, source)
    return truth


def _from_own_file(video: Video, num_snippets: int, length: int) -> FrameLabels:
    if video.frame_labels is None:
        if video.known_label:
            raise DataError(
                f"{video.name}: an anomalous video without ground truth; fill the manifest's "
                "column frame_labels, or give source="
            )
        return np.zeros(length, dtype=np.uint8)
    labels = read_frame_labels(video.frame_labels)
    if len(labels) != length:
        raise DataError(
            f"{video.name}: ground truth {video.frame_labels} has {len(labels)} frames, but "
            f"{length} are expected ({num_snippets} snippets, num_frames {video.num_frames}, "
            f"frames_per_snippet {video.frames_per_snippet}); likely cause: "
            f"{_likely_cause(video, num_snippets, len(labels))}"
        )
    return labels


def _likely_cause(video: Video, num_snippets: int, found: int) -> str:
    per_snippet = video.frames_per_snippet
    if per_snippet is not None and found == num_snippets * per_snippet:
        return "it covers whole snippets only; use length_rule='snippets'"
    if video.num_frames is not None and per_snippet is not None:
        flow = ground_truth_length(video, num_snippets, length_rule="flow")
        if found == flow:
            return "it covers whole snippets of optical flow; use length_rule='flow'"
    if found == num_snippets:
        return "it has a value for each snippet; repeat each frames_per_snippet times"
    if per_snippet is not None and 0 < found - num_snippets * per_snippet < per_snippet:
        return "it covers the whole video; give num_frames in the manifest"
    if found % num_snippets == 0:
        return f"frames_per_snippet is {found // num_snippets}"
    return "it belongs to another video, or to one decoded at another frame rate"


def _from_concatenated(
    videos: Sequence[Video], num_snippets: Sequence[int], lengths: list[int], path: Path
) -> list[FrameLabels]:
    labels = read_frame_labels(path)
    ends = np.cumsum(lengths)
    if len(labels) != ends[-1]:
        hints = []
        if len(labels) in KNOWN_LENGTHS:
            hints.append(f"a vector of this length is that of {KNOWN_LENGTHS[len(labels)]}")
        snippets = sum(num_snippets)
        if len(labels) % snippets == 0:
            hints.append(f"it has {len(labels) // snippets} frames per snippet")
        if ends[-1] % len(labels) == 0:
            hints.append(f"the list names {ends[-1] // len(labels)} times as many (crops?)")
        # Up to the first video that does not fit, labels and ground truth agree.
        for video, end, length in zip(videos, ends, lengths, strict=True):
            part = labels[end - length : end]
            if len(part) < length or bool(part.any()) == (video.label == 0):
                hints.append(
                    f"the first video that can't fit is {video.name!r} (frames {end - length} to "
                    f"{end}), so suspect it or one before it"
                )
                break
        else:
            hints.append(f"every video fits up to the last, {videos[-1].name!r}")
        raise DataError(
            f"ground truth {path} has {len(labels)} frames, but the {len(videos)} videos have "
            f"{ends[-1]}; likely cause: {'; '.join(hints)}. The list must name the videos of the "
            "ground truth in its order, with features of the same snippet length"
        )
    return np.split(labels, ends[:-1])


def _from_annotations(
    videos: Sequence[Video], lengths: list[int], path: Path, boundaries: Boundaries
) -> list[FrameLabels]:
    annotations = read_annotations(path)
    truth = []
    for video, length in zip(videos, lengths, strict=True):
        if video.name not in annotations and video.label:
            raise DataError(
                f"{path} has no line for the anomalous video {video.name!r}; it has "
                f"{len(annotations)}, such as {next(iter(annotations))!r}"
            )
        try:
            truth.append(
                intervals_to_frames(
                    annotations.get(video.name, ()),
                    length,
                    boundaries=boundaries,
                    # Features may leave out the video's last, incomplete snippet.
                    slack=video.frames_per_snippet or 0,
                )
            )
        except ValueError as error:
            raise DataError(
                f"{path}, video {video.name!r}: {error}; likely cause: features of another "
                "video, or frames_per_snippet or num_frames is wrong"
            ) from error
    return truth


def _check_labels(
    videos: Sequence[Video],
    truth: Sequence[FrameLabels],
    source: str | os.PathLike[str] | None,
) -> None:
    for video, frames in zip(videos, truth, strict=True):
        count = int(frames.sum())
        if video.label is not None and bool(count) != bool(video.label):
            raise DataError(
                f"{source or video.frame_labels}: {video.name!r} is labelled "
                f"{'anomalous' if video.label else 'normal'}, but {count or 'none'} of its "
                f"{len(frames)} frames {'is' if count == 1 else 'are'} anomalous; likely cause: "
                "the list is in another order than the ground truth, or the video's label is "
                "wrong (check_labels=False accepts it)"
            )
