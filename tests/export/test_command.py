"""``ladnet-fast export``."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("typer", reason="in the extra [tools]")

from typer.testing import CliRunner

from ladnet_fast import LANet
from ladnet_fast.cli.app import app


def invoke(*arguments: object):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


@pytest.fixture
def run(tmp_path):
    LANet(6, 8, mlp_dims=(7, 4)).save_pretrained(tmp_path / "first")
    return tmp_path / "first"


def test_a_run_becomes_a_file_beside_it(run, tmp_path):
    done = invoke(run, "--format", "torch")
    assert done.exit_code == 0, done.output
    assert "first.pt2" in done.output
    scores, _ = torch.export.load(tmp_path / "first.pt2").module()(torch.zeros(1, 4, 6))
    assert scores.shape == (1, 4)
    assert invoke(run, "--format", "torch").exit_code == 0  # its own file may be replaced


def test_files_of_others_and_inputs_are_not_replaced(run, tmp_path):
    (tmp_path / "mine.pt2").write_text("mine")
    done = invoke(run, "--format", "torch", "--out", tmp_path / "mine.pt2")
    assert done.exit_code == 1
    assert (tmp_path / "mine.pt2").read_text() == "mine"
    weights = run / "model.safetensors"
    before = weights.read_bytes()
    done = invoke(weights, "--format", "torch", "--out", weights, "--overwrite")
    assert done.exit_code == 1
    assert weights.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "onnx"), "give the folder of a run, or --i3d"),
        (("somewhere", "--format", "tflite"), "must be onnx or torch"),
        (("somewhere",), "somewhere does not exist"),
    ],
)
def test_a_wrong_call_says_what_to_give(arguments, message):
    done = invoke(*arguments)
    assert done.exit_code != 0
    assert message in " ".join(done.output.replace("│", " ").split())
