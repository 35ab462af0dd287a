"""The table of instructions: each family registers how its members are compiled."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import PtxError
from ..machine import Machine
from ..parser import Instruction
from ..registers import Step

Compiler = Callable[[Machine, Instruction], Step]
COMPILERS: dict[str, Compiler] = {}


def instruction(*names: str) -> Callable[[Compiler], Compiler]:
    """Register the decorated function as the compiler of the instructions of these names."""

    def register(compiler: Compiler) -> Compiler:
        for name in names:
            assert name not in COMPILERS, name
            COMPILERS[name] = compiler
        return compiler

    return register


def unsupported(ins: Instruction, why: str = "") -> PtxError:
    """Return the error for an instruction that the interpreter doesn't know."""
    return PtxError(f"unsupported: {ins}" + (f": {why}" if why else ""))
