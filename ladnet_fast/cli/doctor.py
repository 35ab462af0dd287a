"""``ladnet-fast doctor``."""

from __future__ import annotations

import typer

from ._console import help_text, say

_EXAMPLE = """
[bold]Example[/]

ladnet-fast doctor
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", help=help_text(command), epilog=_EXAMPLE)(command)


def command() -> None:
    """Show versions, what is built, and which implementations each operator has here."""
    from ..doctor import report

    say(report())
