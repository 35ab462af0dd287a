"""Whether a network still consists of the layers it was made of.

The native linear layers read the weights of PyTorch's modules without calling the modules. That is
the same only while nobody has replaced, parametrised, quantised, patched or hooked one of them, and
nobody has hooked all modules there are; otherwise the modules are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn.modules import module as torch_module

from .attention import LocalityAttention

if TYPE_CHECKING:
    from .lanet import LANet

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
#: Of every module: profilers and tracers register here.
_GLOBAL_HOOKS = tuple(f"_global{name}" for name in _HOOKS)


def is_plain(net: LANet) -> bool:
    """Whether the layers of ``net`` are PyTorch's own, untouched, in their original order."""
    if any(getattr(torch_module, hooks) for hooks in _GLOBAL_HOOKS):
        return False
    attention, mlp = net.attention, net.mlp
    modules = [attention, attention.q, attention.k, attention.v, attention.o, net.norm, mlp, *mlp]
    kinds: list[type[nn.Module]] = [LocalityAttention, *[nn.Linear] * 4]
    kinds += [nn.LayerNorm, nn.Sequential]
    kinds += [(nn.Linear, nn.GELU, nn.Dropout)[i % 3] for i in range(len(mlp) - 1)] + [nn.Dropout]
    modules.append(net.classifier)
    kinds.append(nn.Conv1d)
    if len(mlp) % 3 != 2 or any(
        type(m) is not kind or "forward" in m.__dict__ or any(getattr(m, hooks) for hooks in _HOOKS)
        for m, kind in zip(modules, kinds, strict=True)
    ):
        return False
    # Loops, not `all`: the compiler of torch 2.9 cannot follow that over conditions on classes.
    drops = [m for m in mlp if isinstance(m, nn.Dropout)]
    for m in drops:
        if (m.p, m.training) != (drops[0].p, drops[0].training):
            return False
    for m in modules:
        if isinstance(m, nn.GELU) and m.approximate != "none":
            return False
        if isinstance(m, (nn.Linear, nn.LayerNorm, nn.Conv1d)) and m.bias is None:
            return False
    return drops[0].p < 1


def linear_layers(mlp: nn.Sequential) -> int:
    """Return how many of the MLP's layers have weights."""
    return sum(isinstance(m, nn.Linear) for m in mlp)


def dropout_of(mlp: nn.Sequential) -> float:
    """Return the probability that the MLP's dropout uses now: 0 outside training."""
    last = mlp[-1]
    return float(last.p) if isinstance(last, nn.Dropout) and last.training else 0.0
