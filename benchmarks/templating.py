"""How the pages of benchmarks are rendered from benchmarks/templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

_FOLDER = Path(__file__).parent / "templates"


def environment(*, trim: bool = True) -> jinja2.Environment:
    """Return Jinja's environment for Markdown; a name that a template lacks is an error.

    Parameters
    ----------
    trim : bool
        Whether lines that hold nothing but a statement leave no line behind.
    """
    options: dict[str, Any] = {"trim_blocks": trim, "lstrip_blocks": trim}
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Markdown from our own numbers
        **options,
    )
