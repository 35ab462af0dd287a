"""``truth`` builds the ground truth that ``evaluate --gt`` reads, from annotations."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from ladnet_fast._records import record_of

Run = Callable[..., Result]
NAMES = ["Abuse028_x264", "Normal_Videos_003_x264", "Arson011_x264", "Normal_Videos_050_x264"]
SNIPPETS = [9, 5, 12, 7]
LINES = [
    "Abuse028_x264.mp4  Abuse  16  79  100  120",
    "Normal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1",
    "Arson011_x264.mp4  Arson  40  193  -1  -1",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Features, scores, a list, a manifest with lengths, and annotations of four videos."""
    rng = np.random.default_rng(1)
    (tmp_path / "scores").mkdir()
    rows = []
    for name, snippets in zip(NAMES, SNIPPETS, strict=True):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(snippets, 4)).astype(np.float32))
        np.save(tmp_path / "scores" / f"{name}.npy", rng.random(snippets).astype(np.float32))
        rows.append([name, f"{name}.npy", int(not name.startswith("N")), 16 * snippets + 5])
    (tmp_path / "test.list").write_text("".join(f"{name}.npy\n" for name in NAMES))
    with (tmp_path / "test.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["video", "features", "label", "num_frames"], *rows])
    (tmp_path / "annotations.txt").write_text("\n".join(LINES) + "\n")
    return tmp_path


def ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.output


def figures(run: Run, folder: Path, videos: Path, *options: object) -> dict[str, Any]:
    ok(run("evaluate", folder / "scores", videos, "--out", folder / "metrics.json", *options))
    content = json.loads((folder / "metrics.json").read_text())
    return {name: value for name, value in content.items() if name != "run"}


@pytest.mark.parametrize("boundaries", ["[s,e)", "[s,e]", "[s-1,e)"])
@pytest.mark.parametrize(
    ("listing", "rule"),
    [
        ("test.list", "auto"), ("test.list", "snippets"), ("test.csv", "auto"),
        ("test.csv", "snippets"), ("test.csv", "flow"), ("test.csv", "num_frames"),
    ],
)  # fmt: skip
def test_evaluating_with_it_gives_the_figures_of_the_annotations(
    run: Run, folder: Path, boundaries: str, listing: str, rule: str
) -> None:
    videos, annotations = folder / listing, folder / "annotations.txt"
    layout = ("--layout", "ucf-i3d") if listing.endswith(".list") else ()
    options = ("--length-rule", rule, *layout)
    output = ok(
        run("truth", annotations, videos, "--boundaries", boundaries, "--out", folder / "gt.npy",
            *options)
    )  # fmt: skip
    want = figures(run, folder, videos, "--gt", annotations, "--boundaries", boundaries, *options)
    assert figures(run, folder, videos, "--gt", folder / "gt.npy", *options) == want
    printed = " ".join(re.findall(r"all\W+4\W+([\d,]+)\W+([\d,]+)", output)[0]).replace(",", "")
    assert printed == f"{want['num_frames']} {want['num_anomalous_frames']}"
    assert ("--length-rule" in output) == (rule != "auto")


def test_a_file_for_each_video_is_what_the_manifest_takes(run: Run, folder: Path) -> None:
    videos, annotations = folder / "test.csv", folder / "annotations.txt"
    output = ok(
        run("truth", annotations, videos, "--boundaries", "[s,e]", "--per-video", folder / "truth")
    )
    printed = dict(re.findall(r"^  (\S+): (\S+)$", output, re.MULTILINE))
    assert printed == {name: f"truth/{name}.npy" for name in NAMES[:3]}
    assert "1 more" in output
    rows = list(csv.reader(videos.open()))
    filled = folder / "filled.csv"
    with filled.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*rows[0], "frame_labels"])
        writer.writerows([*row, f"truth/{row[0]}.npy"] for row in rows[1:])
    want = figures(run, folder, videos, "--gt", annotations, "--boundaries", "[s,e]")
    assert figures(run, folder, filled) == want


def test_the_vector_is_the_videos_end_to_end_in_the_lists_order(run: Run, folder: Path) -> None:
    ok(
        run("truth", folder / "annotations.txt", folder / "test.list", "--layout", "ucf-i3d",
            "--boundaries", "[s,e)", "--out", folder / "gt.npy", "--per-video", folder / "each")
    )  # fmt: skip
    whole = np.load(folder / "gt.npy")
    parts = [np.load(folder / "each" / f"{name}.npy") for name in NAMES]
    assert [len(part) for part in parts] == [16 * snippets for snippets in SNIPPETS]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert whole.dtype == np.uint8
    want = np.zeros(144, np.uint8)
    want[16:79] = want[100:120] = 1
    np.testing.assert_array_equal(parts[0], want)
    made = record_of(folder / "gt.npy").made
    assert (made["boundaries"], made["length_rule"]) == ("[s,e)", "auto")


def test_lengths_that_are_known_need_no_features(run: Run, folder: Path) -> None:
    for name in NAMES:
        (folder / f"{name}.npy").unlink()
    arguments = ("truth", folder / "annotations.txt", folder / "test.csv")
    options = ("--boundaries", "[s,e)", "--out", folder / "gt.npy")
    ok(run(*arguments, *options))
    assert len(np.load(folder / "gt.npy")) == sum(16 * n + 5 for n in SNIPPETS)
    result = run(*arguments, *options, "--length-rule", "snippets")
    assert result.exit_code == 1
    assert f"{NAMES[0]}.npy does not exist" in result.stderr


def test_it_is_written_again_over_itself_but_over_nothing_of_others(run: Run, folder: Path) -> None:
    arguments = (
        "truth", folder / "annotations.txt", folder / "test.csv", "--boundaries", "[s,e)"
    )  # fmt: skip
    ok(run(*arguments, "--out", folder / "gt.npy"))
    ok(run(*arguments, "--out", folder / "gt.npy"))
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    np.save(folder / "mine.npy", np.zeros(3))
    result = run(*arguments, "--out", folder / "mine.npy")
    assert result.exit_code == 1
    assert "ladnet-fast did not write it" in result.stderr
    (folder / "link").symlink_to(folder, target_is_directory=True)
    for places in (
        ("--out", folder / f"{NAMES[0]}.npy"),
        ("--per-video", folder),
        ("--per-video", folder / "link"),
    ):
        result = run(*arguments, *places, "--overwrite")
        assert result.exit_code == 1, result.output
        assert "is an input" in result.stderr
    assert all((folder / name).read_bytes() == content for name, content in before.items())


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--out", "gt.npy"], 2, "--boundaries"),
        (["--boundaries", "[s,e)"], 2, "--out FILE.npy, or --per-video FOLDER"),
        (["--boundaries", "[s,e)", "--out", "gt.txt"], 2, "must end in .npy"),
        (["--boundaries", "(s,e)", "--out", "gt.npy"], 2, "--boundaries must be one of"),
        (
            ["--boundaries", "[s,e)", "--out", "g.npy", "--length-rule", "x"],
            2,
            "--length-rule must",
        ),
    ],
)
def test_wrong_usage_is_told(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], status: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    result = run("truth", "annotations.txt", "test.csv", *arguments)
    assert result.exit_code == status
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not (folder / "gt.npy").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Arson011_x264.mp4 Arson 40 900", "interval 40 900"),
        ("Arson012_x264.mp4 Arson 40 90", "no line for the anomalous video 'Arson011_x264'"),
        ("Arson011_x264.mp4 Arson -1 -1", "labelled anomalous, but none"),
        ("Arson011_x264.mp4 Arson 40", "no partner"),
    ],
)
def test_annotations_that_do_not_fit_write_nothing(
    run: Run, folder: Path, line: str, message: str
) -> None:
    (folder / "annotations.txt").write_text("\n".join([*LINES[:2], line]))
    result = run(
        "truth", folder / "annotations.txt", folder / "test.csv", "--boundaries", "[s,e)",
        "--out", folder / "gt.npy",
    )  # fmt: skip
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (folder / "gt.npy").exists()


def test_a_video_of_unknown_label_takes_it_from_its_line_and_is_refused_without_one(
    run: Run, folder: Path
) -> None:
    np.save(folder / "street12.npy", np.ones((3, 4), np.float32))
    (folder / "test.list").write_text("street12.npy\nAbuse028_x264.npy\n")
    arguments = (
        "truth", folder / "annotations.txt", folder / "test.list", "--layout", "ucf-i3d",
        "--boundaries", "[s,e)", "--out", folder / "gt.npy",
    )  # fmt: skip
    result = run(*arguments)
    assert result.exit_code == 1
    assert "no line for the video of unknown label 'street12'" in result.stderr
    (folder / "annotations.txt").write_text("\n".join([*LINES, "street12 0 8"]))
    ok(run(*arguments))
    assert np.load(folder / "gt.npy")[:48].sum() == 8
