"""The command line starts without what only its work needs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ladnet_fast
import ladnet_fast.demo
from ladnet_fast._choices import LAYOUT_NAMES
from ladnet_fast.cli.app import app
from ladnet_fast.data import LAYOUTS

HEAVY = ("torch", "numpy", "scipy", "sklearn", "matplotlib", "av", "h5py", "triton", "safetensors")


def test_no_help_imports_torch_or_numpy() -> None:
    """In one process: whatever a command imports at its top would be seen by the next one."""
    commands = [command.name for command in app.registered_commands]
    assert len(commands) >= 9
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from ladnet_fast.cli.app import app\n"
        f"for arguments in [[], *([name] for name in {commands!r})]:\n"
        "    done = CliRunner().invoke(app, [*arguments, '--help'])\n"
        "    assert done.exit_code == 0, done.output\n"
        f"print(*(name for name in {HEAVY!r} if name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_a_wrong_option_is_told_without_torch() -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from ladnet_fast.cli.app import app\n"
        "done = CliRunner().invoke(app, ['score', '--modle', 'x'])\n"
        "print(done.exit_code, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["2", "False"], done.stderr


def test_the_layouts_that_options_name_are_those_of_the_readers() -> None:
    assert tuple(LAYOUTS) == LAYOUT_NAMES


@pytest.mark.parametrize("package", [ladnet_fast, ladnet_fast.demo], ids=["ladnet_fast", "demo"])
def test_a_lazy_package_offers_what_it_lists(package) -> None:  # type: ignore[no-untyped-def]
    listed = set(package.__all__)
    for name in listed:
        assert getattr(package, name) is not None
    assert listed <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'LANett'"):
        package.LANett  # noqa: B018 - asking is the test


@pytest.mark.parametrize("package", [ladnet_fast, ladnet_fast.demo], ids=["ladnet_fast", "demo"])
def test_type_checkers_see_the_same_names(package) -> None:  # type: ignore[no-untyped-def]
    tree = ast.parse(Path(package.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {alias.name for node in block.body for alias in node.names}  # type: ignore[attr-defined]
    (attached,) = [node for node in ast.walk(block) if isinstance(node, ast.Dict)]
    lazy = {key.value for key in attached.keys}  # type: ignore[union-attr]
    modules = {name for name in imported if name.islower() and name not in lazy}
    assert imported - modules == lazy
    for name in modules:
        assert getattr(package, name).__name__ == f"{package.__name__}.{name}"


def test_the_core_can_be_star_imported() -> None:
    space: dict[str, object] = {}
    exec("from ladnet_fast import *", space)
    assert space["LANet"] is ladnet_fast.LANet
