"""Names and layouts: the published I3D checkpoint to the state dict of `ladnet_fast.video.I3D`.

The checkpoint names layers as the original TensorFlow graph did, for example
``params/Mixed_3b/Branch_1/Conv3d_0b_3x3/Conv_0/kernel``; here it is ``mixed_3b.branch1.1``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .errors import WeightsError

_STEM = {"conv_1a": "Conv3d_1a_7x7", "conv_2b": "Conv3d_2b_1x1", "conv_2c": "Conv3d_2c_3x3"}
_BLOCKS = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
_BRANCHES = {
    "branch0": "Branch_0/Conv3d_0a_1x1",
    "branch1.0": "Branch_1/Conv3d_0a_1x1",
    "branch1.1": "Branch_1/Conv3d_0b_3x3",
    "branch2.0": "Branch_2/Conv3d_0a_1x1",
    "branch2.1": "Branch_2/Conv3d_0b_3x3",
    "branch3.1": "Branch_3/Conv3d_0b_1x1",
}

UNITS = _STEM | {
    f"mixed_{block}.{ours}": f"Mixed_{block}/{theirs}"
    for block in _BLOCKS
    for ours, theirs in _BRANCHES.items()
}
"""Every `Unit3d` of I3D and the layer of the checkpoint that it holds."""

_TENSORS = {
    "conv.weight": ("params", "Conv_0/kernel"),
    "norm.bias": ("params", "BatchNorm_0/bias"),
    "norm.mean": ("batch_stats", "BatchNorm_0/mean"),
    "norm.var": ("batch_stats", "BatchNorm_0/var"),
}

PARAMETERS = {
    f"{unit}.{ours}": f"{group}/{layer}/{theirs}"
    for unit, layer in UNITS.items()
    for ours, (group, theirs) in _TENSORS.items()
}
"""Every entry of I3D's state dict (not folded) and the array of the checkpoint it comes from."""

CLASSIFIER = "params/Logits/"  # the 400 action classes, which features don't need


def to_state_dict(arrays: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, Tensor]:
    """Rename and lay out the checkpoint's arrays for ``I3D.load_state_dict``.

    Kernels (kT, kH, kW, in, out) become (out, in, kT, kH, kW); statistics lose their axes of
    size 1.

    Raises
    ------
    WeightsError
        If an array is missing or unknown.
    """
    missing = set(PARAMETERS.values()) - arrays.keys()
    unknown = {
        name for name in arrays.keys() - set(PARAMETERS.values()) if not name.startswith(CLASSIFIER)
    }
    if missing or unknown:
        raise WeightsError(
            "the checkpoint is not that of I3D Inception-v1: "
            f"missing arrays: {_some(missing)}; unknown arrays: {_some(unknown)}"
        )
    state = {}
    for ours, theirs in PARAMETERS.items():
        array = arrays[theirs]
        array = array.transpose(4, 3, 0, 1, 2) if theirs.endswith("kernel") else array.reshape(-1)
        state[ours] = torch.from_numpy(np.array(array, order="C"))  # a writable copy
    return state


def _some(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:3])
    more = ", ..." if len(names) > 3 else ""
    return f"{len(names)} ({shown}{more})" if names else "none"
