"""Run a block of a page, or read it where the page says why it is not run."""

from __future__ import annotations

import ast
import csv
import importlib
import json
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from ladnet_fast.cli.app import app
from ladnet_fast.data.manifest import NOTES, OPTIONAL, REQUIRED
from ladnet_fast.engine import load_config

from . import commands, shell
from .markdown import Block


def run_or_read(block: Block, reason: str | None, names: dict[str, Any], place: Path) -> None:
    """Run a block, or only read it where there is a reason."""
    if block.language == "python":
        _python(block, reason, names)
    elif block.language in ("sh", "console"):
        _shell(block, reason, place)
    elif block.language in _READERS:
        try:
            _READERS[block.language](block.text, place)
        except Exception as error:
            raise AssertionError(f"{block}: this is no {block.language}: {error}") from error
    elif not reason:
        raise AssertionError(
            f"{block}: nothing runs or reads {block.language!r}; say why in a comment above it: "
            "<!-- not run: REASON -->"
        )


def _python(block: Block, reason: str | None, names: dict[str, Any]) -> None:
    tree = ast.parse(block.text, block.page)
    ast.increment_lineno(tree, block.line - 1)
    if not reason:
        names["__name__"] = "__main__"
        exec(compile(tree, block.page, "exec"), names)
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                assert hasattr(module, alias.name), f"{block}: {node.module} has no {alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)


def _shell(block: Block, reason: str | None, place: Path) -> None:
    try:
        found = shell.commands(block.text, place)
    except shell.ShellError as error:
        raise AssertionError(f"{block}: {error}") from error
    for command in found:
        try:
            commands.check(command)
        except commands.CommandError as error:
            raise AssertionError(f"{block}: {error}") from error
        if reason:
            continue
        arguments = commands.arguments_of(command)
        if arguments is None:
            raise AssertionError(
                f"{block}: {command.words[0]} is not run by this test; say why in a comment above "
                "the block: <!-- not run: REASON -->"
            )
        result = CliRunner().invoke(app, arguments)
        told = result.output or repr(result.exception)
        assert result.exit_code == 0, f"{block}: {command}\n{told}"


def _csv(text: str, _: Path) -> None:
    header, *rows = csv.reader(text.splitlines())
    assert all(len(row) == len(header) for row in rows), "a row is longer or shorter"
    if header[:2] == ["video", "features"]:
        unknown = set(header) - {*REQUIRED, *OPTIONAL, *NOTES}
        assert not unknown, f"a manifest has no column {sorted(unknown)}"


def _json(text: str, _: Path) -> None:
    try:
        json.loads(text)
    except json.JSONDecodeError:  # a value for each line
        for line in text.splitlines():
            json.loads(line)


def _yaml(text: str, place: Path) -> None:
    value = yaml.safe_load(text)
    if set(value) <= {"model", "loss", "training"}:
        path = place / "of-the-page.yaml"
        path.write_text(text, encoding="utf-8")
        load_config(path)


def _toml(text: str, _: Path) -> None:
    commands.tomllib.loads(text)


def _text(text: str, _: Path) -> None:
    """Output and layouts: nothing to run, whatever they look like."""


_READERS = {"csv": _csv, "json": _json, "yaml": _yaml, "toml": _toml, "text": _text}
