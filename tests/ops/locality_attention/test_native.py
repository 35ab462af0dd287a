"""The compiled CPU kernels against the float64 oracle: lengths, head sizes, layouts, priors."""

from __future__ import annotations

import pytest
import torch

from ladnet_fast import _native
from ladnet_fast.ops.locality_attention import definition, native

from ..native_calls import assert_other_threads_run_meanwhile, record
from .cases import PRIORS, prior_tensors, random_qkv
from .native_tools import assert_within_budget, both_passes, needs_native
from .passes import backward, forward

pytestmark = needs_native

FLOATS = (torch.float32, torch.float64)
DTYPES = (*FLOATS, torch.bfloat16, torch.float16)


def _inputs(B, H, T, d, dtype, prior_name="wide"):
    real = torch.float64 if dtype == torch.float64 else torch.float32
    return [*random_qkv(B, H, T, d, dtype), *prior_tensors(prior_name, H, real)]


def _check(B, H, T, d, dtype, prior, prior_name="wide", **options):
    inputs = _inputs(B, H, T, d, dtype, prior_name)
    assert_within_budget(inputs, torch.randn(B, H, T, d).to(dtype), prior, **options)


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize("T", [1, 2, 63, 64, 65, 127, 129, 1000, 2049])
def test_every_length_is_within_budget(T, prior):
    _check(1, 1, T, 16, torch.float32, prior)


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_every_number_of_rows_of_a_last_tile_is_within_budget(dtype, prior):
    for T in range(1, 38):
        _check(1, 1, T, 8, dtype, prior)


@pytest.mark.skipif(not _native.reads_tensors, reason="torch before 2.10 is read by pointers")
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_a_long_bag_is_refused_without_what_forward_leaves(dtype):
    T = native.longest_without_sums(dtype) + 1
    q, k, v, grad_out, dq, dk, dv = (torch.zeros(1, 1, T, 4, dtype=dtype) for _ in range(7))
    lse = torch.zeros(1, 1, T, dtype=dtype)
    for attended, sums in ((None, None), (None, lse), (q, None)):
        with pytest.raises(ValueError, match=f"a bag of {T} snippets needs .* attended and lse"):
            _native.cpu.attention_backward_of_tensors(
                q, k, v, None, None, "none", None, None, 1.0, 1,
                grad_out, attended, sums, dq, dk, dv, None, None,
            )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("d", [1, 16, 17, 32, 64, 80, 100, 128, 200, 255, 256])
def test_every_head_size_is_within_budget(d, dtype):
    _check(1, 1, 70, d, dtype, "additive")


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("prior", ["additive", "logit"])
@pytest.mark.parametrize("name", PRIORS)
def test_every_prior_is_within_budget(name, prior, dtype):
    _check(1, 2, 129, 24, dtype, prior, name)


@pytest.mark.parametrize("prior", ["additive", "logit"])
@pytest.mark.parametrize(
    ("w", "b"), [(0.0, 0.0), (1e-12, 0.0), (-1e-7, 30.0), (-0.003, 50.0), (1e30, 0.0), (0.1, -60.0)]
)
def test_a_prior_of_any_sign_and_size_is_within_budget(w, b, prior):
    inputs = random_qkv(1, 1, 300, 16, torch.float64)
    inputs += [torch.tensor([x], dtype=torch.float64) for x in (w, b)]
    assert_within_budget(inputs, torch.randn(1, 1, 300, 16, dtype=torch.float64), prior)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(("w", "b"), [(0.01, 20.0), (0.01, 30.0), (-0.01, -40.0), (0.0, 30.0)])
def test_a_prior_that_has_all_but_vanished_has_its_gradients(w, b, dtype):
    # Nothing of it is left in the outputs, and yet w and b are told where to go.
    inputs = random_qkv(1, 1, 300, 16, dtype) + [torch.tensor([x], dtype=dtype) for x in (w, b)]
    assert_within_budget(
        inputs, torch.randn(1, 1, 300, 16, dtype=torch.float64).to(dtype), "additive"
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize("H", [1, 2, 4])
def test_ragged_bags_are_within_budget(H, prior, dtype):
    lengths = torch.tensor([65, 0, 1, 40, 2])
    _check(5, H, 65, 20, dtype, prior, lengths=lengths)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
def test_packed_bags_are_within_budget(prior, dtype):
    cu_seqlens = torch.tensor([0, 0, 1, 65, 65, 194, 196], dtype=torch.int32)
    _check(1, 2, 196, 40, dtype, prior, cu_seqlens=cu_seqlens)


def test_a_long_bag_among_many_short_ones_is_cut_into_parts():
    lengths = torch.tensor([3] * 40 + [1500] + [7] * 20)
    cu_seqlens = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    _check(1, 1, int(lengths.sum()), 16, torch.float32, "additive", cu_seqlens=cu_seqlens)


def test_many_long_heads_share_their_work_among_parts():
    # 6 heads of 1100 snippets: several parts of keys each, more parts than threads.
    _check(2, 3, 1100, 16, torch.float32, "additive", lengths=torch.tensor([1100, 1050]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_peaked_scores_are_within_budget(dtype):
    # Maxima that rise along the keys, over more than one block: the running maximum moves often.
    q, k, v, w, b = _inputs(1, 1, 700, 32, dtype)
    k = k * torch.linspace(0.1, 8, 700)[:, None].to(dtype)
    assert_within_budget([q * 4, k, v, w, b], torch.randn(1, 1, 700, 32).to(dtype), "additive")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_equal_scores_average_the_values(dtype):
    q, _, v, _, _ = _inputs(1, 1, 50, 8, dtype)
    out, lse, _ = forward(
        q, torch.zeros_like(q), v, None, None, None, None, prior="none", scale=1.0, training=False
    )
    expected = v.double().mean(dim=2, keepdim=True).expand_as(v)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(out.double(), expected, rtol=2 * eps, atol=2 * eps)
    torch.testing.assert_close(lse.double(), torch.full((1, 1, 50), 50.0).double().log())


VIEWS = {
    "split heads": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "every second row": lambda x: x.repeat_interleave(2, dim=2)[:, :, ::2],
    "misaligned": lambda x: torch.cat([x[..., :1], x], dim=-1)[..., 1:],
    "part of a wider projection": lambda x: torch.cat([x, x, x], dim=-1)[..., 24:48],
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("view", VIEWS)
def test_views_give_the_same_bits_as_contiguous_tensors(view, dtype):
    q, k, v, w, b = _inputs(2, 2, 70, 24, dtype)
    grad_out = torch.randn(2, 2, 70, 24).to(dtype)
    expected = both_passes(q, k, v, w, b, grad_out)
    actual = both_passes(*(VIEWS[view](x) for x in (q, k, v)), w, b, VIEWS[view](grad_out))
    for a, e in zip(actual, expected, strict=True):
        assert torch.equal(a, e)


def test_an_expanded_gradient_is_read_right():
    q, k, v, w, b = _inputs(1, 2, 40, 16, torch.float32)
    grad_out = torch.randn(()).expand(1, 2, 40, 16)
    expected = both_passes(q, k, v, w, b, grad_out.contiguous())
    for a, e in zip(both_passes(q, k, v, w, b, grad_out), expected, strict=True):
        assert torch.equal(a, e)


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_lse_is_the_logarithm_of_the_softmax_sum(dtype, prior):
    q, k, v, w, b = _inputs(1, 2, 90, 48, dtype)
    lse = both_passes(q, k, v, w, b, torch.zeros_like(q), prior=prior)[-1]
    _, expected = definition.locality_attention(
        *(x.double() for x in (q, k, v, w, b)), prior=prior, scale=48**-0.5
    )
    tolerance = 1e-14 if dtype == torch.float64 else 1e-6
    torch.testing.assert_close(lse.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("prior", ["additive", "logit"])
def test_gradients_agree_with_finite_differences(prior):
    inputs = [x.requires_grad_() for x in _inputs(1, 2, 6, 3, torch.float64)]

    class Attention(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            out, lse, part = forward(*inputs, None, None, prior=prior, scale=0.4, training=True)
            ctx.save_for_backward(*inputs, part, out, lse)
            return out

        @staticmethod
        def backward(ctx, grad_out):
            return backward(
                grad_out, *ctx.saved_tensors, None, None,
                prior=prior, scale=0.4, need_prior_grad=True,
            )  # fmt: skip

    assert torch.autograd.gradcheck(Attention.apply, inputs)


# ---- what the compiled module is handed ---------------------------------------------------------


#: C++ reads tensors by itself, or is given pointers, as always with torch before 2.10.
WAYS = pytest.mark.parametrize("by_pointers", [False, True], ids=["tensors", "pointers"])


def _skip_without_reading(by_pointers):
    if not (by_pointers or _native.reads_tensors):
        pytest.skip("torch before 2.10 has no functions that C++ could read tensors by")


@WAYS
def test_the_number_of_threads_is_that_of_torch(monkeypatch, by_pointers):
    _skip_without_reading(by_pointers)
    inputs, grad_out = _inputs(1, 2, 9, 8, torch.float32), torch.randn(1, 2, 9, 8)
    recorder = record(monkeypatch, by_pointers=by_pointers)
    before = torch.get_num_threads()
    try:
        for threads in (1, 3, 2):
            torch.set_num_threads(threads)
            recorder.calls.clear()
            recorder.read.clear()
            both_passes(*inputs, grad_out)
            if by_pointers:
                assert recorder.given("AttentionProblem", "threads") == [threads] * 2
            else:
                assert [arguments[9] for _, arguments in recorder.read] == [threads] * 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("B", "H", "T", "d", "threads"),
    [
        (1, 1, 64, 128, 1),
        (1, 1, 64, 255, 1),
        (1, 1, 64, 256, 2),
        (16, 1, 64, 32, 4),
        (1, 2, 0, 8, 1),
        (1, 1, 200, 128, 8),
    ],
)
def test_a_thread_has_enough_to_do(monkeypatch, B, H, T, d, threads):
    monkeypatch.setattr(native, "LEAST_WORK", 2**19)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert native.threads_for(B, H, T, d) == threads


@WAYS
def test_other_python_threads_run_during_both_passes(monkeypatch, by_pointers):
    _skip_without_reading(by_pointers)
    inputs, grad_out = _inputs(1, 2, 1500, 64, torch.float32), torch.randn(1, 2, 1500, 64)
    end = "" if by_pointers else "_of_tensors"
    if by_pointers:
        record(monkeypatch, by_pointers=True)
    assert_other_threads_run_meanwhile(
        monkeypatch,
        lambda: both_passes(*inputs, grad_out),
        {f"attention_forward{end}", f"attention_backward{end}"},
    )


@WAYS
@pytest.mark.parametrize("view", [view for view in VIEWS if view != "transposed"])
def test_views_are_read_where_they_lie(monkeypatch, view, by_pointers):
    _skip_without_reading(by_pointers)
    q, k, v, w, b = _inputs(2, 2, 70, 24, torch.float32)
    given = {"q": q, "k": k, "v": v, "grad_out": torch.randn(2, 2, 70, 24)}
    given = {name: VIEWS[view](x) for name, x in given.items()}
    recorder = record(monkeypatch, by_pointers=by_pointers)
    both_passes(given["q"], given["k"], given["v"], w, b, given["grad_out"])
    if not by_pointers:
        (_, forward_given), (_, backward_given) = recorder.read
        for x in (given["q"], given["k"], given["v"]):
            assert any(x is y for y in forward_given)
            assert any(x is y for y in backward_given)
        assert backward_given[10] is given["grad_out"]
        return
    for name, x in given.items():
        where = (x.data_ptr(), *x.stride()[:3])
        assert recorder.given("attention_backward", name) == [where]
        if name != "grad_out":
            assert recorder.given("attention_forward", name) == [where]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize("layout", ["dense", "padded", "packed"])
def test_tensors_and_pointers_give_the_same_bits(monkeypatch, layout, prior, dtype):
    q, k, v, w, b = _inputs(1 if layout == "packed" else 2, 2, 70, 24, dtype)
    if prior == "none":
        w = b = None
    bags = {"padded": {"lengths": torch.tensor([70, 31])},
            "packed": {"cu_seqlens": torch.tensor([0, 31, 31, 70])}}.get(layout, {})  # fmt: skip
    grad_out = torch.randn(q.shape).to(dtype)
    expected = both_passes(q, k, v, w, b, grad_out, prior=prior, **bags)
    recorder = record(monkeypatch, by_pointers=True)
    actual = both_passes(q, k, v, w, b, grad_out, prior=prior, **bags)
    assert not recorder.read
    for x, y in zip(expected, actual, strict=True):
        assert (x is None and y is None) or torch.equal(x, y)
