"""The kernels under Triton's interpreter, against float64: whole passes through the operator."""

from __future__ import annotations

import pytest
import torch

from ladnet_fast import LANet
from ladnet_fast.kernels.residual_norm import plan
from ladnet_fast.ops.residual_norm import residual_norm, schema
from ladnet_fast.ops.residual_norm import triton as backend
from tests.ops.residual_norm.cases import EPS, NAMES, assert_within_budget, random_rows

DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


def both_passes(inputs, lengths, grad):
    """Return the result and all gradients by the kernels."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    out = schema.norm_forward(schema.Call(*leaves, lengths, EPS, grad.dtype, "triton"))
    grads = torch.autograd.grad(out, leaves, grad)
    return dict(zip(NAMES, (out.detach(), *grads), strict=True))


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=list(DTYPES))
@pytest.mark.parametrize(
    ("T", "D"),
    # One row and one number; odd widths and those around powers of two; more rows than a block has;
    # one row for each program, and one for eight warps.
    [(1, 1), (3, 7), (150, 16), (70, 33), (3, 1024), (2, 1025), (1, 4100)],
)
def test_results_and_gradients_are_those_of_float64(T, D, dtype):
    inputs = random_rows(2, T, D, dtype)
    grad = torch.randn(2, T, D).to(dtype)
    assert_within_budget(both_passes(inputs, None, grad), inputs, grad, None)


@pytest.mark.parametrize(
    ("x", "hidden", "out"),
    [("fp32", "fp16", "fp16"), ("fp16", "fp32", "fp32"), ("fp32", "fp32", "fp16")],
)
def test_every_tensor_may_have_a_dtype_of_its_own(x, hidden, out):
    inputs = random_rows(2, 9, 24, DTYPES[x], DTYPES[hidden])
    grad = torch.randn(2, 9, 24).to(DTYPES[out])
    assert_within_budget(both_passes(inputs, None, grad), inputs, grad, None)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=list(DTYPES))
@pytest.mark.parametrize(
    ("D", "lengths"),
    [(24, [0, 1, 6, 31, 32, 33, 150]), (700, [0, 1, 2, 3, 9])],
    ids=["narrow", "wide"],
)
def test_ragged_bags_never_show_their_padding(D, lengths, dtype):
    lengths, T = torch.tensor(lengths), max(lengths)
    inputs = random_rows(len(lengths), T, D, dtype)
    inputs[2][3] = torch.inf if dtype == torch.float32 else 1  # a weight is no reason to show it
    grad = torch.randn(len(lengths), T, D).to(dtype)
    padding = torch.arange(T) >= lengths[:, None]
    for x in (*inputs[:2], grad):
        x[padding] = torch.nan
    got = both_passes(inputs, lengths, grad)
    for name in NAMES[:3]:
        assert (got[name][padding] == 0).all()
    if dtype == torch.float32:
        inputs[2][3] = 1
        got = both_passes(inputs, lengths, grad)
    assert_within_budget(got, inputs, torch.where(padding[..., None], 0, grad), lengths)


def test_a_row_without_deviation_is_its_bias_whatever_eps_is():
    x = torch.zeros(2, 3, 5)
    x[1] = 7.0
    weight, bias, lengths = torch.randn(5), torch.randn(5), torch.tensor([0, 3])
    call = schema.Call(x, -x, weight, bias, lengths, EPS, torch.float32, "triton")
    assert torch.equal(schema.norm_forward(call)[1], bias.expand(3, 5))
    # Padding has no deviation either, and with eps = 0 nothing that would save it.
    rows = torch.randn(2, 3, 5)
    inputs = (rows, rows, weight.requires_grad_(), bias)
    out = schema.norm_forward(schema.Call(*inputs, lengths, 0.0, torch.float32, "triton"))
    assert torch.autograd.grad(out.sum(), weight)[0].isfinite().all()


def test_a_nan_shows_in_its_row_and_nowhere_else():
    x, hidden, weight, bias = random_rows(2, 20, 5, torch.float32)
    hidden[1, 9, 2] = torch.nan
    out = residual_norm(x, hidden, weight, bias, EPS, impl="triton")
    expected = torch.zeros(2, 20, 5, dtype=torch.bool)
    expected[1, 9] = True
    assert torch.equal(out.isnan(), expected)


VIEWS = {
    "with gaps": lambda x: torch.nn.functional.pad(x, (0, 3, 0, 1))[:, :40, :16],
    "snippets first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "numbers far apart": lambda x: x.mT.contiguous().mT,
    "one bag repeated": lambda x: x[:1].expand(x.shape),
    "not aligned": lambda x: torch.cat((x.new_zeros(1), x.flatten()))[1:].view(x.shape),
}


@pytest.mark.parametrize("view", VIEWS)
def test_any_strides_are_read(view):
    x, hidden, weight, bias = random_rows(2, 40, 16, torch.float32)
    grad = torch.randn(16).expand(2, 40, 16)
    for inputs in ((VIEWS[view](x), hidden), (x, VIEWS[view](hidden))):
        given = (*inputs, weight, bias)
        assert_within_budget(both_passes(given, None, grad), given, grad, None)


@pytest.mark.parametrize("wanted", [(0,), (1,), (2, 3), (0, 1), (1, 3)])
@pytest.mark.parametrize("hidden", DTYPES)
def test_only_what_is_asked_for_is_computed(hidden, wanted):
    inputs = random_rows(2, 40, 16, torch.float32, DTYPES[hidden])
    grad = torch.randn(2, 40, 16)
    every = both_passes(inputs, None, grad)
    chosen = [inputs[i].requires_grad_() for i in wanted]
    call = schema.Call(*inputs, None, EPS, grad.dtype, "triton")
    got = torch.autograd.grad(schema.norm_forward(call), chosen, grad)
    for i, a in zip(wanted, got, strict=True):
        assert torch.equal(a, every[NAMES[i + 1]])


def test_many_blocks_share_the_parts_and_give_the_same_bits_twice(monkeypatch):
    monkeypatch.setattr(plan, "MAX_PARTS", 3)
    inputs = random_rows(5, 33, 300, torch.float32)
    lengths, grad = torch.tensor([33, 2, 0, 9, 20]), torch.randn(inputs[0].shape)
    grad = torch.where((torch.arange(33) < lengths[:, None])[..., None], grad, 0)
    assert plan.parts(*inputs[:2], lengths) == 3
    first, second = (both_passes(inputs, lengths, grad) for _ in range(2))
    assert_within_budget(first, inputs, grad, lengths)
    assert all(torch.equal(first[name], second[name]) for name in NAMES)


@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3)])
def test_no_rows(shape):
    inputs = (torch.randn(shape), torch.randn(shape), torch.randn(3), torch.randn(3))
    got = both_passes(inputs, None, torch.randn(shape))
    assert got["out"].shape == got["x"].shape == shape
    assert (got["weight"] == 0).all()
    assert (got["bias"] == 0).all()


def test_every_width_that_is_served_has_a_block_and_no_thread_holds_more():
    assert plan.MAX_WIDTH == backend.MAX_WIDTH
    for D in (1, 15, 16, 17, 1000, 1024, 2047, 2049, 4097, backend.MAX_WIDTH):
        x = torch.empty(2, 7, D, device="meta")
        weight = torch.empty(D, device="meta")
        launch = plan.plan_forward(x, x, weight, weight, EPS, None, x)
        block = launch.constexprs
        assert block["BLOCK_D"] >= D
        assert block["BLOCK_T"] >= 1
        assert launch.num_warps <= 16
        assert block["BLOCK_T"] * block["BLOCK_D"] == 16 * 32 * launch.num_warps


def launches(B, T):
    """Both launches for B bags, as constexprs and names of run-time arguments."""
    x, weight = torch.empty(B, T, 32, device="meta"), torch.empty(32, device="meta")
    lengths = torch.empty(B, dtype=torch.int64, device="meta")
    parts = torch.empty(plan.parts(x, x, lengths), 32, device="meta")
    return [
        plan.plan_forward(x, x, weight, weight, EPS, lengths, x),
        plan.plan_backward(x, x, x, weight, EPS, lengths, x, x, parts, parts),
    ]


@pytest.mark.parametrize(("B", "T"), [(1, 1), (2, 17), (3, 135_000), (2, 2**31 + 5)])
def test_lengths_share_a_compiled_kernel(B, T):
    for launch, other in zip(launches(B, T), launches(2, 64), strict=True):
        assert launch.constexprs == other.constexprs
        assert launch.arguments.keys() == other.arguments.keys()
        assert max(launch.grid) < 2**31  # what the first axis of a grid may have


def test_autocast_reaches_the_kernels_and_gradients_come_back_in_float32():
    x, hidden, *parameters = random_rows(2, 40, 16, torch.float32, torch.float16)
    leaves = [y.requires_grad_() for y in (x, hidden, *parameters)]
    with torch.autocast("cpu", dtype=torch.float16):
        out = residual_norm(*leaves, EPS, impl="triton")
    assert out.dtype == torch.float16
    grad = torch.randn(2, 40, 16).half()
    grads = torch.autograd.grad(out, leaves, grad)
    got = dict(zip(NAMES, (out.detach(), *grads), strict=True))
    assert_within_budget(got, tuple(leaves), grad, None)


SIZES = {"feature_dim": 12, "hidden_dim": 16, "mlp_dims": (10, 6), "kernel_size": 3}


@pytest.mark.parametrize(("bags", "query_dim"), [("padded", None), ("packed", 5)])
def test_lanet_trains_through_the_kernels_and_scores_without_masking_first(bags, query_dim):
    net = LANet(**SIZES, query_dim=query_dim, dropout=0.0, impl="reference")
    fused = LANet(**SIZES, query_dim=query_dim, dropout=0.0, impl="triton")
    fused.load_state_dict(net.state_dict())
    lengths = torch.tensor([20, 7, 1, 13])
    shape, given = (4, 20), {"lengths": lengths}
    if bags == "packed":
        shape, given = (1, 41), {"cu_seqlens": torch.tensor([0, 20, 27, 28, 41])}
    x = torch.randn(*shape, 12)
    query = None if query_dim is None else torch.randn(*shape, query_dim)
    if bags == "padded":
        x[1, 7:] = torch.nan
    outs = []
    for each in (net, fused):
        out = each(x, query=query, **given)
        with torch.no_grad():
            again = each(x, query=query, **given)
        assert all(torch.equal(a, b) for a, b in zip(out, again, strict=True))
        (out.scores.square().sum() + out.features.sin().sum()).backward()
        outs.append(out)
    torch.testing.assert_close(outs[1], outs[0], rtol=1e-5, atol=1e-6)
    # Both are float32 and a few roundings deep.
    for (name, a), b in zip(fused.named_parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5, msg=name)
