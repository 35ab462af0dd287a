"""A whole study: resumed, paired, summarised, and its command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from benchmarks.accuracy import report, shown, study, tables
from benchmarks.accuracy.cli import accuracy, accuracy_report, accuracy_speed
from benchmarks.accuracy.grid import make_grid
from benchmarks.accuracy.summary import COLUMNS, summarise

from .accuracy_data import write_set

GRID = """
baseline: mil
common:
  model: {hidden_dim: 8, mlp_dims: [16, 8], kernel_size: 3, impl: reference}
  training: {epochs: 2, batch_size: 4}
configurations:
  mil: {loss: {ddl: false, impl: reference}}
  ddl: {loss: {impl: reference}}
  same-as-mil: {loss: {ddl: false, impl: reference}}
  logistic: {trial: {method: logistic}, loss: {impl: reference}}
"""
app = typer.Typer()
app.command()(accuracy)
app.command()(accuracy_report)
app.command()(accuracy_speed)


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def quiet(_):
    pass


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A study that ran through the command line: its folder, grid and manifest."""
    folder = tmp_path_factory.mktemp("study")
    manifest = write_set(folder / "tiny")
    grid = folder / "small.yaml"
    grid.write_text(GRID, encoding="utf-8")
    out = folder / "out"
    result = invoke(
        "accuracy", manifest, "--grid", grid, "--seeds", 3, "--out", out, "--workers", 1,
        "--resamples", 20, "--show", "ddl",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return folder, grid, manifest, out, result.output


def jobs_of(done, seeds=3):
    import yaml

    _, grid, manifest, _, _ = done
    return study.jobs_of([str(manifest)], make_grid(yaml.safe_load(grid.read_text())), seeds)


def test_a_study_writes_runs_tables_and_plots(done):
    out, output = done[3], done[4]
    assert "9 of 12 runs are to do" in output  # one configuration is another's twin
    for suffix in ("json", "csv", "md"):
        assert (out / f"small-tiny.{suffix}").is_file()
    assert len(list((out / "runs").glob("*.json"))) == len(list((out / "runs").glob("*.npz"))) == 9
    text = (out / "small-tiny.md").read_text()
    for picture in (out / "small-tiny").glob("*.svg"):
        assert f"small-tiny/{picture.name}" in text
    header = (out / "small-tiny.csv").read_text().splitlines()[0]
    assert header.split(",") == list(COLUMNS)


def test_rows_are_the_runs_figures_paired_by_seed(done):
    summary = report.read_summary(done[3] / "small-tiny.json")
    by_seed = {}
    for job in jobs_of(done):
        run, scores = study.read_run(job, done[3])
        assert len(run["epochs"]) == len(scores)
        by_seed.setdefault(job.name, []).append(run["epochs"][-1]["auc"])
    assert list(summary["setups"]) == ["mil", "ddl", "same-as-mil", "logistic"]
    for name, values in by_seed.items():
        row = report.cell(summary, name, "auc", "last")
        assert row["mean"] == pytest.approx(np.mean(values), abs=1e-6)
        assert row["sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-6)
        assert row["low"] <= row["high"]
        if name != "mil":
            differences = np.subtract(values, by_seed["mil"])
            assert row["difference"] == pytest.approx(differences.mean(), abs=1e-6)
    twin = report.cell(summary, "same-as-mil", "auc", "last")
    assert (twin["difference"], twin["p"]) == (0, 1)
    assert (twin["difference_low"], twin["difference_high"]) == (0, 0)


def test_held_out_bags_compare_configurations_seed_by_seed(done):
    summary = report.read_summary(done[3] / "small-tiny.json")
    last = {}
    for job in jobs_of(done):
        run = study.read_run(job, done[3])[0]
        last.setdefault(job.name, []).append(run["criteria"][-1]["gap"])
    for name, values in last.items():
        row = summary["by_bag_labels"][name]["gap"]
        assert row["mean"] == pytest.approx(np.mean(values), abs=1e-6)
        expected = np.subtract(values, last["mil"]).mean()
        assert row["difference"] == pytest.approx(expected, abs=1e-6)


def test_the_average_is_over_sets_and_names_the_worst():
    def summary(dataset, differences):
        rows = []
        for name, (value, low, high) in {"a": (0.5, 0.4, 0.6), **differences}.items():
            for figure in ("auc", "anomalous_auc"):
                row = {"configuration": name, "figure": figure, "which": "last", "mean": 0.5}
                if name != "a":
                    row |= {"difference": value, "difference_low": low, "difference_high": high}
                rows.append(row)
        return {"dataset": dataset, "setups": dict.fromkeys(["a", *differences]), "rows": rows}

    text = tables.average(
        [
            summary("first", {"b": (0.1, 0.05, 0.2), "only-here": (0.3, 0.2, 0.4)}),
            summary("second", {"b": (-0.3, -0.5, -0.1)}),
        ]
    )
    [line] = text.splitlines()[2:]
    expected = ["b", *["-0.100", "-0.300 (second)", "1", "1"] * 2]
    assert [cell.strip() for cell in line.strip("|").split("|")] == expected


def test_curve_and_chosen_epoch_come_from_the_same_runs(done):
    summary = report.read_summary(done[3] / "small-tiny.json")
    runs = [study.read_run(job, done[3])[0] for job in jobs_of(done) if job.name == "ddl"]
    curve = np.mean([[epoch["auc"] for epoch in run["epochs"]] for run in runs])
    assert report.cell(summary, "ddl", "auc", "curve")["mean"] == pytest.approx(curve, abs=1e-6)
    chosen = [
        max(reversed(list(zip(run["criteria"], run["epochs"], strict=True))),
            key=lambda pair: pair[0]["video_auc"])[1]["auc"]
        for run in runs
    ]  # fmt: skip
    row = report.cell(summary, "ddl", "auc", "chosen")
    assert row["mean"] == pytest.approx(np.mean(chosen), abs=1e-6)


def test_a_stopped_study_goes_on_and_gives_the_same(done):
    _, _, _, out, _ = done
    job = jobs_of(done)[1]
    before = job.path(out).with_suffix(".npz").read_bytes()
    job.path(out).unlink()
    lines = []
    study.run_jobs(jobs_of(done), out, workers=1, progress=lines.append)
    assert len(lines) == 2
    assert job.path(out).with_suffix(".npz").read_bytes() == before
    lines.clear()
    study.run_jobs(jobs_of(done), out, workers=1, progress=lines.append)
    assert lines == [f"0 of 12 runs are to do; results in {out}"]


def test_a_summary_of_unfinished_runs_is_refused(done, tmp_path):
    import yaml

    grid = make_grid(yaml.safe_load(done[1].read_text()))
    with pytest.raises(ValueError, match="mil with seed 0 is not done"):
        summarise(jobs_of(done), tmp_path, grid, progress=quiet)


def test_the_key_is_what_a_result_depends_on_and_no_more(done, tmp_path):
    jobs = jobs_of(done, seeds=2)
    keys = {(job.name, job.seed): job.key for job in jobs}
    assert keys["mil", 0] == keys["same-as-mil", 0]
    assert len({keys[name, seed] for name in ("mil", "ddl", "logistic") for seed in (0, 1)}) == 6
    moved = write_set(tmp_path / "tiny")
    grid = make_grid({"baseline": "a", "configurations": {"a": {}}})
    other = write_set(tmp_path / "other", seed=1)
    [here], [there], [different] = (
        study.jobs_of([str(path)], grid, 1) for path in (done[2], moved, other)
    )
    assert here.key == there.key != different.key


@pytest.mark.slow
def test_two_processes_give_what_one_gives(done, tmp_path):
    jobs = [job for job in jobs_of(done) if job.name == "ddl"][:2]
    study.run_jobs(jobs, tmp_path, workers=2, progress=quiet)
    for job in jobs:
        np.testing.assert_array_equal(
            study.read_run(job, tmp_path)[1], study.read_run(job, done[3])[1]
        )


def test_a_run_that_fails_is_named_after_the_others_are_done(done, tmp_path):
    grid = make_grid(
        {
            "baseline": "broken",
            "common": {"model": {"hidden_dim": 8, "impl": "reference"}},
            "configurations": {
                "broken": {"training": {"epochs": 3, "lr": 1e30}},
                "sound": {"training": {"epochs": 1}, "trial": {"method": "logistic"}},
            },
        }
    )
    jobs = study.jobs_of([str(done[2])], grid, 1)
    with pytest.raises(RuntimeError, match=r"1 of 2 runs failed: tiny broken seed 0: epoch \d"):
        study.run_jobs(jobs, tmp_path, workers=1, progress=quiet)
    assert jobs[1].path(tmp_path).exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": "baseline: a\nconfigurations: {a: {los: {}}}"}, "configurations.a.los"),
        ({"options": ["--show", "none"]}, "--show none is none of the configurations: mil, ddl"),
        ({"options": ["--criterion", "auc"]}, "--criterion must be one of video_auc"),
        ({"set": {"truth": False}}, "has no truth"),
        ({"set": {"labels": (0,)}}, "have label 0"),
        ({"manifests": 2}, "two manifests are called 'tiny'"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(tmp_path, change, message):
    manifest = write_set(tmp_path / "tiny", **change.get("set", {}))
    grid = tmp_path / "grid.yaml"
    grid.write_text(change.get("grid", GRID), encoding="utf-8")
    result = invoke(
        "accuracy", *[manifest] * change.get("manifests", 1), "--grid", grid,
        "--out", tmp_path / "out", *change.get("options", []),
    )  # fmt: skip
    assert result.exit_code == 2
    words = " ".join(result.output.replace("│", " ").split())
    assert message.replace(" ", "") in words.replace(" ", "")
    assert not (tmp_path / "out").exists()


def test_the_command_of_a_summary_names_no_folder_of_this_machine(done):
    summary = report.read_summary(done[3] / "small-tiny.json")
    assert summary["command"] == (
        "python -m benchmarks accuracy tiny/videos.csv --grid small.yaml --seeds 3 --resamples 20"
        " --show ddl"
    )
    assert str(done[0]) not in json.dumps(summary)


def test_shown_videos_are_those_of_the_largest_change(done):
    summary = report.read_summary(done[3] / "small-tiny.json")
    truth = study.truth_of(jobs_of(done)[0])
    areas = {"mil": [], "ddl": []}
    for job in jobs_of(done):
        if job.name in areas:
            scores = study.read_run(job, done[3])[1][-1]
            areas[job.name].append(shown.video_areas(scores, truth))
    change = np.mean(areas["ddl"], axis=0) - np.mean(areas["mil"], axis=0)
    names = study.names_of(jobs_of(done)[0])
    found = summary["shown"]["ddl"]
    assert found["videos"] == 4
    assert found["most"]["helped"]["video"] == names[np.nanargmax(change)]
    assert found["most"]["hurt"]["video"] == names[np.nanargmin(change)]
    assert "helped most" in (done[3] / "small-tiny.md").read_text()


def test_files_that_are_no_summary_are_refused(tmp_path):
    result = invoke("accuracy-report", tmp_path)
    assert result.exit_code == 2
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ValueError, match=r"x.json was not written by this version"):
        report.read_folder(tmp_path)
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ValueError, match=r"x.json is not a summary"):
        report.read_folder(tmp_path)


def test_time_is_measured_for_both_ways_and_said_by_part(done, tmp_path):
    result = invoke("accuracy-speed", done[2], "--epochs", 1, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "speed-tiny.json").read_text())
    assert found["command"] == "python -m benchmarks accuracy-speed tiny/videos.csv --epochs 1"
    assert found["bags"] == 10
    for side in ("bare", "bare_scoring", "engine", "first", "setup"):
        assert found[side] > 0, side
    parts = (
        "forward, loss, backward, step", "reading bags", "scoring held-out videos", "model files",
        "checkpoints",
    )  # fmt: skip
    for part in parts:
        assert found["parts"][part] > 0, part  # the function is still called so


def test_the_page_holds_every_study_and_the_command_of_each(done, tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    summary = json.loads((done[3] / "small-tiny.json").read_text())
    for study_name, dataset in (("study", "a"), ("baselines", "a"), ("study", "b")):
        content = {**summary, "study": study_name, "dataset": dataset}
        (folder / f"{study_name}-{dataset}.json").write_text(json.dumps(content))
    result = invoke("accuracy-report", folder, "--output", tmp_path / "docs" / "page.md")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "docs" / "page.md").read_text()
    assert text.count(summary["command"]) >= 3
    assert "{" not in text.replace("{fight", "")
    for line in text.splitlines():
        if line.startswith("!["):
            assert (tmp_path / "docs" / line.split("](")[1].rstrip(")")).is_file()
