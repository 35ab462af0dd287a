"""Decoding the sound of a video file as one channel at 16 kHz."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from ..._extras import import_extra
from ..._values import path as checked_path
from ..errors import VideoError
from .logmel import SAMPLE_RATE


class NoAudioError(VideoError):
    """The file has no sound."""


def read_audio(path: str | os.PathLike[str]) -> npt.NDArray[np.float32]:
    """Decode the first audio stream, resampled to 16 kHz by FFmpeg: the mean of its channels.

    An hour takes 230 MB. Gaps between packets are not filled.

    Parameters
    ----------
    path : path-like
        A file that FFmpeg can read.

    Returns
    -------
    ndarray, (samples,), float32
        In [-1, 1] for integer formats.

    Raises
    ------
    NoAudioError
        If there is no audio stream, or nothing in it.
    VideoError
        If the file is missing or damaged.
    """
    path = checked_path("path", path)
    av: Any = import_extra("av", extra="video", purpose=f"read {path}")
    parts: list[npt.NDArray[np.float32]] = []
    try:
        with av.open(os.fspath(path)) as container:
            if not container.streams.audio:
                raise NoAudioError(
                    f"{path} has no audio track; leave the video out, or train and score without "
                    "queries"
                )
            # All channels: FFmpeg's own mix to one is louder than their mean.
            resampler = av.AudioResampler(format="fltp", rate=SAMPLE_RATE)
            for frame in container.decode(container.streams.audio[0]):
                parts += [part.to_ndarray().mean(0) for part in resampler.resample(frame)]
            parts += [part.to_ndarray().mean(0) for part in resampler.resample(None)]
    except FileNotFoundError as error:
        raise VideoError(f"{path} does not exist") from error
    except av.error.FFmpegError as error:
        raise VideoError(f"{path}: its sound can't be decoded ({error})") from error
    if not parts:
        raise NoAudioError(f"{path} has an audio track without sound in it")
    return np.concatenate(parts)
