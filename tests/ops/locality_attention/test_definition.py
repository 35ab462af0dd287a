"""The reference against loops that spell the definition out, one bag and one row at a time."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

import ladnet_fast.functional as LF

from .cases import PRIORS, prior_tensors, random_qkv


def by_definition(q, k, v, w, b, prior, scale):
    """One bag, one head, (T, d) each: the formulas with Python loops."""
    T = q.shape[0]
    out, lse = torch.zeros_like(v), torch.zeros(T, dtype=q.dtype)
    for i in range(T):
        G = [math.exp(-abs(float(w) * (i - j) ** 2 + float(b))) for j in range(T)]
        logits = [scale * float(q[i] @ k[j]) + (G[j] if prior == "logit" else 0) for j in range(T)]
        total = math.fsum(math.exp(x) for x in logits)
        lse[i] = math.log(total)
        for j in range(T):
            weight = math.exp(logits[j]) / total + (G[j] if prior == "additive" else 0)
            out[i] += weight * v[j]
    return out, lse


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
def test_reference_is_the_definition(prior, name):
    q, k, v = random_qkv(2, 2, 9, 4)
    w, b = prior_tensors(name, 2)
    out, lse = LF.locality_attention(
        q, k, v, w, b, prior=prior, scale=0.7, impl="reference", return_lse=True
    )
    for i in range(2):
        for h in range(2):
            want, want_lse = by_definition(q[i, h], k[i, h], v[i, h], w[h], b[h], prior, 0.7)
            torch.testing.assert_close(out[i, h], want, rtol=1e-12, atol=1e-13)
            torch.testing.assert_close(lse[i, h], want_lse, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
def test_gradients_are_right_in_float64(prior):
    inputs = [x.requires_grad_() for x in (*random_qkv(2, 2, 5, 3), *prior_tensors("wide", 2))]
    lengths = torch.tensor([5, 3])

    def attend(*args):
        return LF.locality_attention(*args, prior=prior, lengths=lengths, impl="reference")

    assert gradcheck(attend, inputs)


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
def test_padded_bags_equal_single_bags_and_padding_is_never_read(prior):
    q, k, v = random_qkv(4, 2, 7, 4)
    w, b = prior_tensors("wide", 2)
    lengths = torch.tensor([7, 1, 0, 4])
    for n, length in enumerate(lengths):
        for x in (q, k, v):
            x[n, :, length:] = torch.nan
    leaves = [x.clone().requires_grad_() for x in (q, k, v, w, b)]
    out, lse = LF.locality_attention(
        *leaves, prior=prior, lengths=lengths, impl="reference", return_lse=True
    )
    grad = torch.randn_like(out)
    for n, length in enumerate(lengths):
        grad[n, :, length:] = torch.nan
    with torch.no_grad():
        sound = torch.where(out == out, grad, 0)
    (out * torch.where(grad.isnan(), 0, sound)).sum().backward()
    for n, length in enumerate(lengths.tolist()):
        single = [x[n : n + 1, :, :length].clone().requires_grad_() for x in (q, k, v)]
        want, want_lse = LF.locality_attention(
            *single, w, b, prior=prior, impl="reference", return_lse=True
        )
        torch.testing.assert_close(out[n, :, :length], want[0])
        torch.testing.assert_close(lse[n, :, :length], want_lse[0])
        assert (out[n, :, length:] == 0).all()
        want.backward(grad[n : n + 1, :, :length])
        for leaf, part in zip(leaves[:3], single, strict=True):
            torch.testing.assert_close(leaf.grad[n, :, :length], part.grad[0])
            assert (leaf.grad[n, :, length:] == 0).all()
    if prior != "none":
        assert all(torch.isfinite(x.grad).all() for x in leaves[3:])


def test_packed_bags_equal_padded_bags():
    sizes = [3, 0, 1, 5]
    q, k, v = random_qkv(1, 2, sum(sizes), 4)
    w, b = prior_tensors("narrow", 2)
    cu_seqlens = torch.tensor([0, 3, 3, 4, 9], dtype=torch.int32)
    out = LF.locality_attention(q, k, v, w, b, cu_seqlens=cu_seqlens, impl="reference")
    start = 0
    for size in sizes:
        part = [x[:, :, start : start + size] for x in (q, k, v)]
        want = LF.locality_attention(*part, w, b, impl="reference")
        torch.testing.assert_close(out[:, :, start : start + size], want)
        start += size


@pytest.mark.parametrize("shape", [(0, 1, 4, 8), (2, 1, 0, 8)])
def test_nothing_in_gives_nothing_out(shape):
    q = torch.zeros(shape)
    assert LF.locality_attention(q, q, q, torch.ones(1), torch.ones(1)).shape == shape


def test_no_packed_bags_at_all_give_nothing():
    q = torch.zeros(1, 1, 0, 8)
    w = torch.ones(1)
    assert LF.locality_attention(q, q, q, w, w, cu_seqlens=torch.tensor([0])).shape == q.shape


def test_a_nan_in_q_stays_in_its_row_and_one_in_k_in_its_bag_and_head():
    w, b = prior_tensors("wide", 2, torch.float32)
    q, k, v = random_qkv(2, 2, 6, 4, torch.float32)
    q[0, 1, 2, 3] = torch.nan
    bad = LF.locality_attention(q, k, v, w, b, impl="reference").isnan()
    assert bad[0, 1, 2].all()
    assert bad.sum() == 4
    q, k, v = random_qkv(2, 2, 6, 4, torch.float32)
    k[1, 0, 5, 0] = torch.inf
    bad = ~LF.locality_attention(q, k, v, w, b, impl="reference").isfinite()
    assert not bad[0].any()
    assert not bad[1, 1].any()
    assert bad[1, 0].any()
