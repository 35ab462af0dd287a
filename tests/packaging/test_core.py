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


def test_the_import_brings_no_compiler_and_no_extra():
    """Each of these takes longer to import than all of this package."""
    heavy = ("torch._dynamo", "torch._inductor", "torch.onnx", "sympy", "huggingface_hub", *EXTRAS)
    code = (
        f"import sys, torch; before = set(sys.modules); import ladnet_fast; print(sorted("
        f"({set(heavy)!r} & set(sys.modules)) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_constants_of_compiled_graphs_are_marked_as_torch_marks_them():
    import torch

    from ladnet_fast.ops._impl import constant_in_graphs

    def ours() -> int:
        return 1

    def theirs() -> int:
        return 1

    assert vars(constant_in_graphs(ours)) == vars(torch.compiler.assume_constant_result(theirs))
