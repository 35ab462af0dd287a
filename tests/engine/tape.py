"""A CUDA graph's stand-in on the CPU: a tape of operators, with the tensors that they had.

Like a graph it repeats what was launched and nothing of what Python did around it: numbers that
Python handed over stay what they were, results go where they went.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ladnet_fast.engine.captured import Recording
from ladnet_fast.engine.step import Evidence


class _Writing(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result


def _returns_an_argument(func: Any) -> bool:
    return any(value.alias_info is not None for value in func._schema.returns)


class Tape:
    """Records what a step does, as `ladnet_fast.engine.captured.CudaGraphs` does on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self.warmed = self.recorded = self.replayed = 0

    def warm_up(self, body: Callable[[], Evidence]) -> Evidence:
        self.warmed += 1
        return body()

    def record(self, body: Callable[[], Evidence]) -> Recording:
        self.recorded += 1
        with _Writing() as writing:
            evidence = body()
        # A graph would compute nothing until it is replayed; this has, for the first time.
        turns = 0

        def replay() -> None:
            nonlocal turns
            turns += 1
            self.replayed += 1
            if turns > 1:
                _play(writing.calls)

        return Recording(replay, evidence)


@torch.no_grad()
def _play(calls: list[tuple[Any, Any, Any, Any]]) -> None:
    for func, args, kwargs, result in calls:
        again = func(*args, **kwargs)
        if _returns_an_argument(func):
            continue
        for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
            if isinstance(old, Tensor):
                old.copy_(new)
