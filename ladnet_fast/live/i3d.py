"""I3D's features of a stream's snippets."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ..video import I3D, snippet_features
from ..video.frames import cut_crops, require_crops
from ..video.i3d import SNIPPET_FRAMES


class I3DExtractor:
    """Features as `ladnet_fast.video.extract_features` computes them, snippet by snippet.

    Parameters
    ----------
    model : I3D
        On any device, in any floating dtype.
    crops : int
        1, 5 or 10.
    """

    frames_per_snippet = SNIPPET_FRAMES

    def __init__(self, model: I3D, crops: int = 1) -> None:
        self._model = model
        self.crops = require_crops(crops)

    def __call__(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Map (16, H, W, 3) uint8 RGB, short side 256, to (crops, 1, 1024)."""
        cut = cut_crops(torch.from_numpy(frames), self.crops)
        return snippet_features(self._model, torch.cat(cut))[:, None]
