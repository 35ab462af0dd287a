"""Whether a network's weights fit in memory, checked before PyTorch allocates them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise

import torch

_MOST_BYTES = 2**62


def check_affordable(
    feature_dim: int,
    hidden_dim: int,
    mlp_dims: Sequence[int],
    kernel_size: int,
    query_dim: int | None,
) -> None:
    """Raise ``ValueError`` if the weights of such a network exceed the machine's memory.

    Only on the CPU, whose memory is known without asking a driver; and on the meta device, where
    weights take none, only if PyTorch's sizes would overflow.
    """
    queries = feature_dim if query_dim is None else query_dim
    weights = hidden_dim * (queries + 3 * feature_dim) + mlp_dims[-1] * kernel_size
    weights += sum(a * b for a, b in pairwise((feature_dim, *mlp_dims)))
    needed = weights * torch.get_default_dtype().itemsize
    held = _physical_memory() if torch.get_default_device().type == "cpu" else None
    if needed <= (_MOST_BYTES if held is None else held):
        return
    sizes = {
        "feature_dim": feature_dim,
        "hidden_dim": hidden_dim,
        **{f"mlp_dims[{i}]": width for i, width in enumerate(mlp_dims)},
        "kernel_size": kernel_size,
        **({} if query_dim is None else {"query_dim": query_dim}),
    }
    largest = max(sizes, key=lambda name: sizes[name])
    raise ValueError(
        f"{largest} must be smaller: the network's weights would take {_bytes(needed)}, and "
        f"{_limit(held)}; got {sizes[largest]}"
    )


def _limit(held: int | None) -> str:
    if held is None:
        return f"PyTorch's tensors reach {_bytes(_MOST_BYTES)}"
    return f"this machine has {_bytes(held)} of memory"


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not every system says
        return None


def _bytes(count: int) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if count < 1024:
            return f"{count} {unit}"
        count //= 1024
    return f"{count} EiB" if count < 1024 else "more than 1024 EiB"
