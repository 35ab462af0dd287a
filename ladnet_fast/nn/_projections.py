"""Queries, keys and values from one product.

On a GPU a product of (B T, D) features with a (D, 128) weight takes as long as reading the features
does. Three products read them three times, one product of (D, 384) reads them once, forward and
again for the gradient of the weights. The three weights are joined for that in every call: with
LA-Net's sizes that copies 384 D numbers, as many as 384 snippets have, and takes the launches that
two products leave free. Parameters, their names in state dicts and how they are drawn stay what
they were: autograd hands each layer its part of the gradient.

On CPUs the layers are called one by one, as they always were: a wider product rounds differently.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import _impl
from ._untouched import hooks_on_all, is_as_made


def project(x: Tensor, layers: Sequence[nn.Linear], impl: str) -> Sequence[Tensor]:
    """Return what each layer makes of x (B, T, D): (B, T, its width), views of one tensor or not.

    One product serves on GPUs (and on the meta device, for shapes) where the layers are PyTorch's
    own, as LA-Net made them, unless ``impl`` is "reference".
    """
    if _pays(x) and _impl.requested(impl) != "reference" and _can_join(layers):
        return one_product(x, layers)
    return [layer(x) for layer in layers]


def one_product(x: Tensor, layers: Sequence[nn.Linear]) -> Sequence[Tensor]:
    """Return `project` by one product, whatever the device."""
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    return F.linear(x, weight, bias).split([layer.out_features for layer in layers], dim=-1)


def _pays(x: Tensor) -> bool:
    return x.is_cuda or x.is_meta


def _can_join(layers: Sequence[nn.Linear]) -> bool:
    if hooks_on_all():
        return False
    first = layers[0]
    # A loop, not `all`: the compiler of torch 2.9 cannot follow that over conditions on classes.
    for layer in layers:
        if not is_as_made(layer, nn.Linear) or layer.bias is None:
            return False
        for name in ("dtype", "device"):
            wanted = getattr(first.weight, name)
            if getattr(layer.weight, name) != wanted or getattr(layer.bias, name) != wanted:
                return False
    return True
