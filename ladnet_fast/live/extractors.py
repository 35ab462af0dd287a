"""What turns a stream's snippets into rows of features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from .._values import count
from ..video import I3D, snippet_features
from ..video.extractors import Extractor, I3DExtractor, Preparation
from ..video.frames import cut_crops, require_crops
from ..video.i3d import SNIPPET_FRAMES

Frames = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.float32]


class SnippetExtractor(Protocol):
    """What `watch` needs of an extractor.

    Attributes
    ----------
    crops : int
        Rows of each snippet.
    frames_per_snippet : int
        Frames of each snippet.
    preparation : Preparation
        How frames are resized.
    """

    @property
    def crops(self) -> int: ...  # noqa: D102

    @property
    def frames_per_snippet(self) -> int: ...  # noqa: D102

    @property
    def preparation(self) -> Preparation: ...  # noqa: D102

    def __call__(self, frames: Frames) -> Rows:
        """Map (frames_per_snippet, H, W, 3) uint8 RGB to (crops, 1, width) float32."""
        ...


class CroppedExtractor:
    """Rows of the crops of each snippet, in the order of `ladnet_fast.video.frames.cut_crops`.

    Parameters
    ----------
    describe : callable
        Maps (crops, frames_per_snippet, H, W, 3) uint8 RGB to (crops, width); H and W are
        ``preparation.crop``.
    crops : int
        1, 5 or 10.
    frames_per_snippet : int
        Frames that a row describes.
    preparation : Preparation
        How frames are resized and cut; by default as for I3D.
    """

    def __init__(
        self,
        describe: Callable[[Frames], Rows],
        crops: int = 1,
        *,
        frames_per_snippet: int = SNIPPET_FRAMES,
        preparation: Preparation = I3DExtractor.preparation,
    ) -> None:
        self.crops = require_crops(crops)
        self.frames_per_snippet = count("frames_per_snippet", frames_per_snippet)
        self.preparation = Preparation(*preparation)
        self._describe = describe

    def __call__(self, frames: Frames) -> Rows:
        """Map (frames_per_snippet, H, W, 3) uint8 RGB to (crops, 1, width) float32."""
        cut = cut_crops(torch.from_numpy(frames), self.crops, self.preparation.crop)
        return self._describe(torch.stack(cut).numpy())[:, None]


def i3d_extractor(model: I3D, crops: int = 1) -> CroppedExtractor:
    """Return an extractor of I3D's features, as `ladnet_fast.video.extract_features` computes them.

    Parameters
    ----------
    model : I3D
        On any device, in any floating dtype.
    crops : int
        1, 5 or 10; they go through the network together.
    """
    return CroppedExtractor(
        lambda clips: snippet_features(model, clips.reshape(-1, *clips.shape[2:]), batch=crops),
        crops,
    )


def cropped(extractor: Extractor, crops: int = 1) -> CroppedExtractor:
    """Return an extractor for streams, made from one of `ladnet_fast.video.extractors`.

    Parameters
    ----------
    extractor : Extractor
        Loaded at its first use, if it is not yet.
    crops : int
        1, 5 or 10; they are described together.
    """
    return CroppedExtractor(
        extractor,
        crops,
        frames_per_snippet=extractor.frames_per_snippet,
        preparation=Preparation(*extractor.preparation),
    )
