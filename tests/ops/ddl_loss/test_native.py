"""The compiled CPU losses against the float64 oracle: options, dtypes, sizes, layouts."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

import ladnet_fast.functional as LF
from ladnet_fast.ops.ddl_loss import native, schema

from ..native_calls import (
    assert_other_threads_run_meanwhile,
    assert_threads_follow_torch,
    record,
)
from .cases import DEFAULTS, OPTIONS, offsets, pad, random_bags
from .native_tools import assert_within_budget, both_passes, needs_native

pytestmark = needs_native

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
RAGGED = [40, 1, 17, 2, 16, 33, 129, 1]


def bags(lengths, C, dtype):
    """Scores with ties, in the accumulation dtype, and features of a random walk."""
    scores, features, labels = random_bags(lengths, C)
    scores = (scores * 64).round() / 64 * 0.98 + 0.01
    features = features.cumsum(0) + 0.1
    return scores.to(torch.promote_types(dtype, torch.float32)), features.to(dtype), labels


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(map(str, o.values())))
@pytest.mark.parametrize("margin", [0.1, 0.8])
def test_every_option_is_within_budget(options, margin):
    options = options | {"margin": margin}
    assert_within_budget(*bags(RAGGED, 24, torch.float32), offsets(RAGGED), **options)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("C", [1, 2, 3, 7, 8, 15, 16, 17, 33, 64, 100, 128, 255, 1024, 1500])
def test_every_feature_width_and_dtype_is_within_budget(C, dtype):
    assert_within_budget(*bags(RAGGED, C, dtype), offsets(RAGGED), margin=0.5)


@pytest.mark.parametrize("T", [1, 2, 3, 63, 64, 65, 127, 129, 255, 256, 257, 1000, 2049, 9000])
@pytest.mark.parametrize("topk_divisor", [1, 16, 10**12])
def test_every_length_is_within_budget(T, topk_divisor):
    inputs = bags([T, T + 3], 4, torch.float32)
    assert_within_budget(*inputs, offsets([T, T + 3]), margin=0.9, topk_divisor=topk_divisor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("C", [16, 260, 520, 1030])  # rows are measured by 8, 4, 2 and 1
def test_every_number_of_rows_in_a_last_group_is_within_budget(C, dtype):
    lengths = list(range(1, 36))
    assert_within_budget(*bags(lengths, C, dtype), offsets(lengths), margin=0.5)


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 1]])
@pytest.mark.parametrize("pairing", ["batch_mean", "all_pairs", "one_to_one"])
def test_every_mixture_of_classes_is_within_budget(labels, pairing):
    lengths = [30, 12, 25]
    scores, features, _ = bags(lengths, 8, torch.float32)
    labels = torch.tensor(labels).bool()
    assert_within_budget(scores, features, labels, offsets(lengths), pairing=pairing, margin=0.3)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.float16], ids=str)
def test_labels_of_any_dtype_mean_the_same(dtype):
    scores, features, labels = bags(RAGGED, 8, torch.float32)
    want = both_passes(scores, features, labels, cu_seqlens=offsets(RAGGED))
    got = both_passes(scores, features, labels.to(dtype), cu_seqlens=offsets(RAGGED))
    torch.testing.assert_close(got, want, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_padded_bags_give_the_bits_of_packed_ones_and_never_read_their_padding(dtype):
    scores, features, labels = bags(RAGGED, 20, dtype)
    terms, grad_scores, grad_features = both_passes(
        scores, features, labels, cu_seqlens=offsets(RAGGED)
    )
    padded = [pad(x, RAGGED, torch.nan) for x in (scores, features)]
    got = both_passes(*padded, labels, lengths=torch.tensor(RAGGED))
    want = (terms, *(pad(x, RAGGED, 0.0) for x in (grad_scores, grad_features)))
    torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_full_bags_need_no_lengths():
    scores, features, labels = bags([30, 30, 30], 20, torch.float32)
    want = both_passes(scores, features, labels, cu_seqlens=offsets([30, 30, 30]))
    terms, *grads = both_passes(scores.view(3, 30), features.view(3, 30, 20), labels)
    torch.testing.assert_close(terms, want[0], rtol=0, atol=0)
    for got, wanted in zip(grads, want[1:], strict=True):
        torch.testing.assert_close(got.flatten(), wanted.flatten(), rtol=0, atol=0)


VIEWS = {
    "gap": lambda x: torch.cat([x, x], dim=2)[:, :, : x.shape[2]],  # between rows
    "interleaved": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),  # bags
    "transposed": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),  # snippets side by side
    "misaligned": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
    "flipped": lambda x: x.flip(1).contiguous().flip(1),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("view", VIEWS)
def test_strided_features_give_the_bits_of_contiguous_ones(view, dtype):
    scores, features, labels = bags([50, 50], 19, dtype)
    scores, features = scores.view(2, 50), features.view(2, 50, 19)
    want = both_passes(scores, features, labels)
    got = both_passes(VIEWS[view](scores[..., None])[..., 0], VIEWS[view](features), labels)
    torch.testing.assert_close(got, want, rtol=0, atol=0)
    assert got[2].is_contiguous()


def test_one_row_expanded_to_a_bag_is_read_in_place():
    scores = torch.rand(2, 40)
    features = torch.randn(1, 1, 16).expand(2, 40, 16)
    want = both_passes(scores, features.contiguous(), torch.tensor([1, 0]))
    got = both_passes(scores, features, torch.tensor([1, 0]))
    torch.testing.assert_close(got, want, rtol=0, atol=0)
    assert (got[2] == 0).all()


def test_without_training_only_the_terms_come_back_with_the_same_bits():
    scores, features, labels = bags(RAGGED, 8, torch.float32)
    call = (scores, features, labels, None, offsets(RAGGED))
    want, score_grads, dynamics = native.forward(*call, training=True, **DEFAULTS)
    assert score_grads.shape == (3, sum(RAGGED))
    assert dynamics.shape == scores.shape
    got, score_grads, dynamics = native.forward(*call, training=False, **DEFAULTS)
    torch.testing.assert_close(got, want, rtol=0, atol=0)
    assert score_grads.numel() == dynamics.numel() == 0


@pytest.mark.parametrize("options", OPTIONS[::6], ids=lambda o: "-".join(map(str, o.values())))
def test_gradients_are_right_in_float64(options, monkeypatch):
    monkeypatch.setitem(schema.BACKENDS, "native", native)
    lengths = [6, 1, 4]
    scores, features, labels = random_bags(lengths, 2)
    scores = (0.2 + 0.6 * scores).requires_grad_()
    features.requires_grad_()
    options = options | {"margin": 0.7, "detach": "none", "topk_divisor": 3}

    def loss(scores, features):
        return LF.ddl_loss(
            scores, features, labels, cu_seqlens=offsets(lengths), impl="native", **options
        )

    assert gradcheck(loss, (scores, features))


# ---- what the compiled module is handed ---------------------------------------------------------


def test_the_number_of_threads_is_that_of_torch(monkeypatch):
    inputs = bags(RAGGED, 8, torch.float32)
    assert_threads_follow_torch(
        monkeypatch,
        lambda: both_passes(*inputs, cu_seqlens=offsets(RAGGED)),
        "ddl_forward",
        calls=2,
    )


def test_other_python_threads_run_during_both_passes(monkeypatch):
    inputs = bags([10000, 10000], 256, torch.float32)
    assert_other_threads_run_meanwhile(
        monkeypatch,
        lambda: both_passes(*inputs, cu_seqlens=offsets([10000, 10000])),
        {"ddl_forward", "ddl_backward"},
    )


@pytest.mark.parametrize("view", ["gap", "interleaved", "misaligned"])
def test_features_are_read_where_they_lie(monkeypatch, view):
    scores, features, labels = bags([50, 50], 19, torch.float32)
    features = VIEWS[view](features.view(2, 50, 19))
    recorder = record(monkeypatch)
    both_passes(scores.view(2, 50), features, labels)
    for argument, value in {
        "scores": scores.data_ptr(),
        "features": features.data_ptr(),
        "batch_stride": features.stride(0),
        "row_stride": features.stride(1),
    }.items():
        assert recorder.given("DdlBatch", argument) == [value, value]
