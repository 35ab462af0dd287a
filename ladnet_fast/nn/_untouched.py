"""Whether a module is one of PyTorch's (or ours), as it was made: its call may be bypassed.

The fast paths read the weights of modules without calling the modules. That is the same only while
nobody has replaced, parametrised, quantised, patched or hooked one of them.
"""

from __future__ import annotations

from torch import nn
from torch.nn.modules import module as torch_module

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
#: Hooks on every module there is: profilers and tracers register them.
_GLOBAL_HOOKS = tuple(f"_global{name}" for name in _HOOKS)


def hooks_on_all() -> bool:
    """Whether hooks are registered that see the calls of every module."""
    return any(getattr(torch_module, hooks) for hooks in _GLOBAL_HOOKS)


def is_as_made(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module is exactly of that class, with its own forward and without hooks."""
    return not (
        type(module) is not kind
        or "forward" in module.__dict__
        or any(getattr(module, hooks) for hooks in _HOOKS)
    )
