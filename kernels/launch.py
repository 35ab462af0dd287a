"""What a Triton kernel is launched with, apart from launching it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Launch:
    """One launch of one kernel.

    Planning a launch reads shapes, strides and dtypes and no memory, so that a plan for any GPU can
    be made, compiled and looked at on a machine without one.

    Parameters
    ----------
    kernel : triton.JITFunction
        The kernel.
    grid : tuple of int
        Programs along each axis.
    arguments, constexprs : dict
        What it is called with at run time, and what it is compiled for, by name.
    num_warps, num_stages : int
        Warps a program; depth of the software pipeline.
    """

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    constexprs: dict[str, Any]
    num_warps: int
    num_stages: int

    def run(self) -> None:
        """Launch; nothing happens for an empty grid."""
        if 0 in self.grid:
            return
        self.kernel[self.grid](
            **self.arguments,
            **self.constexprs,
            num_warps=self.num_warps,
            num_stages=self.num_stages,
        )
