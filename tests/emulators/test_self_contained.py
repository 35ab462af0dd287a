"""The emulators stand on their own: nothing that they import or include is of the project."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
#: Package -> what it may import beside the standard library and itself.
PACKAGES = {
    "cuda_on_cpu": {"numpy", "pytest"},
    "ptx_on_cpu": {"numpy", "pytest", "torch", "triton"},
    "launched_ptx": {"numpy", "pytest", "cuda_on_cpu", "ptx_on_cpu"},
}
#: The interpreter itself, and what runs in a process where a sanitizer watches.
NUMPY_ALONE = ["ptx_on_cpu/interpreter", "cuda_on_cpu/device.py", "cuda_on_cpu/job.py"]


def imported(path: Path) -> set[str]:
    """Return the top-level names that a file imports; for the packages here, their own names."""
    names = set()
    parts = path.relative_to(HERE).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            # Each dot is a folder up: the first one is the file's own.
            inside = parts[: len(parts) - node.level]
            below = (node.module or "").split(".") if node.module else []
            named = [a.name for a in node.names] if not inside and not below else []
            found = (*inside, *below, *named)
            names.add(found[0] if found and len(parts) >= node.level else "above the emulators")
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


def foreign(path: Path, allowed: set[str]) -> set[str]:
    return imported(path) - allowed - set(sys.stdlib_module_names)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_nothing_of_the_project(package):
    files = sorted((HERE / package).rglob("*.py"))
    assert files
    allowed = {package} | PACKAGES[package]
    assert {str(f): foreign(f, allowed) for f in files if foreign(f, allowed)} == {}


@pytest.mark.parametrize("part", NUMPY_ALONE)
def test_numpy_is_all_that_is_needed(part):
    path = HERE / part
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        assert foreign(file, {"numpy", part.partition("/")[0]}) == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_includes_its_own_files_and_those_of_cuda_and_the_language(package):
    folder = HERE / package
    own = {path.name for path in ROOT.glob("csrc/*/*.h*")} | {"core", "cpu", "cuda", "bindings"}
    for path in [p for p in folder.rglob("*") if p.suffix in (".h", ".cpp", ".cu")]:
        for quote, name in re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)', path.read_text(), re.M):
            if quote == '"':
                assert (path.parent / name).resolve().is_relative_to(folder), (path, name)
                assert (path.parent / name).is_file(), (path, name)
            else:
                assert not set(name.split("/")) & own, (path, name)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_does_not_name_the_project(package):
    for path in (HERE / package).rglob("*"):
        if path.suffix in (".py", ".h", ".cpp", ".cu", ".md"):
            assert "ladnet" not in path.read_text().lower(), path


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("import tests.names", "tests"),
        ("from ladnet_fast import ops", "ladnet_fast"),
        ("from ...names import x", "above the emulators"),
        ("from ... import names", "above the emulators"),
        ("from ..ptx_on_cpu import run", "ptx_on_cpu"),
        ("from .. import ptx_on_cpu", "ptx_on_cpu"),
        ("from .job import run_job", "cuda_on_cpu"),
        ("from . import job", "cuda_on_cpu"),
    ],
)
def test_what_is_imported_is_read_right(line, found, monkeypatch, tmp_path):
    monkeypatch.setitem(globals(), "HERE", tmp_path)
    file = tmp_path / "cuda_on_cpu" / "module.py"
    file.parent.mkdir()
    file.write_text(line)
    assert imported(file) == {found}
