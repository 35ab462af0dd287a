"""The compiled CPU kernels at the edges: padding, NaN, one snippet, threads, buffers, bad input."""

from __future__ import annotations

import pytest
import torch

from ladnet_fast import _native
from ladnet_fast.ops.locality_attention import layout, native

from .budget import NAMES
from .cases import prior_tensors, random_qkv
from .native_tools import both_passes, needs_native
from .passes import backward, forward

pytestmark = needs_native

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def _inputs(B, H, T, d, dtype=torch.float32):
    real = torch.float64 if dtype == torch.float64 else torch.float32
    grad_out = torch.randn(B, H, T, d).to(dtype)
    return [*random_qkv(B, H, T, d, dtype), *prior_tensors("wide", H, real), grad_out]


# ---- padding ------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("d", [16, 33])
def test_padding_is_neither_read_nor_left_unwritten(d, dtype, prior):
    q, k, v, w, b, grad_out = _inputs(3, 2, 70, d, dtype)
    lengths = torch.tensor([70, 0, 33])
    padding = (torch.arange(70) >= lengths[:, None])[:, None, :, None]
    clean = both_passes(q, k, v, w, b, grad_out, prior=prior, lengths=lengths)
    dirty = (x.masked_fill(padding, torch.nan) for x in (q, k, v))
    grad_out = grad_out.masked_fill(padding, torch.nan)
    poisoned = both_passes(*dirty, w, b, grad_out, prior=prior, lengths=lengths)
    for name, a, e in zip(NAMES, poisoned, clean, strict=False):
        if e is not None:
            assert torch.equal(a, e), name
    for x in poisoned[:4]:
        assert (x.masked_select(padding) == 0).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_bags_do_not_see_each_other_when_packed(dtype):
    q, k, v, w, b, grad_out = _inputs(1, 2, 100, 16, dtype)
    packed = both_passes(q, k, v, w, b, grad_out, cu_seqlens=torch.tensor([0, 40, 40, 100]))
    for begin, end in ((0, 40), (40, 100)):
        alone = (x[:, :, begin:end] for x in (q, k, v))
        bag = both_passes(*alone, w, b, grad_out[:, :, begin:end])
        for a, e in zip(packed[:4], bag[:4], strict=True):
            assert torch.equal(a[:, :, begin:end], e)


def test_no_snippets_at_all_are_served():
    for shape in ((0, 2, 5, 8), (2, 0, 5, 8), (2, 2, 0, 8)):
        q = torch.empty(shape)
        w = torch.ones(shape[1])
        out, dq, dk, dv, dw, db, lse = both_passes(q, q, q, w, w, q)
        assert out.shape == dq.shape == dk.shape == dv.shape == shape
        assert lse.shape == shape[:3]
        assert torch.equal(dw, torch.zeros(shape[1]))
        assert torch.equal(db, torch.zeros(shape[1]))


# ---- NaN and infinity ---------------------------------------------------------------------------


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("at", [0, 40, 299])
def test_nan_and_infinity_in_q_show_in_their_row_alone(at, dtype, bad, prior):
    q, k, v, w, b, grad_out = _inputs(1, 2, 300, 16, dtype)
    q[0, 1, at, 3] = bad
    out = both_passes(q, k, v, w, b, grad_out, prior=prior)[0]
    finite = torch.isfinite(out).all(dim=-1)
    expected = torch.ones(1, 2, 300, dtype=torch.bool)
    expected[0, 1, at] = False
    assert torch.equal(finite, expected)


@pytest.mark.parametrize("which", ["k", "v"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_and_infinity_in_k_and_v_show_in_their_bag_and_head(dtype, bad, which):
    q, k, v, w, b, grad_out = _inputs(2, 2, 300, 16, dtype)
    {"k": k, "v": v}[which][1, 0, 250, 3] = bad
    out, dq, dk, dv, *_ = both_passes(q, k, v, w, b, grad_out)
    sick = torch.zeros(2, 2, dtype=torch.bool)
    sick[1, 0] = True
    for x in (out, dq, dk):
        assert torch.equal(~torch.isfinite(x).flatten(2).all(dim=-1), sick)
    assert torch.isfinite(dv[~sick]).all()
    if bad != bad or which == "v":
        assert not torch.isfinite(out[1, 0]).all(dim=-1).any()


def test_nan_in_the_gradient_shows():
    q, k, v, w, b, grad_out = _inputs(1, 1, 40, 16)
    grad_out[0, 0, 7, 2] = torch.nan
    _, *grads, _ = both_passes(q, k, v, w, b, grad_out)
    assert all(torch.isnan(x).any() for x in grads)


@pytest.mark.parametrize("name", ["w", "b"])
@pytest.mark.parametrize("prior", ["additive", "logit"])
def test_nan_in_the_prior_shows_in_its_head(prior, name):
    q, k, v, w, b, grad_out = _inputs(1, 2, 60, 16)
    {"w": w, "b": b}[name][1] = torch.nan
    out = both_passes(q, k, v, w, b, grad_out, prior=prior)[0]
    assert torch.isfinite(out[:, 0]).all()
    assert torch.isnan(out[:, 1]).all()


# ---- one snippet --------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_one_snippet_sends_no_gradient_to_q_and_k(dtype, prior):
    q, k, v, w, b, grad_out = _inputs(4, 2, 1, 64, dtype)
    _, dq, dk, dv, dw, db, _ = both_passes(q, k, v, w, b, grad_out, prior=prior)
    assert (dq == 0).all()
    assert (dk == 0).all()
    assert (dv != 0).any()
    if prior == "logit":
        assert (dw == 0).all()
        assert (db == 0).all()


# ---- bits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("shape", "lengths"),
    [((1, 1, 1500, 32), None), ((5, 2, 130, 17), [130, 0, 1, 64, 99]), ((2, 1, 2100, 16), None)],
)
def test_bits_do_not_depend_on_the_number_of_threads(shape, lengths, dtype):
    inputs = _inputs(*shape, dtype)
    lengths = None if lengths is None else torch.tensor(lengths)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 7, 2):
            torch.set_num_threads(threads)
            results.append(both_passes(*inputs, lengths=lengths))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        for a, e in zip(result, results[0], strict=True):
            assert torch.equal(a, e)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("d", [8, 31, 256])
def test_every_element_is_written_and_none_beside_it(monkeypatch, d, dtype):
    q, k, v, w, b, grad_out = _inputs(2, 2, 67, d, dtype)
    lengths = torch.tensor([67, 20])
    expected = both_passes(q, k, v, w, b, grad_out, lengths=lengths)
    margin, guarded = 256, []

    def surrounded(shape, kind):
        count = torch.Size(shape).numel()
        memory = torch.full((count + 2 * margin,), 7.0, dtype=kind)
        inside = memory[margin : margin + count]
        inside.fill_(torch.nan)
        guarded.append(memory)
        return inside.view(shape)

    def empty_output(like):
        B, H, T, size = like.shape
        return surrounded((B, T, H, size), like.dtype).transpose(1, 2)

    monkeypatch.setattr(native, "empty_output", empty_output)
    monkeypatch.setattr(
        native, "empty_lse", lambda x: surrounded(x.shape[:3], layout.lse_dtype(x.dtype))
    )
    actual = both_passes(q, k, v, w, b, grad_out, lengths=lengths)
    assert len(guarded) == 6
    for memory in guarded:
        assert (memory[:margin] == 7).all()
        assert (memory[-margin:] == 7).all()
        assert torch.isfinite(memory).all()
    for a, e in zip(actual, expected, strict=True):
        assert torch.equal(a, e)


# ---- bad input never becomes a pointer ----------------------------------------------------------

Q = torch.randn(2, 3, 5, 4)
W = torch.ones(3)
GOOD = {"q": Q, "k": Q, "v": Q, "w": W, "b": W, "lengths": None, "cu_seqlens": None}
PACKED = dict.fromkeys("qkv", Q[:1])

BAD = {
    "rank of q": ({"q": Q[0]}, ValueError, r"q must have shape \(B, H, T, d\)"),
    "rank of k": ({"k": Q[0]}, ValueError, r"k must have shape \(B, H, T, d\); got \(3, 5, 4\)"),
    "shape of v": ({"v": Q[:, :, :4]}, ValueError, r"q, k and v must agree.*v \(2, 3, 4, 4\)"),
    "dtype of k": ({"k": Q.double()}, ValueError, r"must agree.*k .* torch.float64"),
    "integers": ({name: Q.long() for name in "qkv"}, TypeError, r"q must be float32"),
    "device": ({"k": Q.to("meta")}, ValueError, r"must agree.*k .* on meta"),
    "sparse": ({"v": Q.to_sparse()}, TypeError, r"v must be a dense tensor.*sparse"),
    "head size": (
        {n: torch.ones(1, 3, 2, 257) for n in "qkv"},
        RuntimeError,
        "head size is 257.*reach 256",
    ),
    "no head size": (
        {n: torch.ones(1, 3, 2, 0) for n in "qkv"},
        ValueError,
        "at least 1; got 0",
    ),
    "w missing": ({"w": None}, ValueError, r"prior_w must be a tensor of shape \(H,\).*got None"),
    "shape of w": ({"w": torch.ones(2)}, ValueError, r"prior_w must have .* shape \(3,\)"),
    "dtype of b": ({"b": W.double()}, TypeError, r"prior_b must be torch.float32"),
    "lengths dtype": ({"lengths": torch.tensor([1.0, 2.0])}, TypeError, "lengths must be"),
    "lengths shape": (
        {"lengths": torch.tensor([1])},
        ValueError,
        "one entry per bag, 2",
    ),
    "lengths too long": ({"lengths": torch.tensor([5, 6])}, ValueError, "from 0 to T = 5"),
    "lengths negative": ({"lengths": torch.tensor([-1, 5])}, ValueError, "from 0 to T = 5"),
    "both": (
        {"lengths": torch.tensor([1, 2]), "cu_seqlens": torch.tensor([0, 5])},
        ValueError,
        "exclude",
    ),
    "packed batch": ({"cu_seqlens": torch.tensor([0, 5])}, ValueError, "must have B = 1"),
    "offsets dtype": (PACKED | {"cu_seqlens": torch.tensor([0.0, 5])}, TypeError, "int32 or int64"),
    "offsets rank": (PACKED | {"cu_seqlens": torch.tensor([[0, 5]])}, TypeError, "one-dimensional"),
    "no offsets": (
        PACKED | {"cu_seqlens": torch.tensor([], dtype=torch.int64)},
        ValueError,
        r"N \+ 1 entries for N bags",
    ),
    "offsets begin": (PACKED | {"cu_seqlens": torch.tensor([1, 5])}, ValueError, "start at 0"),
    "offsets end": (
        PACKED | {"cu_seqlens": torch.tensor([0, 6])},
        ValueError,
        "end at .*, 5",
    ),
    "offsets fall": (PACKED | {"cu_seqlens": torch.tensor([0, 4, 3, 5])}, ValueError, "never"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_any_pointer_is_passed(monkeypatch, case):
    changes, error, message = BAD[case]

    class NoKernels:
        attention_fit = staticmethod(_native.cpu.attention_fit)

        def __getattr__(self, name):
            raise AssertionError(f"{name} was reached")

    monkeypatch.setattr(_native, "cpu", NoKernels())
    call = GOOD | changes
    with pytest.raises(error, match=message):
        forward(**call, prior="additive", scale=0.5, training=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("grad_out", Q[:, :, :4]),
        ("grad_out", Q.double()),
        ("softmax_out", torch.empty(0)),
        ("lse", torch.zeros(2, 3, 4)),
        ("lse", torch.zeros(2, 3, 5).double()),
    ],
)
def test_bad_saved_tensors_are_refused(name, value):
    good = {"softmax_out": Q, "out": Q, "lse": torch.zeros(2, 3, 5), "grad_out": Q}
    with pytest.raises((TypeError, ValueError), match=name):
        backward(**GOOD | good | {name: value}, prior="additive", scale=0.5, need_prior_grad=True)


def test_every_reason_against_serving_is_named(monkeypatch):
    assert native.why_not(Q, Q, Q) == []
    monkeypatch.setattr(_native, "cpu_problem", "not built")
    wide = torch.empty(1, 1, 2, 300, dtype=torch.int32, device="meta")
    reasons = "; ".join(native.why_not(wide, wide, wide))
    for part in ("not built", "q is on meta", "v is on meta", "torch.int32", "head size is 300"):
        assert part in reasons


def test_an_absent_module_is_an_error_that_says_why(monkeypatch):
    monkeypatch.setattr(_native, "cpu", None)
    monkeypatch.setattr(_native, "cpu_problem", "no compiler was found")
    with pytest.raises(RuntimeError, match="no compiler was found"):
        forward(**GOOD, prior="additive", scale=0.5, training=False)
