"""A launch of a Triton kernel as data: planned in one place, run or compiled in others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Launch:
    """One launch of one kernel.

    Planning a launch reads shapes, strides and dtypes, but no memory: launches for any GPU can be
    planned and compiled on a machine without one.

    Parameters
    ----------
    kernel : triton.JITFunction
        The kernel.
    grid : tuple of int
        Programs along each axis.
    arguments, constexprs : dict
        By name, what the kernel is called with at run time and what it is compiled with.
    num_warps, num_stages : int
        Warps per program; stages of the software pipeline.
    """

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    constexprs: dict[str, Any]
    num_warps: int
    num_stages: int

    def compile(self) -> None:
        """Compile the kernel for these arguments, or find it in Triton's cache; nothing runs."""
        self.kernel.warmup(
            **self.arguments,
            **self.constexprs,
            grid=self.grid,
            num_warps=self.num_warps,
            num_stages=self.num_stages,
        )

    def run(self) -> None:
        """Launch the kernel; an empty grid launches nothing."""
        if 0 in self.grid:
            return
        self.kernel[self.grid](
            **self.arguments,
            **self.constexprs,
            num_warps=self.num_warps,
            num_stages=self.num_stages,
        )
