"""What the Triton kernels read and write, and where NaN and infinity show."""

from __future__ import annotations

import itertools

import pytest
import torch

from ladnet_fast.ops.locality_attention import definition

from .tools import BLOCKS, Config, both_passes, check_inputs, inputs_of

# The interpreter computes with numpy, which warns where a NaN arises.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

ALL_PRIORS = ("additive", "logit", "none")
NAMES = ("out", "dq", "dk", "dv")


def given(B, H, T, d, prior="additive", dtype=torch.float32):
    """Return random q, k, v, w, b and the gradient of the output."""
    q, k, v, w, b = inputs_of(B, H, T, d, dtype)
    w_b = (None, None) if prior == "none" else (w, b)
    return [q, k, v, *w_b, torch.randn(B, H, T, d).to(dtype)]


# ---- padding and bags ---------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("prior", ALL_PRIORS)
def test_padding_is_never_read_and_its_results_are_zero(prior, blocks):
    lengths = torch.tensor([40, 0, 32, 70])
    inputs = given(4, 2, 70, 16, prior)
    expected = both_passes(*inputs, prior=prior, lengths=lengths, config=BLOCKS[blocks])
    padding = torch.arange(70) >= lengths[:, None]
    for i in (0, 1, 2, 5):
        inputs[i] = inputs[i].masked_fill(padding[:, None, :, None], torch.nan)
    got = both_passes(*inputs, prior=prior, lengths=lengths, config=BLOCKS[blocks])
    for name, a, e in zip((*NAMES, "dw", "db"), got, expected, strict=False):
        if a is None:
            continue
        assert torch.equal(a, e), name
        if name in NAMES:
            assert (a.transpose(1, 2)[padding] == 0).all(), name


@pytest.mark.parametrize("prior", ALL_PRIORS)
def test_a_packed_bag_gives_the_bits_that_it_gives_alone(prior):
    offsets = [0, 33, 33, 34, 97, 129]
    inputs = given(1, 2, 129, 16, prior)
    packed = both_passes(*inputs, prior=prior, cu_seqlens=torch.tensor(offsets))
    for begin, end in itertools.pairwise(offsets):
        rows = [x[:, :, begin:end] if x is not None and x.dim() == 4 else x for x in inputs]
        alone = both_passes(*rows, prior=prior)
        for name, a, e in zip(NAMES, packed, alone, strict=False):
            assert torch.equal(a[:, :, begin:end], e), name


@pytest.mark.parametrize("prior", ALL_PRIORS)
def test_lengths_that_nobody_checked_stay_inside_of_the_tensors(prior):
    inputs = given(3, 1, 40, 16, prior)
    wild = both_passes(*inputs, prior=prior, lengths=torch.tensor([2**40, -(2**40), 7]))
    tame = both_passes(*inputs, prior=prior, lengths=torch.tensor([40, 0, 7]))
    for a, e in zip(wild, tame, strict=True):
        assert a is e is None or torch.equal(a, e)


def test_offsets_that_nobody_checked_stay_inside_of_the_tensors():
    inputs = given(1, 2, 40, 16)
    wild = both_passes(*inputs, cu_seqlens=torch.tensor([-(2**40), 20, 2**40]))
    tame = both_passes(*inputs, cu_seqlens=torch.tensor([0, 20, 40]))
    for a, e in zip(wild, tame, strict=True):
        assert torch.equal(a, e)


@pytest.mark.parametrize("shape", [(0, 2, 5, 16), (2, 0, 5, 16), (2, 3, 0, 16)])
@pytest.mark.parametrize("prior", ["additive", "logit"])
def test_nothing_to_attend_to(shape, prior):
    inputs = given(*shape)
    out, dq, dk, dv, dw, db, lse = both_passes(*inputs, prior=prior)
    assert out.shape == dq.shape == dk.shape == dv.shape == shape
    assert lse.shape == shape[:3]
    assert torch.equal(dw, torch.zeros(shape[1]))
    assert torch.equal(db, torch.zeros(shape[1]))


@pytest.mark.parametrize("prior", ALL_PRIORS)
def test_one_snippet_sends_no_gradient_to_q_and_k(prior):
    _, dq, dk, dv, dw, db, _ = both_passes(*given(4, 2, 1, 64, prior), prior=prior)
    assert (dq == 0).all()
    assert (dk == 0).all()
    assert (dv != 0).any()
    if prior == "logit":
        assert (dw == 0).all()
        assert (db == 0).all()


# ---- NaN and infinity ---------------------------------------------------------------------------

BAD = (torch.nan, torch.inf, -torch.inf)


@pytest.mark.parametrize("prior", ALL_PRIORS)
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("at", [0, 50, 69])
def test_nan_and_infinity_in_q_show_in_their_row_alone(at, bad, prior):
    inputs = given(1, 2, 70, 16, prior)
    inputs[0][0, 1, at, 3] = bad
    out = both_passes(*inputs, prior=prior)[0]
    expected = torch.ones(1, 2, 70, dtype=torch.bool)
    expected[0, 1, at] = False
    assert torch.equal(torch.isfinite(out).all(dim=-1), expected)


@pytest.mark.parametrize("which", [1, 2], ids=["k", "v"])
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("layout", ["dense", "packed"])
def test_nan_and_infinity_in_k_and_v_show_in_their_bag_and_head(layout, bad, which):
    inputs = given(2 if layout == "dense" else 1, 2, 70, 16)
    bags = {}
    if layout == "dense":
        inputs[which][1, 0, 65, 3] = bad
    else:
        inputs[which][0, 0, 65, 3] = bad
        bags["cu_seqlens"] = torch.tensor([0, 40, 70])
    out, dq, dk, dv, *_ = both_passes(*inputs, **bags)

    def of_bags(x):
        if not bags:
            return torch.isfinite(x).flatten(2).all(dim=-1)
        return torch.cat([torch.isfinite(part).flatten(2).all(-1) for part in x.split((40, 30), 2)])

    sick = torch.zeros(2, 2, dtype=torch.bool)
    sick[1, 0] = True
    for x in (out, dq, dk):
        assert torch.equal(~of_bags(x), sick)
    assert of_bags(dv)[~sick].all()


def test_nan_in_the_gradient_shows():
    inputs = given(1, 1, 40, 16)
    inputs[5][0, 0, 7, 2] = torch.nan
    _, *grads, _ = both_passes(*inputs)
    assert all(torch.isnan(x).any() for x in grads)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["w", "b"])
@pytest.mark.parametrize("prior", ["additive", "logit"])
def test_a_prior_that_is_not_finite_is_the_references(prior, name, bad):
    inputs = given(1, 2, 60, 16)
    inputs[3 if name == "w" else 4][1] = bad
    out = both_passes(*inputs, prior=prior)[0]
    want, _ = definition.locality_attention(*inputs[:5], prior=prior, scale=0.25)
    assert torch.isfinite(out[:, 0]).all()
    assert torch.equal(torch.isnan(out), torch.isnan(want))


# ---- layouts and bits ---------------------------------------------------------------------------


def with_gaps(x):
    """Return a view with NaN between heads, rows and columns."""
    B, H, T, d = x.shape
    return x.new_full((B, H + 1, T + 1, d + 3), torch.nan)[:, :H, :T, :d].copy_(x)


VIEWS = {
    "with gaps": with_gaps,
    "heads beside each other": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
    "columns far apart": lambda x: x.mT.contiguous().mT,
    "rows first": lambda x: x.permute(2, 0, 1, 3).contiguous().permute(1, 2, 0, 3),
    "not aligned": lambda x: torch.cat((x.new_zeros(1), x.flatten()))[1:].view(x.shape),
    "negated": lambda x: torch._neg_view(-x),
}


@pytest.mark.parametrize("d", [16, 20])
@pytest.mark.parametrize("view", VIEWS)
def test_any_strides_give_the_same_bits(view, d):
    inputs = given(2, 2, 45, d)
    expected = both_passes(*inputs)
    seen = [VIEWS[view](x) if x.dim() == 4 else x for x in inputs]
    for a, e in zip(both_passes(*seen), expected, strict=True):
        assert torch.equal(a, e)


@pytest.mark.parametrize("prior", ALL_PRIORS)
def test_heads_and_rows_that_are_one_in_memory(prior):
    inputs = inputs_of(2, 2, 40, 16, torch.float32)
    inputs[:3] = [x[:1, :1].expand(2, 2, 40, 16) for x in inputs[:3]]
    check_inputs(inputs, prior)


@pytest.mark.parametrize("prior", ["additive", "logit"])
def test_two_runs_give_the_same_bits_and_unwanted_gradients_change_none(prior):
    inputs = given(2, 2, 70, 16)
    first, second = (both_passes(*inputs, prior=prior) for _ in range(2))
    for a, e in zip(second, first, strict=True):
        assert torch.equal(a, e)
    fixed = both_passes(*inputs, prior=prior, need_prior_grad=False)
    assert fixed[4] is fixed[5] is None
    for a, e in zip(fixed[:4], first[:4], strict=True):
        assert torch.equal(a, e)


# ---- one launch --------------------------------------------------------------------------------

#: A bag of 200 among short and empty ones.
ENDS = [0, 0, 1, 201, 201, 234]
TOGETHER = {
    "dense, more queries a turn": (Config(64, 32, 32, 4, 1, queries_n=16), 2, {}),
    "padded, as many": (
        Config(64, 64, 16, 4, 1, queries_n=64), 4, {"lengths": torch.tensor([200, 0, 1, 64])}
    ),
    "packed, more keys a turn": (
        Config(16, 64, 64, 4, 1, one_far_loop=True, queries_n=32), 1,
        {"cu_seqlens": torch.tensor(ENDS)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("prior", ALL_PRIORS)
@pytest.mark.parametrize("case", TOGETHER)
def test_one_launch_gives_the_bits_of_two(case, prior):
    config, B, bags = TOGETHER[case]
    inputs = given(B, 1, ENDS[-1] if "cu_seqlens" in bags else 200, 16, prior)
    two, one = (
        both_passes(*inputs, prior=prior, config=config, one_launch=x, **bags)
        for x in (False, True)
    )
    for a, e in zip(one, two, strict=True):
        assert a is e is None or torch.equal(a, e)
