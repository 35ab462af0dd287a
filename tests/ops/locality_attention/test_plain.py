"""Calls that reach the kernels without an operator: which ones do, and that nothing differs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

import ladnet_fast.functional as LF
from ladnet_fast import _native, use_impl
from ladnet_fast.ops._bags import Bags
from ladnet_fast.ops.locality_attention import attend, definition, native, plain, schema

from .cases import prior_tensors, random_qkv

pytestmark = pytest.mark.skipif(not _native.reads_tensors, reason="torch before 2.10, or no module")


def tensors(B=2, H=2, T=37, d=16, dtype=torch.float32):
    real = torch.float64 if dtype == torch.float64 else torch.float32
    return [*random_qkv(B, H, T, d, dtype), *prior_tensors("wide", H, real)]


def bags_of(layout, q):
    given = {"padded": {"lengths": torch.tensor([37, 5])},
             "packed": {"cu_seqlens": torch.tensor([0, 5, 5, 37])}}.get(layout, {})  # fmt: skip
    return Bags.checked("q", q, q.shape[2], **given), given


def results(out, inputs, grad_out):
    given = [x for x in inputs if x.requires_grad]
    return [out, *(torch.autograd.grad(out, given, grad_out) if given else ())]


@pytest.fixture
def operators(monkeypatch):
    """The names of the operators that are called."""
    called = []
    for name in ("attention_forward", "attention_backward"):
        operator = getattr(schema, name)

        def calling(*arguments, operator=operator, name=name):
            called.append(name)
            return operator(*arguments)

        monkeypatch.setattr(schema, name, calling)
        if hasattr(plain, name):
            monkeypatch.setattr(plain, name, calling)
    return called


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16],
                         ids=str)  # fmt: skip
@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize("layout", ["dense", "padded", "packed"])
@pytest.mark.parametrize("grads", ["", "qkvwb", "k", "b"])
def test_it_has_the_bits_of_the_operator(operators, layout, prior, dtype, grads):
    inputs = tensors(1 if layout == "packed" else 2, dtype=dtype)
    for name, x in zip("qkvwb", inputs, strict=True):
        x.requires_grad_(name in grads and not (prior == "none" and name in "wb"))
    bags, given = bags_of(layout, inputs[0])
    grad_out = torch.randn(inputs[0].shape).to(dtype)
    actual = results(attend(*inputs, bags, prior=prior, impl="auto"), inputs, grad_out)
    assert not operators
    # With lse it is the operator.
    expected, _ = LF.locality_attention(*inputs, prior=prior, return_lse=True, **given)
    for x, y in zip(actual, results(expected, inputs, grad_out), strict=True):
        assert torch.equal(x, y)
        assert x.stride() == y.stride()
    assert operators == ["attention_forward", "attention_backward"][: 1 + (len(actual) > 1)]


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize("longer", [0, 1])
def test_of_short_bags_only_the_inputs_are_kept(prior, longer):
    most = native.longest_without_sums(torch.float32)
    assert most > 200
    inputs = [x.requires_grad_() for x in tensors(1, 1, most + longer, 8)]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        LF.locality_attention(*inputs, prior=prior)
    assert len(kept) == (3 if prior == "none" else 5) + 2 * longer


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
def test_a_graph_of_gradients_of_a_short_bag_refuses_a_second_derivative(operators, prior):
    inputs = [x.requires_grad_() for x in tensors(1, 2, 20, 8)]
    out = LF.locality_attention(*inputs, prior=prior)
    wanted = inputs if prior != "none" else inputs[:3]
    grad_out = torch.randn_like(out)
    expected = torch.autograd.grad(out, wanted, grad_out, retain_graph=True)
    assert not operators
    grads = torch.autograd.grad(out, wanted, grad_out, create_graph=True)
    assert operators == ["attention_forward", "attention_backward"]
    for x, y in zip(grads, expected, strict=True):
        assert torch.equal(x, y)
    with pytest.raises(RuntimeError, match="second derivative"):
        grads[0].sum().backward()


def test_a_dense_call_and_parameters_are_plain(operators):
    inputs = [torch.nn.Parameter(x) for x in tensors()]
    out = LF.locality_attention(*inputs)
    out.sum().backward()  # a gradient whose rows are one number
    assert not operators
    expected, _ = LF.locality_attention(*inputs, return_lse=True)
    assert torch.equal(out, expected)
    grads = torch.autograd.grad(expected.sum(), inputs)
    for x, grad in zip(inputs, grads, strict=True):
        assert torch.equal(x.grad, grad)


class Sub(torch.Tensor):
    pass


def _unit_free(x):
    return x.transpose(2, 3).contiguous().transpose(2, 3)


def _negative(x):
    return torch.complex(torch.zeros_like(x), -x).conj().imag


@pytest.mark.parametrize("change", [_unit_free, _negative, lambda x: x.as_subclass(Sub)])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_another_tensor_goes_by_the_operator(operators, change, which):
    inputs = tensors()
    expected = LF.locality_attention(*inputs)
    assert not operators
    inputs[which] = change(inputs[which])
    actual = LF.locality_attention(*inputs)
    assert operators
    torch.testing.assert_close(actual.as_subclass(torch.Tensor), expected)


def test_bags_of_another_batch_are_refused():
    inputs = tensors()
    for B, T in ((3, 37), (2, 36)):
        with pytest.raises(ValueError, match="q must have B ="):
            attend(*inputs, Bags(B, T, None, None), prior="additive", impl="auto")
    with pytest.raises(ValueError, match="q must have shape"):
        attend(inputs[0][0], *inputs[1:], Bags(2, 37, None, None), prior="additive", impl="auto")


def test_a_scale_is_checked_where_it_is_no_plain_number(operators):
    inputs = tensors()
    expected = LF.locality_attention(*inputs, scale=0.5)
    assert not operators
    for scale in (np.float32(0.5), 0.5):
        assert torch.equal(LF.locality_attention(*inputs, scale=scale), expected)
    assert operators == ["attention_forward"]  # of NumPy's number
    for scale in (float("nan"), float("inf"), 1e39, "0.5", True):
        with pytest.raises(ValueError, match="scale must be"):
            LF.locality_attention(*inputs, scale=scale)


def test_a_prior_with_gaps_goes_by_the_operator(operators):
    q, k, v, w, b = tensors()
    wide = torch.stack([w, b], dim=1)
    actual = LF.locality_attention(q, k, v, wide[:, 0], wide[:, 1])
    assert operators == ["attention_forward"]
    assert torch.equal(actual, LF.locality_attention(q, k, v, w, b))


@pytest.mark.parametrize("which", range(5))
@pytest.mark.parametrize("left", [0, 4])
def test_memory_that_is_gone_is_refused(which, left):
    inputs = [x.clone() for x in tensors()]
    inputs[which].untyped_storage().resize_(left)
    with pytest.raises(ValueError, match="bytes of memory behind its shape"):
        LF.locality_attention(*inputs)


def test_saved_memory_that_is_gone_is_refused():
    inputs = [x.requires_grad_() for x in tensors()]
    out = LF.locality_attention(*inputs)
    inputs[1].untyped_storage().resize_(0)
    with pytest.raises(ValueError, match="k must have"):
        out.backward(torch.randn_like(out))


def test_a_second_derivative_is_refused():
    q, *others = tensors()
    q.requires_grad_()
    out = LF.locality_attention(q, *others)
    (dq,) = torch.autograd.grad(out, q, torch.randn_like(out), create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        dq.sum().backward()


def test_an_empty_batch_and_no_snippets_go_by_the_operator(operators):
    for shape in ((0, 2, 5, 4), (2, 2, 0, 4)):
        q = torch.randn(shape)
        assert LF.locality_attention(q, q, q, torch.rand(2), torch.rand(2)).shape == shape
    assert operators == ["attention_forward"] * 2


def test_whoever_watches_sees_the_operator(operators):
    inputs = tensors()
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    with Watch():
        LF.locality_attention(*inputs)
    assert "ladnet_fast.locality_attention.default" in seen
    expected = LF.locality_attention(*inputs)
    torch.testing.assert_close(
        torch.vmap(lambda q: LF.locality_attention(q, *inputs[1:]))(inputs[0][None])[0], expected
    )
    operators.clear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert LF.locality_attention(*inputs).dtype == torch.bfloat16
    with forward_ad.dual_level():
        LF.locality_attention(*inputs)
    assert operators == ["attention_forward"] * 2


def test_hooks_may_change_what_is_saved_but_not_its_shape():
    inputs = [x.requires_grad_() for x in tensors()]
    expected = results(LF.locality_attention(*inputs), inputs, torch.ones(2, 2, 37, 16))
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x.double(), lambda x: x.float()):
        out = LF.locality_attention(*inputs)
    for x, y in zip(expected, results(out, inputs, torch.ones(2, 2, 37, 16)), strict=True):
        assert torch.equal(x, y)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x[..., :1]):
        out = LF.locality_attention(*inputs)
    with pytest.raises(ValueError, match="shape"):
        results(out, inputs, torch.randn(2, 2, 37, 16))


@pytest.mark.parametrize("name", ["native", "reference"])
def test_a_choice_holds(monkeypatch, operators, name):
    inputs = tensors()
    calls = []
    original = definition.locality_attention

    def reference(*arguments, **options):
        calls.append("reference")
        return original(*arguments, **options)

    monkeypatch.setattr(definition, "locality_attention", reference)
    with use_impl(name):
        LF.locality_attention(*inputs)
        LF.locality_attention(*inputs, impl="native")
    LF.locality_attention(*inputs, impl=name)
    assert calls == (["reference"] * 2 if name == "reference" else [])
    assert not operators
