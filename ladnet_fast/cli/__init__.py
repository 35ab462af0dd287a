"""The command ``ladnet-fast``; what it needs comes with the extra "tools"."""

from __future__ import annotations

import io
import sys
from typing import TextIO

from .._extras import MissingExtraError, import_extra


def main() -> None:
    """Run ``ladnet-fast`` with the arguments of the process."""
    try:
        for module in ("typer", "rich"):
            import_extra(module, extra="tools", purpose="run ladnet-fast")
    except MissingExtraError as error:
        print(f"ladnet-fast: {error}", file=sys.stderr)
        sys.exit(1)
    from ._signals import end_in_order
    from .app import app

    for stream in (sys.stdout, sys.stderr):
        print_any_name(stream)
    end_in_order()
    app(prog_name="ladnet-fast")


def print_any_name(stream: TextIO | None) -> None:
    """Let a stream escape what its encoding lacks; a name then doesn't end the command.

    Files and pipes have the system's encoding on Windows, and ASCII in some containers.
    """
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
