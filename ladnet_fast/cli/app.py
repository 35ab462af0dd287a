"""The application: its commands, and what becomes of an error."""

from __future__ import annotations

import errno
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from .. import __version__
from . import check, demo, doctor, evaluate, extract, score, train, truth
from ._console import EXPECTED_ERRORS, console, errors


class _Group(TyperGroup):
    """Turns an expected error of a command into one message and exit status 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except EXPECTED_ERRORS as error:
            if ctx.params.get("debug") or getattr(error, "errno", None) == errno.EPIPE:
                raise
            # A message may hold [s,e) and the like, which is no markup.
            text = escape(str(error) or type(error).__name__)
            errors.print(f"[bold red]error:[/] {text}", highlight=False, soft_wrap=True)
            raise typer.Exit(1) from error


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


for _module in (extract, check, train, score, evaluate, truth, demo, doctor):
    _module.register(app)
