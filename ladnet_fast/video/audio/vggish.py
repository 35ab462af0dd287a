"""VGGish in PyTorch; the user brings the weights."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..._values import path as checked_path
from ...nn.weight_files import read_weights_file
from ...nn.weight_layouts import state_of
from .logmel import BANDS, PATCH_FRAMES

WIDTH = 128
_CHANNELS = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M")


class VGGish(nn.Module):
    """The network up to its 128 numbers, after the last ReLU, without AudioSet's PCA.

    State-dict keys are those of the port harritaylor/torchvggish:
    ``features.{0,3,6,8,11,13}.{weight,bias}`` and ``embeddings.{0,2,4}.{weight,bias}``.
    """

    width = WIDTH

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for width in _CHANNELS:
            if isinstance(width, int):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            else:
                layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        flat = channels * (PATCH_FRAMES // 16) * (BANDS // 16)
        self.embeddings = nn.Sequential(
            nn.Linear(flat, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(),
            nn.Linear(4096, WIDTH), nn.ReLU(),
        )  # fmt: skip

    def forward(self, patches: Tensor) -> Tensor:
        """Map log-mel patches (N, 96, 64) to (N, 128)."""
        if patches.dim() != 3 or patches.shape[1:] != (PATCH_FRAMES, BANDS):
            raise ValueError(
                f"patches must have shape (N, {PATCH_FRAMES}, {BANDS}); got {tuple(patches.shape)}"
            )
        maps: Tensor = self.features(patches[:, None])
        # Channels last, as the original network flattens them.
        embeddings: Tensor = self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))
        return embeddings

    def embed(self, patches: npt.NDArray[np.float32], batch: int = 32) -> npt.NDArray[np.float32]:
        """Map (N, 96, 64) to (N, 128) float32, ``batch`` patches at a time."""
        weight = self.embeddings[0].weight
        rows = [np.zeros((0, WIDTH), np.float32)]
        with torch.inference_mode():
            for part in torch.from_numpy(patches).split(batch):
                rows.append(self(part.to(weight.device, weight.dtype)).float().cpu().numpy())
        return np.concatenate(rows)


def load_vggish(path: str | os.PathLike[str], *, device: str | torch.device = "cpu") -> VGGish:
    """Load VGGish with the user's weights.

    Parameters
    ----------
    path : path-like
        A safetensors file, or a file of ``torch.save`` (tensors alone; pickled objects are
        refused), with the entries that `VGGish` lists. Entries ``pproc.*`` of AudioSet's
        PCA, which that port adds, are left out.
    device : str or torch.device
        Where to put it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If entries are missing, unknown or of another shape; the message lists them.
    """
    path = checked_path("path", path)
    _, content = read_weights_file(path)
    state = {k: v for k, v in state_of(content, str(path)).items() if not k.startswith("pproc.")}
    with torch.device("meta"):
        net = VGGish()
    wanted = {name: tuple(entry.shape) for name, entry in net.state_dict().items()}
    problems = [f"lacks {name}" for name in wanted if name not in state]
    problems += [f"has unknown {name}" for name in state if name not in wanted]
    problems += [
        f"{name} has shape {tuple(entry.shape)}, expected {wanted[name]}"
        for name, entry in state.items()
        if name in wanted and tuple(entry.shape) != wanted[name]
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(
            f"{path} is not VGGish as harritaylor/torchvggish names its weights: "
            f"{'; '.join(problems[:5])}{more}"
        )
    net.load_state_dict({name: entry.float() for name, entry in state.items()}, assign=True)
    return net.requires_grad_(False).eval().to(device)
