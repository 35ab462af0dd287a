"""Plots of a summary: differences with their intervals, and the curves over training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

from ladnet_fast._files import atomic_path

_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "ladnet_fast",  # the same numbers give the same file
    "svg.fonttype": "none",  # text as text: a quarter of the size
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_LINES = 8  # a plot of more curves can't be read


def draw_differences(summary: dict[str, Any], path: Path) -> bool:
    """Draw every configuration's difference from the baseline, last epoch, as SVG.

    Returns whether there was anything to draw.
    """
    panels = [
        (figure, label, _differences(summary["rows"], figure))
        for figure, label in (("auc", "AUC, all videos"), ("anomalous_auc", "AUC, anomalous ones"))
    ]
    if not panels[0][2]:
        return False
    names = [row["configuration"] for row in panels[0][2]]
    with matplotlib.rc_context(_STYLE):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 1 + 0.24 * len(names)), layout="constrained")
        for axes, (_, label, rows) in zip(figure.subplots(1, 2, sharey=True), panels, strict=True):
            middle = [row["difference"] for row in rows]
            spread = [
                [m - row["difference_low"] for m, row in zip(middle, rows, strict=True)],
                [row["difference_high"] - m for m, row in zip(middle, rows, strict=True)],
            ]
            places = range(len(rows))
            # An interval drawn over videos may lie to one side of what all videos give.
            spread = [[max(value, 0) for value in side] for side in spread]
            axes.errorbar(middle, places, xerr=spread, fmt="o", markersize=3, capsize=2)
            axes.axvline(0, color="black", linewidth=0.8)
            axes.set_yticks(places, names)
            axes.set_xlabel(f"{label}: difference from {summary['baseline']}")
        axes.invert_yaxis()
        _save(figure, path)
    return True


def draw_curves(summary: dict[str, Any], path: Path) -> bool:
    """Draw both AUCs over the epochs, means over seeds, of the first few configurations."""
    curves = {name: curve for name, curve in summary["curves"].items() if len(curve["auc"]) > 1}
    if not curves:
        return False
    with matplotlib.rc_context(_STYLE):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 3), layout="constrained")
        panels = figure.subplots(1, 2)
        for axes, what, label in zip(
            panels, ("auc", "anomalous_auc"), ("all videos", "anomalous ones"), strict=True
        ):
            for name, curve in list(curves.items())[:_LINES]:
                axes.plot(range(1, len(curve[what]) + 1), curve[what], label=name, linewidth=1.2)
            axes.set_xlabel("epoch")
            axes.set_ylabel(f"AUC, {label}")
        panels[0].legend(fontsize=7)
        _save(figure, path)
    return True


def draw_shown(summary: dict[str, Any], path: Path) -> bool:
    """Draw, for every configuration shown, the curves of the videos it helps and hurts most."""
    rows = [(name, found["most"]) for name, found in summary["shown"].items() if found["most"]]
    if not rows:
        return False
    with matplotlib.rc_context(_STYLE):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 1.9 * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), 2, squeeze=False)
        for row, (name, most) in zip(grid, rows, strict=True):
            for axes, what in zip(row, ("helped", "hurt"), strict=True):
                video = most[what]
                places = range(len(video["scores"]))
                axes.fill_between(places, video["anomalous"], step="mid", alpha=0.2, color="red")
                axes.plot(places, video["baseline"], label=summary["baseline"], linewidth=1)
                axes.plot(places, video["scores"], label=name, linewidth=1)
                axes.set_ylim(0, 1)
                axes.set_title(
                    f"{what} most: {video['video']}, {video['before']:.2f} to {video['after']:.2f}",
                    fontsize=8,
                )
            row[0].legend(fontsize=7)
        _save(figure, path)
    return True


def _differences(rows: list[dict[str, Any]], figure: str) -> list[dict[str, Any]]:
    return [
        row
        for row in rows
        if (row["figure"], row["which"]) == (figure, "last")
        and row.get("difference_low") is not None
    ]


def _save(figure: Any, path: Path) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        figure.savefig(file, format="svg", metadata={"Date": None})
