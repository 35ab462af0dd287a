"""I3D as an extractor: computed by PyTorch, on CPUs and GPUs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..._tensors import tensors_digest
from ..frames import SHORT_SIDE
from ..i3d import CROP_SIZE, FEATURE_DIM, I3D, SNIPPET_FRAMES
from ..weights import MEMBER_SHA256
from .protocol import Clips, Preparation, Rows


class I3DExtractor:
    """The network as it is, or one that is loaded when it is needed.

    Parameters
    ----------
    model : I3D or callable
        On any device, in any floating dtype; or a function that returns the network with the
        published weights.
    dtype : torch.dtype or None
        Of the network that the function returns; None: float32.
    compiled : bool
        Let torch.compile fuse what lies between the convolutions. The first batch waits for it,
        a minute or more; a later one that is smaller is filled up rather than compiled for.
    """

    name = "i3d"
    width = FEATURE_DIM
    frames_per_snippet = SNIPPET_FRAMES
    preparation = Preparation(SHORT_SIDE, CROP_SIZE)

    def __init__(
        self,
        model: I3D | Callable[[], I3D],
        dtype: torch.dtype | None = None,
        *,
        compiled: bool = False,
    ) -> None:
        self._published = not isinstance(model, nn.Module)
        self._load, self._dtype = model, dtype or torch.float32
        self._model = cast("I3D", model) if isinstance(model, nn.Module) else None
        self._compile = compiled
        self._compiled: Callable[[Tensor], Tensor] | None = None
        self._filled = 0  # clips of the largest batch so far

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """What networks that give different features differ in."""
        if self._published:
            weights, precision = MEMBER_SHA256, self._dtype
        else:
            model = self.model
            weights = tensors_digest(model.state_dict(), {"kind": type(model).__name__})
            precision = model.conv_1a.conv.weight.dtype
        precision_name = str(precision).partition(".")[2]
        settings = {"network": "i3d", "weights": weights, "precision": precision_name}
        return settings | ({"engine": "compile"} if self._compile else {})

    @property
    def model(self) -> I3D:
        """The network, loaded at the first use."""
        if self._model is None:
            self._model = self._load()
        return self._model

    @property
    def device(self) -> str:
        """Where the weights are."""
        return str(self.model.conv_1a.conv.weight.device)

    def load(self) -> None:
        """Load the network."""
        _ = self.model

    def __call__(self, clips: Clips) -> Rows:
        """Map (N, 16, H, W, 3) uint8 to (N, 1024) float32."""
        network: Callable[[Tensor], Tensor] = self.model
        weight = self.model.conv_1a.conv.weight
        frames = torch.as_tensor(clips).to(weight.device).contiguous()
        if self._compile:
            if self._compiled is None:
                self._compiled = torch.compile(self.model, dynamic=False)
            network = self._compiled
            self._filled = max(self._filled, len(frames))
            frames = functional.pad(frames, (0, 0) * 4 + (0, self._filled - len(frames)))
        # Channels stay last in memory, as the folded network wants them. Scaled in float32 at
        # least: bfloat16 can't tell all 256 levels apart.
        wide = torch.promote_types(weight.dtype, torch.float32)
        scaled = frames.to(wide).div_(127.5).sub_(1)
        with torch.inference_mode(), _full_precision(weight):
            features = network(scaled.to(weight.dtype).permute(0, 4, 1, 2, 3))
        return features[: len(clips)].float().cpu().numpy()


def _full_precision(weight: Tensor) -> AbstractContextManager[None]:
    """Keep cuDNN from rounding float32 to TF32, which PyTorch lets convolutions do by default."""
    if not weight.is_cuda:
        return nullcontext()
    cudnn = torch.backends.cudnn
    return cudnn.flags(
        enabled=cudnn.enabled,
        benchmark=cudnn.benchmark,
        deterministic=cudnn.deterministic,
        allow_tf32=False,
    )
