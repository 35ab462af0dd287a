"""What can be told of a command without running it: its options, modules, targets, files."""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any

import typer

from .markdown import ROOT
from .shell import Command

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest brings it along
    import tomli as tomllib


class CommandError(AssertionError):
    """A command that would not run as it is written."""


def check(command: Command) -> None:
    """Raise CommandError where a command names what does not exist."""
    name, *words = command.words
    if name == "ladnet-fast":
        _ladnet_fast(words)
    elif name in ("python", "python3", "torchrun"):
        _module(words)
    elif name == "pytest":
        _pytest(words)
    elif name == "make":
        _make(words)
    elif name == "pip":
        _pip(words)


def arguments_of(command: Command) -> list[str] | None:
    """Return the arguments if this is ``ladnet-fast``, in either spelling, else None."""
    name, *words = command.words
    if name == "ladnet-fast":
        return words
    if name == "python" and words[:2] == ["-m", "ladnet_fast.cli"]:
        return words[2:]
    return ["doctor"] if (name, *words) == ("python", "-m", "ladnet_fast") else None


@cache
def _program() -> Any:
    """Return the program with commands that do nothing: what is left is its reading of options."""
    from ladnet_fast.cli.app import app

    program = typer.main.get_command(app)
    for command in program.commands.values():
        command.callback = lambda **_: None
    return program


@cache
def options(name: str | None = None) -> frozenset[str]:
    """Return the options of a command of ``ladnet-fast``, or those of all of them."""
    program = _program()
    asked = [program, *(program.commands.values() if name is None else [program.commands[name]])]
    found = [o for command in asked for p in command.params for o in (*p.opts, *p.secondary_opts)]
    return frozenset((*found, "--help"))


def check_mentioned(words: list[str]) -> None:
    """Raise CommandError where a command named in passing, perhaps in part, has no such option."""
    name, *rest = words
    if name != "ladnet-fast":
        check(Command(tuple(words)))
        return
    command = next((word for word in rest if not word.startswith("-")), None)
    if command == "COMMAND":
        command = None
    if command is not None and command not in _program().commands:
        raise CommandError(f"ladnet-fast has no command {command}")
    for word in rest:
        option = word.partition("=")[0]
        if option.startswith("--") and option not in options(command):
            raise CommandError(f"ladnet-fast {command} has no option {option}")


def _ladnet_fast(words: list[str]) -> None:
    try:
        _program().main(list(words), prog_name="ladnet-fast", standalone_mode=False)
    except Exception as error:
        # typer may bring its own copy of click's errors, so they are told by what they can do.
        if not hasattr(error, "format_message"):
            raise
        raise CommandError(f"ladnet-fast {' '.join(words)}: {error.format_message()}") from error


def _module(words: list[str]) -> None:
    """Check ``python -m MODULE --option``, also behind torchrun, and the file of a script."""
    if "-c" in words:
        compile(words[words.index("-c") + 1], "python -c", "exec")
        return
    if "-m" not in words:
        scripts = [word for word in words if word.endswith(".py")]
        for script in scripts:
            if not (ROOT / script).is_file():
                raise CommandError(f"there is no {script}")
        return
    module, *rest = words[words.index("-m") + 1 :]
    if module == "ladnet_fast.cli":
        _ladnet_fast(rest)
        return
    if module == "pytest":
        _pytest(rest)
        return
    if module == "ladnet_fast" and rest:
        raise CommandError(f"python -m ladnet_fast takes no arguments, and {rest} were given")
    source = _source(module)
    for word in rest:
        if word.startswith("--"):
            option = word.partition("=")[0]
            if f'"{option}"' not in source and not _is_parameter(option, source):
                raise CommandError(f"python -m {module} has no option {option}")


def _is_parameter(option: str, source: str) -> bool:
    """Whether a function has a parameter of the option's name, as typer makes options."""
    name = re.escape(option.removeprefix("--").removeprefix("no-").replace("-", "_"))
    return re.search(rf"\b{name}: ", source) is not None


@cache
def _source(module: str) -> str:
    """Return the source of a module; of a package, that of all its modules."""
    found = util.find_spec(module)
    if found is None or found.origin is None:
        raise CommandError(f"there is no module {module}")
    path = Path(found.origin)
    files = path.parent.rglob("*.py") if path.name == "__init__.py" else [path]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def _pytest(words: list[str]) -> None:
    for word in words:
        if word.startswith("tests") and not (ROOT / word.partition("::")[0]).exists():
            raise CommandError(f"there is no {word}")


def _make(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        name, is_variable, _ = word.partition("=")
        if is_variable and f"$({name})" not in makefile:
            raise CommandError(f"the Makefile knows no variable {name}")
        if not is_variable and not re.search(rf"^{re.escape(name)}:", makefile, re.MULTILINE):
            raise CommandError(f"the Makefile has no target {name}")


def _pip(words: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for word in words:
        ours = re.fullmatch(r"(?:\.|ladnet-fast)\[(.+)\]", word)
        unknown = set(ours[1].split(",")) - set(extras) if ours else set()
        if unknown:
            raise CommandError(f"{word}: no extra {sorted(unknown)}; there are {sorted(extras)}")
        if word.startswith("examples/") and not (ROOT / word).exists():
            raise CommandError(f"there is no {word}")
