"""Who may import whom: losses -> nn -> ops -> kernels, no arrow back; backends never each other.

Imports inside of functions count, too. Those under ``TYPE_CHECKING`` run nowhere and don't.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ladnet_fast
from ladnet_fast.ops.ddl_loss import schema as ddl_loss
from ladnet_fast.ops.locality_attention import schema as locality_attention
from ladnet_fast.ops.residual_norm import schema as residual_norm
from ladnet_fast.ops.score_head import schema as score_head

ROOT = Path(ladnet_fast.__file__).parent
KERNELS = Path(__file__).parents[2] / "kernels"
#: Room -> the rooms and modules of the package that it may import, beside itself.
ALLOWED = {
    "kernels": {"_files"},
    "ops": {"kernels", "_files", "_locks", "_native", "_values", "_version"},
    "nn": {
        "ops",
        "_extras",
        "_files",
        "_out_of_memory",
        "_records",
        "_tensors",
        "_values",
        "_version",
    },
    "losses": {"nn", "ops", "_values"},
}


def files_of(room: str) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield each file of a room with the names of its package's parents, the room first."""
    folder = KERNELS if room == "kernels" else ROOT / room
    for path in sorted(folder.rglob("*.py")):
        yield path, (room, *path.relative_to(folder).parts[:-1])


def imported(path: Path, package: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield what a file imports of ladnet_fast, as names below it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unused = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in unused or not isinstance(node, ast.ImportFrom | ast.Import):
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            assert not any(name.split(".")[0] == "ladnet_fast" for name in names), path
            continue
        module = tuple(node.module.split(".")) if node.module else ()
        assert node.level or module[0] != "ladnet_fast", f"{path}:{node.lineno} must be relative"
        if node.level:
            base = package[: len(package) - node.level + 1]
            for alias in node.names:
                yield (*base, *module, alias.name)


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_itself_and_what_lies_below_it(room):
    found = [(path, package) for path, package in files_of(room)]
    assert len(found) > 2
    reached = {names[0] for path, package in found for names in imported(path, package)}
    assert reached <= ALLOWED[room] | {room}


@pytest.mark.parametrize("schema", [ddl_loss, locality_attention, residual_norm, score_head])
def test_backends_do_not_import_each_other(schema):
    backends = {module.__name__.rpartition(".")[2] for module in schema.BACKENDS.values()}
    assert "reference" in backends
    operator = tuple(schema.__name__.split(".")[1:-1])
    for backend in backends:
        path = ROOT.joinpath(*operator, f"{backend}.py")
        for names in imported(path, operator):
            others = backends - {backend}
            assert names[: len(operator)] != operator or names[len(operator)] not in others
