"""Build the module; write the table and the page. See the package's docstring."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from . import build, page, table


def main() -> None:
    """Write what is checked in, and say what changed."""
    if build.problem():
        sys.exit(build.problem())
    old = table.load()["kernels"] if table.TABLE.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        new = table.make(build.build_module(Path(folder)))
    table.TABLE.write_text(table.dump(new))
    page.PAGE.write_text(page.render(new))
    worse, other = table.differences(old, new["kernels"])
    for line in [*(f"worse: {line}" for line in worse), *other]:
        print(line)
    problems = table.broken_promises(new["kernels"])
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
