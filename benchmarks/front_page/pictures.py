"""Draw the two pictures of README.md, each for light and for dark pages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

from ladnet_fast._files import atomic_path

from . import growth

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(__file__).parents[2] / "docs" / "front-page"
#: Inches. Two fit side by side into the column of a code host, and one into a phone's.
SIZE = (4.1, 2.9)
#: Page -> colours of paper, text and grid; of what is anomalous; of the sides of `growth`.
THEMES: dict[str, dict[str, str]] = {
    "light": {
        "paper": "#ffffff", "text": "#1f2328", "grid": "#d1d9e0", "anomaly": "#d1242f",
        "native": "#0969da", "compiled": "#bc4c00", "eager": "#8250df", "sdpa": "#59636e",
    },
    "dark": {
        "paper": "#0d1117", "text": "#e6edf3", "grid": "#3d444d", "anomaly": "#ff7b72",
        "native": "#58a6ff", "compiled": "#f0883e", "eager": "#bc8cff", "sdpa": "#9198a1",
    },
}  # fmt: skip


def draw(
    chosen: Mapping[str, Any], measured: Mapping[str, Any], folder: Path = FOLDER
) -> list[Path]:
    """Write ``scores-light.svg``, ``growth-light.svg``, and both ``-dark.svg``.

    Parameters
    ----------
    chosen : mapping
        As `demo_bags.choose` returns it.
    measured : mapping
        As `growth.read` returns it.
    folder : Path
        For the pictures; each is written atomically, and says inside what it was drawn from.
    """
    written = []
    for theme, colours in THEMES.items():
        with matplotlib.rc_context(_style(colours)):
            for name, figure, content in (
                ("scores", scores_figure(chosen, colours), chosen),
                ("growth", growth_figure(measured, colours), measured),
            ):
                metadata = {"Date": None, "Source": source_of(content)}
                path = folder / f"{name}-{theme}.svg"
                with atomic_path(path) as temporary:
                    figure.savefig(temporary, format="svg", metadata=metadata)
                written.append(path)
    return written


def source_of(content: Mapping[str, Any]) -> str:
    """Return what a picture says of its source: command, date, and a digest of all numbers."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"{content['command']}, {content['date']}, numbers {digest[:16]}"


def scores_figure(chosen: Mapping[str, Any], colours: Mapping[str, str]) -> Figure:
    """Draw the bags one below the other: scores over snippets, what is anomalous shaded."""
    from matplotlib.figure import Figure

    bags = chosen["bags"]
    figure = Figure(figsize=SIZE, layout="constrained")
    rows = figure.subplots(len(bags), 1, sharex=True, sharey=True)
    for axes, bag in zip(rows, bags, strict=True):
        for n, (start, stop) in enumerate(bag["truth"]):
            label = "_" if n else "ground truth"
            axes.axvspan(start, stop, color=colours["anomaly"], alpha=0.4, linewidth=0, label=label)
        axes.stairs(
            bag["scores"], baseline=None, color=colours["native"], linewidth=1.3, label="score"
        )
        axes.set_title(f"frame AUC {bag['auc']:.2f}", loc="right", fontsize=8, pad=2)
        axes.set_xlim(0, len(bag["scores"]))
    highest = max(max(bag["scores"]) for bag in bags)
    rows[0].set_ylim(0, 1.1 * highest)
    rows[-1].set_xlabel("snippet of 16 frames")
    figure.supylabel("anomaly score", fontsize=8.5)
    rows[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0, fontsize=8)
    return figure


def growth_figure(measured: Mapping[str, Any], colours: Mapping[str, str]) -> Figure:
    """Draw the time of a call over the length of a bag, both axes logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    for side, points in measured["lines"].items():
        own = side == "native"
        axes.plot(
            list(points), list(points.values()), label=growth.SIDES[side], color=colours[side],
            linewidth=2.2 if own else 1.2, zorder=3 if own else 2, marker="o", markersize=3,
            linestyle="--" if side == "sdpa" else "-",
        )  # fmt: skip
    lengths = list(measured["lines"]["native"])[::2]
    axes.set(xscale="log", yscale="log", xlabel="snippets in the bag", ylabel="time of a call")
    axes.set_xticks(lengths, [f"{length:,}" for length in lengths])
    axes.set_yticks([0.001, 0.01, 0.1, 1, 10], ["1 ms", "10 ms", "0.1 s", "1 s", "10 s"])
    axes.minorticks_off()
    axes.legend(loc="upper left", fontsize=8, borderpad=0)
    return figure


def _style(colours: Mapping[str, str]) -> Any:  # keys are literals to the type checker
    written = ("text.color", "axes.labelcolor", "axes.titlecolor", "axes.edgecolor")
    return {
        "svg.hashsalt": "ladnet_fast",  # the same numbers give the same file
        "font.size": 8.5,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "grid.color": colours["grid"],
        "grid.linewidth": 0.6,
        **dict.fromkeys((*written, "xtick.color", "ytick.color"), colours["text"]),
        **dict.fromkeys(
            ("figure.facecolor", "axes.facecolor", "savefig.facecolor"), colours["paper"]
        ),
    }
