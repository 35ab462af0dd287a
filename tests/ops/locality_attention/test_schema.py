"""The torch.library operators: opcheck, fakes, autograd, compiled and exported graphs."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses import FakeTensorMode

import ladnet_fast.functional as LF
from ladnet_fast.ops.locality_attention import schema

from .cases import PRIORS, oracle, prior_tensors, random_qkv

#: Those that serve CPU tensors here; tests/kernels has the tests of Triton's.
IMPLS = [
    impl
    for impl, backend in schema.BACKENDS.items()
    if not backend.why_not(*[torch.zeros(1, 1, 1, 1)] * 3)
]
LAYOUTS = {
    "dense": (None, None),
    "lengths": (torch.tensor([6, 0]), None),
    "packed": (None, torch.tensor([0, 2, 2, 6])),
}


def arguments(layout, dtype=torch.float32):
    lengths, cu_seqlens = LAYOUTS[layout]
    batch = 1 if layout == "packed" else 2
    qkv = [x.requires_grad_() for x in random_qkv(batch, 2, 6, 8, dtype)]
    return qkv, lengths, cu_seqlens


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize("impl", IMPLS)
def test_operators_pass_opcheck(impl, prior, layout):
    (q, k, v), lengths, cu_seqlens = arguments(layout)
    w, b = (None, None)
    if prior != "none":
        w, b = (x.requires_grad_() for x in prior_tensors("wide", 2, torch.float32))
    call = (q, k, v, w, b, lengths, cu_seqlens, prior, 0.3, True, impl)
    torch.library.opcheck(torch.ops.ladnet_fast.locality_attention.default, call)
    with torch.no_grad():
        out, lse, softmax_out = torch.ops.ladnet_fast.locality_attention(*call)
        inputs = [x if x is None else x.detach() for x in (q, k, v, w, b)]
        call = (
            torch.randn_like(out), *inputs, lengths, cu_seqlens, prior, 0.3, True, impl,
            softmax_out, out, lse, prior != "none",
        )  # fmt: skip
        op = torch.ops.ladnet_fast.locality_attention_backward.default
        torch.library.opcheck(op, call)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize("impl", IMPLS)
def test_the_operator_gives_the_gradients_of_the_plain_function(impl, prior, name, layout):
    (q, k, v), lengths, cu_seqlens = arguments(layout, torch.float64)
    w, b = (x.requires_grad_() for x in prior_tensors(name, 2))
    leaves = (q, k, v, w, b)
    given = leaves if prior != "none" else (q, k, v, None, None)
    call = schema.Call(*given, lengths, cu_seqlens, prior, 0.3, True, impl)
    out, _, _ = schema.attention_forward(call)
    grad = torch.randn_like(out)
    got = torch.autograd.grad(out, leaves, grad, materialize_grads=True)
    bags = {"lengths": lengths, "cu_seqlens": cu_seqlens}
    want_out, *want = oracle(*leaves, grad, prior=prior, scale=0.3, **bags)
    torch.testing.assert_close(out, want_out, rtol=1e-10, atol=1e-12)
    for a, e in zip(got, want, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("impl", IMPLS)
def test_second_derivatives_are_refused_by_the_operator(impl):
    (q, k, v), _, _ = arguments("dense", torch.float64)
    w, b = prior_tensors("wide", 2)
    call = schema.Call(q, k, v, w, b, None, None, "additive", 0.3, True, impl)
    out, _, _ = schema.attention_forward(call)
    (dq,) = torch.autograd.grad(out.square().sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        dq.sum().backward()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("impl", IMPLS)
def test_a_compiled_call_is_one_graph_and_gives_the_eager_result(impl, layout):
    (q, k, v), lengths, cu_seqlens = arguments(layout)
    w, b = prior_tensors("wide", 2, torch.float32)

    def attend(q, k, v):
        return LF.locality_attention(
            q, k, v, w, b, lengths=lengths, cu_seqlens=cu_seqlens, impl=impl
        )

    compiled = torch.compile(attend, fullgraph=True, backend="aot_eager")
    want, got = attend(q, k, v), compiled(q, k, v)
    torch.testing.assert_close(got, want)
    grad = torch.randn_like(want)
    for a, e in zip(
        torch.autograd.grad(got, (q, k, v), grad),
        torch.autograd.grad(want, (q, k, v), grad),
        strict=True,
    ):
        torch.testing.assert_close(a, e)


@pytest.mark.parametrize("impl", IMPLS)
def test_a_third_length_needs_no_new_compilation(impl):
    counter = CompileCounterWithBackend("aot_eager")
    w, b = prior_tensors("wide", 2, torch.float32)

    @torch.compile(fullgraph=True, dynamic=True, backend=counter)
    def attend(q, k, v):
        return LF.locality_attention(q, k, v, w, b, impl=impl)

    counts = []
    for T in (7, 12, 31):
        qkv = [x.requires_grad_() for x in random_qkv(2, 2, T, 8, torch.float32)]
        attend(*qkv).sum().backward()
        counts.append(counter.frame_count)
    assert counts[2] == counts[1]


def test_a_compiled_call_follows_a_later_use_impl():
    import ladnet_fast

    q = torch.randn(1, 1, 4, 8)
    w = torch.ones(1)
    compiled = torch.compile(
        lambda q: LF.locality_attention(q, q, q, w, w), fullgraph=True, backend="aot_eager"
    )
    compiled(q)
    with ladnet_fast.use_impl("cuda"), pytest.raises(Exception, match="impl='cuda' cannot serve"):
        compiled(q)


def test_bad_lengths_are_found_inside_a_compiled_graph():
    q = torch.randn(1, 1, 4, 8)
    w = torch.ones(1)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def attend(q, lengths):
        return LF.locality_attention(q, q, q, w, w, lengths=lengths)

    attend(q, torch.tensor([4]))
    with pytest.raises(ValueError, match=r"lengths\[0\] must be .*got 5"):
        attend(q, torch.tensor([5]))


def test_fakes_know_sizes_beyond_32_bits():
    with FakeTensorMode():
        q = torch.empty(1, 1, 2**31, 16, dtype=torch.bfloat16, requires_grad=True)
        w = torch.empty(1)
        out, lse, softmax_out = schema.attention_forward(
            schema.Call(q, q, q, w, w, None, None, "additive", 1.0, True, IMPLS[-1])
        )
        assert out.shape == softmax_out.shape == q.shape
        assert lse.shape == (1, 1, 2**31)
        assert lse.dtype == torch.float32
