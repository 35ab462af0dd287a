from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast._printable import printable
from ladnet_fast.data import read_manifest, select_split
from ladnet_fast.demo import DemoError, DemoOptions, DemoProgress, DemoResult, run_demo
from ladnet_fast.demo.report import write_report
from ladnet_fast.demo.variants import variants
from ladnet_fast.engine import (
    Reporter,
    evaluate_scores,
    load_config,
    load_model,
    read_scores,
    run_info,
    score_videos,
)

from ..names import NASTY_NAMES


@pytest.fixture(scope="module")
def run_it(tmp_path_factory: pytest.TempPathFactory, make_extractor, tiny: DemoOptions):
    """Run a tiny demo; features are computed once, as all tests' videos have the same content."""
    cache = tmp_path_factory.mktemp("cache")

    def run(out: Path, videos: list[Path], **changes) -> DemoResult:
        arguments = {
            "options": tiny,
            "extractor": make_extractor(),
            "cache_dir": cache,
            "command": ["ladnet-fast", "demo"],
        }
        return run_demo(out, videos, **{**arguments, **changes})

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, run_it, original_videos) -> DemoResult:
    """A demo that tests only look at."""
    return run_it(tmp_path_factory.mktemp("finished") / "out", original_videos)


@pytest.fixture
def earlier(finished: DemoResult, tmp_path: Path) -> Path:
    """A folder with a finished demo, to be changed."""
    return Path(shutil.copytree(finished.out, tmp_path / "out"))


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(".ladnet-*"))


def test_the_folder_holds_bags_models_scores_plots_and_report(finished: DemoResult) -> None:
    result = finished
    out = result.out
    assert {path.name for path in out.iterdir()} == {
        ".ladnet", "bags", "footage", "plots", "report.html", "results.json", "run.json", "runs",
        "scores", "scores.html",
    }  # fmt: skip
    held_out = select_split(read_manifest(out / "bags" / "videos.csv"), "held-out")
    assert {path.stem for path in (out / "plots").iterdir()} == {video.name for video in held_out}
    keys = [row.key for row in result.outcome.rows]
    assert {path.name for path in (out / "runs").iterdir()} == {f"{key}-seed0" for key in keys}
    for name in ("ddl-seed0", "mil-seed0"):
        written = read_scores(out / "scores" / name, held_out)
        model = load_model(out / "runs" / name)
        for bag, scores in score_videos(model, held_out).items():
            np.testing.assert_array_equal(written[bag], scores)


def test_figures_are_those_of_the_written_scores(finished: DemoResult) -> None:
    result = finished
    held_out = select_split(read_manifest(result.out / "bags" / "videos.csv"), "held-out")
    saved = json.loads((result.out / "results.json").read_text())
    for row, trial in zip(result.outcome.rows, saved["trials"], strict=True):
        assert trial["variant"] == row.key
        scores = read_scores(result.out / "scores" / f"{row.key}-seed0", held_out)
        metrics = evaluate_scores(held_out, scores)
        for name, figure in row.figures.items():
            assert figure.mean == pytest.approx(getattr(metrics, name), abs=1e-12)
            assert trial["metrics"][name] == getattr(metrics, name)
    assert [row["key"] for row in saved["rows"]] == [row.key for row in result.outcome.rows]


def test_differences_are_those_of_the_rows(finished: DemoResult) -> None:
    rows = {row.key: row for row in finished.outcome.rows}
    assert finished.outcome.differences
    for difference in finished.outcome.differences:
        for name, figure in difference.figures.items():
            sides = (rows[key].figures[name].mean for key in (difference.key, difference.against))
            assert figure.mean == pytest.approx(next(sides) - next(sides), abs=1e-12)
            assert figure.low <= figure.high


def test_with_and_without_ddl_differ_in_the_loss_alone(finished: DemoResult) -> None:
    with_ddl, without = (
        load_config(finished.out / "runs" / name / "config.yaml")
        for name in ("ddl-seed0", "mil-seed0")
    )
    assert with_ddl != without
    assert with_ddl.replace(loss={"ddl": False}) == without


def test_the_report_stands_alone_and_says_what_it_is(
    finished: DemoResult, tiny: DemoOptions
) -> None:
    result = finished
    html = result.report.read_text(encoding="utf-8")
    assert "It is no benchmark." in html
    # Nothing is loaded from elsewhere; a link goes to the page beside it.
    assert not re.search(r"(src|href)=[\"'](?!data:|scores\.html\")", html)
    assert (result.report.parent / "scores.html").is_file()
    pictures = tiny.held_out_bags + 4 + 8  # videos; fades within the background, and each way
    assert html.count("data:image/png;base64,") == pictures
    for row in (*result.outcome.rows, *result.outcome.differences):
        assert row.label in unescape(html)
    for row in result.outcome.rows:
        for figure in row.figures.values():
            assert f"{figure.mean:.4f}" in html
            assert f"{figure.low:.4f} to {figure.high:.4f}" in html
    for difference in result.outcome.differences:
        for figure in difference.figures.values():
            assert f"{figure.mean:+.4f}" in html
    for text in (*result.outcome.sentences, *result.outcome.notes):
        assert text in unescape(html)
    for text in ("street", "sea", "held-out foreign", "torch", "ladnet-fast demo", "short side 36"):
        assert text in html
    assert "Blender" not in html  # the credit is for the shipped videos


def test_a_file_name_cannot_put_markup_into_the_report(
    run_it, videos: list[Path], tmp_path: Path
) -> None:
    videos[1] = videos[1].rename(videos[1].with_name("<b>cats&co.mkv"))
    html = run_it(tmp_path / "out", videos).report.read_text(encoding="utf-8")
    assert "&lt;b&gt;cats&amp;co" in html
    assert "<b>cats" not in html


def test_the_report_shows_any_name_as_it_is(finished: DemoResult, tmp_path: Path) -> None:
    picture = next((finished.out / "footage").iterdir())
    clip = {"role": "foreign", "frames": 1, "size": "1 x 1", "takes": 1, "picture": picture}
    report = tmp_path / "report.html"
    write_report(
        report,
        outcome=finished.outcome,
        fades=[{"before": name, "after": name, "picture": picture} for name in NASTY_NAMES],
        clips=[{"name": name, **clip} for name in NASTY_NAMES],
        bags=[],
        settings={f"sha256 of {name}": name for name in NASTY_NAMES},
        run=run_info(command=["demo", *NASTY_NAMES]),
        credit="",
    )
    seen: list[str] = []
    reader = HTMLParser()
    reader.handle_data = seen.append  # type: ignore[method-assign]
    reader.feed(report.read_text(encoding="utf-8"))
    text = "".join(seen)
    for name in NASTY_NAMES:
        assert f"\n  {printable(name)}, foreign" in text
        assert f"from {printable(name)} to {printable(name)}\n" in text
        assert f"sha256 of {printable(name)}{printable(name)}\n" in text
    assert printable(shlex.join(NASTY_NAMES)) in text


def test_videos_of_one_name_are_both_in_the_settings(
    run_it, videos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "b").mkdir()
    videos[1] = videos[1].rename(tmp_path / "b" / "street.mkv")
    settings = json.loads((run_it(tmp_path / "out", videos).out / "results.json").read_text())
    hashes = [value for name, value in settings["settings"].items() if "sha256" in name]
    assert len(set(hashes)) == 4


def test_the_same_seed_gives_the_same_scores(
    finished: DemoResult, run_it, videos: list[Path], tmp_path: Path
) -> None:
    again = run_it(tmp_path / "again", videos)
    files = sorted((finished.out / "scores").rglob("*.npy"))
    assert len(files) == 2 * len(finished.outcome.rows)
    for path in files:
        assert path.read_bytes() == (again.out / path.relative_to(finished.out)).read_bytes()
    assert again.outcome == finished.outcome


def test_another_seed_gives_other_bags_from_the_same_cached_features(
    finished: DemoResult, run_it, make_extractor, videos, tiny: DemoOptions, tmp_path: Path
) -> None:
    extractor = make_extractor()
    other = run_it(
        tmp_path / "other", videos, extractor=extractor, options=dataclasses.replace(tiny, seed=7)
    )
    assert (finished.num_cached, other.num_cached, extractor.calls) == (0, 12, 0)
    assert finished.num_entries == other.num_entries == 12
    name = "bags/train-000-normal.npy"
    assert (finished.out / name).read_bytes() != (other.out / name).read_bytes()


def test_a_new_demo_replaces_an_earlier_one(earlier: Path, run_it, videos: list[Path]) -> None:
    (earlier / "plots" / ".DS_Store").touch()
    before = (earlier / "run.json").read_bytes()
    assert run_it(earlier, videos).out == earlier
    assert not (earlier / "plots" / ".DS_Store").exists()
    assert (earlier / "run.json").read_bytes() != before
    assert leftovers(earlier.parent) == []


def test_a_failure_leaves_the_earlier_demo_untouched(
    earlier: Path, run_it, videos: list[Path]
) -> None:
    class Interrupted(DemoProgress):
        def training(self, number: int, total: int, name: str) -> Reporter:
            if number == 2:
                raise KeyboardInterrupt
            return Reporter()

    before = {path: path.read_bytes() for path in earlier.rglob("*") if path.is_file()}
    with pytest.raises(KeyboardInterrupt):
        run_it(earlier, videos, progress=Interrupted())
    after = {path: path.read_bytes() for path in earlier.rglob("*") if path.is_file()}
    assert before == after
    assert leftovers(earlier.parent) == []


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_no_earlier_demo_is_never_replaced(
    run_it, videos: list[Path], tmp_path: Path, kind: str
) -> None:
    thesis = tmp_path / "out" / "thesis.tex" if kind == "folder" else tmp_path / "out"
    thesis.parent.mkdir(exist_ok=True)
    thesis.write_text("chapter 1")
    with pytest.raises(DemoError, match=r"name (another|a) folder"):
        run_it(tmp_path / "out", videos)
    assert thesis.read_text() == "chapter 1"


def test_progress_hears_of_every_part(run_it, videos: list[Path], tmp_path: Path) -> None:
    heard: list[str] = []

    class Listener(DemoProgress):
        def stage(self, text: str) -> None:
            heard.append(text)

        def features(self, name: str, done: int, total: int) -> None:
            if done == total:
                heard.append(name)

        def training(self, number: int, total: int, name: str) -> Reporter:
            heard.append(f"{number}/{total} {name}")
            return Reporter()

    run_it(tmp_path / "out", videos, progress=Listener())
    keys = [entry.key for entry in variants()[0]]
    labels = "; ".join(entry.label for entry in variants()[0])
    assert heard == [
        "computing I3D features (once)", "street", "cats", "dogs", "sea",
        "street to street", "street to cats", "cats to street", "street to dogs", "dogs to street",
        "street to street", "street to sea", "sea to street", "cutting bags",
        f"training: {labels}",
        *[f"{number}/{len(keys)} {key}-seed0" for number, key in enumerate(keys, start=1)],
        "writing the report",
    ]  # fmt: skip


def test_no_fades_and_no_disturbances_give_a_demo_too(
    run_it, videos: list[Path], tiny: DemoOptions, tmp_path: Path
) -> None:
    plain = dataclasses.replace(tiny, fades=0, disturbances=0, foreign_disturbances=0)
    result = run_it(tmp_path / "out", videos, options=plain)
    assert result.num_entries == 4
    assert "cross-fade from <strong>" not in result.report.read_text()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("repeats", 0),
        ("fades", -1),
        ("train_snippets", 15),
        ("lr", 0.0),
        ("lr", np.inf),
        ("seed", -1),
    ],
)
def test_an_option_out_of_range_is_named(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{option} must be .* got {value}"):
        DemoOptions(**{option: value})
