"""What instructions have in common: all but the names of registers and the offset of an address."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from .machine import space_of
from .parser import Instruction, Kernel

_NAME = re.compile(r"(%?[A-Za-z_$][\w$]*(?:@\d+)?)")
_OFFSET = re.compile(r"\+\s*(-?\w+)\s*\]")  # of the one address that counts
_HOLE = re.compile(r"%(\d+)\b")
_SPECIAL = re.compile(r"%[A-Za-z_]")

#: Instructions that read and write registers alone, all lanes for themselves or by warps.
_OF_REGISTERS = {
    "add", "sub", "mul", "mad", "fma", "min", "max", "neg", "abs", "sqrt", "rsqrt", "rcp", "ex2",
    "lg2", "sin", "cos", "tanh", "copysign", "div", "rem", "mul24", "mad24", "and", "or", "xor",
    "not", "cnot", "lop3", "shl", "shr", "shf", "prmt", "bfe", "bfi", "popc", "clz", "brev",
    "bfind", "selp", "slct", "setp", "set", "testp", "cvt", "cvta", "mov", "mma", "shfl",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Form:
    """An instruction without the names of its registers.

    ``memory`` says what it does there: ``"none"``, ``"load"``, ``"copy"`` (an asynchronous one) or
    ``"other"``. Instructions of one form that are ``together`` may be executed as one.
    """

    op: tuple[str, ...]
    args: tuple[str, ...]  # %32 stands for a register of 32 bits, and so on
    guard: str  # "@", "@!" or "" where there is none
    memory: str
    together: bool


class Operands(NamedTuple):
    """What an instruction adds to its form: registers, the targets first, and an offset."""

    form: Form
    targets: list[str]
    sources: list[str]  # the guard's predicate is the last one
    offset: int


class Forms:
    """The forms of a kernel's instructions, each once."""

    def __init__(self, kernel: Kernel) -> None:
        self._registers = kernel.registers
        self._operands: dict[int, Operands] = {}  # by the identity of an instruction
        self._known: dict[tuple[object, ...], tuple[Form, int]] = {}

    def of(self, ins: Instruction) -> Operands:
        """Return an instruction's form and what is its own."""
        found = self._operands.get(id(ins))
        if found is None:
            found = self._operands[id(ins)] = self._read(ins)
        return found

    def _read(self, ins: Instruction) -> Operands:
        text, offset = ";".join(ins.args), 0
        if "[" in text and (found := _OFFSET.search(text)):
            offset = int(found[1], 0)
            text = f"{text[: found.start()]}]{text[found.end() :]}"
        parts = _NAME.split(text)  # names at the odd places
        names = []
        for i in range(1, len(parts), 2):
            width = self._registers.get(parts[i])
            if width is not None:
                names.append(parts[i])
                parts[i] = f"%{width}"
        guard = ""
        if ins.guard:
            guard = "@!" if ins.guard[0] == "!" else "@"
            names.append(ins.guard.lstrip("!"))
        key = (guard, *ins.op, None, *parts)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _form(ins, "".join(parts).split(";"), guard)
        form, targets = known
        return Operands(form, names[:targets], names[targets:], offset)


def _form(ins: Instruction, args: list[str], guard: str) -> tuple[Form, int]:
    """Return a form, and how many of its registers are in the first operand."""
    memory, together = _behaviour(ins, args)
    targets = len(_HOLE.findall(args[0])) if args else 0
    return Form(tuple(ins.op), tuple(args), guard, memory, together), targets


def _behaviour(ins: Instruction, args: list[str]) -> tuple[str, bool]:
    """Return what an instruction does to memory, and whether several can be executed as one."""
    if ins.name in _OF_REGISTERS:
        lanes_differ = any(_SPECIAL.search(arg) for arg in args)
        return "none", not (lanes_differ or ins.has("cc"))
    if ins.name in ("ld", "ldu", "ldmatrix"):
        space = space_of(ins)
        if space == "param":
            return "none", False
        return "load", space in ("shared", "global") and bool(_HOLE.search(args[1]))
    return "other", False


def template(form: Form) -> tuple[Instruction, list[str]]:
    """Return an instruction of the form with registers ``%w<width>_<number>``, and their names."""
    names: list[str] = []

    def name(found: re.Match[str]) -> str:
        names.append(f"%w{found[1]}_{len(names)}")
        return names[-1]

    args = [_HOLE.sub(name, arg) for arg in form.args]
    guard = None
    if form.guard:
        names.append(f"%w1_{len(names)}")
        guard = form.guard[1:] + names[-1]
    return Instruction(guard, list(form.op), args, ".".join(form.op), ""), names
