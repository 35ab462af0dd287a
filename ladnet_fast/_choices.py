"""Allowed values of options, for Python and the command line; this file imports nothing slow."""

from __future__ import annotations

from typing import Literal

Axes = Literal["snippets,crops", "crops,snippets"]
"""Order of the first two axes of a feature file of shape (a, b, D)."""

Boundaries = Literal["[s,e)", "[s,e]", "[s-1,e)"]
"""What the two numbers of a temporal annotation mean."""

LengthRule = Literal["auto", "num_frames", "snippets", "flow"]
"""For how many frames of a video there is ground truth."""

Smoothing = Literal["fixed", "slide"]
"""How scores are smoothed before they are evaluated."""

LAYOUT_NAMES = (
    "ucf-i3d",
    "ucf-clip",
    "xd-violence",
    "shanghaitech",
    "vadclip",
    "ten-crop",
    "c3d-text",
    "hdf5",
)
"""The keys of `ladnet_fast.data.LAYOUTS`, in its order."""

MAX_SNIPPETS = 16_384
"""Snippets, counted over crops, that go through the network at once."""

ENGINES = ("torch", "compile", "openvino", "auto")
"""What computes the features of video files."""

PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "int8": "int8"}
"""Precision of features as options say it, and as records and PyTorch call it."""

SCORING_PRECISIONS = ("fp32", "bf16")
"""Precision in which a network scores features."""

PRECISION_OPTIONS = {name: option for option, name in PRECISIONS.items()}
"""The reverse: options by the names of records and of PyTorch."""
