"""The lookup of configurations."""

from __future__ import annotations

import itertools

import pytest

from ladnet_fast.kernels.locality_attention import configs
from ladnet_fast.kernels.locality_attention.configs import (
    TWO_LAUNCHES,
    Config,
    architecture_row,
    lookup,
)

COMPILED = {
    "forward": ("additive", "logit", "none"),
    "combine": ("additive", "none"),
    "preprocess": ("additive", "none"),
    "backward_keys": ("additive", "logit", "none"),
    "backward_queries": ("logit", "none"),
}
ASKED = {
    "kernel": "forward",
    "prior": "additive",
    "architecture": 90,
    "precision": "bf16",
    "head_size": 128,
}


def every_question():
    for kernel, priors in COMPILED.items():
        for prior, architecture, precision, size in itertools.product(
            priors,
            (80, 86, 87, 89, 90, 100, 103, 120, 121, "hip", "interpreter"),
            configs.PRECISIONS,
            (1, 16, 17, 40, 64, 80, 128, 200, 256),
        ):
            yield {
                "kernel": kernel, "prior": prior, "architecture": architecture,
                "precision": precision, "head_size": size,
            }  # fmt: skip


def test_every_question_has_an_answer_that_triton_can_compile():
    for question in every_question():
        candidates = configs.candidates(**question)
        assert lookup(**question) == candidates[0]
        assert len(set(candidates)) == len(candidates)
        for config in candidates:
            blocks = (config.block_m, config.block_n, config.block_band)
            assert all(block == 0 or (block >= 16 and block.bit_count() == 1) for block in blocks)
            assert config.block_m > 0
            keys = question["kernel"] not in ("combine", "preprocess")
            assert (config.block_n > 0) == keys, question
            banded = question["prior"] == "additive" and question["kernel"] != "combine"
            assert (config.block_band > 0) == banded, question
            assert config.num_warps in (4, 8)
            assert config.num_stages in (1, 2, 3, 4)
            two_far_loops = question["prior"] == "logit" and question["kernel"] != "forward"
            assert two_far_loops or not config.one_far_loop, question
            assert question["kernel"] == "forward" or not config.whole_keys, question


@pytest.mark.parametrize("kernel", configs.SHORT)
def test_a_kernel_of_short_bags_is_chosen_where_the_table_has_one(kernel):
    keys = sum(configs.SHORT[kernel])
    shorter = max((sum(tiles) for tiles in configs.SHORT.values() if sum(tiles) < keys), default=0)
    found = set()
    for question in every_question():
        if question.pop("kernel") != "forward":
            continue
        entries = configs.candidates(kernel, **question)
        found.add(bool(entries))
        for entry in entries:
            assert (entry.block_n, entry.num_stages) == (keys, 1)
            assert (entry.block_band > 0) == (question["prior"] == "additive")
        for snippets in (shorter + 1, keys):
            chosen = configs.forward_kernel(snippets, **question)
            assert chosen == (kernel if entries else "forward")
        for snippets in (shorter or 257, keys + 1):
            assert configs.forward_kernel(snippets, **question) != kernel
        assert configs.forward_kernel(keys, **question, shared_bytes=1024) == "forward"
    assert found == {True, False}


def test_the_backward_kernel_of_short_bags_is_chosen_where_the_table_has_one():
    longest = configs.SHORT_BACKWARD_SNIPPETS
    served = set()
    for question in every_question():
        if question.pop("kernel") != "forward":
            continue
        entries = configs.candidates(configs.SHORT_BACKWARD, **question)
        for entry in entries:
            blocks = (entry.block_m, entry.block_n, entry.queries_n)
            assert all(block >= 16 and block.bit_count() == 1 for block in blocks)
            assert entry.block_band == 0
            assert not entry.one_far_loop
        for snippets in (1, longest):
            chosen = configs.backward_kernel(snippets, **question)
            assert chosen == (configs.SHORT_BACKWARD if entries else "backward")
        assert configs.backward_kernel(longest + 1, **question) == "backward"
        assert configs.backward_kernel(longest, **question, shared_bytes=1024) == "backward"
        if entries:
            served.add((question["architecture"], question["precision"]))
            *others, last = configs.offered(configs.SHORT_BACKWARD, **question)
            assert tuple(others[: len(entries)]) == entries
            assert (last.block_m, last.block_n, last.queries_n) == (16, 16, 16)
    assert (90, "bf16") in served
    assert not {"hip", "interpreter"} & {architecture for architecture, _ in served}
    assert {precision for _, precision in served} == {"bf16", "fp16"}


@pytest.mark.parametrize(
    ("architecture", "row"),
    [
        (80, 80), (86, 86), (87, 80), (89, 86), (90, 90), (100, 100), (103, 100), (110, 110),
        (120, 120), (121, 120), (130, 86), (200, 86),
    ],
)  # fmt: skip
def test_whose_rows_serve_another_architecture(architecture, row):
    assert architecture_row(architecture) == row
    question = {**ASKED, "architecture": architecture}
    assert lookup(**question) == lookup(**{**question, "architecture": row})


def test_the_two_16_bit_types_share_their_rows():
    for question in every_question():
        if question["precision"] == "bf16":
            assert lookup(**question) == lookup(**{**question, "precision": "fp16"})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"kernel": "backwards"},
            "must be one of .*preprocess additive.*; got 'backwards' and 'additive'",
        ),
        ({"kernel": "backward_queries"}, "; got 'backward_queries' and 'additive'"),
        ({"prior": "sum"}, "; got 'forward' and 'sum'"),
        ({"architecture": 75}, "architecture must be an integer from 80 on.*got 75"),
        ({"architecture": "sm_90"}, "got 'sm_90'"),
        ({"precision": "fp64"}, "precision must be one of bf16, fp16, tf32, fp32; got 'fp64'"),
        ({"head_size": 0}, "head_size must be from 1 to 256; got 0"),
        ({"head_size": 257}, "head_size must be from 1 to 256; got 257"),
    ],
)
def test_questions_without_an_answer(wrong, message):
    with pytest.raises(ValueError, match=message):
        lookup(**{**ASKED, **wrong})


def test_one_launch_serves_the_backward_pass_where_the_table_has_it_and_two_elsewhere():
    served = set()
    for prior, architecture, precision, size in itertools.product(
        configs.PRIORS, (*configs.SHARED_BYTES, "hip"), configs.PRECISIONS, configs.HEAD_SIZES
    ):
        question = {
            "kernel": "backward", "prior": prior, "architecture": architecture,
            "precision": precision, "head_size": size,
        }  # fmt: skip
        *together, last = configs.candidates(**question)
        assert last == TWO_LAUNCHES
        offered = configs.offered(**question)
        assert offered[: len(together)] == tuple(together)
        assert offered[-1] == last
        # Where its own table has two launches, none of another architecture is tried.
        assert together or offered == (last,)
        assert configs.offered(**question, shared_bytes=1024) == (last,)
        for config in together:
            served.add((architecture, precision, size))
            blocks = [config.block_m, config.block_n, config.queries_n]
            blocks += [config.block_band] if prior == "additive" else []
            assert all(block >= 16 and block.bit_count() == 1 for block in blocks)
            assert (config.block_band > 0) == (prior == "additive")
            assert config.num_warps in (4, 8)
            assert prior == "logit" or not config.one_far_loop
    assert {(90, "bf16", 128), (80, "fp16", 64)} <= served
    interpreted, _ = configs.offered(
        **ASKED | {"kernel": "backward", "architecture": "interpreter"}
    )
    assert interpreted.queries_n == interpreted.block_n


def test_how_a_configuration_reads():
    assert str(TWO_LAUNCHES) == "-"
    assert str(Config(32, 128, 64, 8, 2, queries_n=64)) == "32x128/64+64w8s2"
    assert str(Config(128, 64, 32, 8, 3)) == "128x64/32w8s3"
    assert str(Config(64, 0, 32, 4, 2)) == "64/32w4s2"
    assert str(Config(64, 32, 0, 4, 2)) == "64x32w4s2"
    assert str(Config(64, 32, 0, 4, 2, one_far_loop=True)) == "64x32w4s2o"
    assert str(Config(64, 32, 0, 4, 2, whole_keys=True)) == "64x32w4s2u"
    asked = ASKED | {"kernel": "forward", "architecture": 80, "head_size": 64}
    assert lookup(**asked).whole_keys
    assert str(lookup(**asked)).endswith("u")
    asked = ASKED | {"kernel": "backward_keys", "prior": "logit", "precision": "tf32"}
    assert str(lookup(**asked)).endswith("o")
