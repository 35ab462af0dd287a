"""impl="triton" from the public functions down, under the interpreter: autograd, graphs, LANet."""

from __future__ import annotations

import pytest
import torch

import ladnet_fast
import ladnet_fast.functional as LF
from ladnet_fast import DDLLoss, LANet
from ladnet_fast.ops.locality_attention import schema, triton
from tests.ops.locality_attention.budget import assert_results_within_budget
from tests.ops.locality_attention.cases import prior_tensors, random_qkv
from tests.ops.locality_attention.passes import backward, forward

LAYOUTS = {
    "dense": {},
    "lengths": {"lengths": torch.tensor([33, 0])},
    "packed": {"cu_seqlens": torch.tensor([0, 9, 9, 33])},
}


def leaves(layout, dtype=torch.float32):
    """Return q, k, v, w, b that want gradients."""
    qkv = random_qkv(1 if layout == "packed" else 2, 2, 33, 8, dtype)
    return [x.requires_grad_() for x in (*qkv, *prior_tensors("wide", 2, torch.float32))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("prior", ["additive", "logit"])
def test_autograd_through_the_public_function_is_within_budget(prior, layout, dtype):
    inputs = leaves(layout, dtype)
    out, lse = LF.locality_attention(
        *inputs, prior=prior, impl="triton", return_lse=True, **LAYOUTS[layout]
    )
    grad_out = torch.randn_like(out)
    grads = torch.autograd.grad(out, inputs, grad_out)
    actual = (out.detach(), *grads, lse)
    inputs = [x.detach() for x in inputs]
    assert_results_within_budget(actual, inputs, grad_out, prior, **LAYOUTS[layout])


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
def test_lse_is_that_of_the_reference(prior):
    q, k, v, w, b = (x.detach() for x in leaves("dense"))
    call = {"prior": prior, "scale": 0.4, "return_lse": True}
    _, lse = LF.locality_attention(q, k, v, w, b, impl="triton", **call)
    _, want = LF.locality_attention(q, k, v, w, b, impl="reference", **call)
    torch.testing.assert_close(lse, want, rtol=1e-6, atol=1e-6)  # a few roundings of fp32


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
def test_operators_pass_opcheck(prior, layout):
    q, k, v, w, b = leaves(layout)
    if prior == "none":
        w = b = None
    bags = [LAYOUTS[layout].get(name) for name in ("lengths", "cu_seqlens")]
    call = (q, k, v, w, b, *bags, prior, 0.3, True, "triton")
    torch.library.opcheck(torch.ops.ladnet_fast.locality_attention.default, call)
    with torch.no_grad():
        out, lse, softmax_out = torch.ops.ladnet_fast.locality_attention(*call)
        call = (
            torch.randn_like(out), q, k, v, w, b, *bags, prior, 0.3, True, "triton",
            softmax_out, out, lse, prior != "none",
        )  # fmt: skip
        op = torch.ops.ladnet_fast.locality_attention_backward.default
        torch.library.opcheck(op, [x.detach() if torch.is_tensor(x) else x for x in call])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_compiled_call_is_one_graph_and_gives_the_eager_bits(layout):
    q, k, v, w, b = leaves(layout)

    def attend(q, k, v):
        return LF.locality_attention(q, k, v, w, b, impl="triton", **LAYOUTS[layout])

    compiled = torch.compile(attend, fullgraph=True, backend="aot_eager")
    want, got = attend(q, k, v), compiled(q, k, v)
    assert torch.equal(got, want)
    grad = torch.randn_like(want)
    for a, e in zip(
        torch.autograd.grad(got, (q, k, v, w, b), grad),
        torch.autograd.grad(want, (q, k, v, w, b), grad),
        strict=True,
    ):
        assert torch.equal(a, e)


def test_lanet_trains_as_with_the_reference():
    sizes = {"feature_dim": 12, "hidden_dim": 16, "mlp_dims": (10, 6), "kernel_size": 3}
    x, lengths, labels = torch.randn(4, 40, 12), torch.tensor([40, 7, 1, 33]), torch.arange(4) % 2
    nets = {impl: LANet(**sizes, num_heads=2, dropout=0.0, impl=impl) for impl in
            ("reference", "triton")}  # fmt: skip
    nets["triton"].load_state_dict(nets["reference"].state_dict())
    losses = {}
    for impl, net in nets.items():
        scores, features = net(x, lengths)
        losses[impl] = DDLLoss(impl="reference")(scores, features, labels, lengths).total
        losses[impl].backward()
    # Both are float32 and a few roundings deep; a wrong tile would show in the first digits.
    torch.testing.assert_close(losses["triton"], losses["reference"], rtol=1e-5, atol=1e-6)
    for (name, a), e in zip(
        nets["triton"].named_parameters(), nets["reference"].parameters(), strict=True
    ):
        torch.testing.assert_close(a.grad, e.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_every_reason_against_serving_is_named():
    q = torch.zeros(1, 1, 2, 300, dtype=torch.float64, device="meta")
    reasons = "; ".join(triton.why_not(q, q, q))
    for part in ("q is on meta", "v is on meta", "torch.float64", "head size is 300"):
        assert part in reasons
    q = torch.zeros(1, 1, 2, 16)
    assert triton.why_not(q, q, q) == []
    with pytest.raises(ladnet_fast.ImplUnavailableError, match=r"q is torch\.float64"):
        LF.locality_attention(*[q.double()] * 3, prior="none", impl="triton")


# ---- what the kernels trust ---------------------------------------------------------------------

Q = torch.randn(2, 3, 5, 4)
W = torch.ones(3)
GOOD = {"q": Q, "k": Q, "v": Q, "w": W, "b": W, "lengths": None, "cu_seqlens": None}
PACKED = dict.fromkeys("qkv", Q[:1])

BAD = {
    "rank of q": ({"q": Q[0]}, ValueError, r"q must have shape \(B, H, T, d\)"),
    "shape of v": ({"v": Q[:, :, :4]}, ValueError, r"must agree.*v \(2, 3, 4, 4\)"),
    "dtype of k": ({"k": Q.half()}, ValueError, r"must agree.*k .* torch.float16"),
    "float64": (
        {"w": W.double(), "b": W.double()} | {name: Q.double() for name in "qkv"},
        RuntimeError,
        "q is torch.float64; the Triton kernels take float32, bfloat16",
    ),
    "device": ({"k": Q.to("meta")}, ValueError, r"must agree.*k .* on meta"),
    "sparse": ({"v": Q.to_sparse()}, TypeError, r"v must be a dense tensor.*sparse"),
    "head size": (
        {n: torch.ones(1, 3, 2, 257) for n in "qkv"},
        RuntimeError,
        "head size is 257.*reach 256",
    ),
    "w missing": ({"w": None}, ValueError, r"prior_w must be a tensor of shape \(H,\).*got None"),
    "shape of w": ({"w": torch.ones(2)}, ValueError, r"prior_w must have .* shape \(3,\)"),
    "dtype of b": ({"b": W.double()}, TypeError, r"prior_b must be torch.float32"),
    "lengths dtype": (
        {"lengths": torch.ones(2)},
        TypeError,
        "lengths must be a one-dim.* int32",
    ),
    "lengths shape": (
        {"lengths": torch.tensor([1])},
        ValueError,
        "one entry per bag, 2",
    ),
    "both": (
        {"lengths": torch.tensor([1, 2]), "cu_seqlens": torch.tensor([0, 5])},
        ValueError,
        "exclude",
    ),
    "packed batch": ({"cu_seqlens": torch.tensor([0, 5])}, ValueError, "must have B = 1"),
    "no bags": (
        PACKED | {"cu_seqlens": torch.tensor([0])},
        ValueError,
        "must start at 0 and end at .*, 5",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_a_kernel_sees_it(monkeypatch, case):
    changes, error, message = BAD[case]
    monkeypatch.setattr(triton, "_plan", lambda: pytest.fail("a kernel was reached"))
    with pytest.raises(error, match=message):
        forward(impl="triton", **GOOD | changes, prior="additive", scale=0.5, training=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("grad_out", Q[:, :, :4]),
        ("grad_out", Q.half()),
        ("softmax_out", torch.empty(0)),
        ("lse", torch.zeros(2, 3, 4)),
        ("lse", torch.zeros(2, 3, 5).half()),
    ],
)
def test_bad_saved_tensors_are_refused(name, value):
    good = {"softmax_out": Q, "out": Q, "lse": torch.zeros(2, 3, 5), "grad_out": Q}
    with pytest.raises((TypeError, ValueError), match=name):
        backward(
            impl="triton",
            **GOOD | good | {name: value},
            prior="additive",
            scale=0.5,
            need_prior_grad=True,
        )


def test_tables_of_bags_may_be_int32():
    q = torch.randn(1, 2, 12, 8)
    for bags in ({"cu_seqlens": torch.tensor([0, 5, 12])}, {"lengths": torch.tensor([7])}):
        narrow = {name: x.int() for name, x in bags.items()}
        call = dict.fromkeys("qkv", q) | {"w": None, "b": None, "lengths": None, "cu_seqlens": None}
        results = [
            forward(impl="triton", **call | each, prior="none", scale=0.5, training=False)[0]
            for each in (bags, narrow)
        ]
        assert torch.equal(*results)


def test_second_derivatives_are_refused():
    q, k, v, w, b = leaves("dense")
    call = schema.Call(q, k, v, w, b, None, None, "additive", 0.3, True, "triton")
    out = schema.attention_forward(call)[0]
    (dq,) = torch.autograd.grad(out.square().sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        dq.sum().backward()
