"""Makes our I3D extractor from names."""

from __future__ import annotations

import torch

from ladnet_fast.video.extractors.i3d import I3DExtractor
from ladnet_fast.video.extractors.protocol import Extractor
from ladnet_fast.video.extractors.registry import ExtractorError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def i3d(
    what: str | None = None,
    *,
    device: str | torch.device | None = None,
    engine: str = "torch",
    precision: str = "fp32",
) -> Extractor:
    """Make I3D with the published weights; see `ladnet_fast.video.extractors.registry.Factory`."""
    from ladnet_fast.video import extraction

    if what is not None:
        raise ExtractorError(f"the extractor i3d has one network only; got 'i3d:{what}'")
    if engine != "torch":
        raise ExtractorError(f"engine must be torch; got {engine!r}")
    if precision not in DTYPES:
        raise ExtractorError(f"precision must be {' or '.join(DTYPES)}; got {precision!r}")
    dtype = DTYPES[precision]
    return I3DExtractor(lambda: extraction._pretrained(dtype, device), dtype)
