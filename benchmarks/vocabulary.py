"""The words of a benchmark: an operator, its shapes, and the sides that compete.

An `Op` knows how to build its inputs, what the right answer is and who can compute it. A
`Case` is an operator at one shape and dtype, with the sides that are worth timing there.
Nothing here depends on a device: runners pass it in. `registry` lists what there is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Outputs = dict[str, Tensor]
Call = Callable[[], Outputs]

#: Subsets of the registry that can be asked for by name.
SUBSETS = ("full", "quick", "bars")


@dataclass(frozen=True)
class Cost:
    """Work of one call, by the usual count (a fused multiply-add is two operations)."""

    flops: float | None = None
    """Floating-point operations; None where a count says little."""
    bytes: float | None = None
    """Bytes that must be read and written at least; None where that says little."""
    check_bytes: float = 0.0
    """Memory that the float64 oracle needs, roughly."""


@dataclass(frozen=True)
class Side:
    """One way of computing an operator.

    Parameters
    ----------
    name : str
        Of the column in tables.
    prepare : callable
        ``prepare(inputs, check)`` returns the call that is timed; with ``check`` the same call
        without randomness (dropout), whose outputs are compared with the oracle's.
    own : bool
        Whether it is this project's kernel, rather than a peer.
    target : str or None
        Which answer it computes; None: the case's own. A peer without the prior has another.
    why_not : callable
        ``why_not(inputs)`` returns the reasons why it cannot run here; empty if it can.
    """

    name: str
    prepare: Callable[[Any, bool], Call]
    own: bool = False
    target: str | None = None
    why_not: Callable[[Any], list[str]] = lambda inputs: []


@dataclass(frozen=True)
class Op:
    """An operator that is measured.

    Parameters
    ----------
    name, title : str
        Identifier; and what it is, for a reader of the report.
    build : callable
        ``build(case, device)`` draws the inputs from a fixed seed.
    oracle : callable
        ``oracle(inputs, target, dtype)`` computes the reference's answer in a dtype: float64 gives
        the truth, the case's own dtype the error that the reference itself makes.
    cost : callable
        ``cost(case)`` counts its work.
    sides : tuple of Side
        Everybody who can compute it.
    tiny : mapping
        A shape at which tests run it.
    varies : str or None
        The axis along which growth is plotted.
    scales : callable
        ``scales(inputs, target, truth)`` returns for some outputs what a rounding is in proportion
        to, where that is more than the largest exact value: for a sum whose terms cancel, the size
        of what is added up.
    """

    name: str
    title: str
    build: Callable[[Case, torch.device], Any]
    oracle: Callable[[Any, str, torch.dtype], Outputs]
    cost: Callable[[Case], Cost]
    sides: tuple[Side, ...]
    tiny: Mapping[str, int]
    varies: str | None = "T"
    scales: Callable[[Any, str, Outputs], Mapping[str, float]] = lambda inputs, target, truth: {}
    behind: Mapping[str, str] = field(default_factory=dict)

    def side(self, name: str) -> Side:
        """Return the side of that name."""
        for side in self.sides:
            if side.name == name:
                return side
        known = ", ".join(side.name for side in self.sides)
        raise KeyError(f"{self.name} has no side {name!r}; it has {known}")


@dataclass(frozen=True)
class Case:
    """An operator at one shape.

    Parameters
    ----------
    op : Op
        The operator.
    shape : mapping of str to int
        Sizes by their usual letters.
    sides : tuple of str
        Who is timed.
    dtype : torch.dtype
        Of the inputs.
    variant : str
        What the sides' target defaults to and what distinguishes cases of one shape; for attention
        the kind of prior.
    subsets : frozenset of str
        Which of `SUBSETS` it belongs to; every case is in "full".
    memory : tuple of str
        Sides whose peak memory is measured, each in a process of its own; one that is not among
        ``sides`` takes too long to be timed.
    """

    op: Op
    shape: Mapping[str, int]
    sides: tuple[str, ...]
    dtype: torch.dtype = torch.float32
    variant: str = "default"
    subsets: frozenset[str] = field(default=frozenset({"full"}))
    memory: tuple[str, ...] = ()

    @property
    def dtype_name(self) -> str:
        """The dtype without ``torch.``."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def shape_name(self) -> str:
        """The sizes, e.g. ``B1-H1-T2048-d128``."""
        return "-".join(f"{axis}{size}" for axis, size in self.shape.items())

    @property
    def key(self) -> str:
        """Identify the case in results and on the command line."""
        return f"{self.op.name}/{self.variant}/{self.shape_name}/{self.dtype_name}"

    def tiny(self) -> Case:
        """Return the same case at the operator's tiny shape."""
        return dataclasses.replace(self, shape=self.op.tiny)


def subsets(*names: str) -> frozenset[str]:
    """Return "full" and the given subsets, each one of `SUBSETS`."""
    unknown = set(names) - set(SUBSETS)
    if unknown:
        raise ValueError(f"subsets must be of {', '.join(SUBSETS)}; got {sorted(unknown)}")
    return frozenset({"full", *names})
