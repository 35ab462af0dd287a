"""Errors of own videos: weights, decoding, extraction."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class WeightsError(RuntimeError):
    """The pretrained weights can't be fetched, checked, converted or read."""


class VideoError(ValueError):
    """A video file is missing, damaged, too short or holds no video."""


class ExtractionError(RuntimeError):
    """Some videos gave no features; the others' files are complete.

    Attributes
    ----------
    failures : dict
        Path of each failed video and what was wrong with it.
    """

    def __init__(self, failures: Mapping[Path, str], *, total: int) -> None:
        self.failures = dict(failures)
        lines = "\n".join(f"  {reason}" for reason in self.failures.values())
        super().__init__(
            f"no features from {len(self.failures)} of {total} videos:\n{lines}\n"
            "the other videos' files are complete; mend or leave out these and run again"
        )
