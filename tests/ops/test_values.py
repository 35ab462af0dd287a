"""Plain arguments of the operators and the network: numbers, switches, and tensors on meta."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import ladnet_fast.functional as LF
from ladnet_fast import DDLLoss, LANet

Q = torch.randn(1, 2, 6, 8)
W, B = torch.full((2,), 0.1), torch.zeros(2)
S, X, Y = torch.rand(2, 5), torch.randn(2, 5, 4), torch.tensor([1, 0])

NO_NUMBERS = ["1", b"1", True, math.nan, math.inf, -math.inf, 1j, [1.0], torch.tensor(1.0), 10**400]


@pytest.mark.parametrize("scale", [*NO_NUMBERS, 1e39, -1e39], ids=lambda value: repr(value)[:20])
def test_a_scale_that_is_no_finite_number_is_named(scale):
    with pytest.raises(ValueError, match=r"scale must be a number that is finite in torch.float32"):
        LF.locality_attention(Q, Q, Q, W, B, scale=scale)


@pytest.mark.parametrize("scale", [1, -2, 0, 0.25, np.float32(0.25), np.int64(1), np.float64(-1)])
@pytest.mark.parametrize("impl", ["auto", "reference"])
def test_any_finite_scale_is_served(scale, impl):
    got = LF.locality_attention(Q, Q, Q, W, B, scale=scale, impl=impl)
    want = LF.locality_attention(Q * float(scale), Q, Q, W, B, scale=1.0, impl="reference")
    torch.testing.assert_close(got, want)


def test_a_large_scale_is_allowed_where_it_is_finite():
    q, w, b = Q.double(), W.double(), B.double()
    assert LF.locality_attention(q, q, q, w, b, scale=1e39).isfinite().all()


def test_a_compiled_call_takes_a_scale():
    call = torch.compile(
        lambda q, scale: LF.locality_attention(q, q, q, W, B, scale=scale),
        fullgraph=True,
        backend="eager",
    )
    for scale in (0.5, 0.7):
        want = LF.locality_attention(Q, Q, Q, W, B, scale=scale)
        torch.testing.assert_close(call(Q, scale), want)


@pytest.mark.parametrize("name", ["ranking_weight", "alignment_weight", "margin", "eps"])
@pytest.mark.parametrize("value", [*NO_NUMBERS, -0.5, None], ids=lambda value: repr(value)[:20])
def test_a_weight_that_is_no_number_is_named(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be a finite number of at least 0; got"):
        DDLLoss(**{name: value})
    with pytest.raises(ValueError, match=rf"{name} must be a finite number of at least 0; got"):
        LF.ddl_loss(S, X, Y, **{name: value})


@pytest.mark.parametrize("name", ["ranking_weight", "alignment_weight", "margin", "eps"])
def test_a_number_beyond_float32_is_named_unless_the_losses_are_in_float64(name):
    with pytest.raises(ValueError, match=rf"{name} must be from .* float32; got 1e\+39"):
        LF.ddl_loss(S, X, Y, **{name: 1e39})
    LF.ddl_loss(S.double(), X, Y, **{name: 1e39})


def test_an_eps_that_float32_rounds_to_nothing_is_named():
    with pytest.raises(ValueError, match=r"eps must be from 1.18e-38 .*; got 1e-46"):
        LF.ddl_loss(S, X, Y, eps=1e-46)
    assert LF.ddl_loss(S.double(), X, Y, eps=1e-46).total.isfinite()


def test_numpys_numbers_are_numbers():
    options = {"ranking_weight": np.float32(0.25), "margin": np.float64(0.5), "eps": np.float32(1)}
    options |= {"topk_divisor": np.int64(4), "alignment_weight": np.int32(2)}
    plain = {"ranking_weight": 0.25, "margin": 0.5, "eps": 1, "topk_divisor": 4}
    plain |= {"alignment_weight": 2}
    scores = S.clone().requires_grad_()
    assert LF.ddl_loss(scores, X, Y, **options) == LF.ddl_loss(S, X, Y, **plain)
    assert repr(DDLLoss(**options)) == repr(DDLLoss(**plain))
    net = LANet(np.int64(24), np.int32(16), np.int64(2), np.array([20, 12]), np.int8(3))
    assert net(torch.randn(1, 4, 24)).features.shape == (1, 4, 12)


def test_a_divisor_larger_than_any_bag_means_the_maximum():
    assert LF.ddl_loss(S, X, Y, topk_divisor=2**63 - 1) == LF.ddl_loss(S, X, Y, topk_divisor=100)
    with pytest.raises(ValueError, match="topk_divisor must be at most"):
        LF.ddl_loss(S, X, Y, topk_divisor=2**63)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("prior", ["additive", "none"])
def test_attention_answers_on_meta_with_shapes_and_dtypes(dtype, prior):
    q = Q.to(dtype)
    prior_dtype = torch.float64 if dtype == torch.float64 else torch.float32
    given = [x.to(prior_dtype).requires_grad_() for x in (W, B)]
    call = {"prior": prior, "return_lse": True}
    want = LF.locality_attention(q, q, q, *given, lengths=torch.tensor([4]), **call)
    on_meta = [x.detach().to("meta").requires_grad_() for x in (q, q, q, *given)]
    got = LF.locality_attention(*on_meta, lengths=torch.tensor([4], device="meta"), **call)
    packed = torch.tensor([0, 6], device="meta")
    got_packed = LF.locality_attention(*on_meta, cu_seqlens=packed, **call)
    for a, b, c in zip(got, want, got_packed, strict=True):
        assert (a.shape, a.dtype, a.device.type) == (b.shape, b.dtype, "meta")
        assert (c.shape, c.dtype) == (b.shape, b.dtype)
    got[0].sum().backward()
    assert on_meta[0].grad.shape == q.shape


def test_losses_answer_on_meta():
    scores = S.to("meta").requires_grad_()
    terms = LF.ddl_loss(scores, X.to("meta"), Y.to("meta"))
    assert {(t.shape, t.dtype, t.device.type) for t in terms} == {((), torch.float32, "meta")}
    terms.total.backward()
    assert scores.grad.shape == S.shape


def test_labels_that_require_a_gradient_are_only_read():
    labels = Y.float().requires_grad_()
    scores = S.clone().requires_grad_()
    LF.ddl_loss(scores, X, labels).total.backward()
    assert labels.grad is None
    assert scores.grad is not None


def test_overlapping_and_expanded_tensors_are_read_as_they_are():
    q = torch.randn(1, 1, 1, 8).expand(1, 2, 6, 8)
    for impl in ("auto", "reference"):
        got = LF.locality_attention(q, q, q, W, B, impl=impl)
        want = LF.locality_attention(*(q.contiguous() for _ in range(3)), W, B, impl=impl)
        torch.testing.assert_close(got, want)
    rows = torch.randn(8).as_strided((2, 5, 4), (0, 1, 1))
    torch.testing.assert_close(LF.ddl_loss(S, rows, Y), LF.ddl_loss(S, rows.clone(), Y))
