"""What the compiler reads of a kernel after parsing and inlining (TTIR): which products wait.

Triton up to 3.8 miscompiles loops for GPUs with tensor memory (sm_100, 103, 110) in which a product
needs what another product left in a sum that is carried from turn to turn: two products added into
one sum, or a sum that is an operand of a second product. The pipeline starts the next turn's
product too early (triton-lang/triton, issue 10821 and pull request 10993). Sums of their own, added
behind the loop, are right with every release.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import networkx

_VALUE = re.compile(r"%[\w$.-]+(?:#\d+)?")
_RESULTS = re.compile(r"^(%[\w$.-]+)(?::(\d+))? = (.*)$")
_OPERATION = re.compile(r'^"?([a-z_]\w*(?:\.\w+)+)')
_CARRIED = re.compile(r"iter_args\((.*?)\) ->")
_LOCATION = re.compile(r"\s+loc\([^{]*\)$")
_PRODUCTS = ("tt.dot", "tt.dot_scaled")
_FOR = "scf.for"


@dataclass
class _Loop:
    """Who reads whom in a turn, and in the next one; the products that are not in an inner loop."""

    graph: networkx.DiGraph = field(default_factory=networkx.DiGraph)
    products: list[str] = field(default_factory=list)

    def join(self, read: Iterable[str], results: Iterable[str]) -> None:
        """Note that every result depends on everything that is read."""
        self.graph.add_edges_from(itertools.product(read, results))


@dataclass
class _Region:
    """An operation with a body, while its lines are read, and the loop that it is or lies in."""

    operation: str
    results: list[str]
    carried: list[str]
    loop: _Loop = field(default_factory=_Loop)


def chained_products(ttir: str) -> list[str]:
    """Return the products that wait for a sum which another product of their loop has added to.

    Parameters
    ----------
    ttir
        The text of a module, without calls: ``Binary.ttir`` or ``Build.ttir()``.

    Returns
    -------
    list of str
        The names of their results, in the order of the code; empty if every sum that a loop carries
        is added to by one product, and read by no other one.
    """
    found = []
    for loop in _loops(ttir):
        components = list(networkx.strongly_connected_components(loop.graph))
        waiting: set[str] = set()
        for product, part in itertools.product(loop.products, components):
            if product in part and len(part) > 1:  # a sum that is carried goes in a circle
                waiting |= networkx.descendants(loop.graph, product) - {product}
        found += [product for product in loop.products if product in waiting]
    return found


def _loops(ttir: str) -> Iterator[_Loop]:
    """Yield every ``scf.for`` of a module, inner ones first."""
    regions: list[_Region] = []
    for line in ttir.splitlines():
        text = _LOCATION.sub("", line).strip()
        if text.startswith("}"):
            closed = regions.pop()
            if text.startswith(("} else", "} do")):
                regions.append(closed)
            elif closed.operation == _FOR:
                yield closed.loop
                if regions:
                    # To what is around it, its results depend on all that it reads.
                    regions[-1].loop.join(closed.loop.graph.nodes, closed.results)
            continue
        names, operation, operands = _read(text)
        around = regions[-1] if regions else _Region("", [], [])
        if operation == "scf.yield":
            # Of a loop into the next turn, of a branch into its results.
            ends = around.carried if around.operation == _FOR else around.results
            around.loop.graph.add_edges_from(zip(operands, ends, strict=True))
        else:
            around.loop.join(operands, names)
            if operation in _PRODUCTS:
                around.loop.products += names
        if text.endswith("{"):
            own = _Loop() if operation == _FOR else around.loop
            regions.append(_Region(operation, names, _carried(text), own))


def _read(text: str) -> tuple[list[str], str, list[str]]:
    """Return an operation's results, its name and its operands."""
    results = _RESULTS.match(text)
    names: list[str] = []
    rest = text
    if results:
        name, count, rest = results[1], int(results[2] or 1), results[3]
        names = [name] if results[2] is None else [f"{name}#{i}" for i in range(count)]
    operation = _OPERATION.match(rest)
    return names, operation[1] if operation else "", _VALUE.findall(rest)


def _carried(text: str) -> list[str]:
    """Return the names that a loop's body has for what is carried from turn to turn."""
    found = _CARRIED.search(text)
    return [pair.split(" = ")[0] for pair in found[1].split(", ")] if found else []
