"""LA-Net on bags that are packed end to end, without padding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..ops._bags import Bags
from . import _paths

if TYPE_CHECKING:
    from .lanet import LANet


def score(net: LANet, path: _paths.Path, features: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Return the scores (1, total) of embeddings (1, total, C): no bag sees the one before it.

    The convolution looks back over ``kernel_size - 1`` snippets, and before a bag that stands alone
    it finds zeros. So that many rows of zeros are put before each bag, and one convolution computes
    all bags.
    """
    before = net.kernel_size - 1
    rows = torch.arange(features.shape[1], device=features.device)
    # Several bags begin at a row if all but the last are empty: the row belongs to the last.
    bag = torch.searchsorted(cu_seqlens, rows, right=True) - 1
    place = rows + (bag + 1) * before
    spread = features.new_zeros(
        1, features.shape[1] + (cu_seqlens.shape[0] - 1) * before, features.shape[2]
    )
    spread = spread.index_copy(1, place, features)
    bags = Bags.checked("x", spread, spread.shape[1])
    return _paths.score(net, path, spread, bags).index_select(1, place)
