"""The torch.library operators, the closed form, and what the door lets through."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import ladnet_fast
from ladnet_fast.ops.residual_norm import residual_norm, schema, serves, triton

from .cases import EPS, NAMES, differentiate, random_rows

LENGTHS = {"full": None, "ragged": torch.tensor([9, 0, 4])}
# The Triton kernels run where there is a GPU or the interpreter: see tests/kernels.
IMPL = "reference"


def test_operators_pass_opcheck():
    leaves = tuple(x.requires_grad_() for x in random_rows(3, 9, 5, torch.float32))
    call = (*leaves, LENGTHS["ragged"], EPS, torch.float32, IMPL)
    torch.library.opcheck(torch.ops.ladnet_fast.residual_norm.default, call)
    given = (torch.randn(3, 9, 5), *(x.detach() for x in leaves), *call[4:], True, True, False)
    torch.library.opcheck(torch.ops.ladnet_fast.residual_norm_backward.default, given)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["fp64", "mixed"])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=list(LENGTHS))
def test_the_closed_form_gives_the_gradients_of_the_plain_function(lengths, dtype):
    inputs = random_rows(3, 9, 5, torch.float64, dtype)
    leaves = [x.detach().requires_grad_() for x in inputs]
    out = schema.norm_forward(schema.Call(*leaves, lengths, EPS, torch.float64, IMPL))
    grad = torch.randn_like(out)
    got = (out.detach(), *torch.autograd.grad(out, leaves, grad))
    want = differentiate(inputs, grad, lengths, torch.float64)
    for name, a in zip(NAMES, got, strict=True):
        tolerance = 1e-12 if a.dtype == torch.float64 else 1e-6
        torch.testing.assert_close(a, want[name], rtol=tolerance, atol=tolerance)


def test_without_padding_it_is_what_the_modules_compute_to_the_last_bit():
    x, hidden, weight, bias = random_rows(3, 9, 40, torch.float32)
    want = F.layer_norm(x + hidden, (40,), weight, bias, EPS)
    assert torch.equal(residual_norm(x, hidden, weight, bias, EPS), want)


def test_second_derivatives_are_refused():
    leaves = tuple(x.requires_grad_() for x in random_rows(1, 4, 3))
    out = schema.norm_forward(schema.Call(*leaves, None, EPS, torch.float64, IMPL))
    (grad,) = torch.autograd.grad(out.square().sum(), leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        grad.sum().backward()


BAD = {
    "x of rank 2": ({"x": torch.zeros(3, 4)}, ValueError, r"shape \(B, T, D\)"),
    "no numbers": ({"x": torch.zeros(2, 9, 0)}, ValueError, "at least 1"),
    "other rows": ({"hidden": torch.zeros(2, 8, 4)}, ValueError, r"shape of x, \(2, 9, 4\)"),
    "integers": ({"hidden": torch.zeros(2, 9, 4).int()}, TypeError, "hidden must be"),
    "a short weight": ({"weight": torch.zeros(3)}, ValueError, r"weight must have shape \(4,\)"),
    "mixed parameters": ({"bias": torch.zeros(4).half()}, TypeError, r"bias\.to\("),
    "another device": ({"bias": torch.zeros(4, device="meta")}, ValueError, "on cpu.*meta"),
    "lengths of one bag": ({"lengths": torch.tensor([1])}, ValueError, "2 for this batch"),
    "a length too large": ({"lengths": torch.tensor([1, 10])}, ValueError, r"lengths\[1\] .*10"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name):
    change, error, message = BAD[name]
    names = ("x", "hidden", "weight", "bias")
    given = dict(zip(names, random_rows(2, 9, 4, torch.float32), strict=True))
    with pytest.raises(error, match=message):
        residual_norm(**(given | {"eps": EPS} | change))


def test_a_named_implementation_lists_every_reason_and_wide_rows_are_left_to_pytorch():
    wide = random_rows(1, 2, triton.MAX_WIDTH + 1)
    with pytest.raises(ladnet_fast.ImplUnavailableError) as caught:
        residual_norm(*wide, EPS, impl="triton")
    for reason in ("x is on cpu", "hidden is torch.float64", "the kernels reach 8192"):
        assert reason in str(caught.value)
    assert not serves("triton", *wide)
    rows = random_rows(1, 2, 3)
    with pytest.raises(ladnet_fast.ImplUnavailableError, match="cannot serve residual_norm"):
        serves("triton", *rows)
    assert not any(serves(impl, *rows) for impl in ("auto", "reference", "native", "cuda"))
