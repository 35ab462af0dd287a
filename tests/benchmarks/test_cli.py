"""The command line: what each command starts, writes and refuses. Nothing is really measured."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from benchmarks import cli, machine, results

from .conftest import attention, canned


def invoke(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture
def started(monkeypatch):
    """Stand-ins for everything that takes time; what was asked of them."""
    asked = {"rows": [canned("attention_forward", "sdpa", attention(9), seconds=1.0)]}

    def run_cases(cases, **options):
        asked["cases"], asked["options"] = [case.key for case in cases], options
        return asked["rows"]

    def score_day(threads):
        asked["day"] = threads
        return canned("day_of_video", "native", {"B": 1, "T": 135_000, "D": 8}, seconds=9.0, peak=8)

    monkeypatch.setattr(cli, "measure_ceilings", lambda threads, plan: [])
    monkeypatch.setattr(cli.runner, "run_cases", run_cases)
    monkeypatch.setattr(cli.long_video, "score_day", score_day)
    monkeypatch.setattr(cli.machine, "busy_cores", lambda: 0.25)
    return asked


def test_list_names_every_case():
    result = invoke("list")
    assert result.exit_code == 0
    assert "training_step/default/B128-T200-D1024/float32  [bars, full, quick]" in result.output


def test_run_writes_json_and_csv_with_the_command_that_repeats_it(started, tmp_path, monkeypatch):
    monkeypatch.delenv("LADNET_CPU", raising=False)
    result = invoke("run", "ddl_forward/", "--quick", "--threads", "1", "--output", tmp_path)
    assert result.exit_code == 0, result.output
    assert all(key.startswith("ddl_forward/") for key in started["cases"])
    assert started["options"]["threads"] == 1
    [path] = tmp_path.glob("*.json")
    assert path.with_suffix(".csv").is_file()
    found = results.read(path)
    assert found["command"] == "python -m benchmarks run ddl_forward/ --quick --threads 1"
    assert (found["machine"]["threads"], found["busy_cores"]) == (1, 0.25)
    # The whole table has the name without the end, and stays.
    assert path.stem == f"{machine.slug(found['machine'])}-quick-ddl-forward"
    assert "written: " in result.output


def test_run_fails_if_one_of_ours_is_wrong(started, tmp_path):
    row = canned("attention_forward", "native", attention(9), own=True, status="wrong", reason="x")
    started["rows"] = [row]
    assert invoke("run", "--output", tmp_path).exit_code == 1
    assert json.loads(next(tmp_path.glob("*.json")).read_text())["measurements"] == [row]
    started["rows"] = [{**row, "own": False}]
    assert invoke("run", "--output", tmp_path).exit_code == 0


def test_run_refuses_a_pattern_that_matches_nothing(started, tmp_path):
    result = invoke("run", "nonsense", "--output", tmp_path)
    assert result.exit_code == 2
    assert "nonsense" in result.output
    assert not list(tmp_path.iterdir())


def test_the_day_of_video_gets_a_file_of_its_own(started, tmp_path):
    result = invoke("cpu", "--long", "--threads", "1", "--output", tmp_path)
    assert result.exit_code == 0, result.output
    assert started["day"] == 1
    [path] = tmp_path.glob("*-long.json")
    assert results.read(path)["command"].endswith("python -m benchmarks cpu --long --threads 1")


def test_the_cpu_table_runs_every_lower_instruction_set_in_its_own_process(monkeypatch, tmp_path):
    begun = []

    def run(command, env, check):
        begun.append((command[3:], env.get("LADNET_CPU")))
        return type("Finished", (), {"returncode": 0})

    monkeypatch.delenv("LADNET_CPU", raising=False)
    monkeypatch.setattr(cli.subprocess, "run", run)
    monkeypatch.setattr(cli.machine, "instruction_set", lambda: "avx512")
    monkeypatch.setattr(cli.machine, "instruction_sets", lambda: ["baseline", "avx2", "avx512"])
    assert invoke("cpu", "--threads", "2", "--output", tmp_path).exit_code == 0
    rest = ["--threads", "2", "--output", str(tmp_path)]
    assert begun == [
        (["run", *rest], None),
        (["run", "--bars", "--no-memory", *rest], "avx2"),
    ]


def test_report_writes_the_page_and_names_a_folder_without_results(run, tmp_path):
    results.write(tmp_path / "results", "cpu", run)
    result = invoke("report", tmp_path / "results", "--output", tmp_path / "performance.md")
    assert result.exit_code == 0, result.output
    assert "# Performance" in (tmp_path / "performance.md").read_text()
    result = invoke("report", tmp_path, "--output", tmp_path / "other.md")
    assert result.exit_code == 2
    assert not (tmp_path / "other.md").exists()
