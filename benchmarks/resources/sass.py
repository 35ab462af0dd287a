"""Reading NVIDIA machine code (SASS) as ``nvdisasm -c`` prints it: instructions and loops.

Loops are found in the control-flow graph, not by looking for jumps upwards: compilers move the rare
half of a loop (waiting for a barrier) behind the end of the function, and jump back from there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import networkx

_SECTION = re.compile(r"^\s*\.section\s+(\S+?),")
_LABEL = re.compile(r"^\s*(\.L[\w$.]+|\$?[\w$.]+):\s*$")
_INSTRUCTION = re.compile(
    r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:\{\s*)?(?P<guard>@!?U?P\w+\s+)?(?P<opcode>[A-Z][\w.]*)"
    r"(?P<operands>[^;]*);"
)
_TARGET = re.compile(r"(?P<condition>[^`]*)`\((?P<label>[^)]+)\)")
#: Jumps whose targets are in a table, and how nvdisasm writes down what is in it.
_INDIRECT = ("BRX", "JMX", "BRXU")
_TABLE = re.compile(r'\(\*"BRANCH_TARGETS (?P<labels>[^"]+)"\*\)')
_JUMPS = ("BRA", "JMP")
_ENDS = ("EXIT", "RET", "KILL", "BPT")


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    ``conditional``: it may do nothing, by its guard or, for jumps such as ``BRA.U UP0, target``, by
    an operand. ``target``: the label among its operands. ``table``: the labels that an indirect
    jump may lead to.
    """

    opcode: str
    conditional: bool = False
    target: str | None = None
    table: tuple[str, ...] = ()

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
        graph = networkx.DiGraph()
        graph.add_node(0)
        graph.add_edges_from((i, j) for i, after in enumerate(self._successors()) for j in after)
        # Of what can be reached; networkx's releases differ about the entry's own.
        parents = {**networkx.immediate_dominators(graph, 0), 0: 0}
        graph = graph.subgraph(parents).copy()
        # What dominates a node is left after it; few edges lead to such a one.
        left = {node: i for i, node in enumerate(networkx.dfs_postorder_nodes(graph, 0))}
        bodies: dict[int, set[int]] = {}
        for tail, head in graph.edges:
            if left[head] >= left[tail] and _dominates(head, tail, parents):
                bodies.setdefault(head, {head}).update(_body(head, tail, graph))
        return [Loop(head, frozenset(bodies[head]), self.instructions) for head in sorted(bodies)]

    def _successors(self) -> list[tuple[int, ...]]:
        result = []
        for i, instruction in enumerate(self.instructions):
            following: list[int] = []
            name = instruction.name
            jumps = name in _JUMPS or _is_jumping_call(instruction)
            if name in _INDIRECT:
                following += [self.labels[label] for label in instruction.table]
                if not following:
                    # A loop would be missed.
                    raise ValueError(
                        f"instruction {i} is an indirect jump ({instruction.opcode}) that nvdisasm "
                        "names no targets of"
                    )
            if jumps and instruction.target in self.labels:
                following.append(self.labels[instruction.target or ""])
            falls_through = not (jumps or name in (*_INDIRECT, *_ENDS)) or instruction.conditional
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
            table = _TABLE.search(found["operands"])
            labels_of = tuple(table["labels"].split(",")) if table else ()
            instructions.append(Instruction(found["opcode"], conditional, label, labels_of))
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


def _dominates(candidate: int, node: int, parents: Mapping[int, int]) -> bool:
    while node not in (candidate, 0):
        node = parents[node]
    return node == candidate


def _body(head: int, tail: int, graph: networkx.DiGraph) -> set[int]:
    """Return the tail of a loop and all that leads to it without passing the head."""
    body, stack = {head, tail}, [tail] if tail != head else []
    while stack:
        for previous in graph.predecessors(stack.pop()):
            if previous not in body:
                body.add(previous)
                stack.append(previous)
    return body
