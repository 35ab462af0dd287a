"""The command line of the GPU's benchmarks."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from benchmarks.gpu import cli, device
from benchmarks.gpu import run as gpu_run
from benchmarks.gpu.outcome import Outcome
from ladnet_fast._extras import MissingExtraError
from ladnet_fast.ops import _triton

ROOT = Path(__file__).parents[2]
#: ``python -m benchmarks.gpu`` with less work for Triton's interpreter.
QUICKER = (
    "import runpy; from tests.kernels.interpreter import speed_up; speed_up();"
    "runpy.run_module('benchmarks.gpu', run_name='__main__', alter_sys=True)"
)


@pytest.fixture
def invoke(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def call(*arguments):
        return CliRunner().invoke(cli.app, [*arguments, "--output", str(tmp_path)])

    return call


def test_without_a_gpu_it_says_so_in_a_line_and_is_content(invoke, tmp_path):
    result = invoke()
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "No GPU: torch.cuda.is_available() is False, so there is nothing to measure."
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "graphs", "--only", "tea"), "got tea"),
        (("--device", "cpu"), "together with --tiny"),
        (("--device", "abacus"), "must be a torch device"),
        (("nonsense",), "no case matches nonsense"),
    ],
)
def test_bad_arguments_are_named(invoke, monkeypatch, arguments, message):
    monkeypatch.setattr(cli, "_device", cli._device if "--device" in arguments else lambda *_: 0)
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize(("name", "index"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_a_device_is_chosen_with_and_without_an_index(two_gpus, name, index):
    assert cli._device(name, False) == torch.device("cuda", index)
    assert two_gpus == [index]


def test_without_an_index_the_current_device_stays(two_gpus):
    two_gpus[:] = [1]
    assert cli._device("cuda", False) == torch.device("cuda", 1)


def test_a_device_that_is_not_there_is_answered_with_those_that_are(two_gpus):
    with pytest.raises(typer.BadParameter, match="one of cuda:0, cuda:1; got 'cuda:99'"):
        cli._device("cuda:99", False)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu", "--list"])
    with pytest.raises(MissingExtraError, match=r"psutil is needed to run the benchmarks"):
        runpy.run_module("benchmarks.gpu", run_name="__main__")


def test_an_interrupted_command_leaves_its_report(invoke, monkeypatch, tmp_path):
    def interrupted(device, sizes):
        yield Outcome("memory", "first", "ok", "what was found before")
        raise KeyboardInterrupt

    def graphs(device, sizes):
        return (Outcome("graphs", name, "unavailable", "no GPU") for name in ("a", "b"))

    monkeypatch.setitem(gpu_run._CHECKS, "graphs", graphs)
    monkeypatch.setitem(gpu_run._CHECKS, "memory", interrupted)
    monkeypatch.setattr(_triton, "INTERPRETED", True)
    result = invoke("--tiny", "--device", "cpu", "--only", "memory", "--only", "graphs")
    assert result.exit_code != 0
    (page,) = tmp_path.glob("*.md")
    assert "**This report is incomplete: the run was broken off" in page.read_text()
    assert "what was found before" in page.read_text()
    (data,) = tmp_path.glob("*.json")
    assert len(json.loads(data.read_text())["checks"]) == 3  # two of graphs, one of memory


def test_the_interpreter_has_to_be_asked_for(invoke, monkeypatch):
    monkeypatch.setattr(_triton, "INTERPRETED", False)
    result = invoke("--tiny", "--device", "cpu")
    assert result.exit_code == 2
    assert "TRITON_INTERPRET=1" in result.output


def test_the_cases_are_listed_without_a_gpu(invoke):
    result = invoke("--list", "--quick", "score_head_forward/")
    assert result.exit_code == 0
    assert result.output.count("score_head_forward/") == len(result.output.splitlines()) > 1


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("failed", 1), ("unavailable", 0)])
def test_a_failed_check_is_the_exit_status(invoke, monkeypatch, tmp_path, status, code):
    def run(place, sizes, cases, steps, command, progress, save):
        check = Outcome("graphs", "ddl_loss", status, "what was found")
        return {
            "command": command,
            "date": "2022-07-18",
            "size": sizes.name,
            "machine": device.describe(place),
            "incomplete": "",
            "device_failed": "",
            "ceilings": [],
            "checks": [check.as_dict()],
            "measurements": [],
        }

    monkeypatch.setattr(cli, "run", run)
    monkeypatch.setattr(_triton, "INTERPRETED", True)
    result = invoke("--tiny", "--device", "cpu", "--only", "graphs")
    assert result.exit_code == code
    assert ("FAILED: graphs: ddl_loss: what was found" in result.output) == (code == 1)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".csv", ".md"}


@pytest.mark.slow
def test_the_whole_command_runs_through_the_interpreter(tmp_path):
    pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")
    patterns = ["score_head", "attention_forward/additive", "ddl_forward/"]
    steps = [word for step in ("correctness", "graphs", "speed") for word in ("--only", step)]
    run = subprocess.run(
        [sys.executable, "-c", QUICKER, "--tiny", "--device", "cpu",
         "--output", str(tmp_path), *steps, *patterns],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-5000:]
    (path,) = tmp_path.glob("*.json")
    found = json.loads(path.read_text())
    # Our Triton kernels were checked, and then timed beside their peers.
    statuses = {(row["op"], row["side"]): row["status"] for row in found["measurements"]}
    for op in ("attention_forward", "score_head_forward", "score_head_forward_backward"):
        assert statuses[op, "triton"] == "ok"
        assert statuses[op, "eager"] == "ok"
    triton = [c for c in found["checks"] if c["name"].startswith(("locality", "score"))]
    assert {c["status"] for c in triton} == {"ok"}
    assert len(triton) > 10
