"""Each command does its work, and what it writes is what the next one reads."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from ladnet_fast.data import read_manifest
from ladnet_fast.engine import evaluate_scores, load_config, load_model, read_scores, score_video

Run = Callable[..., Result]
SMALL = (
    "--set", "model.hidden_dim=8", "--set", "model.mlp_dims=[16, 8]", "--epochs", "2",
    "--batch-size", "4", "--validation", "0", "--device", "cpu", "--no-tensorboard",
)  # fmt: skip


def ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.output


def test_train_writes_a_run_with_the_options_that_were_given(
    run: Run, manifest: Path, tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text("training: {lr: 0.001, epochs: 9}\nmodel: {sigma: 2}\n")
    out = tmp_path / "run"
    output = ok(
        run(
            "train", manifest, "--out", out, "--config", tmp_path / "c.yaml",
            "--prior", "logit", "--no-ddl", "--seed", "4", *SMALL,
        )
    )  # fmt: skip
    assert "epoch 2 (the last one)" in output
    config = load_config(out / "config.yaml")
    assert (config.training.lr, config.training.epochs, config.training.seed) == (0.001, 2, 4)
    assert (config.model.sigma, config.model.prior, config.model.feature_dim) == (2, "logit", 6)
    assert not config.loss.ddl
    assert json.loads((out / "run.json").read_text())["seed"] == 4
    assert load_model(out).feature_dim == 6


def test_train_evaluates_the_test_split(run: Run, split_manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ("train", split_manifest, "--split", "train", "--test-split", "test", "--out", out)
    assert "AUC" in ok(run(*arguments, *SMALL))
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["num_videos"], metrics["epoch"]) == (2, 2)
    assert sorted(path.name for path in (out / "scores").glob("*.npy")) == ["v6.npy", "v7.npy"]


def test_selection_on_the_test_split_warns(run: Run, split_manifest: Path, tmp_path: Path) -> None:
    output = ok(
        run(
            "train", split_manifest, "--split", "train", "--test-split", "test",
            "--out", tmp_path / "run", "--select-on-test", *SMALL,
        )
    )  # fmt: skip
    assert "warning: the epoch is chosen on the test videos" in output
    assert "best on the test videos" in output


def test_folds_report_each_fold_the_mean_and_the_pool(
    run: Run, manifest: Path, tmp_path: Path
) -> None:
    output = ok(run("train", manifest, "--folds", "all", "--out", tmp_path / "cv", *SMALL))
    assert "mean ± sd" in output
    assert "pooled" in output
    written = json.loads((tmp_path / "cv" / "cross-validation.json").read_text())
    assert set(written["folds"]) == {"0", "1"}


def test_folds_can_be_made_where_there_are_none(run: Run, manifest: Path, tmp_path: Path) -> None:
    rows = [line.split(",") for line in manifest.read_text().splitlines()]
    manifest.write_text("\n".join(",".join(row[:5] + row[6:]) for row in rows) + "\n")
    arguments = ("train", manifest, "--make-folds", "4", "--folds", "0,3", "--out", tmp_path / "cv")
    ok(run(*arguments, *SMALL))
    assert sorted(path.name for path in (tmp_path / "cv").glob("fold*")) == ["fold0", "fold3"]


def test_resume_goes_on(run: Run, manifest: Path, trained: Path) -> None:
    output = ok(run("train", manifest, "--out", trained, "--resume", *SMALL))
    assert "resumed from" in output
    assert "2 epochs and 0 steps are done" in output


def test_score_writes_scores_tables_and_plots(
    run: Run, manifest: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores"
    output = ok(run("score", manifest, "--model", trained, "--out", out))
    assert "v0" in output
    net, videos = load_model(trained), read_manifest(manifest)
    scores = read_scores(out, videos)
    for video in videos:
        assert np.array_equal(scores[video.name], score_video(net, video))
        assert (out / f"{video.name}.png").read_bytes().startswith(b"\x89PNG")
        with (out / f"{video.name}.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == 10
    assert json.loads((out / "run.json").read_text())["model"] == str(trained)


def test_score_takes_files_folders_and_crops_without_labels(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name in ("a__0", "a__1", "b", "b__vggish"):
        np.save(folder / f"{name}.npy", rng.normal(size=(5, 6)).astype(np.float32))
    out = tmp_path / "scores"
    ok(run("score", folder, "--model", trained, "--out", out, "--no-plots"))
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == {
        "a.npy", "a.csv", "b.npy", "b.csv", "run.json",
    }  # fmt: skip
    single = tmp_path / "single"
    ok(run("score", folder / "b.npy", "--model", trained, "--out", single, "--fps", "25"))
    assert np.array_equal(np.load(single / "b.npy"), np.load(out / "b.npy"))
    assert (single / "b.png").is_file()


def test_score_takes_a_manifest_whose_labels_are_empty(
    run: Run, manifest: Path, trained: Path, tmp_path: Path
) -> None:
    ok(run("score", manifest, "--model", trained, "--out", tmp_path / "a", "--no-plots"))
    rows = [line.split(",") for line in manifest.read_text().splitlines()]
    text = [rows[0][:5], *([*row[:2], "", *row[3:5]] for row in rows[1:])]
    (tmp_path / "new.csv").write_text("\n".join(map(",".join, text)) + "\n")
    ok(run("score", tmp_path / "new.csv", "--model", trained, "--out", tmp_path / "b"))
    for i in range(8):
        assert (tmp_path / "a" / f"v{i}.csv").read_text() == (
            tmp_path / "b" / f"v{i}.csv"
        ).read_text()


def test_evaluate_gives_the_figures_of_the_library(
    run: Run, manifest: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores"
    ok(run("score", manifest, "--model", trained, "--out", out, "--no-plots"))
    output = ok(run("evaluate", out, manifest))
    videos = read_manifest(manifest)
    expected = evaluate_scores(videos, read_scores(out, videos))
    assert f"{expected.auc:.4f}" in output
    written = json.loads((out / "metrics.json").read_text())
    assert written["auc"] == expected.auc
    assert "versions" in written["run"]


def test_evaluate_takes_a_concatenated_truth_and_smoothing(
    run: Run, manifest: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores"
    ok(run("score", manifest, "--model", trained, "--out", out, "--no-plots"))
    truth = np.concatenate([np.load(tmp_path / f"gt{i}.npy") for i in range(8)])
    np.save(tmp_path / "gt.npy", truth)
    plain, other, smooth = (tmp_path / name for name in ("a.json", "b.json", "c.json"))
    ok(run("evaluate", out, manifest, "--out", plain))
    ok(run("evaluate", out, manifest, "--gt", tmp_path / "gt.npy", "--out", other))
    ok(run("evaluate", out, manifest, "--smooth", "slide:3", "--out", smooth))
    figures = [json.loads(path.read_text())["auc"] for path in (plain, other, smooth)]
    assert figures[0] == figures[1] != figures[2]


def test_evaluate_reads_a_list_with_annotations_and_the_boundary_convention(
    run: Run, tmp_path: Path
) -> None:
    scores = tmp_path / "scores"
    scores.mkdir()
    names = ("Abuse001_x264", "Normal_Videos_003_x264")
    for name in names:
        np.save(tmp_path / f"{name}.npy", np.zeros((4, 6), np.float32))
    np.save(scores / f"{names[0]}.npy", np.array([0, 1, 0, 0], np.float32))
    np.save(scores / f"{names[1]}.npy", np.zeros(4, np.float32))
    listing = tmp_path / "test.list"
    listing.write_text("".join(f"{name}.npy\n" for name in names))
    annotations = tmp_path / "temporal.txt"
    annotations.write_text(
        "Abuse001_x264.mp4  Abuse  16  32  -1  -1\n"
        "Normal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1\n"
    )
    arguments = (
        "evaluate", scores, listing, "--layout", "ucf-i3d", "--gt", annotations,
        "--length-rule", "snippets",
    )  # fmt: skip
    ok(run(*arguments, "--boundaries", "[s,e)"))
    figures = json.loads((scores / "metrics.json").read_text())
    assert figures["auc"] == 1
    assert figures["per_class"]["Abuse"]["num_videos"] == 1
    ok(run(*arguments, "--boundaries", "[s,e]"))
    assert json.loads((scores / "metrics.json").read_text())["auc"] < 1
    missing = run(*arguments)
    assert missing.exit_code == 1
    assert "boundaries" in missing.output


def test_doctor_says_who_serves_each_operator(run: Run) -> None:
    output = ok(run("doctor"))
    for word in ("locality_attention", "ddl_loss", "reference: yes", "torch", "native"):
        assert word in output


@pytest.mark.parametrize("command", ["extract", "train", "score", "evaluate", "demo", "doctor"])
def test_help_shows_an_example(run: Run, command: str) -> None:
    assert f"ladnet-fast {command}" in ok(run(command, "--help")).partition("Example")[2]


def test_version(run: Run) -> None:
    assert ok(run("--version")).startswith("ladnet-fast 0.")
