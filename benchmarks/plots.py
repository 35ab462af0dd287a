"""Plots of a run: how time, speed and memory go with the length of a bag."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from ladnet_fast._files import atomic_path

from .vocabulary import Op

Row = dict[str, Any]
#: side -> {size -> value}
Series = dict[str, dict[int, float]]

_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "ladnet_fast",  # the same numbers give the same file
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def series(rows: list[Row], axis: str, value: str) -> Series:
    """Group rows into one line a side: ``value`` ("seconds" or "peak_bytes") over an axis.

    Only that axis varies along a line: rows whose other sizes are not the first row's are left out.
    """
    lines: Series = defaultdict(dict)
    for row in rows:
        found = row[value]
        if found is not None and _others(row, axis) == _others(rows[0], axis):
            number = found["p50"] if value == "seconds" else found
            lines[row["side"]][row["shape"][axis]] = number
    return {side: dict(sorted(points.items())) for side, points in lines.items()}


def _others(row: Row, axis: str) -> dict[str, int]:
    return {name: size for name, size in row["shape"].items() if name != axis}


def draw_growth(op: Op, rows: list[Row], path: Path) -> bool:
    """Draw time and, where it was measured, peak memory over the operator's axis as SVG.

    Returns whether there was anything to draw: a line needs two points.
    """
    assert op.varies is not None
    panels = [
        (series(rows, op.varies, "seconds"), "time of a call (s)"),
        (series(rows, op.varies, "peak_bytes"), "peak memory of a call (bytes)"),
    ]
    panels = [
        (lines, label)
        for lines, label in panels
        if any(len(points) > 1 for points in lines.values())
    ]
    if not panels:
        return False
    # Not pyplot: no window system, no global state.
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.6 * len(panels), 3.4), layout="constrained")
        for axes, (lines, label) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            for side, points in lines.items():
                axes.plot(list(points), list(points.values()), marker="o", ms=3, label=side)
            axes.set(xscale="log", yscale="log", xlabel=f"{op.varies} (snippets)", ylabel=label)
            axes.legend(frameon=False, fontsize=8)
        figure.suptitle(op.title, fontsize=10)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})
    return True
