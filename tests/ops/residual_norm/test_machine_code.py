"""What Triton's compiler makes of the kernels for GPUs that are not here, and what it computes.

PTX for sm_80 is executed on the CPU: races in shared memory, accesses outside of an allocation and
values that were never written are errors of the interpreter, or NaN in the outputs, which are full
of it before.
"""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

from benchmarks.resources.triton_build import Build
from ladnet_fast.kernels.residual_norm import plan
from tests.emulators.ptx_on_cpu.triton_aot import compile_for_sm80

from .cases import EPS, NAMES, assert_within_budget, random_rows

#: What a block may have on every GPU from sm_80 on: sm_86, 89 and 120 have no more.
LEAST_SHARED_BYTES = 99 * 1024


def launches(x, out, T=200, D=1024, B=128):
    """Both launches with the sizes of LA-Net, as in training on ragged bags."""

    def empty(*shape, dtype=torch.float32):
        return torch.empty(*shape, dtype=dtype, device="meta")

    rows, hidden = empty(B, T, D, dtype=x), empty(B, T, D, dtype=out)
    weight, lengths = empty(D, dtype=x), empty(B, dtype=torch.int64)
    parts = empty(plan.parts(rows, hidden, lengths), D)
    return {
        "forward": plan.plan_forward(rows, hidden, weight, weight, EPS, lengths, hidden),
        "backward": plan.plan_backward(
            hidden, rows, hidden, weight, EPS, lengths, None, hidden, parts, parts
        ),
    }


def build(launch, architecture):
    options = {"num_warps": launch.num_warps, "num_stages": launch.num_stages}
    given = {**launch.arguments, **launch.constexprs}
    return Build(launch.kernel, given, architecture=architecture, options=options)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "triton"))


@pytest.mark.parametrize(
    ("architecture", "x", "D", "pass_"),
    # Autocast: features in float32. The widest row has the fewest registers for each thread.
    [
        (80, torch.float32, 1024, "backward"),
        (90, torch.bfloat16, 1024, "forward"),
        (90, torch.float32, plan.MAX_WIDTH, "backward"),
        (100, torch.float32, 1024, "backward"),
    ],
    ids=["sm_80", "sm_90-forward", "sm_90-widest", "sm_100"],
)
def test_nothing_is_spilled_and_rows_are_read_16_bytes_at_a_time(architecture, x, D, pass_):
    launch = launches(x, torch.bfloat16, D=D)[pass_]
    binary = build(launch, architecture).compile()
    assert binary.read()[0].local == 0  # nothing is spilled
    assert binary.shared_bytes <= LEAST_SHARED_BYTES
    assert "ld.global.v4" in binary.ptx


@pytest.mark.parametrize("pass_", ["forward", "backward"])
def test_every_length_has_the_same_code(pass_):
    """1, a multiple of 16 and a prime specialise alike; so do the batches that they come in."""
    bf16 = torch.bfloat16
    fingerprints = {
        build(launches(bf16, bf16, T=T, B=B)[pass_], 90).fingerprint
        for T, B in ((1, 2), (16, 1), (200, 128), (134_999, 1))
    }
    assert len(fingerprints) == 1


def execute(launch):
    kernel = compile_for_sm80(
        launch.kernel,
        launch.arguments,
        launch.constexprs,
        num_warps=launch.num_warps,
        num_stages=launch.num_stages,
    )
    kernel((*launch.grid, 1, 1)[:3], launch.arguments)


def both_passes(inputs, lengths, grad):
    x, hidden, weight, bias = inputs
    out, grad_hidden = (torch.full(x.shape, torch.nan, dtype=grad.dtype) for _ in range(2))
    grad_x = torch.full(x.shape, torch.nan, dtype=x.dtype)
    execute(plan.plan_forward(x, hidden, weight, bias, EPS, lengths, out))
    shape = (plan.parts(x, hidden, lengths), x.shape[2])
    parts = [torch.full(shape, torch.nan) for _ in range(2)]
    execute(plan.plan_backward(grad, x, hidden, weight, EPS, lengths, grad_x, grad_hidden, *parts))
    sums = (part.sum(0).to(weight.dtype) for part in parts)
    return dict(zip(NAMES, (out, grad_x, grad_hidden, *sums), strict=True))


@pytest.mark.parametrize(
    ("x", "D"), [(torch.bfloat16, 512), (torch.float32, 333)], ids=["bf16", "odd-autocast"]
)
def test_the_machine_code_computes_rows_and_gradients(monkeypatch, x, D):
    monkeypatch.setattr(plan, "MAX_PARTS", 2)
    lengths = torch.tensor([9, 0, 4])
    inputs = random_rows(3, 9, D, x, torch.bfloat16)
    grad = torch.randn(3, 9, D).bfloat16()
    padding = torch.arange(9) >= lengths[:, None]
    for y in (*inputs[:2], grad):
        y[padding] = torch.nan
    got = both_passes(inputs, lengths, grad)
    for name in NAMES[:3]:
        assert (got[name][padding] == 0).all()
    assert_within_budget(got, inputs, torch.where(padding[..., None], 0, grad), lengths)
