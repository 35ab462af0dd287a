"""Bad arguments of the losses: errors name the argument, what was given, the remedy."""

from __future__ import annotations

import pytest
import torch

import ladnet_fast.functional as LF
from ladnet_fast import DDLLoss

S, X, Y = torch.rand(2, 5), torch.randn(2, 5, 3), torch.tensor([1, 0])
CU = torch.tensor([0, 5])

BAD = {
    "scores rank": ({"scores": S[0]}, ValueError, r"scores must have shape \(B, T\); got \(5,\)"),
    "scores packed": ({"cu_seqlens": CU}, ValueError, r"scores must have shape \(total,\)"),
    "scores type": ({"scores": S > 0.5}, TypeError, r"scores must be float32.*torch.bool"),
    "features rank": ({"features": X[0]}, ValueError, r"features must have shape \(B, T, C\)"),
    "features rows": ({"features": X[:, :4]}, ValueError, r"one row per score.*got \(2, 4, 3\)"),
    "features device": ({"features": X.to("meta")}, ValueError, r"on cpu; got .* on meta"),
    "labels list": ({"labels": [1, 0]}, TypeError, r"labels must be a tensor.*list"),
    "labels size": ({"labels": Y[:1]}, ValueError, r"one entry per bag: \(2,\).*\(1,\)"),
    "labels value": (
        {"labels": torch.tensor([1, 2])},
        ValueError,
        r"labels\[1\] must be 0 \(normal\).*got 2",
    ),
    "labels between": (
        {"labels": torch.tensor([0.5, 1.0])},
        ValueError,
        r"labels\[0\] must be .*got 0.5",
    ),
    "labels nan": (
        {"labels": torch.tensor([1.0, torch.nan])},
        ValueError,
        r"labels\[1\] must be .*got nan",
    ),
    "empty bag": (
        {"lengths": torch.tensor([5, 0])},
        ValueError,
        r"lengths\[1\] must be from 1 to T = 5; got 0.*empty bag",
    ),
    "no snippets": (
        {"scores": S[:, :0], "features": X[:, :0]},
        ValueError,
        "scores must have T of at least 1.*empty bag",
    ),
    "no bags": (
        {"scores": S[:0], "features": X[:0], "labels": Y[:0]},
        ValueError,
        "hold at least one bag; got",
    ),
    "too long": ({"lengths": torch.tensor([6, 5])}, ValueError, r"lengths\[0\] must be .*got 6"),
    "both layouts": ({"lengths": Y, "cu_seqlens": CU}, ValueError, "exclude each other"),
    "pairing": ({"pairing": "pairs"}, ValueError, r"pairing must be one of.*'pairs'"),
    "select": ({"select": "top"}, ValueError, "select must be one of"),
    "detach": ({"detach": "both"}, ValueError, "detach must be one of"),
    "eps": ({"eps": 0.0}, ValueError, "eps must be greater than 0"),
    "margin": ({"margin": float("nan")}, ValueError, "margin must be a finite number"),
    "weight": ({"alignment_weight": -1.0}, ValueError, "alignment_weight must be"),
    "divisor": ({"topk_divisor": 0}, ValueError, "topk_divisor must be at least 1, and a whole"),
    "impl": ({"impl": "gpu"}, ValueError, r"impl must be one of.*'gpu'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_named(case):
    arguments, error, message = BAD[case]
    with pytest.raises(error, match=message):
        LF.ddl_loss(**{"scores": S, "features": X, "labels": Y} | arguments)


@pytest.mark.parametrize(
    ("cu_seqlens", "message"),
    [
        ([0, 5, 5], "rise from bag to bag; got 5 and then 5.*empty bag"),
        ([0, 3], "end at the number of packed snippets, 5"),
    ],
)
def test_bad_packing_is_named(cu_seqlens, message):
    labels = Y[: len(cu_seqlens) - 1]
    with pytest.raises(ValueError, match=message):
        LF.ddl_loss(S[0], X[0], labels, cu_seqlens=torch.tensor(cu_seqlens))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32, torch.half])
def test_labels_may_have_any_plain_dtype(dtype):
    assert LF.ddl_loss(S, X, Y.to(dtype)) == LF.ddl_loss(S, X, Y)


@pytest.mark.parametrize("options", [{"eps": -1.0}, {"pairing": "x"}, {"impl": "x"}])
def test_the_module_refuses_bad_options_at_once(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        DDLLoss(**options)


def test_the_module_is_the_function_and_shows_its_options():
    options = {"ranking_weight": 0.3, "margin": 0.5, "pairing": "all_pairs", "select": "all"}
    options |= {"alignment_weight": 1.0, "detach": "none"}  # their defaults differ
    lengths = torch.tensor([5, 3])
    assert DDLLoss(**options)(S, X, Y, lengths) == LF.ddl_loss(S, X, Y, lengths=lengths, **options)
    assert "margin=0.5, topk_divisor=16" in repr(DDLLoss(**options))


def test_dtypes_of_the_results():
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        x = X.to(dtype).detach().clone().requires_grad_()
        s = S.to(dtype).detach().clone().requires_grad_()
        terms = LF.ddl_loss(s, x, Y)
        terms.total.backward()
        assert {t.dtype for t in terms} == {torch.float32}
        assert s.grad.dtype == x.grad.dtype == dtype
    assert LF.ddl_loss(S, X.double(), Y).total.dtype == torch.float64


def test_autocast_changes_nothing():
    want = LF.ddl_loss(S, X, Y)
    with torch.autocast("cpu", torch.bfloat16):
        assert LF.ddl_loss(S, X, Y) == want
