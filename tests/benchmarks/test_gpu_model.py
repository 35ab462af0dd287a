"""The model of GPUs: its arithmetic by hand, and that its page is current."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

from benchmarks.gpu import report, table
from benchmarks.gpu.ceilings import COPY, product_name
from benchmarks.gpu.model import attention, chips, cli, ddl, page, predict, score_head, timing
from benchmarks.gpu.model.band import CUT, Prior
from benchmarks.gpu.model.timing import Block, Kernel
from benchmarks.vocabulary import Case
from ladnet_fast import _native
from ladnet_fast.kernels.locality_attention import configs

from .conftest import canned

A100, H100, H200, B200 = chips.CHIPS
SPLIT = re.compile("-split|combine")
#: Two multiprocessors at one cycle a second: seconds are cycles.
TOY = dataclasses.replace(
    H100, name="toy", multiprocessors=2, clock=1.0, bandwidth=10.0, tensor=8, l2_bytes=4.0,
    latency=100,
)  # fmt: skip
KERNEL = Kernel("k", "", "bf16", 128, 32, 0, 0.0, (Block(),))
PLAIN = attention.Call(1, 1, 256, 128, torch.bfloat16, Prior("none"))


# ---- Blocks on a multiprocessor ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threads", "registers", "shared", "most"),
    [
        (256, 255, 0, 1),  # 256 registers x 256 threads are all there are
        (256, 128, 0, 2),
        (256, 129, 0, 1),  # 136 x 256 x 2 are too many
        (128, 32, 0, 16),  # 64 warps
        (32, 32, 0, 32),  # blocks
        (128, 32, 160 * 1024, 1),
        (128, 32, 75 * 1024, 3),  # 76 KB with what is reserved
        (128, 32, 76 * 1024, 2),
    ],
)
def test_residents_are_bounded_by_what_runs_out_first(threads, registers, shared, most):
    kernel = dataclasses.replace(KERNEL, threads=threads, registers=registers, shared=shared)
    assert timing.resident(kernel, H100) == most


def test_a_kernel_that_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="does not fit the H100"):
        timing.resident(dataclasses.replace(KERNEL, shared=228 * 1024), H100)


@pytest.mark.parametrize(
    ("durations", "slots", "end"),
    [
        ([], 2, 0),
        ([(3, 2.0)], 2, 4.0),
        ([(1, 5.0), (4, 1.0)], 2, 5.0),
        ([(4, 1.0), (1, 5.0)], 2, 7.0),  # long ones last cost more
        ([(7, 3.0)], 100, 3.0),
        ([(5, 2.0), (1, 1.0)], 2, 6.0),
    ],
)
def test_blocks_start_where_one_has_ended(durations, slots, end):
    assert timing.schedule(durations, slots) == end


def timed(block, **fields):
    return timing.time_kernel(dataclasses.replace(KERNEL, blocks=(block,), **fields), TOY)


def test_inside_a_block_products_and_the_rest_take_turns():
    # Products 100 cycles; 50 of exponentials, 75 of instructions; two loads of 100 each.
    found = timed(Block(1, tensor=800, exponentials=800, instructions=300))
    assert found.seconds == pytest.approx(200 + 100 + 75 + chips.LAUNCH)
    assert found.bound == "latency"
    assert found.floor == 50  # the products alone, spread over two multiprocessors
    assert found.busy == 0.5  # the other one has nothing to do


def test_blocks_beside_each_other_take_what_their_busiest_unit_takes():
    # Four on each of two multiprocessors: 4 x 100 cycles of products are more than 100 + 75.
    found = timed(Block(8, tensor=800, instructions=300, trips=0))
    assert found.seconds == pytest.approx(400)
    assert (found.bound, found.floor) == ("tensor cores", 400)
    assert found.waves == pytest.approx(8 / 32)
    alone = timed(Block(2, tensor=800, instructions=300, trips=0))
    assert alone.seconds == pytest.approx(175)
    assert alone.bound == "tensor cores and instructions in turns"


def test_memory_takes_as_long_as_its_bytes():
    found = timed(Block(1, instructions=4), bytes=5000.0)
    assert (found.seconds, found.bound, found.floor) == (pytest.approx(500), "memory", 500)


def test_a_chip_that_is_slower_in_a_run_is_slower_in_all_it_does():
    half = H100.scaled(0.5, 0.25)
    assert (half.clock, half.bandwidth) == (H100.clock / 2, H100.bandwidth / 4)


# ---- Kernels -------------------------------------------------------------------------------------


def test_the_forward_pass_by_hand():
    (kernel,) = attention.kernels(PLAIN, H100)
    # 2 tiles of 128 queries, each with 2 turns over 128 keys of 128 features.
    (block,) = kernel.blocks
    assert (kernel.name, kernel.config, block.count) == ("forward", "128x128w8s2", 2)
    assert block.tensor == 2 * (2 * 2 * 128 * 128 * 128)
    assert block.exponentials == 2 * (128 * 128 + 128)
    assert block.l2_bytes == 2 * (2 * 128 * 128 * 2)
    assert kernel.bytes == 4 * 256 * 128 * 2 + 256 * 4  # q, k, v, out; lse
    row = f"sm_90 bf16 forward none d128 {kernel.config}"
    turn = attention.resources.triton(row).far_loop
    assert block.instructions == 2 * turn * 8
    found = timing.time_kernel(kernel, H100)
    # 4,096 cycles of products, 2,064 of exponentials or the instructions, and two loads.
    cycles = 2 * H100.latency + 4096 + max(2064, 2 * turn * 8 / 4)
    assert found.seconds == pytest.approx(cycles / H100.clock + chips.LAUNCH)
    assert found.waves == pytest.approx(2 / 132)


def test_the_band_of_the_additive_prior_is_added():
    call = dataclasses.replace(PLAIN, prior=Prior("additive", 1 / 16, 0.0))
    assert call.prior.radius(256) == 20
    (with_band,) = attention.kernels(call, H100)
    plain, first = attention.kernels(PLAIN, H100)[0].blocks[0], with_band.blocks[0]
    # Rows 0 .. 147: three tiles of 64, each 128 x 64 values of G and a product with v.
    assert first.tensor - plain.tensor == 3 * 2 * 128 * 64 * 128
    assert first.exponentials - plain.exponentials == 3 * 128 * 64
    assert first.l2_bytes - plain.l2_bytes == 3 * 64 * 128 * 2


def test_short_bags_have_all_keys_at_once_and_in_training_the_band_behind_them():
    call = dataclasses.replace(PLAIN, B=3, T=200, prior=Prior("additive", 1 / 16, 0.0))
    (whole,) = attention.kernels(call, H100)
    training, *_ = attention.kernels(dataclasses.replace(call, backward=True), H100)
    product = 2 * 64 * 208 * 128
    # 4 tiles of 64 queries; for the weights 208 keys have an exponential each, and so has G.
    (block,) = whole.blocks
    assert (whole.name, whole.config, block.count) == ("short_208", "64x208/32w4s1", 4 * 3)
    assert (block.tensor, block.exponentials) == (2 * product, 2 * 64 * 208)
    assert block.l2_bytes == 2 * 200 * 128 * 2
    # Rows 0 .. 83, 44 .. 147, 108 .. 199 and 172 .. 199, 32 at a time.
    band = [b.tensor - 2 * product for b in training.blocks]
    assert band == [2 * 64 * 128 * rows for rows in (96, 128, 96, 32)]


def test_a_flat_prior_reaches_everywhere_and_a_logit_one_costs_no_product():
    flat, logit = (
        attention.kernels(dataclasses.replace(PLAIN, prior=prior), H100)[0]
        for prior in (Prior("additive", 0.0, 0.5), Prior("logit", 0.0, 0.5))
    )
    plain = attention.kernels(PLAIN, H100)[0].blocks[0]
    assert flat.blocks[0].tensor == 1.5 * plain.tensor
    assert logit.blocks[0].tensor == plain.tensor
    assert logit.blocks[0].exponentials == plain.exponentials + 128 * 256


def test_the_backward_pass_has_all_seven_products():
    call = dataclasses.replace(PLAIN, backward=True, T=512)
    sums = {
        kernel.name: sum(block.count * block.tensor for block in kernel.blocks)
        for kernel in attention.kernels(call, H100)
    }
    product = 2 * 512 * 512 * 128
    assert sum(sums.values()) == (2 + 7) * product


def test_one_launch_is_the_work_of_two():
    # Whose blocks own as many rows in one launch as in two.
    call = dataclasses.replace(
        PLAIN, d=64, backward=True, T=1000, prior=Prior("additive", 1 / 16, 0.0)
    )
    two, (both,) = (
        [k for k in attention.kernels(dataclasses.replace(call, one_launch=one), A100)
         if k.name.startswith("backward")]
        for one in (False, True)
    )  # fmt: skip
    assert [kernel.name for kernel in two] == ["backward_keys", "backward_queries"]
    assert both.name == "backward"
    assert both.count == two[0].count + two[1].count
    for unit in ("tensor", "exponentials", "l2_bytes"):
        sums = [
            sum(block.count * getattr(block, unit) for kernel in side for block in kernel.blocks)
            for side in (two, [both])
        ]
        assert sums[0] == sums[1]


@pytest.mark.parametrize("chip", [A100, H100, B200], ids=lambda chip: f"sm_{chip.architecture}")
@pytest.mark.parametrize("d", [64, 128])
def test_one_launch_is_shipped_only_where_it_is_predicted_to_be_no_slower(d, chip):
    shares = []
    for prior in (Prior("additive", 1 / 16, 0.0), Prior("logit", 1 / 16, 0.0), Prior("none")):
        for B, T in ((128, 200), (1, 200), (1, 4096), (1, 16384), (32, 2048)):
            call = attention.Call(B, 1, T, d, torch.bfloat16, prior, backward=True, short=False)
            two, one = (
                sum(
                    timing.time_kernel(kernel, chip).seconds
                    for kernel in attention.kernels(dataclasses.replace(call, one_launch=one), chip)
                    if kernel.name.startswith("backward")
                )
                for one in (False, True)
            )
            shares.append(one / two)
    # Where either half is less than a wave nothing is saved, and loops may be 2 % longer.
    assert max(shares) <= 1.02


@pytest.mark.parametrize("chip", [A100, H100, B200], ids=lambda chip: f"sm_{chip.architecture}")
@pytest.mark.parametrize("d", [64, 128])
def test_the_short_backward_pass_is_predicted_to_be_no_slower_where_it_serves(d, chip):
    shares = []
    for prior in (Prior("additive", 1 / 16, 0.0), Prior("logit", 1 / 16, 0.0), Prior("none")):
        for B, T in ((128, 64), (128, 128), (128, 200), (1, 200), (16, 200), (1, 256), (64, 256)):
            call = attention.Call(B, 1, T, d, torch.bfloat16, prior, backward=True)
            launches = [
                [k for k in attention.kernels(dataclasses.replace(call, short=short), chip)
                 if "backward" in k.name or k.name == "preprocess"]
                for short in (True, False)
            ]  # fmt: skip
            assert [kernel.name for kernel in launches[0]] == [configs.SHORT_BACKWARD]
            short, long = (
                sum(timing.time_kernel(kernel, chip).seconds for kernel in found)
                for found in launches
            )
            shares.append(short / long)
    assert max(shares) <= 1.02


def test_the_short_backward_pass_has_all_seven_products_and_the_prior_of_near_tiles():
    call = attention.Call(2, 1, 256, 128, torch.bfloat16, Prior("none"), backward=True)
    plain, flat = (
        next(k for k in attention.kernels(dataclasses.replace(call, prior=prior), H100)
             if k.name == configs.SHORT_BACKWARD)
        for prior in (call.prior, Prior("additive", 0.0, 0.5))
    )  # fmt: skip
    values = 2 * 256 * 256
    assert sum(block.count * block.tensor for block in plain.blocks) == 7 * 2 * values * 128
    # P twice, once for each half; a flat prior reaches every tile.
    assert sum(block.count * block.exponentials for block in plain.blocks) == 2 * values
    assert sum(block.count * block.exponentials for block in flat.blocks) == 4 * values


def test_split_keys_are_the_same_work_in_more_blocks_and_parts_that_are_joined():
    call = dataclasses.replace(PLAIN, T=4096)
    whole, (forward, combine) = (
        attention.kernels(dataclasses.replace(call, splits=splits), H100) for splits in (1, 4)
    )
    assert [kernel.name for kernel in whole] == ["forward"]
    assert (whole[0].count, forward.count, combine.name) == (32, 128, "combine")
    for unit in ("tensor", "exponentials", "instructions", "l2_bytes"):
        sums = [
            sum(block.count * getattr(block, unit) for block in kernel.blocks)
            for kernel in (whole[0], forward)
        ]
        # The compiled loop of a kernel that splits keys has a few instructions more or less.
        assert sums[0] == pytest.approx(sums[1], rel=0.01 if unit == "instructions" else 1e-6)
    # A part: 128 x 128 numbers in float32, and two for each of its rows; written, and read once.
    parts = 128 * (128 * 128 + 2 * 128) * 4
    results = 4096 * 128 * 2 + 4096 * 4
    assert forward.bytes == 3 * 4096 * 128 * 2 + parts
    assert combine.bytes == parts + results
    ragged = dataclasses.replace(call, T=1100, splits=4)  # nine tiles: 3, 3, 3 and none
    assert [block.tensor for block in attention.kernels(ragged, H100)[0].blocks][-1] == 0


def test_of_the_band_only_parts_that_have_a_share_are_stored():
    prior = Prior("additive", 1 / 16, 0.0)
    call = dataclasses.replace(PLAIN, T=4096, prior=prior, splits=4)
    forward, combine = attention.kernels(call, H100)
    # Splits of 1,024 keys: rows near one of three seams, on either side, have a share of two.
    parts = 128 * (128 * 128 + 2 * 128) * 4 + (32 + 6) * 128 * 128 * 4
    assert forward.bytes == 3 * 4096 * 128 * 2 + parts + 8  # w and b
    assert combine.bytes == parts + 4096 * 128 * 2 + 4096 * 4 + 8


def test_a_kernel_that_is_not_in_the_table_has_a_stand_in_and_a_star(monkeypatch):
    monkeypatch.setattr(attention.resources, "known", lambda row: not SPLIT.search(row))
    call = dataclasses.replace(PLAIN, T=2048, splits=2)
    forward, _ = attention.kernels.__wrapped__(call, H100)
    assert forward.config.endswith(attention.STAND_IN)
    monkeypatch.setattr(attention.resources, "known", lambda row: False)
    with pytest.raises(KeyError, match="has no row 'sm_90 bf16 forward none d16"):
        attention._usage("forward", "sm_90 bf16 forward none d16 1x1w1s1")


def test_float32_has_no_tensor_cores():
    call = dataclasses.replace(PLAIN, dtype=torch.float32)
    (kernel,) = attention.kernels(call, A100)
    assert {block.tensor for block in kernel.blocks} == {0.0}
    assert timing.time_kernel(kernel, A100).bound == "instructions"


@pytest.mark.parametrize(
    ("w", "b"), [(1 / 16, 0.0), (0.01, 20.0), (-0.003, 0.5), (0.5, -30.0), (1.0, 25.0), (0.0, 25.0)]
)
def test_the_radius_is_the_last_distance_at_which_the_prior_matters(w, b):
    matters = [d for d in range(1000) if abs(w * d * d + b) <= CUT]
    found = Prior("additive", w, b).radius(1000)
    if not matters:
        assert found == -1
    else:
        assert max(matters) <= found <= max(matters) + 1


def test_the_losses_and_the_score_head_read_features_as_often_as_they_say():
    features = 64 * 8192 * 128 * 2
    forward, finish, backward = ddl.kernels(64, 8192, 128, torch.bfloat16, True, H100)
    assert features < forward.bytes < 1.1 * features
    assert finish.name == "finish_kernel<true, true>"
    assert 2 * features < backward.bytes < 2.3 * features
    heads = score_head.kernels(64, 8192, 128, 7, torch.bfloat16, True)
    assert [kernel.name for kernel in heads] == ["score_head_forward", "score_head_backward"]
    assert features < heads[0].bytes < 1.1 * features
    assert 2 * features < heads[1].bytes < 2.2 * features


@pytest.mark.parametrize(
    ("N", "T", "C"), [(128, 200, 128), (64, 8192, 1000), (1, 1_000_000, 128), (3, 20_000, 2048)]
)
def test_the_losses_are_cut_as_the_module_cuts_them(N, T, C):
    if _native.cuda is None:
        pytest.skip(f"needs the compiled module: {_native.cuda_problem}")
    batch = _native.cuda.DdlBatch(
        bags=N, T=T, width=C, scores=0, features=0, dtype="bfloat16", batch_stride=C * T,
        row_stride=C, lengths=0, cu_seqlens=0,
    )  # fmt: skip
    launched = _native.cuda.ddl_launches(
        batch, pairing="batch_mean", detach="none", multiprocessors=H100.multiprocessors
    )
    made = ddl.kernels(N, T, C, torch.bfloat16, True, H100)
    found = [(kernel.name.partition("<")[0], kernel.count, kernel.threads) for kernel in made]
    assert found == launched


# ---- The page, and the report --------------------------------------------------------------------


def test_the_page_is_what_the_model_makes_of_the_kernels_now():
    text = page.PATH.read_text()
    current = "; write it again with: python -m benchmarks.gpu model"
    cases = table.cases()
    assert page.chips_table() in text, f"another chip{current}"
    some = cases[::6]
    rows = [*page.cases_table(some).splitlines()]
    for chip in page.SHOWN:
        rows += page.launches_table(some, chip).splitlines()
    gone = [row for row in rows if row not in text]
    assert not gone, f"{len(gone)} rows such as {gone[0]}{current}"
    assert page.flex_table(cases) in text, f"another peer{current}"
    assert page.flash_table(cases) in text, f"another peer{current}"
    shown_sides = (*predict.SIDES, *predict.FLEX)
    sides = [s for c in cases for s in c.sides if s in shown_sides and modelled(c)]
    shown = text.partition("## Every case")[2].partition("## Every launch")[0]
    assert shown.count("\n| ") == len(sides) + 2, f"other cases{current}"


def modelled(case: Case) -> bool:
    return case.op.name.startswith(("attention", "ddl", "score_head"))


def test_the_command_says_whether_a_page_is_current(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(page, "render", lambda: "# A page\n")
    path = tmp_path / "page.md"
    assert cli.main(["--check", "--output", str(path)]) == 1
    assert "write it again with: python -m benchmarks.gpu model" in capsys.readouterr().out
    assert cli.main(["--output", str(path)]) == 0
    assert path.read_text() == "# A page\n"
    assert cli.main(["--check", "--output", str(path)]) == 0


@pytest.mark.parametrize(
    ("name", "chip"),
    [
        ("NVIDIA A100-SXM4-80GB", A100),
        ("NVIDIA H100 80GB HBM3", H100),
        ("NVIDIA H200", H200),
        ("NVIDIA B200", B200),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA A100-SXM4-40GB", None),
        ("NVIDIA H100 NVL", None),
        ("NVIDIA GeForce RTX 4090", None),
        ("Intel Xeon (family 6, model 106)", None),
    ],
)
def test_a_chip_is_found_by_its_name_and_no_other_is_taken_for_it(name, chip):
    assert chips.find(name) is chip


def test_predictions_stand_beside_measurements():
    case = [c for c in table.cases() if c.op.name == "score_head_forward"][-1]
    machine = {"processor": "NVIDIA H200"}
    (prediction,) = predict.predictions([case], machine)
    shape = dict(case.shape)
    row = canned(case.op.name, "triton", shape, own=True, dtype="bfloat16",
                 seconds=2 * prediction.seconds)  # fmt: skip
    found = {
        "machine": machine,
        "predictions": [prediction.as_dict()],
        "measurements": [row],
        "ceilings": [
            {"name": COPY, "value": 0.5 * H200.bandwidth / 1e9},
            {"name": product_name("bfloat16"), "value": 0.8 * 4096 * 132 * 1.83},
        ],
    }
    assert prediction.bound == "memory"
    text = report.predictions_table(found)
    assert "| 1.00 |" in text  # twice as long as predicted, at half the bandwidth
    row["seconds"] = {"p50": prediction.floor / 2}
    assert "below the floor**" in report.predictions_table(found)
    found["measurements"] = []
    assert "| - | - |" in report.predictions_table(found)
    assert predict.predictions([case], {"processor": "a GPU of another kind"}) == []
    assert report.predictions_table({**found, "predictions": []}) == ""
