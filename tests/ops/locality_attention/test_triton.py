"""The Triton backend where nothing can be launched: reasons, specialisation, configurations."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
import torch

import ladnet_fast
import ladnet_fast.functional as LF
from ladnet_fast.ops import _triton
from ladnet_fast.ops.locality_attention import schema, triton
from ladnet_fast.ops.locality_attention.layout import empty_lse, empty_output

pytestmark = pytest.mark.skipif(_triton.INTERPRETED, reason="asks what holds without interpreter")

Q = torch.randn(1, 2, 5, 16)


def test_cpu_tensors_are_refused_by_name_and_left_alone_by_auto():
    with pytest.raises(ladnet_fast.ImplUnavailableError, match=r"CUDA tensors: q is on cpu"):
        LF.locality_attention(Q, Q, Q, prior="none", impl="triton")
    assert LF.locality_attention(Q, Q, Q, prior="none").shape == Q.shape


def test_every_reason_is_listed():
    wide = torch.zeros(1, 1, 2, 300, dtype=torch.float64)
    reasons = "; ".join(triton.why_not(wide, wide, wide))
    for part in ("q is on cpu", "v is on cpu", "torch.float64", "head size is 300"):
        assert part in reasons


def test_the_operator_itself_refuses_tensors_that_kernels_cannot_read():
    call = (Q, Q, Q, None, None, None, None, "none", 1.0, False, "triton")
    with pytest.raises(RuntimeError, match=r"impl='triton' cannot serve.* need CUDA tensors"):
        torch.ops.ladnet_fast.locality_attention(*call)


def test_without_triton_the_package_works_and_says_what_is_missing():
    code = """
import sys
sys.modules["triton"] = None
import torch, ladnet_fast.functional as LF
from ladnet_fast.ops.locality_attention import triton
q = torch.randn(1, 1, 3, 4)
LF.locality_attention(q, q, q, prior="none")
assert "pip install triton" in "; ".join(triton.why_not(q, q, q))
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- what a kernel is compiled for --------------------------------------------------------------

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="needs triton, which is in the extra [dev]"
)


def plans(
    *, B=1, H=2, T=64, d=64, dtype=torch.bfloat16, layout="heads inside", prior="additive",
    bags=1, multiprocessors=1, splits=None, kernel="forward",
):  # fmt: skip
    """Return the launches of both passes for tensors of a shape, without memory."""
    from ladnet_fast.kernels.locality_attention import configs, plan

    if layout == "heads inside":  # a projection of (B, T, H d) split into heads
        q = torch.empty(B, T, H, d, dtype=dtype, device="meta").transpose(1, 2)
    else:
        q = torch.empty(B, H, T, d, dtype=dtype, device="meta")
    w = torch.empty(H, device="meta")
    ends = torch.empty(bags + 1, dtype=torch.int64, device="meta") if layout == "packed" else None
    bags = (None, ends)
    config = configs.Config(64, 64, 32, 4, 2, queries_n=32)
    options = {
        "prior": prior,
        "scale": 0.1,
        "precision": "ieee",
        "choose": lambda kernel, kind: config,
    }
    out, lse = empty_output(q), empty_lse(q)
    softmax_out = out if prior == "additive" else None
    there = plan.plan_forward(
        q, q, q, w, w, *bags, out, lse, softmax_out, **options,
        multiprocessors=multiprocessors, splits=splits, kernel=kernel,
    )  # fmt: skip

    def back(chosen):
        options["choose"] = lambda kernel, kind: chosen.get(kernel, config)
        return plan.plan_backward(
            q, q, q, q, w, w, out, lse, *bags, out, out, out, need_prior_grad=True, **options
        ).launches

    return {**there, **back({"backward": configs.TWO_LAUNCHES}), **back({})}


def specialization(launch):
    """Return what Triton's launcher compiles a kernel for: types, alignment, constants."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import make_backend
    from triton.runtime.jit import create_function_from_signature

    kernel = launch.kernel
    backend = make_backend(GPUTarget("cuda", 90, 32))
    bind = create_function_from_signature(kernel.signature, kernel.params, backend)
    return bind(**launch.arguments, **launch.constexprs)[1]


@needs_triton
@pytest.mark.parametrize("prior", ["additive", "logit"])
@pytest.mark.parametrize("d", [16, 17, 40, 64])
@pytest.mark.parametrize("layout", ["heads inside", "heads outside", "packed"])
def test_one_compiled_kernel_serves_every_length_batch_and_number_of_heads(layout, d, prior):
    def compiled(splits, **shape):
        launches = plans(**shape, d=d, layout=layout, prior=prior, splits=splits)
        return {name: specialization(launch) for name, launch in launches.items()}

    # Whether keys are split is known when a kernel is compiled; how often is not.
    expected = {split: compiled(1 + split, T=64) for split in (False, True)}
    assert "combine" in expected[True]
    # One, powers of two, multiples of 16 and others: what Triton would specialise integers for.
    shapes = [(1, 2, T) for T in (1, 2, 16, 17, 999, 4096, 2**20 + 1)]
    shapes += [(1, 1, 64), (1, 16, 77)] + ([] if layout == "packed" else [(3, 2, 50), (16, 1, 1)])
    for B, H, T in shapes:
        for splits in (1, 2, 16, 17) if T == 999 else (1, 2):
            found = compiled(splits, B=B, H=H, T=T)
            assert found == expected[splits > 1], (splits, B, H, T)


@needs_triton
@pytest.mark.parametrize("layout", ["heads inside", "heads outside", "packed"])
def test_one_compiled_kernel_serves_all_short_bags_of_a_range(layout):
    def compiled(**shape):
        return specialization(plans(**shape, layout=layout, kernel="short_208")["short_208"])

    shapes = [(1, 1, 129), (1, 16, 208), (1, 2, 1)]
    shapes += [] if layout == "packed" else [(128, 1, 200), (16, 4, 192)]
    found = [compiled(B=B, H=H, T=T) for B, H, T in shapes]
    assert found == found[:1] * len(found)


@needs_triton
def test_aligned_strides_are_known_to_the_compiler_and_misaligned_ones_are_not_claimed():
    for d, unit in ((64, 8), (40, 8), (20, 1), (17, 1)):
        assert {x.constexprs["UNIT"] for x in plans(d=d, H=1).values()} == {unit}
    assert {x.constexprs["UNIT"] for x in plans(d=20, H=1, dtype=torch.float32).values()} == {4}


@needs_triton
def test_the_grid_lies_on_its_long_axis_and_has_a_limit():
    tiles = 2**20 // 64
    assert plans(B=3, H=2, T=2**20)["forward"].grid == (6 * tiles,)
    assert plans(H=2, T=100, layout="packed")["forward"].grid == (2 * (100 // 64 + 1),)
    with pytest.raises(ValueError, match=r"at most T = 1073740800 .* Split the batch"):
        plans(T=2**30 + 1)
    with pytest.raises(ValueError, match="tiles of 64 rows"):
        plans(B=2**20, H=64, T=10_000)


@needs_triton
def test_keys_are_split_where_row_tiles_leave_multiprocessors_idle():
    def launches(T, multiprocessors=132, **shape):
        return plans(H=1, T=T, multiprocessors=multiprocessors, **shape)

    there = launches(4096)  # 64 tiles of 64 rows
    assert there["forward"].grid == (64, 2)
    assert there["combine"].grid == (64, 1)
    assert there["forward"].arguments["parts"].shape == (64, 2, 64, 64)
    assert "combine" not in launches(4096, multiprocessors=64)
    assert "combine" not in launches(200)
    # Packed bags count as of one length: sixteen of them have no keys to share.
    assert launches(2048, layout="packed")["combine"].arguments["splits"] == 4
    assert "combine" not in launches(2048, bags=16, layout="packed")


@needs_triton
@pytest.mark.parametrize("multiprocessors", [1, 7, 108, 132, 148])
def test_splits_promise_a_tenth_and_need_little_memory(multiprocessors):
    from ladnet_fast.kernels.locality_attention.splits import MAX_WAVES, choose_splits, turns

    for programs in range(2000):
        for key_tiles in {0, 1, 2, 5, programs, 3 * programs}:
            sizes = {"programs": programs, "key_tiles": key_tiles}
            splits = choose_splits(**sizes, multiprocessors=multiprocessors)
            one, chosen = (
                turns(**sizes, splits=n, multiprocessors=multiprocessors) for n in (1, splits)
            )
            assert splits == 1 or chosen <= 0.9 * one
            assert 1 <= splits <= max(key_tiles, 1)
            assert splits == 1 or programs * splits <= MAX_WAVES * multiprocessors


@pytest.mark.parametrize(("T", "splits"), [(1024, 1), (2048, 8), (4096, 4), (8192, 2), (16384, 1)])
def test_one_long_video_on_132_multiprocessors(T, splits):
    from ladnet_fast.kernels.locality_attention.splits import choose_splits

    assert choose_splits(T // 128, T // 128, multiprocessors=132) == splits


@needs_triton
def test_a_kernel_without_the_prior_is_shared():
    additive, logit = plans(prior="additive"), plans(prior="logit")
    assert additive["backward_queries"].constexprs["PRIOR"] == "none"
    assert logit["preprocess"].constexprs["PRIOR"] == "none"
    assert additive["preprocess"].arguments["partials"] is not None
    assert logit["backward_queries"].arguments["partials"] is not None


@needs_triton
@pytest.mark.parametrize("layout", ["heads inside", "packed"])
@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
def test_one_launch_has_the_programs_of_two(prior, layout):
    launches = plans(T=1000, prior=prior, layout=layout, bags=3)
    keys, queries, both = (
        launches[name] for name in ("backward_keys", "backward_queries", "backward")
    )
    assert keys.grid == queries.grid
    assert both.grid == (*keys.grid, 2)
    assert both.arguments["grad_q"] is queries.arguments["grad_q"]
    for name, value in {**queries.constexprs, **keys.constexprs}.items():
        assert both.constexprs[name] == value
    assert both.constexprs["QUERIES_N"] == 32
    stored = [launch.arguments["partials"] for launch in (queries, both)]
    assert [x is None for x in stored] == [prior != "logit"] * 2


@pytest.mark.parametrize(
    ("setting", "dtype", "expected"),
    [
        ("ieee", torch.float32, "ieee"),
        ("tf32", torch.float32, "tf32"),
        ("tf32", torch.bfloat16, "ieee"),
    ],
)
def test_tf32_is_used_only_where_pytorch_may(setting, dtype, expected):
    before = torch.backends.cuda.matmul.fp32_precision
    try:
        torch.backends.cuda.matmul.fp32_precision = setting
        assert triton._product_precision(Q.to(dtype)) == expected
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


@needs_triton
@pytest.mark.parametrize(
    ("dtype", "products", "precision"),
    [
        (torch.bfloat16, "ieee", "bf16"),
        (torch.float16, "ieee", "fp16"),
        (torch.float32, "ieee", "fp32"),
        (torch.float32, "tf32", "tf32"),
    ],
)
def test_the_table_is_asked_for_the_gpu_and_the_precision(monkeypatch, dtype, products, precision):
    from ladnet_fast.kernels.locality_attention import autotune, configs

    monkeypatch.setattr(triton, "_architecture", lambda device: 90)
    monkeypatch.setattr(triton, "_product_precision", lambda q: products)
    q = torch.zeros(3, 2, 1000, 40, dtype=dtype)
    where = {"prior": "logit", "architecture": 90, "precision": precision, "head_size": 40}

    def chooser(q, lengths=None, cu_seqlens=None):
        call = (q, q, q, None, None, lengths, cu_seqlens, "none", 1.0, True, "triton")
        call = schema.Call(*call)
        return triton._chooser(call, triton._where(call), plan=None)

    choose = chooser(q)
    assert choose("backward_keys", "logit") == configs.lookup("backward_keys", **where)

    # With LADNET_AUTOTUNE=1 the same table makes the candidates.
    asked = {}
    monkeypatch.setenv("LADNET_AUTOTUNE", "1")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "X100")
    monkeypatch.setattr(
        autotune, "chooser", lambda plan, offered, **names: asked.update(names) or offered
    )
    offered = chooser(q)
    assert offered("backward_keys", "logit") == configs.candidates("backward_keys", **where)
    assert asked == {"device": "X100", "problem": f"{precision} d=40 dense heads<=8 T<=1024"}
    chooser(q, torch.tensor([7, 8, 9]))
    assert asked["problem"] == f"{precision} d=40 padded heads<=8 T<=1024"
    bounds = torch.tensor([0, 7, 8, 9, 1000])
    chooser(q[:1], cu_seqlens=bounds)
    assert asked["problem"] == f"{precision} d=40 packed heads<=2 bags<=4 rows<=1024"

    # Descriptors are tried where k and v have some, which an address off 16 bytes has not.
    described = [config.descriptors for config in chooser(q)("forward", "none")]
    assert described[0] is False
    assert any(described) == (dtype.itemsize == 2)
    assert not any(config.descriptors for config in chooser(q[..., 1:])("forward", "none"))
    assert asked["problem"] == f"{precision} d=39 dense heads<=8 T<=1024 without descriptors"
