"""An extractor in a package of its own: a histogram of red, green and blue for each snippet.

pip install examples/extractor_plugin
ladnet-fast extract videos/ --extractor colours:8 --out features
"""

from __future__ import annotations

import numpy as np

from ladnet_fast.video.extractors import Preparation


def make_extractor(what=None, *, device=None, engine="torch", precision="fp32"):
    """Return the extractor; ``what`` is the text after the colon, here the number of bins."""
    try:
        bins = int(what or 16)
    except ValueError:
        bins = 0
    if not 1 <= bins <= 256:
        raise ValueError(f"colours must be colours:BINS with 1 to 256 bins; got {what!r}")
    if engine not in ("torch", "auto") or precision != "fp32":
        raise ValueError(f"colours has no engine {engine} with {precision}; leave both out")
    return Colours(bins)


class Colours:
    """Keeps to the protocol `ladnet_fast.video.extractors.Extractor`; no base class is needed."""

    name = "colours"
    frames_per_snippet = 16
    preparation = Preparation(short_side=72, crop=64)
    device = "cpu"

    def __init__(self, bins):
        self.bins = bins
        self.width = 3 * bins
        # What makes the numbers what they are: features of other settings are never mixed in.
        self.settings = {"network": "colours", "weights": f"{bins} bins", "precision": "float32"}

    def load(self):
        """Nothing has to be loaded; a network would be, here."""

    def __call__(self, clips):
        """Map (N, 16, H, W, 3) uint8 to (N, 3 x bins) float32."""
        places = clips.astype(np.int64) * self.bins // 256
        rows = [
            np.concatenate([np.bincount(c.ravel(), minlength=self.bins) / c.size for c in channels])
            for channels in np.moveaxis(places, -1, 1)
        ]
        return np.array(rows, np.float32).reshape(len(clips), self.width)
