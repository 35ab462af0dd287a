"""The command ``ladnet-fast``; what it needs comes with the extra "tools"."""

from __future__ import annotations

import sys

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

    end_in_order()
    app(prog_name="ladnet-fast")
