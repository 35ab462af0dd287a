"""Specialised warps as machine code: who copies, who computes, and that nobody else does it."""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

from benchmarks.resources import rows
from benchmarks.resources.triton_rows import PRODUCTS, measure, specialized_loops
from benchmarks.resources.triton_variants import LAYOUTS, Variant, shipped
from ladnet_fast.kernels.locality_attention import configs

SPECIALIZED = {v.name: v for v in shipped() if v.config.specialized}
#: What computes an address of 64 bits.
ADDRESSES = ("LEA.", "IMAD.WIDE.", "LDG.", "LDGSTS.")


def first(architecture: int, mode: str, head_size: int) -> Variant:
    return next(
        v
        for v in SPECIALIZED.values()
        if (v.architecture, v.mode, v.head_size) == (architecture, mode, head_size)
    )


@pytest.mark.parametrize(
    ("architecture", "mode", "head_size", "layout"),
    [
        (90, "additive", 128, "padded"),
        (90, "logit", 64, "packed"),
        (100, "additive", 128, "padded"),
    ],
)
def test_some_warps_copy_and_others_compute(architecture, mode, head_size, layout):
    variant = first(architecture, mode, head_size)
    binary = variant.build(layout).compile()
    report, program = binary.read()
    assert report.local == 0
    # Registers go from the warps that copy to those that compute.
    moved = {i.opcode for i in program.instructions if i.name == "USETMAXREG"}
    assert {opcode.split(".")[1] for opcode in moved} == {"DEALLOC", "TRY_ALLOC"}
    products = [name for names in PRODUCTS.values() for name in names]
    parts = specialized_loops(program)
    copying = [loop for loop in parts if loop.count(["UTMALDG"])]
    (copying,) = copying
    assert copying.count(["UTMALDG"]) == 2  # of k, of v
    assert not copying.count([*products, "MUFU"])
    multiplying = [loop for loop in parts if loop.count(products)]
    exponentials = [loop for loop in parts if loop.count(["MUFU"]) > 16]
    assert len(multiplying) == len(exponentials) == 1
    # With tensor memory one thread starts products, which needs no warp of the softmax.
    assert (multiplying == exponentials) == (architecture == 90)
    for loop in parts:
        opcodes = {program.instructions[i].opcode for i in loop.body}
        assert not [name for name in opcodes if f"{name}.".startswith(ADDRESSES)]
    usage = rows.read()["triton"].rows[variant.name].usages[LAYOUTS.index(layout)]
    found = measure(binary, variant.far_loops, variant.loops_before, variant.config.specialized)
    assert (found.far_loop, found.shared) == (usage.far_loop, usage.shared)


def test_a_turn_of_those_that_compute_is_shorter_than_of_all_warps():
    table = rows.read()["triton"].rows
    for variant in SPECIALIZED.values():
        if variant.architecture != 90:
            continue  # there a turn is cut in parts
        turns = [usage.far_loop for usage in table[variant.name].usages]
        plain = [
            usage.far_loop
            for other in shipped((90,), (variant.precision,), (variant.head_size,))
            if other.kernel == "forward" and other.mode == variant.mode
            if other.config.descriptors and not other.config.specialized
            for usage in table[other.name].usages
        ]
        assert plain
        assert max(turns) < min(plain)


def test_only_autotuning_offers_them_for_every_prior():
    assert {(v.architecture, v.config.specialized, v.precision, v.mode, v.head_size)
            for v in SPECIALIZED.values()} == {
        (architecture, way, precision, mode, size)
        for architecture, way in ((90, "gluon"), (100, "triton"), (110, "triton"))
        for precision in ("bf16", "fp16")
        for mode in ("none", "additive", "inference", "logit")
        for size in (64, 128)
    }  # fmt: skip
    for variant in SPECIALIZED.values():
        question = {
            "prior": variant.prior, "architecture": variant.architecture,
            "precision": variant.precision, "head_size": variant.head_size,
        }  # fmt: skip
        assert variant.config.descriptors
        assert variant.config.whole_keys
        assert variant.config in configs.candidates("forward", **question)
        assert not any(config.specialized for config in configs.offered("forward", **question))
