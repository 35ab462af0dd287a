"""TensorFlow's SAME padding for strided windows over (T, H, W).

For a size n, a kernel k and a stride s the output has ceil(n / s) elements, and the padding is

    total = max((ceil(n / s) - 1) * s + k - n, 0),   total // 2 before and the rest after.

It depends on n and is not symmetric, so a fixed ``padding=k // 2`` gives other features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


def same_padding(
    size: Sequence[int], kernel: Sequence[int], stride: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Return the padding before and after each axis, by the formula above.

    Parameters
    ----------
    size, kernel, stride : sequence of int
        One entry per axis.
    """
    before, after = [], []
    for n, k, s in zip(size, kernel, stride, strict=True):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return before, after


def pad_same(x: Tensor, before: Sequence[int], after: Sequence[int]) -> Tensor:
    """Pad the last ``len(before)`` axes of ``x`` with zeros."""
    widths: list[int] = []
    for left, right in zip(reversed(before), reversed(after), strict=True):  # F.pad: last first
        widths += [left, right]
    return F.pad(x, widths)


class MaxPool3dSame(nn.Module):
    """Max-pool with SAME padding; padded positions never win.

    Parameters
    ----------
    kernel, stride : tuple of three int
        Along time, height and width, each kernel at most 3: then ``before`` and ``after`` differ
        only as (0, 1), which ``ceil_mode`` gives without a padded copy of the input.
    """

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        if max(kernel) > 3:
            raise ValueError(f"kernel must be at most 3 along every axis; got {kernel}")
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to (N, C, ceil(T / stride), ...)."""
        before, _ = same_padding(x.shape[2:], self.kernel, self.stride)
        return F.max_pool3d(x, self.kernel, self.stride, before, ceil_mode=True)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"kernel={self.kernel}, stride={self.stride}"
