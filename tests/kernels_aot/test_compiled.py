"""A part of the table compiled again: exactly the figures that it holds.

LADNET_COMPILE_ALL=1 compiles all of it, which takes about an hour on one core.
"""

from __future__ import annotations

import dataclasses
import os

import pytest

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

from benchmarks.resources import rows
from benchmarks.resources.triton_rows import Maker, measure
from benchmarks.resources.triton_variants import LAYOUTS, Variant, shipped
from ladnet_fast.kernels.locality_attention import configs
from ladnet_fast.kernels.locality_attention.configs import Config


def is_chosen(variant: Variant) -> bool:
    """What a change would show in first: d = 128 in bf16 nearly everywhere, one of each other kind.

    The configurations of sm_110 are those of sm_100, but for a few in float32.
    """
    if variant.config != serving(variant):
        return False  # for autotuning; test_descriptors.py reads the machine code of some
    of_training = (variant.kernel, variant.mode) in (
        ("forward", "additive"),
        ("backward", "additive"),
    )
    kind = (variant.architecture, variant.precision, variant.head_size)
    return (
        (of_training and kind[0] not in (86, 110) and kind[1:] == ("bf16", 128))
        or (variant.kernel, kind) == ("preprocess", (90, "bf16", 128))
        or (variant.kernel, variant.mode, kind)
        in (
            ("forward", "logit", (90, "bf16", 128)),
            ("forward", "inference", (86, "fp16", 64)),
            ("forward", "additive", (90, "tf32", 128)),
            ("forward", "additive", (80, "fp32", 64)),
            ("backward", "additive-queries", (90, "bf16", 128)),
            ("backward_keys", "logit", (80, "bf16", 64)),
            ("backward_keys", "additive", (100, "bf16", 64)),
            ("backward_queries", "none", (100, "bf16", 64)),
            ("short_backward", "additive", (90, "bf16", 128)),
            ("short_backward", "logit-queries", (100, "bf16", 64)),
            ("short_backward", "none", (120, "fp16", 64)),
        )
    )


def serving(variant: Variant) -> Config:
    """Return what serves in the place of a variant where nothing is measured."""
    return configs.lookup(
        variant.kernel, prior=variant.prior, architecture=variant.architecture,
        precision=variant.precision, head_size=variant.head_size,
    )  # fmt: skip


ALL = os.environ.get("LADNET_COMPILE_ALL") == "1"
CHOSEN = {v.name: v for v in shipped() if ALL or is_chosen(v)}


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        (name, layout)
        for i, name in enumerate(CHOSEN)
        for layout in (LAYOUTS if ALL else LAYOUTS[i % len(LAYOUTS) :][:1])
    ],
)
def test_a_row_is_what_the_compiler_makes(name, layout):
    """One layout of each row, in turn; the hash of the code that is compiled covers all of them."""
    variant = CHOSEN[name]
    usage = rows.read()["triton"].rows[name].usages[LAYOUTS.index(layout)]
    binary = variant.build(layout).compile()
    found = measure(binary, variant.far_loops, variant.loops_before, variant.config.specialized)
    assert found == dataclasses.replace(usage, longer=0)


@pytest.mark.parametrize("name", CHOSEN)
def test_a_row_is_of_the_code_that_the_compiler_reads(name):
    intermediate = Maker({}, print).intermediate_hash(CHOSEN[name])
    assert intermediate == rows.read()["triton"].rows[name].intermediate
