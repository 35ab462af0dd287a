"""The core needs torch, numpy and safetensors only; what an extra brings is named when missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

EXTRAS = (
    "accelerate", "av", "h5py", "jinja2", "matplotlib", "rich", "scipy", "sklearn", "tensorboard",
    "triton", "typer", "yaml",
)  # fmt: skip

# None in sys.modules: as if the package were not installed, for import and for find_spec alike.
BLOCK = f"import sys\nsys.modules.update(dict.fromkeys({EXTRAS!r}))\n"


def run_without_extras(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code], capture_output=True, text=True, check=False
    )


def test_the_core_trains_a_step_without_any_extra():
    done = run_without_extras(
        "import torch, ladnet_fast.data\n"
        "from ladnet_fast import LANet, DDLLoss\n"
        "net = LANet(16, 8, 2, (8, 4))\n"
        "out = net(torch.randn(2, 9, 16))\n"
        "DDLLoss()(*out, torch.tensor([0, 1])).total.backward()\n"
    )
    assert done.returncode == 0, done.stderr


def test_the_doctor_works_with_the_core():
    done = run_without_extras(
        "import runpy; sys.argv = ['ladnet_fast']\n"
        "runpy.run_module('ladnet_fast', run_name='__main__')"
    )
    assert done.returncode == 0, done.stderr
    for word in ("locality_attention", "ddl_loss", "native", "reference"):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("from ladnet_fast.cli import main; main()", "tools"),
        (
            "from ladnet_fast.metrics import evaluate; evaluate([[0.1, 0.9]], [[0, 1]], [1])",
            "tools",
        ),
        (
            "from ladnet_fast.video import read_frames; list(read_frames('absent.mp4'))",
            "video",
        ),
    ],
)
def test_a_missing_extra_is_named(code, extra):
    done = run_without_extras(code)
    assert done.returncode != 0
    assert f"pip install 'ladnet-fast[{extra}]'" in done.stdout + done.stderr
