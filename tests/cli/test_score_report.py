"""``score --report`` and ``--intervals``, and times where the frame rate is known."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from ladnet_fast.engine import ModelConfig, save_model
from ladnet_fast.report import intervals

from ..pixels import Pixels

Run = Callable[..., Result]


def page(out: Path) -> dict[str, Any]:
    text = (out / "report.html").read_text(encoding="utf-8")
    return {
        video["name"]: video
        for video in json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])[
            "videos"
        ]
    }


def call(manifest: Path, trained: Path, out: Path, *more: object) -> tuple[object, ...]:
    return (
        "score", manifest, "--model", trained, "--out", out, "--device", "cpu", "--no-plots", *more,
    )  # fmt: skip


def test_a_list_gets_its_page_with_ground_truth(
    run: Run, manifest: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "s"
    result = run(*call(manifest, trained, out, "--report", "--fps", "10"))
    assert result.exit_code == 0, result.output
    assert f"written: {out / 'report.html'}" in result.output
    videos = page(out)
    assert len(videos) == 8
    assert videos["v1"]["truth"] == [16, 28]
    assert videos["v0"]["truth"] == []
    assert (videos["v1"]["step"], videos["v1"]["frames"], videos["v1"]["fps"]) == (4, 40, 10)
    # Again: nothing is computed, and the page is ours to write.
    again = run(*call(manifest, trained, out, "--report"))
    assert again.exit_code == 0, again.output
    assert "8 of 8 videos were there" in again.output
    assert page(out)["v1"]["fps"] is None


def test_intervals_are_written_as_asked(
    run: Run, manifest: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "s"
    options = ("--intervals", "csv,json,srt", "--threshold", "0.4", "--fps", "10")
    rule = ("--min-snippets", "2", "--merge-gaps", "1")
    result = run(*call(manifest, trained, out, *options, *rule))
    assert result.exit_code == 0, result.output
    read = json.loads((out / "intervals.json").read_text())
    assert read["rule"] == {"threshold": 0.4, "min_snippets": 2, "merge_gaps": 1}
    total = 0
    for video in read["videos"]:
        scores = np.load(out / f"{video['video']}.npy")
        found = intervals(
            scores, 0.4, min_snippets=2, merge_gaps=1, frames_per_snippet=4, num_frames=40, fps=10
        )
        assert [e.start for e in found] == [e["start"] for e in video["intervals"]]
        assert (out / f"{video['video']}.srt").read_text().count("-->") == len(found)
        total += len(found)
    assert len(list(csv.DictReader((out / "intervals.csv").open()))) == total > 0
    assert not (out / "report.html").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--intervals", "csv,xml"), "must be one or more of csv, json, srt"),
        (("--intervals", ""), "must be one or more of csv, json, srt"),
        (("--report", "--threshold", "1.5"), "must be a number from 0 to 1"),
        (("--report", "--threshold", "nan"), "must be a number from 0 to 1"),
        (("--report", "--min-snippets", "0"), "min-snippets"),
    ],
)
def test_a_wrong_option_is_refused_before_the_work(
    run: Run, manifest: Path, trained: Path, tmp_path: Path, options: tuple, message: str
) -> None:
    result = run(*call(manifest, trained, tmp_path / "s", *options))
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "s").exists()


def test_subtitles_without_a_frame_rate_are_named_and_the_rest_is_written(
    run: Run, manifest: Path, trained: Path, tmp_path: Path
) -> None:
    result = run(*call(manifest, trained, tmp_path / "s", "--intervals", "srt,csv"))
    assert result.exit_code == 1
    assert "v0: has no subtitles: its frame rate is not known; give it with --fps" in result.stderr
    assert (tmp_path / "s" / "intervals.csv").is_file()


@pytest.mark.parametrize("name", ["report.html", "intervals.csv", "v3.srt"])
def test_files_of_somebody_else_stay(
    run: Run, manifest: Path, trained: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "s"
    out.mkdir()
    (out / name).write_text("mine")
    options = ("--report", "--intervals", "csv,srt", "--fps", "10")
    result = run(*call(manifest, trained, out, *options))
    assert result.exit_code == 1
    assert f"{name} would be replaced, but ladnet-fast did not write it" in result.stderr
    assert {path.name for path in out.iterdir()} == {name}
    assert run(*call(manifest, trained, out, *options, "--overwrite")).exit_code == 0
    assert (out / name).read_text() != "mine"


def test_a_video_called_intervals_keeps_its_scores(
    run: Run, manifest: Path, trained: Path, tmp_path: Path
) -> None:
    shutil.copy(tmp_path / "v0.npy", tmp_path / "intervals.npy")
    clip, out = tmp_path / "intervals.npy", tmp_path / "s"
    result = run(*call(clip, trained, out, "--intervals", "csv"))
    assert result.exit_code == 1
    assert "would hold the scores of a video and the intervals of all" in result.stderr
    assert run(*call(clip, trained, out, "--intervals", "json")).exit_code == 0


def test_times_stand_beside_snippets_where_the_rate_is_known(
    run: Run, manifest: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "s"
    plain = run(*call(manifest, trained, out))
    assert "0:00:0" not in plain.output
    before = (out / "v1.csv").read_text()
    assert before.startswith("snippet,first_frame,last_frame,score\n")
    scores = np.load(out / "v1.npy")
    timed = run(*call(manifest, trained, out, "--fps", "0.5"))
    assert "8 of 8 videos were there" in timed.output
    peak = int(scores.argmax())
    assert f"{peak} (0:{peak * 8 // 60:02d}:{peak * 8 % 60:02d})" in timed.output
    lines = (out / "v1.csv").read_text().splitlines()
    assert lines[0] == "snippet,first_frame,last_frame,score,time"
    assert [line.rpartition(",")[0] for line in lines] == before.splitlines()
    assert lines[10].endswith(",0:01:12.000")
    # A call that doesn't know the rate takes nothing away, and computes nothing.
    again = run(*call(manifest, trained, out))
    assert "8 of 8 videos were there" in again.output
    assert (out / "v1.csv").read_text().splitlines() == lines


class TestVideoFiles:
    """From the file to pictures in the page."""

    av = pytest.importorskip("av")

    @pytest.fixture
    def clip(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        from ..report.conftest import write_clip

        monkeypatch.setattr("ladnet_fast.video.extraction._pretrained", lambda *_: Pixels().eval())
        (tmp_path / "cams").mkdir()
        config = ModelConfig(feature_dim=1024, hidden_dim=8, mlp_dims=(8, 4))
        save_model(tmp_path / "wide.safetensors", config.build(), config)
        return write_clip(tmp_path / "cams" / "a.webm")

    def test_in_one_go_and_in_two(self, run: Run, clip: Path, tmp_path: Path) -> None:
        model = tmp_path / "wide.safetensors"
        once, two = tmp_path / "once", tmp_path / "deep" / "two"
        result = run(*call(clip.parent, model, once, "--report"))
        assert result.exit_code == 0, result.output
        features = tmp_path / "features"
        assert run("extract", clip.parent, "--out", features, "--device", "cpu").exit_code == 0
        result = run(*call(features, model, two, "--report"))
        assert result.exit_code == 0, result.output
        assert "(0:00:0" in result.output  # features remember their video, and it its rate
        for out, url in ((once, "./../cams/a.webm"), (two, "./../../cams/a.webm")):
            video = page(out)["a"]
            assert (video["fps"], video["url"], video["frames"]) == (25, url, 150)
            assert video["pictures"]
            assert (out / "a.csv").read_text().splitlines()[2].endswith(",0:00:00.640")

        # Frames chosen at a rate of their own count at that rate.
        few = tmp_path / "few"
        chosen = ("--fps", "12.5", "--device", "cpu")
        assert run("extract", clip.parent, "--out", few, *chosen).exit_code == 0
        result = run(*call(few, model, tmp_path / "slow", "--report"))
        assert result.exit_code == 0, result.output
        video = page(tmp_path / "slow")["a"]
        assert (video["fps"], video["frames"]) == (12.5, 75)

        # Where the video is gone the page does without it; frames are known still.
        clip.unlink()
        assert run(*call(features, model, two, "--report")).exit_code == 0
        video = page(two)["a"]
        assert (video["fps"], video["url"], video["pictures"]) == (None, None, [])
