"""The end of a command of which a part failed: what is missing, and why."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from ._console import errors, say


def report(failures: Sequence[tuple[str, str]], *, what: str, total: int) -> None:
    """List what failed with its reasons and end with status 1; do nothing where nothing failed."""
    if not failures:
        return
    lines = [f"{len(failures)} of {total} videos {what}:"]
    lines += [f"  {name}: {reason}" for name, reason in failures]
    if total > len(failures):
        lines.append("the others are complete; mend these, or leave them out, and run again")
    say("\n".join(lines), mark="error:", style="bold red", to=errors)
    raise typer.Exit(1)
