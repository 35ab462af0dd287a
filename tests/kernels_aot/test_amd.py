"""What AMD GPUs get compiles for one of them, and fits the shared memory that it has."""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

import triton
from triton.backends.compiler import GPUTarget

from benchmarks.resources import triton_build
from benchmarks.resources.triton_variants import Variant
from ladnet_fast.kernels.locality_attention import configs

#: MI300: CDNA 3, wavefronts of 64 lanes. A workgroup of CDNA 1 to 3 and of RDNA has 64 KB.
TARGET = GPUTarget("hip", "gfx942", 64)
SHARED_BYTES = 64 * 1024


@pytest.mark.parametrize(
    ("kernel", "prior"),
    [("forward", "additive"), ("backward_keys", "additive"), ("backward_queries", "none")],
)
# The largest head sizes of either configuration.
@pytest.mark.parametrize(
    ("precision", "head_size"), [("bf16", 128), ("bf16", 256), ("fp32", 64), ("fp32", 256)]
)
def test_a_kernel_compiles_and_fits_64_kb(monkeypatch, kernel, prior, precision, head_size):
    config = configs.lookup(
        kernel, prior=prior, architecture="hip", precision=precision, head_size=head_size
    )
    # A variant is of an NVIDIA architecture; of that only the target reaches the compiler.
    monkeypatch.setattr(triton_build, "GPUTarget", lambda *_: TARGET)
    build = Variant(kernel, prior, 80, precision, head_size, config).build("padded")
    built = triton.compile(build.source, target=TARGET, options=build.options.__dict__)
    assert "hsaco" in built.asm
    assert 0 < built.metadata.shared <= SHARED_BYTES
