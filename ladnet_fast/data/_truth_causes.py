"""Why ground truth and features, or ground truth and scores, differ in length: likely causes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from .._wording import give
from .lengths import ground_truth_length
from .vectors import FrameLabels
from .video import Video

#: What was counted to get the numbers of snippets.
Counted = Literal["features", "scores"]

# Published concatenated vectors, to tell which one a user has when it doesn't fit.
KNOWN_LENGTHS = {
    1_109_680: "UCF-Crime's 290 test videos",
    2_330_384: "XD-Violence's 800 test videos",
    142_912: "ShanghaiTech's test videos",
    140_112: "ShanghaiTech's test videos as PEL4VAD cuts them",
}


def why_own_differs(video: Video, num_snippets: int, found: int, counted: Counted) -> str:
    """Name the likely cause why a video's own vector has ``found`` frames."""
    per_snippet = video.frames_per_snippet
    if counted == "scores" and found == num_snippets:
        return scores_per_frame(per_snippet)
    if per_snippet is not None and found == num_snippets * per_snippet:
        return f"it covers whole snippets only; use {give('length_rule', 'snippets')}"
    if video.num_frames is not None and per_snippet is not None:
        flow = ground_truth_length(video, num_snippets, length_rule="flow")
        if found == flow:
            return f"it covers whole snippets of optical flow; use {give('length_rule', 'flow')}"
    if found == num_snippets:
        return "it has a value for each snippet; repeat each frames_per_snippet times"
    if per_snippet is not None and 0 < found - num_snippets * per_snippet < per_snippet:
        return (
            "it covers the whole video; give num_frames in the manifest, or "
            f"{give('num_frames')} with a list"
        )
    if found % num_snippets == 0:
        return (
            f"frames_per_snippet is {found // num_snippets}; fill the manifest's column, or use "
            f"{give('frames_per_snippet', found // num_snippets)} with a list"
        )
    return "it belongs to another video, or to one decoded at another frame rate"


def why_vector_differs(
    videos: Sequence[Video],
    num_snippets: Sequence[int | None],
    lengths: Sequence[int],
    labels: FrameLabels,
    counted: Counted,
) -> str:
    """Name the likely causes why a concatenated vector has another length than the videos."""
    hints = []
    total, found = sum(lengths), len(labels)
    snippets = sum(n for n in num_snippets if n is not None)
    if counted == "scores" and found == snippets:
        hints.append(scores_per_frame(videos[0].frames_per_snippet))
    if found in KNOWN_LENGTHS:
        hints.append(f"a vector of this length is that of {KNOWN_LENGTHS[found]}")
    if found % snippets == 0 and found != snippets:
        hints.append(f"it has {found // snippets} frames per snippet")
    if found == snippets and counted == "features":
        hints.append("it has a value for each snippet; repeat each frames_per_snippet times")
    if total % found == 0 and found != snippets:
        hints.append(f"the list names {total // found} times as many (crops?)")
    # Up to the first video that does not fit, labels and ground truth agree.
    end = 0
    for video, length in zip(videos, lengths, strict=True):
        part = labels[end : end + length]
        end += length
        if len(part) < length or (video.label is not None and bool(part.any()) != video.label):
            hints.append(
                f"the first video that can't fit is {video.name!r} (frames {end - length} to "
                f"{end}), so suspect it or one before it"
            )
            break
    else:
        hints.append(f"every video fits up to the last, {videos[-1].name!r}")
    return "; ".join(hints)


def scores_per_frame(per_snippet: int | None) -> str:
    """Say that there is one score per frame instead of one per snippet, and the remedy."""
    each = "snippet" if per_snippet is None else f"snippet of {per_snippet} frames"
    return (
        f"the scores have a value for each frame, but one for each {each} is expected; keep one "
        "score per snippet, or say that a snippet is one frame: "
        f"{give('frames_per_snippet', 1)} with a list, or 1 in the manifest's column "
        "frames_per_snippet"
    )
