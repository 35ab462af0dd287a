"""The GPUs: what their makers and others have published of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Chip:
    """A GPU. Rates are of one multiprocessor and one cycle, unless they say otherwise."""

    name: str
    architecture: int
    """Ten times the major compute capability plus the minor."""
    multiprocessors: int
    clock: float
    """Cycles a second at which the data sheet's tensor rate holds."""
    bandwidth: float
    """Bytes a second of device memory."""
    tensor: int
    """Operations of bf16 and fp16 tensor cores, dense; tf32 has half of it."""
    l2_bytes: float
    """Bytes that a multiprocessor gets from the L2 cache."""
    shared_bytes: int
    """Shared memory of a multiprocessor, of which each block costs `RESERVED_SHARED` more."""
    latency: int
    """Cycles of a load from device memory."""

    def tensor_rate(self, precision: str) -> float:
        """Return the operations of the tensor cores in "bf16", "fp16" or "tf32"."""
        return self.tensor / 2 if precision == "tf32" else float(self.tensor)

    def scaled(self, clock: float, bandwidth: float) -> Chip:
        """Return the chip at other rates, given as shares of its own."""
        return replace(self, clock=self.clock * clock, bandwidth=self.bandwidth * bandwidth)


#: The same on all of them; see `SOURCES`.
WARP_SCHEDULERS = 4
EXPONENTIALS = 16
REGISTERS = 65_536
WARPS = 64
BLOCKS = 32
RESERVED_SHARED = 1024
REGISTER_UNIT = 8  # registers of a thread are given out in eights
#: Seconds between the starts of two kernels in a stream, the second of which waits for the first.
#: Of all constants here this one alone is no published one of these GPUs, but an assumption.
LAUNCH = 2.0e-6

CHIPS = (
    Chip("A100 SXM 80 GB", 80, 108, 1.41e9, 2.039e12, 2048, 47.4, 164 * 1024, 466),
    Chip("H100 SXM", 90, 132, 1.83e9, 3.352e12, 4096, 47.4, 228 * 1024, 479),
    Chip("H200 SXM", 90, 132, 1.83e9, 4.8e12, 4096, 47.4, 228 * 1024, 479),
    Chip("B200", 100, 148, 1.86e9, 8.0e12, 8192, 47.4, 228 * 1024, 479),
)

_GUIDE = "CUDA C++ Programming Guide, https://docs.nvidia.com/cuda/cuda-c-programming-guide/"
_AMPERE = (
    "NVIDIA A100 Tensor Core GPU Architecture, white paper, https://images.nvidia.com/aem-dam/"
    "en-zz/Solutions/data-center/nvidia-ampere-architecture-whitepaper.pdf"
)
_HOPPER = (
    "NVIDIA H100 Tensor Core GPU Architecture, white paper, https://resources.nvidia.com/"
    "en-us-tensor-core/gtc22-whitepaper-hopper"
)
_LATENCY = (
    "Luo et al., Benchmarking and Dissecting the Nvidia Hopper GPU Architecture through "
    "Microbenchmarking, https://arxiv.org/abs/2402.13499"
)
#: (what, values, where it is published)
SOURCES = (
    ("multiprocessors", "108, 132, 132, 148", f"{_AMPERE}; {_HOPPER}; B200: two dies of 74"),
    (
        "clock",
        "1.41, 1.83, 1.83, 1.86 GHz",
        "the ones at which the data sheets' dense bf16 rates, 312, 989, 989 and 2,250 TFLOP/s, are "
        "2,048, 4,096, 4,096 and 8,192 operations a cycle and multiprocessor",
    ),
    (
        "memory",
        "2.039, 3.352, 4.8, 8.0 TB/s",
        "data sheets of A100 80 GB, H100, H200 and DGX B200 (64 TB/s for eight), "
        "https://www.nvidia.com/en-us/data-center/",
    ),
    (
        "tensor cores",
        "2,048, 4,096, 4,096, 8,192 operations a cycle (bf16, fp16; half for tf32)",
        f"{_AMPERE}; {_HOPPER}; B200: its data sheet, as above",
    ),
    (
        "exponentials",
        f"{EXPONENTIALS} a cycle",
        f"{_GUIDE}, throughput of native arithmetic instructions: exp2f, 8.0, 9.0 and 10.0",
    ),
    (
        "instructions",
        f"{WARP_SCHEDULERS} of a warp a cycle: one for each of four schedulers",
        f"{_GUIDE}, compute capabilities 8.x, 9.0 and 10.0",
    ),
    (
        "registers, warps, blocks, shared memory",
        "65,536; 64; 32; 164, 228, 228, 228 KB, 1 KB of them reserved for each block",
        f"{_GUIDE}, technical specifications by compute capability",
    ),
    (
        "L2 cache",
        "47.4 bytes a cycle",
        f"5,120 bytes a cycle for 108 multiprocessors: {_AMPERE}. Taken for all, since NVIDIA "
        "publishes it for no later one",
    ),
    (
        "latency of memory",
        "466, 479, 479, 479 cycles",
        f"{_LATENCY}, for A100 and H100; B200 is taken to be as H100",
    ),
    ("between two kernels", "2 microseconds", "an assumption"),
)


def find(name: str) -> Chip | None:
    """Return the chip that a device's name says it is, e.g. "NVIDIA H100 80GB HBM3"; else None.

    Only those that are meant: an H100 with other memory and fewer multiprocessors is none of them.
    """
    if re.search(r"PCIe|NVL|MIG|GH200|GB200|40GB", name, re.IGNORECASE):
        return None
    words = re.findall(r"[A-Z]+\d+", name.upper())
    return next((chip for chip in CHIPS if chip.name.split()[0] in words), None)
