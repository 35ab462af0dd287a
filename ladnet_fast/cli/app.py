"""The application: its commands, and what becomes of an error."""

from __future__ import annotations

import errno
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .. import __version__
from .._wording import options_named
from . import (
    check,
    demo,
    doctor,
    evaluate,
    export,
    extract,
    pack,
    score,
    train,
    truth,
    watch,
)
from ._console import console, errors, message_of, say

#: Wrong arguments; typer prints what is wrong, and the usage.
_USAGE_ERRORS: tuple[Any, ...] = typer.BadParameter.__bases__


class _Group(TyperGroup):
    """Turns an expected error of a command into one message and exit status 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            with options_named():
                return super().invoke(ctx)
        except (typer.Exit, typer.Abort, *_USAGE_ERRORS):
            raise  # typer's own, --help among them
        except Exception as error:
            message = message_of(error)
            if message is None or ctx.params.get("debug") or _is_closed_pipe(error):
                raise
            say(message, mark="error:", style="bold red", to=errors)
            raise typer.Exit(1) from error


def _is_closed_pipe(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def _show_version(wanted: bool) -> None:
    if wanted:
        console.print(f"ladnet-fast {__version__}", highlight=False)
        raise typer.Exit


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="LA-Net with Discriminative Dynamics Learning: weakly supervised video anomaly detection.",
)


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Take the options that stand before the command; `_Group` reads them."""


for _module in (
    extract, check, pack, train, score, watch, evaluate, truth, export, demo, doctor,
):  # fmt: skip
    _module.register(app)
