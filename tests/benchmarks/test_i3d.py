"""The commands that time I3D: which settings they run. Nothing is really measured."""

from __future__ import annotations

import pytest
import torch
import typer
from typer.testing import CliRunner

from benchmarks import camera, i3d

app = typer.Typer()
app.command()(i3d.i3d)
app.command()(camera.camera)


@pytest.fixture
def timed(monkeypatch):
    """What was loaded and timed: the dtype, and the snippets of a batch."""
    asked = []

    class Model:
        @classmethod
        def from_pretrained(cls, dtype):
            return torch.nn.Linear(1, 1, dtype=dtype)

    def frames_per_second(model, *, batch):
        asked.append((model.weight.dtype, batch))
        return 12.4

    monkeypatch.setattr(i3d, "I3D", Model)
    monkeypatch.setattr(i3d, "frames_per_second", frames_per_second)
    return asked


def test_every_dtype_is_timed_with_every_batch(timed):
    options = ["--dtype", "float32", "--dtype", "bfloat16", "--batch", "3", "--batch", "5"]
    finished = CliRunner().invoke(app, ["i3d", *options])
    assert finished.exit_code == 0, finished.output
    combinations = [(d, b) for d in (torch.float32, torch.bfloat16) for b in (3, 5)]
    assert list(dict.fromkeys(timed)) == combinations
    assert "bfloat16, batch 5: 12 frames/s" in finished.output


def test_without_options_it_is_float32_and_two_batches(timed):
    assert CliRunner().invoke(app, ["i3d"]).exit_code == 0
    assert list(dict.fromkeys(timed)) == [(torch.float32, 2), (torch.float32, 8)]


@pytest.mark.parametrize(
    "arguments", [["i3d", "--dtype", "fp16"], ["camera", "--precision", "fp16"]], ids=str
)
def test_another_dtype_is_refused_by_name(arguments):
    finished = CliRunner().invoke(app, arguments)
    assert finished.exit_code == 2
    told = " ".join(finished.output.replace("│", " ").split())
    assert f"{arguments[1]} must be float32 or bfloat16; got 'fp16'" in told
