"""Bytes that the operators of a pass through LANet read and write on a GPU, counted without one.

    python -m benchmarks.step_bytes

Tensors are fakes, which have shapes and no numbers, and the network takes the path that a GPU
takes. Each operator that PyTorch dispatches counts the bytes of its arguments as read and of its
results as written, once; views count nothing. What a kernel reads twice, and what it finds in a
cache, only a GPU can tell. Dropout is left out.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ladnet_fast import LANet
from ladnet_fast.nn import _paths, _projections
from ladnet_fast.ops import _triton

#: The paper's batch.
B, T, D = 128, 200, 1024
_NOTHING = ("empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided")
_VIEWS = ("_unsafe_view", "alias", "_reshape_alias")


@dataclass
class Bytes(TorchDispatchMode):
    """Counts by operator what is read and written while it is on."""

    read: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super().__init__()

    @property
    def total(self) -> int:
        """All bytes that were moved."""
        return self.read.total() + self.written.total()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operator and count its tensors."""
        result = func(*args, **(kwargs or {}))
        where, _, name = func._schema.name.partition("::")
        # "prim" asks a tensor for its device and the like.
        if where != "prim" and name not in (*_NOTHING, *_VIEWS) and not _is_view(func):
            self.read[name] += sum(map(_held, tree_leaves((args, kwargs))))
            self.written[name] += sum(map(_held, tree_leaves(result)))
        return result


def _is_view(func: Any) -> bool:
    """Whether an operator's results are views: they alias an argument that it doesn't write."""
    aliases = [r.alias_info for r in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


def _held(x: object) -> int:
    """Return the bytes of a tensor's elements; those of an expanded axis are there once."""
    if not isinstance(x, Tensor):
        return 0
    sizes = zip(x.shape, x.stride(), strict=True)
    return prod(n for n, stride in sizes if stride or not n) * x.element_size()


@contextmanager
def gpu_paths(fused: bool) -> Iterator[None]:
    """Let networks with ``impl="triton"`` on fake tensors take the path of a GPU.

    ``fused``: whether q, k and v come from one product, and residual and LayerNorm from one kernel.
    """
    with ExitStack() as stack:
        stack.enter_context(patch.object(_triton, "problems", lambda tensors: []))
        stack.enter_context(patch.object(_projections, "_pays", lambda x: fused))
        if not fused:
            stack.enter_context(patch.object(_paths, "_norm_is_fused", lambda net, x: False))
        yield


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def passes(*, fused: bool, padded: bool, autocast: bool, width: int = D) -> dict[str, Bytes]:
    """Return what a training step's passes through the network move, and one that only scores.

    Parameters
    ----------
    fused
        See `gpu_paths`.
    padded
        Whether lengths are given.
    autocast
        bf16 by autocast from float32 weights and features; otherwise both are bf16.
    width
        Of the features.
    """
    found = {name: Bytes() for name in ("forward", "backward", "scoring")}
    with FakeTensorMode(), gpu_paths(fused):
        with _default_dtype(torch.float32 if autocast else torch.bfloat16):
            net = LANet(feature_dim=width, impl="triton").eval()
            x = torch.empty(B, T, width)
        lengths = torch.empty(B, dtype=torch.int64) if padded else None

        def pass_(name: str) -> Any:
            # CPUs' autocast casts what CUDA's does here: products; the sum is float32 for x is.
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast), found[name]:
                return net(x, lengths)

        out = pass_("forward")
        with found["backward"]:
            torch.autograd.backward(list(out), [torch.empty_like(y) for y in out])
        with torch.no_grad():
            pass_("scoring")
    return found


def table() -> str:
    """Return the table of docs, in Markdown."""
    lines = [
        "| a pass over 128 bags of 200, D = 1024 | MB before | MB now | less by |",
        "|---|---|---|---|",
    ]
    for autocast, padded in itertools.product((False, True), repeat=2):
        before, now = (
            passes(fused=fused, padded=padded, autocast=autocast) for fused in (False, True)
        )
        kind = f"{'autocast to bf16' if autocast else 'bf16'}{', with lengths' if padded else ''}"
        for name in before:
            old, new = before[name].total, now[name].total
            share = f"{100 * (1 - new / old):.0f} %"
            lines.append(f"| {name}, {kind} | {old / 1e6:.0f} | {new / 1e6:.0f} | {share} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
