"""The command line of the GPU's benchmarks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.gpu import cli, device
from benchmarks.gpu.outcome import Outcome
from ladnet_fast.ops import _triton

ROOT = Path(__file__).parents[2]


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
    def run(place, sizes, cases, steps, command, progress):
        check = Outcome("graphs", "ddl_loss", status, "what was found")
        return {
            "command": command,
            "date": "2022-07-18",
            "size": sizes.name,
            "machine": device.describe(place),
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
        [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--device", "cpu",
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
