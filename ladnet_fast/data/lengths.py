"""How many frames of ground truth a video has."""

from __future__ import annotations

from typing import get_args

from .._choices import LengthRule
from .._values import count, shown
from .._wording import give, name_of
from .video import Video


def ground_truth_length(
    video: Video, num_snippets: int | None, *, length_rule: LengthRule = "auto"
) -> int:
    """Return the number of frames for which ``video`` has ground truth.

    Parameters
    ----------
    video : Video
        Its ``num_frames`` and ``frames_per_snippet`` are used.
    num_snippets : int or None
        T, the number of rows of its features; None if that isn't known, because they are missing.
    length_rule : "auto", "num_frames", "snippets" or "flow"
        "num_frames": all frames. "snippets": T * frames_per_snippet (UCF-Crime). "flow":
        num_frames - 1 rounded down to a multiple of frames_per_snippet, since optical flow needs
        pairs of frames (XD-Violence). "auto": "num_frames" where that is known, else "snippets".

    Raises
    ------
    ValueError
        If the rule needs a number that ``video`` doesn't have, or an argument is not allowed.
    """
    if not isinstance(length_rule, str) or length_rule not in get_args(LengthRule):
        raise ValueError(
            f"{name_of('length_rule')} must be one of {', '.join(get_args(LengthRule))}; "
            f"got {shown(length_rule)}"
        )
    if num_snippets is not None:
        num_snippets = count("num_snippets", num_snippets)
    remedy = f"fill the manifest's column num_frames, or give {give('num_frames')} with a list"
    if length_rule == "auto":
        length_rule = "snippets" if video.num_frames is None else "num_frames"
    if length_rule != "snippets" and video.num_frames is None:
        raise ValueError(
            f"{video.name}: {name_of('length_rule')} {length_rule!r} needs the video's num_frames; "
            f"{remedy}"
        )
    if length_rule != "num_frames" and video.frames_per_snippet is None:
        raise ValueError(
            f"{video.name}: its snippets share the frames evenly (frames_per_snippet is None), "
            "so the number of frames must come from num_frames, which is not known or not taken "
            f"by {name_of('length_rule')} {length_rule!r}; {remedy}"
        )
    if length_rule == "num_frames":
        assert video.num_frames is not None
        return video.num_frames
    assert video.frames_per_snippet is not None
    if length_rule == "snippets":
        if num_snippets is None:
            raise ValueError(
                f"{video.name}: its files are missing, so the number of its snippets, and with it "
                f"its part of the ground truth, is not known; {remedy}, or take the video out of "
                f"the list and of the ground truth. {name_of('length_rule')} 'snippets' can't "
                "give it"
            )
        return num_snippets * video.frames_per_snippet
    assert video.num_frames is not None
    return (video.num_frames - 1) // video.frames_per_snippet * video.frames_per_snippet
