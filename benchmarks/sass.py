"""Reading NVIDIA machine code (SASS) as ``nvdisasm -c`` prints it: instructions and loops.

Loops are found in the control-flow graph, not by looking for jumps upwards: compilers move the rare
half of a loop (waiting for a barrier) behind the end of the function, and jump back from there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

_SECTION = re.compile(r"^\s*\.section\s+(\S+?),")
_LABEL = re.compile(r"^\s*(\.L[\w$.]+|\$?[\w$.]+):\s*$")
_INSTRUCTION = re.compile(
    r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:\{\s*)?(?P<guard>@!?U?P\w+\s+)?(?P<opcode>[A-Z][\w.]*)"
    r"(?P<operands>[^;]*);"
)
_TARGET = re.compile(r"(?P<condition>[^`]*)`\((?P<label>[^)]+)\)")
#: Jumps whose targets are in a table. None of our kernels has one, and a loop would be missed.
_INDIRECT = ("BRX", "JMX", "BRXU")
_JUMPS = ("BRA", "JMP")
_ENDS = ("EXIT", "RET", "KILL", "BPT")


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    ``conditional``: it may do nothing, by its guard or, for jumps such as ``BRA.U UP0, target``, by
    an operand. ``target``: the label among its operands.
    """

    opcode: str
    conditional: bool = False
    target: str | None = None

    @property
    def name(self) -> str:
        """The opcode without its modifiers: ``HMMA`` of ``HMMA.16816.F32.BF16``."""
        return self.opcode.split(".", 1)[0]


@dataclass(frozen=True)
class Loop:
    """A natural loop: all instructions from which its head can be reached without leaving it."""

    head: int
    body: frozenset[int] = field(repr=False)
    instructions: tuple[Instruction, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.body)

    def count(self, names: Iterable[str]) -> int:
        """Return how many of its instructions have one of these names."""
        wanted = frozenset(names)
        return sum(self.instructions[i].name in wanted for i in self.body)


@dataclass(frozen=True)
class Program:
    """The instructions of one kernel, and where its labels are."""

    instructions: tuple[Instruction, ...]
    labels: Mapping[str, int]

    def count(self, names: Iterable[str]) -> int:
        """Return how many instructions have one of these names."""
        wanted = frozenset(names)
        return sum(instruction.name in wanted for instruction in self.instructions)

    def loops(self) -> list[Loop]:
        """Return the natural loops, by the position of their heads.

        Loops that share a head are one loop. Code that cannot be reached from the entry, such as
        the endless jump behind the end of each kernel, belongs to none.
        """
        successors = self._successors()
        order = _reverse_postorder(successors)
        parents = _immediate_dominators(successors, order)
        predecessors: dict[int, list[int]] = {i: [] for i in order}
        for i in order:
            for j in successors[i]:
                predecessors[j].append(i)
        bodies: dict[int, set[int]] = {}
        for i in order:
            for j in successors[i]:
                if _dominates(j, i, parents):
                    bodies.setdefault(j, {j}).update(_body(j, i, predecessors))
        return [Loop(head, frozenset(bodies[head]), self.instructions) for head in sorted(bodies)]

    def _successors(self) -> list[tuple[int, ...]]:
        result = []
        for i, instruction in enumerate(self.instructions):
            following: list[int] = []
            name = instruction.name
            jumps = name in _JUMPS or _is_jumping_call(instruction)
            if name in _INDIRECT:
                raise ValueError(f"instruction {i} is an indirect jump ({instruction.opcode})")
            if jumps and instruction.target in self.labels:
                following.append(self.labels[instruction.target or ""])
            falls_through = not (jumps or name in _ENDS) or instruction.conditional
            if falls_through and i + 1 < len(self.instructions):
                following.append(i + 1)
            result.append(tuple(dict.fromkeys(following)))
        return result


def parse(listing: str, kernel: str) -> Program:
    """Return the code of one kernel, and of the helpers that the compiler put behind it.

    Parameters
    ----------
    listing
        What ``nvdisasm -c`` printed.
    kernel
        The kernel's name.

    Raises
    ------
    ValueError
        If the listing has no code of that name.
    """
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    inside = False
    for line in listing.splitlines():
        if section := _SECTION.match(line):
            inside = section[1] == f".text.{kernel}"
        elif not inside:
            continue
        elif found := _INSTRUCTION.match(line):
            target = _TARGET.match(found["operands"])
            conditional = found["guard"] is not None or bool(target and target["condition"].strip())
            label = target["label"] if target else None
            instructions.append(Instruction(found["opcode"], conditional, label))
        elif marked := _LABEL.match(line):
            labels[marked[1]] = len(instructions)
    if not instructions:
        raise ValueError(f"the listing has no code of a kernel {kernel!r}")
    return Program(tuple(instructions), labels)


def _is_jumping_call(instruction: Instruction) -> bool:
    """Return whether a call is a jump in disguise.

    On sm_80 a branch that is far away is written as a call without return to a local label.
    """
    target = instruction.target or ""
    return instruction.opcode == "CALL.REL.NOINC" and target.startswith(".L")


def _reverse_postorder(successors: Sequence[Sequence[int]]) -> list[int]:
    order: list[int] = []
    seen = {0}
    stack = [(0, iter(successors[0]))]
    while stack:
        node, remaining = stack[-1]
        for following in remaining:
            if following not in seen:
                seen.add(following)
                stack.append((following, iter(successors[following])))
                break
        else:
            order.append(node)
            stack.pop()
    return order[::-1]


def _immediate_dominators(
    successors: Sequence[Sequence[int]], order: Sequence[int]
) -> dict[int, int]:
    """Return every reachable node's closest dominator (Cooper, Harvey and Kennedy's iteration)."""
    rank = {node: i for i, node in enumerate(order)}
    predecessors: dict[int, list[int]] = {node: [] for node in order}
    for node in order:
        for following in successors[node]:
            predecessors[following].append(node)
    parents = {order[0]: order[0]}
    changed = True
    while changed:
        changed = False
        for node in order[1:]:
            known = [p for p in predecessors[node] if p in parents]
            best = known[0]
            for other in known[1:]:
                while best != other:
                    if rank[best] > rank[other]:
                        best = parents[best]
                    else:
                        other = parents[other]
            if parents.get(node) != best:
                parents[node] = best
                changed = True
    return parents


def _dominates(candidate: int, node: int, parents: Mapping[int, int]) -> bool:
    while node != candidate and parents[node] != node:
        node = parents[node]
    return node == candidate


def _body(head: int, tail: int, predecessors: Mapping[int, Sequence[int]]) -> set[int]:
    body = {head, tail}
    stack = [] if tail == head else [tail]
    while stack:
        for previous in predecessors[stack.pop()]:
            if previous not in body:
                body.add(previous)
                stack.append(previous)
    return body
