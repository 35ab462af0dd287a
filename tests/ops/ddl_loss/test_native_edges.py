"""The compiled CPU losses where arithmetic or memory is at its edge, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch

from ladnet_fast.ops.ddl_loss import native

from .cases import DEFAULTS, offsets, random_bags
from .native_tools import assert_within_budget, both_passes, needs_native

pytestmark = needs_native

FLOATS = (torch.float32, torch.float64)


@pytest.fixture
def poisoned_memory():
    """Fill whatever torch.empty returns with NaN."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.rand(1).new_empty(5).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize("detach", ["none", "score", "feature"])
@pytest.mark.parametrize("C", [5, 16])
def test_every_element_of_every_result_is_written(detach, C):
    scores, features = torch.rand(4, 70), torch.randn(4, 70, C)
    lengths = torch.tensor([70, 1, 33, 64])
    options = DEFAULTS | {"detach": detach}
    terms, score_grads, dynamics = native.forward(
        scores, features, torch.tensor([1, 0, 1, 0]), lengths, None, training=True, **options
    )
    grads = native.backward(
        torch.ones(3), scores, features, lengths, None, score_grads, dynamics,
        eps=1e-6, detach=detach,
    )  # fmt: skip
    padding = torch.arange(70) >= lengths[:, None]
    for result in (terms, score_grads, dynamics, *grads):
        assert result.isfinite().all()
    for result in (score_grads[0], score_grads[1], score_grads[2], dynamics, *grads):
        assert (result[padding] == 0).all()
    assert (dynamics[torch.arange(4), lengths - 1] == 0).all()
    if detach == "score":
        assert (score_grads[2] == 0).all()
    if detach == "feature":
        assert (grads[1] == 0).all()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_equal_scores_give_all_gradient_to_the_lowest_indices(dtype):
    scores = torch.full((2, 40), 0.5, dtype=dtype)
    features = torch.randn(2, 40, 3, dtype=dtype)
    labels = torch.tensor([1, 0])
    _, score_grads, _ = native.forward(
        scores, features, labels, None, None, training=True, **DEFAULTS
    )
    assert score_grads[0].nonzero().tolist() == [[0, 0], [0, 1], [0, 2], [1, 0]]
    scores[:, 1::2] = 0.75  # all steps tie
    _, score_grads, _ = native.forward(
        scores, features, labels, None, None, training=True, **DEFAULTS | {"margin": 1.0}
    )
    assert score_grads[0].nonzero().tolist() == [[0, 1], [0, 3], [0, 5], [1, 1]]
    assert score_grads[1, 0].nonzero()[:, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("T", [2, 100, 5000, 70000])
@pytest.mark.parametrize("levels", [2, 50, None])
def test_top_k_is_exact_for_any_k(T, levels, dtype):
    scores = torch.rand(1, T, dtype=dtype)
    if levels is not None:
        scores = (scores * levels).floor() / levels
    order = scores[0].argsort(descending=True, stable=True)
    features = torch.zeros(1, T, 1, dtype=dtype)
    for divisor in (1, 3, T):
        k = min(T // divisor + 1, T)
        terms, score_grads, _ = native.forward(
            scores, features, torch.tensor([1]), None, None,
            training=True, **DEFAULTS | {"topk_divisor": divisor},
        )  # fmt: skip
        assert set(score_grads[0, 0].nonzero()[:, 0].tolist()) == set(order[:k].tolist())
        p = scores[0, order[:k]].double().mean()
        torch.testing.assert_close(terms[0].double(), -p.log().clamp(min=-100), rtol=1e-6, atol=0)


@pytest.mark.parametrize("eps", [1e-6, 1e-10])
@pytest.mark.parametrize("C", [2, 64, 1000])
def test_near_identical_rows_keep_their_digits(C, eps):
    rows = torch.randn(1, C).repeat(30, 1) + 1e-5 * torch.randn(30, C)  # df about 1e-10
    assert_within_budget(torch.rand(30), rows, torch.tensor([True]), offsets([30]), eps=eps)


@pytest.mark.parametrize("dtype", [*FLOATS, torch.bfloat16, torch.float16], ids=str)
def test_multiples_of_a_row_have_no_dynamics_and_no_gradient(dtype):
    row = torch.randn(48).to(dtype)
    features = torch.stack([row, row, 2 * row, row / 4, row])
    scores = torch.rand(5).to(torch.promote_types(dtype, torch.float32))
    _, _, dynamics = native.forward(
        scores, features, torch.tensor([1]), None, offsets([5]), training=True, **DEFAULTS
    )
    assert (dynamics == 0).all()
    grads = both_passes(scores, features, torch.tensor([1]), cu_seqlens=offsets([5]))
    assert (grads[2] == 0).all()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("size", [1e-18, 1e18])
@pytest.mark.parametrize("C", [5, 128, 2000])
def test_the_size_of_a_row_does_not_matter(size, C, dtype):
    scores, features, labels = random_bags([30, 40], C, dtype)
    assert_within_budget(scores, features * size, labels, offsets([30, 40]))
    features[::3] *= size
    assert_within_budget(scores, features, labels, offsets([30, 40]))


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1e300])
def test_float64_rows_whose_squares_leave_the_range_are_measured(size):
    scores, features, labels = random_bags([30], 9)
    want = both_passes(scores, features, labels, cu_seqlens=offsets([30]))
    got = both_passes(scores, features * size, labels, cu_seqlens=offsets([30]))
    torch.testing.assert_close(got[0], want[0], rtol=1e-13, atol=0)
    if size > 1e-200:
        torch.testing.assert_close(got[2] * size, want[2], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_zero_and_opposite_rows_have_full_dynamics_and_no_gradient(dtype):
    rows = [[0, 0, 0], [0, 0, 0], [1, 0, 2], [-1, 0, -2], [-1, 0, -1.9], [0, 0, 0]]
    features = torch.tensor(rows, dtype=dtype)
    scores = torch.tensor([0.1, 0.3, 0.6, 0.2, 0.5, 0.9], dtype=dtype)
    call = (scores, features, torch.tensor([1]), None, offsets([6]))
    _, score_grads, dynamics = native.forward(*call, training=True, **DEFAULTS | {"eps": 1.0})
    assert dynamics[[0, 1, 2, 4]].tolist() == [1, 1, 1, 1]
    _, grad = native.backward(
        torch.ones(3, dtype=dtype), scores, features, None, offsets([6]), score_grads, dynamics,
        eps=1.0, detach="none",
    )  # fmt: skip
    assert (grad[[0, 1, 2, 5]] == 0).all()
    assert (grad[[3, 4]] != 0).any(dim=1).all()
    zeros = both_passes(scores, torch.zeros(6, 0, dtype=dtype), torch.tensor([1]),
                        cu_seqlens=offsets([6]), eps=1.0)  # fmt: skip
    torch.testing.assert_close(zeros[0][2].item(), -(0.2 + 0.3 + 0.4 + 0.3 + 0.4) / 5 * math.log(2))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", [0, 4, 6, 12])
@pytest.mark.parametrize("label", [0, 1])
def test_a_score_that_is_not_finite_shows_in_the_terms(bad, where, label):
    scores, features, _ = random_bags([6, 7], 3, torch.float32)
    scores[where] = bad
    labels = torch.tensor([label, 1 - label])
    terms = both_passes(scores, features, labels, cu_seqlens=offsets([6, 7]))[0]
    assert not terms.sum().isfinite()
    alone = both_passes(torch.tensor([[bad]]), features[None, :1], torch.tensor([label]))[0]
    assert not alone[0].isfinite()


@pytest.mark.parametrize("dtype", [*FLOATS, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("column", [0, 20])
@pytest.mark.parametrize("neighbour", [0.0, 1.0])
def test_a_feature_that_is_not_finite_shows_in_the_alignment(bad, column, neighbour, dtype):
    features = torch.full((2, 21), neighbour).to(dtype)
    features[1, column] = bad
    scores = torch.tensor([0.2, 0.9]).to(torch.promote_types(dtype, torch.float32))
    terms = both_passes(scores, features, torch.tensor([1]), cu_seqlens=offsets([2]))[0]
    assert terms[:2].isfinite().all()
    assert not terms[2].isfinite()


def test_the_hinge_has_no_slope_at_its_kink():
    scores = torch.tensor([[0.25, 0.75], [0.5, 0.5]])  # E = 1/4 and 0
    for margin, slope in ((0.25, 0.0), (0.375, -1.0)):
        _, score_grads, _ = native.forward(
            scores, torch.randn(2, 2, 3), torch.tensor([1, 0]), None, None,
            training=True, **DEFAULTS | {"margin": margin},
        )  # fmt: skip
        assert score_grads[1].tolist() == [[-slope, slope], [0.0, 0.0]]


@pytest.mark.parametrize(("p", "label"), [(0.0, 0), (0.0, 1), (1.0, 0), (1.0, 1), (0.3, 1)])
def test_cross_entropy_is_that_of_torch(p, label):
    leaf = torch.tensor([p], requires_grad=True)
    want = torch.nn.functional.binary_cross_entropy(leaf, torch.tensor([float(label)]))
    want.backward()
    got = both_passes(torch.tensor([[p]]), torch.randn(1, 1, 3), torch.tensor([label]))
    torch.testing.assert_close(got[0][0], want.detach())
    torch.testing.assert_close(got[1][0], leaf.grad)


def test_a_term_without_gradient_adds_nothing_even_if_it_is_not_finite():
    scores, features, labels = random_bags([6, 7], 3, torch.float32)
    features[2] = torch.nan
    _, grad_scores, grad_features = both_passes(
        scores, features, labels, cu_seqlens=offsets([6, 7]), weights=torch.tensor([1.0, 1.0, 0.0])
    )
    assert grad_scores.isfinite().all()
    assert (grad_scores != 0).any()
    assert grad_features[6:].eq(0).all()


@pytest.mark.parametrize("pairing", ["batch_mean", "all_pairs"])
@pytest.mark.parametrize(
    ("lengths", "C"), [([1000, 1, 3000, 12, 500, 9000], 64), ([150_000, 3, 70_000], 3)]
)
def test_the_bits_do_not_depend_on_the_number_of_threads(lengths, C, pairing):
    inputs = random_bags(lengths, C, torch.float32)
    results = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            results.append(
                both_passes(*inputs, cu_seqlens=offsets(lengths), pairing=pairing, margin=0.9)
            )
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=0, atol=0)


@pytest.mark.slow
def test_a_bag_of_a_million_snippets_is_within_budget():
    T = 1_000_000
    scores, features, _ = random_bags([T], 4, torch.float32)
    assert_within_budget(scores, features, torch.tensor([True]), offsets([T]))


def test_an_output_large_enough_to_stream_has_the_bits_of_its_parts():
    scores, features = torch.rand(2, 18_000), torch.randn(2, 18_000, 128)
    labels = torch.tensor([0, 0])
    _, _, whole = both_passes(scores, features, labels)
    for bag in range(2):
        _, _, part = both_passes(
            scores[bag : bag + 1, :9000], features[bag : bag + 1, :9000], labels[:1],
            weights=torch.tensor([1.0, 1.0, 8999 / 17_999 / 2]),
        )  # fmt: skip
        # All but the last row, which has lost its successor; the weights round differently.
        torch.testing.assert_close(whole[bag, :8999], part[0, :-1], rtol=1e-5, atol=1e-12)


REFUSED = {
    "features on another device": ({"features": lambda x: x.to("meta")}, "features is on meta"),
    "features of another dtype": ({"features": lambda x: x.int()}, "not torch.int32"),
    "scores of another dtype": ({"scores": lambda x: x.double()}, "scores in torch.float32"),
    "scores of another rank": ({"scores": lambda x: x[0]}, r"scores must be \(B, T\)"),
    "no scores": ({"scores": lambda x: x[:, :0]}, "not empty"),
    "features of another rank": ({"features": lambda x: x[0]}, r"features must be \(3, 8, 'C'\)"),
    "fewer feature rows": ({"features": lambda x: x[:, :7]}, r"features must be \(3, 8, 'C'\)"),
    "features too large": (
        {"features": lambda x: x[:, :, :1].expand(3, 8, 2**58)}, r"exceed 2\^62 bytes",
    ),
    "too few labels": ({"labels": lambda x: x[:2]}, r"labels must be torch.bool of shape \(3,\)"),
    "labels of two axes": ({"labels": lambda x: x[:, None]}, "labels must be"),
    "labels on another device": ({"labels": lambda x: x.to("meta")}, "on meta"),
    "lengths of another dtype": ({"lengths": lambda x: x.int()}, "lengths must be torch.int64"),
    "too few lengths": ({"lengths": lambda x: x[:2]}, "lengths must be torch.int64"),
    "an empty bag": ({"lengths": lambda x: x * 0}, "lengths must be from 1 to T = 8"),
    "a bag longer than T": ({"lengths": lambda x: x + 8}, "lengths must be from 1 to T = 8"),
    "both layouts": ({"cu_seqlens": lambda _: offsets([8, 8, 8])}, "exclude each other"),
    "topk_divisor of 0": ({"topk_divisor": lambda _: 0}, "topk_divisor must be at least 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_no_unchecked_address_reaches_the_kernels(case):
    changes, message = REFUSED[case]
    call = {
        "scores": torch.rand(3, 8),
        "features": torch.randn(3, 8, 4),
        "labels": torch.tensor([True, False, True]),
        "lengths": torch.tensor([8, 3, 1]),
        "cu_seqlens": None,
        **DEFAULTS,
    }
    for name, change in changes.items():
        call[name] = change(call[name])
    with pytest.raises(ValueError, match=message):
        native.forward(**call, training=True)


@pytest.mark.parametrize(
    "cu_seqlens", [[0, 5], [1, 5, 8], [0, 5, 9], [0, 5, 5, 8], [0, 6, 5, 8], [8], []]
)
def test_offsets_that_do_not_fit_are_refused(cu_seqlens):
    index = torch.tensor(cu_seqlens, dtype=torch.int64)
    with pytest.raises(ValueError, match="cu_seqlens must"):
        native.forward(
            torch.rand(8), torch.randn(8, 4), torch.ones(max(len(index) - 1, 0)), None, index,
            training=True, **DEFAULTS,
        )  # fmt: skip


@pytest.mark.parametrize("name", ["grad_terms", "score_grads", "feature_dynamics"])
def test_the_backward_pass_refuses_saved_tensors_that_do_not_fit(name):
    scores, features = torch.rand(2, 8), torch.randn(2, 8, 4)
    saved = {
        "grad_terms": torch.ones(3),
        "score_grads": torch.zeros(3, 2, 8),
        "feature_dynamics": torch.zeros(2, 8),
    }
    for wrong in (saved[name][..., :-1], saved[name].double(), saved[name].to("meta")):
        call = saved | {name: wrong}
        with pytest.raises(ValueError, match=f"{name} must be"):
            native.backward(
                call["grad_terms"], scores, features, None, None, call["score_grads"],
                call["feature_dynamics"], eps=1e-6, detach="none",
            )  # fmt: skip


def test_why_not_lists_every_reason():
    reasons = native.why_not(torch.rand(2, 3, device="meta"), torch.ones(2, 3, 4).int())
    assert len(reasons) == 2
    assert "scores is on meta" in reasons[0]
    assert "not torch.int32" in reasons[1]
    assert native.why_not(torch.rand(2, 3), torch.rand(2, 3, 4).bfloat16()) == []


def test_a_missing_module_is_a_reason_and_an_error(monkeypatch):
    monkeypatch.setattr(native._native, "cpu", None)
    monkeypatch.setattr(native._native, "cpu_problem", "not built because of this")
    assert native.why_not(torch.rand(2, 3), torch.rand(2, 3, 4)) == ["not built because of this"]
    with pytest.raises(ValueError, match="not built because of this"):
        both_passes(torch.rand(2, 3), torch.rand(2, 3, 4), torch.tensor([1, 0]))
