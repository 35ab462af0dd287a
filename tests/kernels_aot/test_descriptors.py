"""Far loops with descriptors as machine code: tiles copied by the GPU's unit, without addresses."""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

from benchmarks.resources.triton_rows import PRODUCTS
from benchmarks.resources.triton_variants import Variant, shipped
from ladnet_fast.kernels.locality_attention import configs

#: test_specialized.py has those whose warps are specialised too.
DESCRIBED = {v.name: v for v in shipped() if v.config.descriptors and not v.config.specialized}
#: What loads by an address of its own, or computes one of 64 bits; a plain far loop has many.
BY_ADDRESS = ("LDG.", "LDGSTS.", "LEA.", "IMAD.WIDE.")


def first(architecture: int, mode: str, head_size: int) -> Variant:
    return next(
        v
        for v in DESCRIBED.values()
        if (v.architecture, v.mode, v.head_size) == (architecture, mode, head_size)
    )


@pytest.mark.parametrize(
    ("architecture", "mode", "head_size", "layout"),
    [(90, "additive", 128, "packed"), (100, "logit-split", 128, "padded")],
)
def test_the_unit_copies_the_tiles_of_a_far_loop(architecture, mode, head_size, layout):
    variant = first(architecture, mode, head_size)
    binary = variant.build(layout).compile()
    report, program = binary.read()
    assert report == binary.report()
    assert report.local == 0
    products = [name for names in PRODUCTS.values() for name in names]
    far = [loop for loop in program.loops() if loop.count(["UTMALDG"]) and loop.count(products)]
    assert len(far) == variant.far_loops
    for loop in far:
        assert loop.count(["UTMALDG"]) == 2  # of k, of v
        opcodes = {program.instructions[i].opcode for i in loop.body}
        assert not [name for name in opcodes if f"{name}.".startswith(BY_ADDRESS)]


def test_only_autotuning_offers_them():
    assert {(v.kernel, v.architecture) for v in DESCRIBED.values()} == {
        ("forward", 90),
        ("forward", 100),
        ("forward", 110),
    }
    for variant in DESCRIBED.values():
        question = {
            "prior": variant.prior, "architecture": variant.architecture,
            "precision": variant.precision, "head_size": variant.head_size,
        }  # fmt: skip
        assert variant.config in configs.candidates("forward", **question)
        assert not any(config.descriptors for config in configs.offered("forward", **question))
