"""``python -m benchmarks front-page``: the pictures of README.md, from numbers that are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def front_page(
    demo: Annotated[
        Path | None,
        typer.Option(help="Folder of a demo, whose scores are kept from now on."),
    ] = None,
) -> None:
    """Draw the pictures of README.md.

    Examples: python -m benchmarks front-page,
    python -m benchmarks front-page --demo demo-output
    """
    from . import demo_bags, growth, pictures

    if demo is not None:
        try:
            demo_bags.write(demo_bags.choose(demo))
        except (ValueError, FileNotFoundError) as error:
            raise typer.BadParameter(str(error)) from error
    for path in pictures.draw(demo_bags.read(), growth.read()):
        typer.echo(path)
