"""What ``score`` and ``evaluate`` may write, what they must not touch, and calling them again."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from ladnet_fast import use_impl

Run = Callable[..., Result]


def features(path: Path, rows: int = 5, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.random.default_rng(seed).normal(size=(rows, 6)).astype(np.float32))
    return path


def listing(path: Path, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["video,features,label", *rows]) + "\n")
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and ".ladnet" not in file.parts
    }


def visible(folder: Path, pattern: str = "*") -> list[str]:
    return sorted(path.name for path in folder.glob(pattern) if not path.name.startswith("."))


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
@pytest.mark.parametrize("how", ["file", "folder", "manifest", "link", "pattern", "subfolder"])
def test_scores_never_replace_the_features_they_come_from(
    run: Run, trained: Path, tmp_path: Path, how: str, overwrite: tuple[str, ...]
) -> None:
    data = tmp_path / "data"
    features(data / "clip.npy")
    listing(data / "list.csv", "clip,clip.npy,")
    (tmp_path / "link").symlink_to(data)
    features(data / "sub" / "clip.npy", seed=1)
    listing(data / "nested.csv", "sub/clip,sub/clip.npy,")
    before = content(data)
    given, out = {
        "file": (data / "clip.npy", data),
        "folder": (data, data),
        "manifest": (data / "list.csv", data),
        "link": (tmp_path / "link" / "clip.npy", data),
        "pattern": (data / "c*.npy", tmp_path / "link"),
        "subfolder": (data / "nested.csv", data),
    }[how]
    result = run("score", given, "--model", trained, "--out", out, "--no-plots", *overwrite)
    assert result.exit_code == 1, result.output
    assert "is an input, and this command would write its results over it" in result.stderr
    assert content(data) == before


@pytest.mark.parametrize("name", ["videos", "list"])
def test_score_tables_never_replace_the_manifest(
    run: Run, trained: Path, tmp_path: Path, name: str
) -> None:
    features(tmp_path / "d" / "x.npy")
    path = listing(tmp_path / "d" / f"{name}.csv", f"{name},x.npy,")
    before = path.read_text()
    result = run("score", path, "--model", trained, "--out", tmp_path / "d", "--no-plots")
    assert result.exit_code == 1
    assert path.read_text() == before


def test_a_model_is_an_input_too(run: Run, trained: Path, tmp_path: Path) -> None:
    clip = features(tmp_path / "config.npy")
    shutil.copytree(trained, tmp_path / "run2")
    before = content(tmp_path / "run2")
    result = run("score", clip, "--model", tmp_path / "run2", "--out", tmp_path / "run2")
    assert result.exit_code == 0  # config.npy, config.csv, config.png: nothing of the run
    for name in ("config.yaml", "model.safetensors"):
        assert (tmp_path / "run2" / name).read_bytes() == before[name]


@pytest.mark.parametrize("name", ["clip.npy", "clip.csv", "clip.png"])
def test_somebody_elses_file_in_the_output_folder_stays(
    run: Run, trained: Path, tmp_path: Path, name: str
) -> None:
    clip = features(tmp_path / "clip.npy")
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    result = run("score", clip, "--model", trained, "--out", out)
    assert result.exit_code == 1
    assert f"{name} would be replaced, but ladnet-fast did not write it" in result.stderr
    assert content(out) == {name: b"mine"}
    assert run("score", clip, "--model", trained, "--out", out, "--overwrite").exit_code == 0
    assert content(out)[name] != b"mine"


def test_a_table_with_remarks_of_the_user_stays(run: Run, trained: Path, tmp_path: Path) -> None:
    clip = features(tmp_path / "clip.npy")
    out = tmp_path / "out"
    assert run("score", clip, "--model", trained, "--out", out, "--no-plots").exit_code == 0
    remarks = (out / "clip.csv").read_text().replace("score\n", "score,remark\n")
    (out / "clip.csv").write_text(remarks)
    result = run("score", clip, "--model", trained, "--out", out, "--no-plots")
    assert result.exit_code == 1
    assert "somebody has changed it since" in result.stderr
    assert (out / "clip.csv").read_text() == remarks


def test_other_features_of_the_same_name_are_refused_and_moved_ones_are_known(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    monday, tuesday = features(tmp_path / "mon/cam.npy"), features(tmp_path / "tue/cam.npy", seed=1)
    out = tmp_path / "out"
    call = ("--model", trained, "--out", out, "--no-plots")
    assert run("score", monday, *call).exit_code == 0
    kept = content(out)["cam.npy"]
    result = run("score", tuesday, *call)
    assert result.exit_code == 1
    assert (
        f"cam.npy holds the scores of other features, {monday}, not of {tuesday}" in result.stderr
    )
    assert content(out)["cam.npy"] == kept
    moved = tmp_path / "archive" / "cam.npy"
    moved.parent.mkdir()
    monday.rename(moved)
    assert run("score", moved, *call).exit_code == 0
    assert run("score", tuesday, *call, "--overwrite").exit_code == 0
    assert content(out)["cam.npy"] != kept


def test_features_that_changed_are_scored_again_and_others_are_not(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    files = [features(tmp_path / f"{name}.npy", seed=i) for i, name in enumerate("abc")]
    out = tmp_path / "out"
    assert run("score", *files, "--model", trained, "--out", out).exit_code == 0
    before = content(out)
    times = {path: path.stat().st_mtime_ns for path in out.glob("?.*")}
    features(files[1], rows=7, seed=9)
    result = run("score", *files, "--model", trained, "--out", out)
    assert result.exit_code == 0
    assert "2 of 3 videos were there" in result.output
    assert len(np.load(out / "b.npy")) == 7
    for path, time in times.items():
        assert (path.stat().st_mtime_ns == time) == (path.stem != "b"), path
    again = run("score", *files, "--model", trained, "--out", out, "--overwrite")
    assert "were there" not in again.output
    assert {k: v for k, v in content(out).items() if k in ("a.npy", "c.csv", "a.png")} == {
        k: before[k] for k in ("a.npy", "c.csv", "a.png")
    }


def test_another_model_scores_again(
    run: Run, manifest: Path, trained: Path, tmp_path: Path
) -> None:
    clip, out = features(tmp_path / "clip.npy"), tmp_path / "out"
    assert run("score", clip, "--model", trained, "--out", out, "--no-plots").exit_code == 0
    first = np.load(out / "clip.npy")
    small = ("--set", "model.hidden_dim=8", "--set", "model.mlp_dims=[16, 8]", "--epochs", "1")
    other = run(
        "train", manifest, "--out", tmp_path / "r2", "--no-tensorboard", "--validation", "0",
        "--seed", "5", *small,
    )  # fmt: skip
    assert other.exit_code == 0, other.output
    result = run("score", clip, "--model", tmp_path / "r2", "--out", out, "--no-plots")
    assert "were there" not in result.output
    assert not np.array_equal(np.load(out / "clip.npy"), first)


def test_another_precision_scores_again_and_is_written_down(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    clip, out = features(tmp_path / "f" / "clip.npy", rows=40), tmp_path / "s"
    found = []
    for precision in ("fp32", "bf16", "bf16"):
        result = run(
            "score", clip, "--model", trained, "--out", out, "--no-plots",
            "--scoring-precision", precision,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert json.loads((out / "run.json").read_text())["scoring_precision"] == precision
        found.append((np.load(out / "clip.npy"), "1 of 1 videos were there" in result.output))
    assert [reused for _, reused in found] == [False, False, True]
    assert not np.array_equal(found[0][0], found[1][0])
    assert np.array_equal(found[1][0], found[2][0])


def test_another_implementation_scores_again(run: Run, trained: Path, tmp_path: Path) -> None:
    clip, out = features(tmp_path / "clip.npy"), tmp_path / "out"
    arguments = ("score", clip, "--model", trained, "--out", out, "--no-plots")
    with use_impl("reference"):
        assert run(*arguments).exit_code == 0
    assert "were there" not in run(*arguments).output
    assert "were there" in run(*arguments).output
    assert "were there" not in run(*arguments, "--impl", "reference").output
    with use_impl("reference"):  # the same by another name
        assert "were there" in run(*arguments).output


BAD = {
    "nan": lambda path: np.save(path, np.full((5, 6), np.nan, np.float32)),
    "wide": lambda path: np.save(path, np.zeros((5, 7), np.float32)),
    "empty": lambda path: path.touch(),
    "cut": lambda path: path.write_bytes(features(path).read_bytes()[:-5]),
    "text": lambda path: path.write_text("no array"),
    "objects": lambda path: np.save(path, np.array([{}, []], object), allow_pickle=True),
}


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("kind", BAD)
def test_one_bad_input_keeps_no_other_from_its_scores(
    run: Run, trained: Path, tmp_path: Path, kind: str, position: int
) -> None:
    files = [features(tmp_path / f"{name}.npy", seed=i) for i, name in enumerate("ab")]
    bad = tmp_path / "bad.npy"
    BAD[kind](bad)
    files.insert(position, bad)
    out = tmp_path / "out"
    result = run("score", *files, "--model", trained, "--out", out, "--no-plots")
    assert result.exit_code == 1
    assert "1 of 3 videos could not be done:\n  bad: " in result.stderr
    assert "bad.npy" in result.stderr
    assert visible(out, "*.npy") == ["a.npy", "b.npy"]
    assert "run.json" in visible(out)
    features(bad)
    result = run("score", *files, "--model", trained, "--out", out, "--no-plots")
    assert result.exit_code == 0, result.output
    assert "2 of 3 videos were there" in result.output


def test_files_that_a_manifest_names_in_vain_are_listed_and_the_others_scored(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    features(tmp_path / "a.npy")
    path = listing(tmp_path / "v.csv", "a,a.npy,", "b,b.npy,", "c,gone/c.npy,")
    result = run("score", path, "--model", trained, "--out", tmp_path / "s", "--no-plots")
    assert result.exit_code == 1
    assert "2 of 3 videos could not be done" in result.stderr
    assert "gone/c.npy does not exist" in result.stderr
    assert visible(tmp_path / "s", "*.npy") == ["a.npy"]
    (tmp_path / "a.npy").unlink()  # none at all: the place is wrong, not a file
    result = run("score", path, "--model", trained, "--out", tmp_path / "t", "--no-plots")
    assert "3 of 3 files that it names don't exist" in result.stderr


def test_a_ground_truth_of_one_video_that_does_not_fit_costs_its_plot_alone(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    for name, frames in (("a", 80), ("b", 11)):
        features(tmp_path / f"{name}.npy")
        np.save(tmp_path / f"gt{name}.npy", np.arange(frames) % 2)
    (tmp_path / "v.csv").write_text(
        "video,features,label,frame_labels\na,a.npy,1,gta.npy\nb,b.npy,1,gtb.npy\n"
    )
    result = run("score", tmp_path / "v.csv", "--model", trained, "--out", tmp_path / "s")
    assert result.exit_code == 1
    assert "b: is scored, but has no plot" in result.stderr
    assert visible(tmp_path / "s", "*.npy") == ["a.npy", "b.npy"]
    assert visible(tmp_path / "s", "*.png") == ["a.png"]


@pytest.mark.parametrize("frames", [10, 99999])
def test_a_number_of_frames_that_does_not_fit_costs_one_plot_alone(
    run: Run, trained: Path, tmp_path: Path, frames: int
) -> None:
    for name in ("a", "b"):
        features(tmp_path / f"{name}.npy")
    path = tmp_path / "list.csv"
    path.write_text(f"video,features,label,num_frames\na,a.npy,,{frames}\nb,b.npy,,\n")
    result = run("score", path, "--model", trained, "--out", tmp_path / "s")
    assert result.exit_code == 1
    assert "a: is scored, but has no plot: 5 snippets of 16 frames cover 80" in result.output
    assert {"a.npy", "a.csv", "b.npy", "b.csv", "b.png", "run.json"} == set(visible(tmp_path / "s"))


@pytest.mark.parametrize("names", [("cam__1", "cam__2"), ("cam__0", "cam__1"), ("x__3", "x__4")])
def test_a_folder_with_a_manifest_is_read_by_it(
    run: Run, trained: Path, tmp_path: Path, names: tuple[str, ...]
) -> None:
    for i, name in enumerate(names):
        features(tmp_path / "f" / f"{name}.npy", seed=i)
    features(tmp_path / "f" / "other.npy")
    listing(tmp_path / "f" / "videos.csv", *(f"{name},{name}.npy," for name in names))
    result = run("score", tmp_path / "f", "--model", trained, "--out", tmp_path / "s", "--no-plots")
    assert result.exit_code == 0, result.output
    assert visible(tmp_path / "s", "*.npy") == [f"{name}.npy" for name in names]
    assert "does not name other.npy" in result.output


def test_crops_that_do_not_begin_at_0_are_not_taken_for_crops(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    for name in ("cam__1", "cam__2"):
        features(tmp_path / "f" / f"{name}.npy")
    result = run("score", tmp_path / "f", "--model", trained, "--out", tmp_path / "s")
    assert result.exit_code == 1
    assert "by name crops 1, 2 of 'cam', but there is no crop 0" in result.stderr
    assert not (tmp_path / "s").exists()


def test_a_folder_with_features_and_videos_asks_which(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    features(tmp_path / "f" / "a.npy")
    (tmp_path / "f" / "b.mp4").touch()
    result = run("score", tmp_path / "f", "--model", trained, "--out", tmp_path / "s")
    assert result.exit_code == 1
    assert f"'{tmp_path}/f/*.npy'" in result.stderr
    again = run("score", tmp_path / "f" / "*.npy", "--model", trained, "--out", tmp_path / "s")
    assert again.exit_code == 0


def test_hidden_leftovers_are_no_videos_and_go_with_the_next_run(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    from ladnet_fast import _files

    folder, out = tmp_path / "f", tmp_path / "out"
    features(folder / "a.npy")
    features(folder / ".a.npy.x7a1.npy")  # another program's
    out.mkdir()
    left = out / f".ladnet-{_files._node()}-999999999-{'0' * 12}.part"
    left.write_text("half")
    assert run("score", folder, "--model", trained, "--out", out, "--no-plots").exit_code == 0
    assert visible(out) == ["a.csv", "a.npy", "run.json"]
    assert not left.exists()


def test_a_score_file_with_one_flipped_bit_is_not_evaluated(
    run: Run, manifest: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores"
    assert run("score", manifest, "--model", trained, "--out", out, "--no-plots").exit_code == 0
    assert run("evaluate", out, manifest).exit_code == 0
    damaged = bytearray((out / "v3.npy").read_bytes())
    damaged[-6] ^= 1
    (out / "v3.npy").write_bytes(bytes(damaged))
    result = run("evaluate", out, manifest)
    assert result.exit_code == 1
    assert "v3.npy has changed since ladnet-fast wrote it" in result.stderr


def test_names_are_text(run: Run, trained: Path, tmp_path: Path) -> None:
    names = ["a[/b]", "[bold]x", "$\\frac{$", ":smile:", "[red]", "50%", "{x}", "a\u202eb", "ü"]
    for i in range(len(names)):
        features(tmp_path / f"{i}.npy", seed=i)
    path = tmp_path / "v.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "features", "label"])
        writer.writerows([name.replace("/", ""), f"{i}.npy", ""] for i, name in enumerate(names))
    result = run("score", path, "--model", trained, "--out", tmp_path / "s")
    assert result.exit_code == 0, result.output
    for name in ("a[b]", "[bold]x", "$\\frac{$", ":smile:", "[red]"):
        assert name in result.output
    assert len(visible(tmp_path / "s", "*.png")) == len(names)


def test_a_long_name_is_written(run: Run, trained: Path, tmp_path: Path) -> None:
    name = "n" * 251
    clip = features(tmp_path / f"{name}.npy")
    result = run("score", clip, "--model", trained, "--out", tmp_path / "s")
    assert result.exit_code == 0, result.output
    assert visible(tmp_path / "s")[:3] == [f"{name}.csv", f"{name}.npy", f"{name}.png"]


def test_run_json_tells_of_every_call(run: Run, trained: Path, tmp_path: Path) -> None:
    clip = features(tmp_path / "clip.npy")
    for _ in range(3):
        assert run("score", clip, "--model", trained, "--out", tmp_path / "s").exit_code == 0
    assert len(json.loads((tmp_path / "s" / "run.json").read_text())["earlier"]) == 2


def test_a_folder_that_cannot_be_written_to_ends_the_command_at_once(
    run: Run, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [features(tmp_path / f"{name}.npy") for name in "abc"]

    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28), "out/a.npy")

    monkeypatch.setattr("ladnet_fast.engine.score_files.write_scores", full)
    result = run("score", *files, "--model", trained, "--out", tmp_path / "s")
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.output
