"""Pictures of scores."""

from __future__ import annotations

import warnings
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.patches import StepPatch

from ladnet_fast._printable import printable
from ladnet_fast.engine import save_plot, score_figure

from ..names import NASTY_NAMES

SCORES = np.array([0.1, 0.9, 0.8, 0.2], np.float32)


def test_curve_holds_each_score_for_its_snippets_frames() -> None:
    (axes,) = score_figure(SCORES, frames_per_snippet=16).axes
    (curve,) = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
    values, edges, _ = curve.get_data()
    np.testing.assert_allclose(values, SCORES)
    assert edges.tolist() == [0, 16, 32, 48, 64]
    assert axes.get_xlabel() == "frame"


@pytest.mark.parametrize(
    ("per_snippet", "frames", "edges"),
    [
        (16, 60, [0, 16, 32, 48, 60]),
        (16, 70, [0, 16, 32, 48, 70]),
        (None, 10, [0, 2.5, 5, 7.5, 10]),
    ],
)
def test_curve_ends_with_the_video(
    per_snippet: int | None, frames: int, edges: list[float]
) -> None:
    (axes,) = score_figure(SCORES, frames_per_snippet=per_snippet, num_frames=frames).axes
    (curve,) = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
    assert curve.get_data()[1].tolist() == edges
    assert axes.get_xlim() == (0, frames)


def test_every_anomalous_stretch_is_shaded() -> None:
    truth = np.zeros(64)
    truth[10:20] = truth[50:64] = 1
    (axes,) = score_figure(SCORES, ground_truth=truth, threshold=0.5).axes
    shades = [patch for patch in axes.patches if not isinstance(patch, StepPatch)]
    spans = [(s.get_x(), s.get_x() + s.get_width()) for s in shades]
    assert spans == [(10, 20), (50, 64)]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert sorted(labels) == ["ground truth", "score", "threshold"]


@pytest.mark.parametrize(
    ("fps", "end", "labels"),
    [
        (128, 0.5, ["0:00:00.0", "0:00:00.1", "0:00:00.2"]),
        (8, 8, ["0:00:00", "0:00:01", "0:00:02"]),
        (64 / 600, 600, ["0:00:00", "0:02:00", "0:04:00"]),
        (64 / 10_800, 10_800, ["0:00:00", "0:30:00", "1:00:00"]),
        (64 / 360_000, 360_000, ["0:00:00", "12:00:00", "24:00:00"]),
    ],
)
def test_axis_shows_time_where_the_rate_is_known(fps: float, end: float, labels: list[str]) -> None:
    (axes,) = score_figure(SCORES, fps=fps).axes
    assert axes.get_xlabel() == "time [h:mm:ss]"
    assert axes.get_xlim()[1] == pytest.approx(end)
    shown = [tick.get_text() for tick in axes.get_xticklabels()]
    assert shown[:3] == labels
    assert len(shown) <= 9


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_picture_is_written(tmp_path: Path, suffix: str) -> None:
    path = save_plot(tmp_path / "plots" / f"v{suffix}", SCORES, title="v")
    assert path.stat().st_size > 1000
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": 0}, "fps must be greater than 0"),
        ({"fps": np.nan}, "fps must be greater than 0 and finite; got nan"),
        ({"fps": np.inf}, "fps must be greater than 0 and finite; got inf"),
        ({"threshold": np.nan}, "threshold must be a finite number; got nan"),
        ({"threshold": -np.inf}, "threshold must be a finite number; got -inf"),
        ({"ground_truth": np.zeros(500)}, "doesn't fit num_frames=500"),
        ({"frames_per_snippet": 0}, "at least 1"),
    ],
)
def test_bad_argument_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score_figure(SCORES, **options)


def test_unknown_file_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.png, \.svg or \.pdf"):
        save_plot(tmp_path / "v.gif", SCORES)


@pytest.mark.parametrize("name", NASTY_NAMES, ids=ascii)
def test_any_name_is_a_title_as_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)  # as a user's settings may say
    title = score_figure(SCORES, title=name).axes[0].title
    monkeypatch.undo()
    assert title.get_text() == printable(name, keep="\n")
    assert not title.get_parse_math()
    assert not title.get_usetex()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        for suffix in (".png", ".svg", ".pdf"):
            assert save_plot(tmp_path / f"a{suffix}", SCORES, title=name).stat().st_size > 1000
    ElementTree.parse(tmp_path / "a.svg")


def test_dollars_in_a_title_are_drawn(tmp_path: Path) -> None:
    """As formulas, the names would look alike."""
    pictures = [
        save_plot(tmp_path / f"{number}.png", SCORES, title=title).read_bytes()
        for number, title in enumerate(("$xx$", "xx", "$x x$"))
    ]
    assert len(set(pictures)) == 3
