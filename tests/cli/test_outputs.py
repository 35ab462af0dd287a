"""Results of one command are never replaced by those of another."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from .conftest import SMALL

Run = Callable[..., Result]


@pytest.fixture
def results(run: Run, manifest: Path, tmp_path: Path) -> Path:
    """A folder with a run, scores, figures, findings and ground truth, all of them ours."""
    annotations = tmp_path / "annotations.txt"
    annotations.write_text("".join(f"v{i}.mp4 Abuse 16 28 -1 -1\n" for i in range(1, 8, 2)))
    for arguments in (
        ["train", manifest, "--out", tmp_path / "run", "--no-tensorboard", *SMALL],
        ["score", manifest, "--model", tmp_path / "run", "--out", tmp_path / "scores"],
        ["evaluate", tmp_path / "scores", manifest, "--out", tmp_path / "figures.json"],
        ["check", manifest, "--json", tmp_path / "findings.json"],
    ):
        result = run(*arguments)
        assert result.exit_code == 0, result.output
    return tmp_path


OURS = ("run/model.safetensors", "run/config.yaml", "run/history.json", "scores/v0.npy",
        "scores/v1.csv", "scores/v2.png", "figures.json", "findings.json")  # fmt: skip


def test_no_command_replaces_what_another_one_wrote(run: Run, results: Path) -> None:
    manifest, model = results / "videos.csv", results / "run"
    truth = ["truth", results / "annotations.txt", manifest, "--boundaries", "[s,e)"]
    for name in OURS:
        target = results / name
        before = target.read_bytes()
        commands = {
            "figures.json": ["evaluate", results / "scores", manifest, "--out", target],
            "findings.json": ["check", manifest, "--json", target],
            "": ["export", model, "--out", target],
        }
        if target.suffix == ".npy":
            commands["truth"] = [*truth, "--out", target]
        for own, arguments in commands.items():
            if own == name:
                continue
            result = run(*arguments)
            assert result.exit_code == 1, (name, result.output)
            assert f"{name} " in result.output
            assert target.read_bytes() == before
    result = run(*truth, "--per-video", results / "scores")
    assert result.exit_code == 1
    assert "another command wrote it (scores)" in result.output


def test_each_command_still_replaces_its_own(run: Run, results: Path) -> None:
    manifest = results / "videos.csv"
    for arguments in (
        ["evaluate", results / "scores", manifest, "--out", results / "figures.json"],
        ["check", manifest, "--json", results / "findings.json"],
        ["score", manifest, "--model", results / "run", "--out", results / "scores"],
        ["train", manifest, "--out", results / "run", "--resume", "--no-tensorboard", *SMALL],
    ):
        result = run(*arguments)
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize("name", ["model.safetensors", "config.yaml"])
def test_the_files_of_a_model_are_inputs_of_the_commands_that_read_it(
    run: Run, results: Path, name: str
) -> None:
    target = results / "run" / name
    os.link(target, results / "twin.npy")
    before = target.read_bytes()
    manifest = results / "videos.csv"
    for place in (target, results / "twin.npy"):
        for arguments in (
            ["export", results / "run", "--out", place],
            ["check", manifest, "--model", results / "run", "--json", place],
        ):
            result = run(*arguments, "--overwrite")
            assert result.exit_code == 1, result.output
            assert "is an input" in result.output
            assert target.read_bytes() == before


def test_scores_of_test_videos_stay_what_the_training_wrote(
    run: Run, split_manifest: Path, tmp_path: Path
) -> None:
    train = ("train", split_manifest, "--split", "train", "--test-split", "test", "--out",
             tmp_path / "run", "--no-tensorboard", *SMALL)  # fmt: skip
    assert run(*train).exit_code == 0
    before = (tmp_path / "run" / "scores" / "v6.npy").read_bytes()
    score = ("score", split_manifest, "--split", "test", "--model", tmp_path / "run", "--out",
             tmp_path / "run" / "scores", "--no-plots")  # fmt: skip
    result = run(*score)
    assert result.exit_code == 1
    assert "another command wrote it (scores of test videos)" in result.output
    assert (tmp_path / "run" / "scores" / "v6.npy").read_bytes() == before
    assert run(*score, "--overwrite").exit_code == 0
    assert "were there" in run(*score).output
    assert run(*train, "--resume").exit_code == 0


@pytest.mark.parametrize("content", ["my notes", '{"mine": 1}', "[]", ""])
def test_a_run_json_of_the_user_is_told_before_the_work_and_stays(
    run: Run, results: Path, content: str
) -> None:
    theirs = results / "out" / "run.json"
    theirs.parent.mkdir()
    theirs.write_text(content)
    for extra in ((), ("--overwrite",)):
        result = run("score", results / "v0.npy", "--model", results / "run", "--out",
                     theirs.parent, *extra)  # fmt: skip
        assert result.exit_code == 1
        assert "name another folder with --out, or move it away" in result.output
        assert [path.name for path in theirs.parent.iterdir()] == ["run.json"]
        assert theirs.read_text() == content


@pytest.mark.parametrize("name", ["v1.npy", "gt1.npy", "videos.csv", "scores/v1.npy"])
def test_figures_never_replace_what_the_list_names(run: Run, results: Path, name: str) -> None:
    before = (results / name).read_bytes()
    result = run("evaluate", results / "scores", results / "videos.csv", "--out", results / name,
                 "--overwrite")  # fmt: skip
    assert result.exit_code == 1
    assert "is an input" in result.output
    assert (results / name).read_bytes() == before
