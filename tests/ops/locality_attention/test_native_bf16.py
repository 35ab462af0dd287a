"""bf16 in the compiled CPU kernels: multiplied in pairs or widened to fp32 (LADNET_BF16).

test_native_amx.py runs them once more, multiplied by tile registers.
"""

from __future__ import annotations

import pytest
import torch

from ladnet_fast import _native

from ..instruction_sets import assert_tests_pass, run_python
from .cases import oracle, prior_tensors, random_qkv
from .native_tools import assert_within_budget, both_passes, needs_native

pytestmark = needs_native

#: Of a register tile and of a block of keys or queries, in either way, and one to both sides.
LENGTHS = (1, 2, 3, 11, 12, 13, 31, 33, 63, 95, 97, 191, 193, 385)


def _inputs(B, H, T, d, prior_name="wide"):
    grad_out = torch.randn(B, H, T, d).bfloat16()
    return [
        *random_qkv(B, H, T, d, torch.bfloat16),
        *prior_tensors(prior_name, H, torch.float32),
    ], grad_out


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize("T", LENGTHS)
def test_every_length_is_within_budget(T, prior):
    inputs, grad_out = _inputs(1, 2, T, 21)
    assert_within_budget(inputs, grad_out, prior)


@pytest.mark.parametrize("name", ["narrow", "authors", "off-diagonal", "constant", "dead"])
@pytest.mark.parametrize("prior", ["additive", "logit"])
def test_every_prior_is_within_budget(prior, name):
    inputs, grad_out = _inputs(1, 2, 203, 40, name)
    assert_within_budget(inputs, grad_out, prior)


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize(("T", "name"), [(769, "wide"), (1091, "wide"), (901, "constant")])
def test_long_bags_of_one_part_and_of_several_are_within_budget(T, name, prior):
    inputs, grad_out = _inputs(1, 1, T, 19, name)
    assert_within_budget(inputs, grad_out, prior)


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize("d", [1, 2, 31, 130, 255, 256])
def test_every_head_size_of_a_bag_of_two_blocks_is_within_budget(d, prior):
    inputs, grad_out = _inputs(1, 1, 199, d)
    assert_within_budget(inputs, grad_out, prior)


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize(("T", "d"), [(5, 32), (64, 100), (200, 64), (200, 128), (773, 128)])
def test_whole_tile_registers_and_a_rest_are_within_budget(T, d, prior):
    # Registers hold 32 elements of the depth, which is the head size, a bag's or a block's length.
    inputs, grad_out = _inputs(1, 1, T, d)
    assert_within_budget(inputs, grad_out, prior)


@pytest.mark.parametrize("T", [45, 207, 770])
def test_threads_that_share_a_bag_change_no_bit(T):
    (q, k, v, w, b), grad_out = _inputs(1, 1, T, 40)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(both_passes(q, k, v, w, b, grad_out))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        for a, e in zip(result, results[0], strict=True):
            assert torch.equal(a, e)


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize("T", [1, 5, 33, 193])
def test_logits_far_below_zero_of_an_odd_bag_leave_nothing_infinite(T, prior):
    # A key that is only there to complete a pair has the logit 0. Beside sums of e^-1000 that is
    # infinity, and infinity times the zeros beyond the end is NaN.
    (q, k, v, w, b), grad_out = _inputs(1, 1, T, 16)
    q = torch.full_like(q, 16.0) + q / 64
    k = torch.full_like(k, -16.0) + k / 64
    assert_within_budget([q, k, v, w, b], grad_out, prior)


@pytest.mark.parametrize("T", [1, 5, 33, 193])
def test_an_infinite_key_that_no_query_looks_at_leaves_the_gradient_of_its_value_alone(T):
    # All its logits are -infinity. That of a query beyond the end would be 0 times infinity.
    (q, k, v, _, _), grad_out = _inputs(1, 1, T + 2, 16)
    q = q.abs()
    k[0, 0, 1, 3] = -torch.inf
    dv = both_passes(q, k, v, None, None, grad_out, prior="none")[3]
    assert (dv[0, 0, 1] == 0).all()
    assert torch.isfinite(dv).all()


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize("size", [4.0, 32.0])
def test_what_all_keys_have_in_common_leaves_the_gradient_of_q_within_budget(size, prior):
    # A row of dS adds up to 0, rounded to bf16 only nearly: the remainder is multiplied by `size`.
    (q, k, v, w, b), grad_out = _inputs(1, 1, 205, 24)
    k = (k.float() / 8 + size).bfloat16()
    assert_within_budget([q / 8, k, v, w, b], grad_out, prior)


def _off(inputs, grad_out, prior):
    """Return the root mean square of what is off in dq, dk and dv, in parts of their size."""
    actual = both_passes(*inputs[:3], None, None, grad_out, prior=prior)[1:4]
    exact = oracle(*inputs, grad_out, prior=prior)[1:4]
    return [float((a.double() - e).norm() / e.norm()) for a, e in zip(actual, exact, strict=True)]


@pytest.mark.parametrize("T", [129, 700])
def test_gradients_lose_no_more_than_one_rounding_more_than_their_own(T):
    # The root mean square of one rounding to bf16 is 0.42 epsilon / 2. Operands that are rounded
    # once, beside a result that is, make sqrt(2) of it, and four roundings would make 2.
    inputs, grad_out = _inputs(1, 1, T, 64)
    one = 0.42 / 2 * torch.finfo(torch.bfloat16).eps
    for error in _off(inputs, grad_out, "none"):
        assert error < 1.75 * one


@pytest.mark.skipif(
    _native.cpu is None or not _native.cpu.has_bf16_dot(), reason="bf16 is widened here"
)
@pytest.mark.parametrize("T", [205, 800])
def test_what_all_keys_have_in_common_costs_no_digit_in_pairs(T):
    (q, k, v, w, b), grad_out = _inputs(1, 1, T, 64)
    k = (k.float() + 8).bfloat16()
    one = 0.42 / 2 * torch.finfo(torch.bfloat16).eps
    for error in _off([q, k, v, w, b], grad_out, "none"):
        assert error < 1.75 * one


# ---- which way ----------------------------------------------------------------------------------


def _show(LADNET_BF16, instruction_set=None):
    show = "from ladnet_fast import _native; print(_native.cpu.bf16_products())"
    instruction_set = instruction_set or _native.cpu.instruction_set()
    return run_python(["-c", show], instruction_set, LADNET_BF16=LADNET_BF16)


def _ways():
    """Return what LADNET_BF16 may say here: pairs need AVX512_BF16, tiles AMX."""
    return ["widen", *(way for way in ("pairs", "tiles") if _show(way).returncode == 0)]


def test_the_way_that_is_asked_for_is_taken():
    for way in _ways():
        assert _show(way).stdout.strip() == way


@pytest.mark.parametrize("instruction_set", ["avx2", "baseline"])
def test_pairs_are_refused_beside_an_instruction_set_that_has_none(instruction_set):
    if instruction_set not in _native.cpu.available_instruction_sets():
        pytest.skip(f"this processor or build has no {instruction_set}")
    assert _show("widen", instruction_set).stdout.strip() == "widen"
    assert _show("", instruction_set).stdout.strip() == "widen"
    refused = _show("pairs", instruction_set)
    assert refused.returncode != 0
    assert "LADNET_BF16=pairs needs a processor with AVX512_BF16" in refused.stderr
    assert f"in use is {instruction_set}" in refused.stderr


def test_a_way_that_does_not_exist_is_an_error_that_lists_the_others():
    refused = _show("amx")
    assert refused.returncode != 0
    assert "LADNET_BF16 must be pairs, widen or tiles; got 'amx'" in refused.stderr


@pytest.mark.slow
def test_the_other_ways_are_right():
    """The tests of bf16 once more, in the ways that are not this process's."""
    others = [way for way in _ways() if way != _native.cpu.bf16_products()]
    if not others:
        pytest.skip("this processor or build has no other way")
    files = ["test_native.py", "test_native_edges.py", "test_native_bf16.py"]
    chosen = "bfloat16 or (test_native_bf16 and not way)"
    for other in others:
        assert_tests_pass(
            _native.cpu.instruction_set(), "locality_attention", files, "-k", chosen,
            LADNET_BF16=other,
        )  # fmt: skip
