"""Rows of the attention kernels: what is counted, what forbids shipping, what is compiled again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

from benchmarks.resources import sass
from benchmarks.resources.cubins import Report
from benchmarks.resources.rows import Row, Usage
from benchmarks.resources.triton_build import Build
from benchmarks.resources.triton_rows import Maker, measure, row_problems, source_hash
from benchmarks.resources.triton_rules import problems
from benchmarks.resources.triton_variants import LAYOUTS
from ladnet_fast.kernels.locality_attention.configs import SHORT_BACKWARD, Config

from .listings import program
from .triton_examples import CLEAN, VARIANT


@dataclass
class Compiled:
    """What `measure` asks of a binary."""

    code: str
    name: str = "kernel"
    shared_bytes: int = 1024
    ttir: str = ""

    def read(self) -> tuple[Report, sass.Program]:
        return Report(registers=128, shared=0, local=16), program(self.code)


def loop(label: int, *instructions: str) -> str:
    return "\n".join([f".L_x_{label}:", *instructions, f"@P0 BRA `(.L_x_{label})"])


HMMA, HGMMA = "HMMA.16816.F32.BF16 R4, R8, R12, R4", "HGMMA.64x128x16.F32.BF16 R24, gdesc[UR4]"
COPY, FFMA = "LDGSTS.E.BYPASS.128 [R3], [R4.64]", "FFMA R1, R2, R3, R1"


def test_the_first_loops_with_products_are_the_far_ones():
    code = "\n".join(
        [
            loop(0, "NOP"),  # a search for the bag
            loop(1, COPY, HMMA, HMMA, "NOP"),
            loop(2, COPY, COPY, HMMA, HMMA),
            loop(3, HMMA, HMMA, *["MUFU.EX2 R1, R2"] * 9),  # the band
            "EXIT",
        ]
    )
    # The longest of the two, and the fewest copies.
    expected = Usage(
        registers=128, shared=1024, local=16, tensor_cores="mma.sync", async_copies=1, far_loop=5
    )
    assert measure(Compiled(code), far_loops=2) == expected
    # Of a second half behind them it is the loops that are left.
    assert measure(Compiled(code), far_loops=1, loops_before=1).async_copies == 2


def test_a_waiting_loop_inside_of_a_far_loop_is_part_of_it():
    code = "\n".join([loop(0, HGMMA, COPY, loop(1, "NOP"), "NOP"), "EXIT"])
    found = measure(Compiled(code), far_loops=1)
    assert (found.tensor_cores, found.far_loop) == ("wgmma", 6)


def test_kinds_of_tensor_cores_are_those_of_the_whole_kernel():
    code = "\n".join([loop(0, COPY, HGMMA), HMMA, "EXIT"])
    assert measure(Compiled(code), far_loops=1).tensor_cores == "mma.sync+wgmma"
    code = "\n".join([loop(0, "UTCHMMA gdesc[UR4], gdesc[UR6], tmem[UR8]"), "EXIT"])
    assert measure(Compiled(code), far_loops=1).tensor_cores == "tcgen05"


def test_without_tensor_cores_products_are_multiply_adds():
    far = loop(1, COPY, *[FFMA] * 300, *["FFMA2 R4, R6, R8, R4"] * 10)
    found = measure(Compiled("\n".join([loop(0, *[FFMA] * 20), far, "EXIT"])), far_loops=1)
    # Twenty multiply-adds are no product: the far loop is the second one.
    assert (found.tensor_cores, found.far_loop, found.async_copies) == ("", 312, 1)


def test_no_far_loop_asked_for_and_too_few_found():
    code = "\n".join([loop(0, COPY, HMMA), "EXIT"])
    found = measure(Compiled(code), far_loops=0)
    assert (found.async_copies, found.far_loop) == (0, 0)
    with pytest.raises(ValueError, match=r"kernel should have 2 far loops; with products .* 1"):
        measure(Compiled(code), far_loops=2)


def plainly(**fields: object) -> Usage:
    return dataclasses.replace(CLEAN, **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"local": 8}, "8 bytes of local memory: registers spill"),
        ({"shared": 227 * 1024 + 1}, "232449 bytes of shared memory, of 232448"),
        ({"tensor_cores": "mma.sync"}, "tensor cores by mma.sync, not wgmma"),
        ({"tensor_cores": "mma.sync+wgmma"}, "tensor cores by mma.sync+wgmma, not wgmma"),
        ({"tensor_cores": ""}, "tensor cores by none, not wgmma"),
        ({"async_copies": 0}, "no asynchronous copies in a far loop"),
        (
            {"far_loop": 528, "longer": 11},
            "a far loop of 1.021 times that without a prior; 1.02 allowed",
        ),
    ],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_forbids_shipping(fields, message, layout):
    usages = [plainly(**fields) if layout == other else CLEAN for other in LAYOUTS]
    assert row_problems(VARIANT, Row((CLEAN,) * 3)) == []
    assert row_problems(VARIANT, Row(tuple(usages))) == [f"{layout}: {message}"]


def test_chained_products_forbid_shipping_where_sums_lie_in_tensor_memory():
    chained = plainly(chained=2)
    assert problems(VARIANT, chained) == []
    tensor_memory = dataclasses.replace(VARIANT, architecture=100)
    usage = dataclasses.replace(chained, tensor_cores="tcgen05")
    (found,) = problems(tensor_memory, usage)
    assert found.startswith("2 chained products")


def test_logit_may_be_a_little_longer_and_none_not_at_all():
    logit = dataclasses.replace(VARIANT, mode="logit")
    assert problems(logit, plainly(far_loop=553, longer=36)) == []
    assert problems(logit, plainly(far_loop=554, longer=37))
    assert problems(dataclasses.replace(VARIANT, mode="none"), plainly(far_loop=518, longer=1))


def test_the_loop_of_short_bags_holds_the_prior_of_near_tiles():
    config = Config(32, 64, 0, 4, 2, queries_n=32)
    short = dataclasses.replace(VARIANT, kernel=SHORT_BACKWARD, config=config)
    assert problems(short, plainly(far_loop=700, longer=183)) == []
    assert problems(short, plainly(far_loop=700, longer=183, local=8))
    assert (short.far_loops, short.loops_before) == (1, 0)
    queries = dataclasses.replace(short, mode="logit-queries")
    assert (queries.far_loops, queries.loops_before) == (1, 1)
    assert queries.without_prior().mode == "none-queries"


def test_ieee_has_no_tensor_cores_and_preprocess_without_a_prior_no_products():
    ieee = dataclasses.replace(VARIANT, precision="fp32")
    assert problems(ieee, plainly(tensor_cores="")) == []
    plain = dataclasses.replace(VARIANT, kernel="preprocess", mode="none")
    assert problems(plain, Usage(registers=30, shared=256)) == []


def test_only_what_has_changed_is_compiled(monkeypatch):
    def compile_never(self: Build) -> None:
        raise AssertionError("compiled")

    monkeypatch.setattr(Build, "compile", compile_never)

    def made_from(known: Row) -> Row:
        return Maker({VARIANT.name: known}, print).rows([VARIANT])[VARIANT.name]

    intermediate = Maker({}, print).intermediate_hash(VARIANT)
    row = Row((CLEAN,) * 3, source_hash(VARIANT), intermediate)
    assert made_from(row) == row
    assert made_from(dataclasses.replace(row, source="of another comment")) == row
    with pytest.raises(AssertionError, match="compiled"):
        made_from(dataclasses.replace(row, source="", intermediate=""))


def test_what_is_compiled_is_compared_with_the_same_kernel_without_a_prior(monkeypatch):
    code = "\n".join([loop(0, COPY, HMMA), "EXIT"])
    monkeypatch.setattr(Build, "compile", lambda build: Compiled(code))
    lines: list[str] = []
    (row,) = Maker({}, lines.append).rows([VARIANT]).values()
    assert [(usage.far_loop, usage.longer) for usage in row.usages] == [(3, 0)] * 3
    # Each is compiled once: with the prior and without, for every layout.
    assert len(lines) == len(set(lines)) == 6


def test_hashes_know_all_that_the_code_depends_on():
    variants = [
        VARIANT,
        VARIANT.without_prior(),
        dataclasses.replace(VARIANT, mode="inference"),
        dataclasses.replace(VARIANT, architecture=100),
        dataclasses.replace(VARIANT, precision="fp16"),
        dataclasses.replace(VARIANT, head_size=64),
        dataclasses.replace(VARIANT, config=Config(128, 128, 64, 8, 3)),
        dataclasses.replace(VARIANT, config=Config(128, 128, 64, 4, 2)),
        dataclasses.replace(VARIANT, config=Config(128, 128, 32, 8, 2)),
    ]
    builds = [variant.build("padded") for variant in variants]
    builds += [VARIANT.build(layout) for layout in LAYOUTS if layout != "padded"]
    assert len({build.fingerprint for build in builds}) == len(builds)
    assert len({build.intermediate_hash() for build in builds}) == len(builds)
    assert len({source_hash(variant) for variant in variants}) == len(variants)
    assert source_hash(VARIANT) == source_hash(VARIANT)
