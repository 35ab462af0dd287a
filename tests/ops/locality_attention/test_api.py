"""Bad arguments of locality attention: errors name the argument, what was given, the remedy."""

from __future__ import annotations

import pytest
import torch

import ladnet_fast.functional as LF

Q = torch.randn(2, 3, 5, 4)
W = torch.ones(3)

BAD = {
    "not a tensor": ({"q": Q.tolist()}, TypeError, r"q must be a torch.Tensor.*list"),
    "rank": ({"q": Q[0]}, ValueError, r"q must have shape \(B, H, T, d\); got \(3, 5, 4\)"),
    "integers": ({"q": Q.long()}, TypeError, r"q must be float32.*torch.int64"),
    "shapes differ": ({"k": Q[:, :, :4]}, ValueError, r"agree.*k \(2, 3, 4, 4\)"),
    "dtypes differ": ({"v": Q.double()}, ValueError, r"agree.*v .*float64"),
    "no head size": (
        {"q": Q[..., :0], "k": Q[..., :0], "v": Q[..., :0]},
        ValueError,
        "head size d of at least 1; got 0",
    ),
    "prior unknown": ({"prior": "gauss"}, ValueError, r"prior must be one of.*'gauss'"),
    "prior missing": ({"prior_w": None}, ValueError, r"prior_w must be .*got None"),
    "prior shape": ({"prior_b": torch.ones(1)}, ValueError, r"prior_b.*shape \(3,\); got \(1,\)"),
    "prior rank": ({"prior_w": torch.ones(3, 1)}, ValueError, r"prior_w must have shape \(H,\)"),
    "prior dtype": ({"prior_w": W.half()}, TypeError, r"prior_w must be torch.float32"),
    "both layouts": (
        {"lengths": torch.tensor([1, 2]), "cu_seqlens": torch.tensor([0, 5])},
        ValueError,
        "exclude each other",
    ),
    "lengths float": ({"lengths": torch.ones(2)}, TypeError, r"lengths must be.*float32"),
    "lengths list": ({"lengths": [5, 5]}, TypeError, r"lengths must be.*list"),
    "lengths size": ({"lengths": torch.tensor([5])}, ValueError, "one entry per bag, 2"),
    "lengths too long": (
        {"lengths": torch.tensor([5, 6])},
        ValueError,
        r"lengths\[1\] must be from 0 to T = 5; got 6",
    ),
    "lengths negative": (
        {"lengths": torch.tensor([-1, 5])},
        ValueError,
        r"lengths\[0\] must be .*got -1",
    ),
    "packed batch": (
        {"cu_seqlens": torch.tensor([0, 5])},
        ValueError,
        "q must have B = 1 beside cu_seqlens; got B = 2",
    ),
    "impl unknown": ({"impl": "gpu"}, ValueError, r"impl must be one of.*'gpu'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_named(case):
    arguments, error, message = BAD[case]
    call = {"q": Q, "k": Q, "v": Q, "prior_w": W, "prior_b": W} | arguments
    with pytest.raises(error, match=message):
        LF.locality_attention(**call)


@pytest.mark.parametrize(
    ("cu_seqlens", "message"),
    [
        ([1, 5], "start at 0 and end at"),
        ([0, 4], "start at 0 and end at the number of packed snippets, 5; got 0 and 4"),
        ([0, 4, 3, 5], r"never decrease; got 4 and then 3 for bag 1"),
        ([], r"cu_seqlens must have N \+ 1 entries.*empty"),
    ],
)
def test_bad_cu_seqlens_are_named(cu_seqlens, message):
    cu_seqlens = torch.tensor(cu_seqlens, dtype=torch.int32)
    with pytest.raises(ValueError, match=message):
        LF.locality_attention(Q[:1], Q[:1], Q[:1], W, W, cu_seqlens=cu_seqlens)


def test_tensors_on_two_devices_are_refused():
    with pytest.raises(ValueError, match=r"k .* on meta"):
        LF.locality_attention(Q, Q.to("meta"), Q, W, W)
    with pytest.raises(ValueError, match=r"lengths must be on cpu.*got meta.*lengths.to\('cpu'\)"):
        LF.locality_attention(Q, Q, Q, W, W, lengths=torch.tensor([5, 5], device="meta"))


def test_half_precision_keeps_the_prior_in_float32():
    q = Q.bfloat16()
    w = W.clone().requires_grad_()
    LF.locality_attention(q, q, q, w, W).sum().backward()
    assert w.grad.dtype == torch.float32
    with pytest.raises(TypeError, match=r"prior_w must be torch.float64"):
        LF.locality_attention(Q.double(), Q.double(), Q.double(), W, W)


def test_autocast_decides_the_dtype():
    with torch.autocast("cpu", torch.bfloat16):
        assert LF.locality_attention(Q, Q, Q, W, W).dtype == torch.bfloat16
        assert LF.locality_attention(*[Q.double()] * 3, *[W.double()] * 2).dtype == torch.float64
