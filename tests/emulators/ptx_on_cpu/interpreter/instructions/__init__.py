"""How instructions become steps, one file a family."""

from __future__ import annotations

from ..errors import PtxError
from ..machine import Machine
from ..parser import Instruction
from ..registers import Step
from . import (  # noqa: F401 (each fills the table of instructions)
    async_copy,
    atomics,
    bit_field,
    comparison,
    conversion,
    floating,
    load_store,
    mbarrier,
    moves,
    tensor_core,
    warp,
    warpgroup,
)
from .integer import with_carry
from .registry import COMPILERS, unsupported

#: Instructions that a warp's lanes, or a warp's named lanes, execute together.
COLLECTIVES = {"shfl", "vote", "match", "redux", "mma", "ldmatrix", "stmatrix", "elect"}


def compile_step(m: Machine, ins: Instruction) -> Step:
    """Compile an instruction that is no control flow; raises ``PtxError`` if it is unknown."""
    compiler = with_carry if ins.has("cc") else COMPILERS.get(ins.name)
    if compiler is None:
        raise unsupported(ins)
    try:
        return compiler(m, ins)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise unsupported(ins, f"{type(error).__name__}: {error}") from error
    except PtxError as error:
        if ins.place in str(error):
            raise
        raise unsupported(ins, str(error)) from error
