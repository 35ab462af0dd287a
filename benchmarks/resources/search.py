"""Looking for configurations: what is worth a try, in which order, and the first that is clean.

The order is a guess at speed from tile sizes and occupancy; nothing is timed. Where a GPU is at
hand, autotuning among the shipped candidates decides better.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

from ladnet_fast.kernels.locality_attention.configs import (
    SHARED_BYTES,
    SHORT,
    SHORT_BACKWARD,
    Config,
)

from .triton_rows import Maker
from .triton_rules import problems
from .triton_variants import LAYOUTS, Variant

_SIZES = (128, 64, 32, 16)
_REGISTERS = 65536  # of a multiprocessor
#: Registers of a thread beside its share of the tiles.
_OVERHEAD = 70


@dataclass(frozen=True)
class _Shape:
    """What a program of a kernel holds: accumulators and inputs of its own rows, and tiles."""

    accumulators: int
    tiles: int
    owned: int


_SHAPES = {
    "forward": _Shape(accumulators=1, tiles=1, owned=1),
    "backward_keys": _Shape(accumulators=2, tiles=2, owned=2),
    "backward_queries": _Shape(accumulators=1, tiles=2, owned=2),
}


def first_clean(
    kernel: str,
    mode: str,
    architecture: int,
    precision: str,
    head_size: int,
    *,
    limit: int,
    progress: Callable[[str], None],
) -> Config | None:
    """Return the first promising configuration without problems, or None after ``limit`` tries.

    It has none however bags lie (`triton_variants.LAYOUTS`), and none in either half of a backward
    pass in one launch.
    """
    maker = Maker({}, lambda line: None)
    for config in promising(kernel, architecture, precision, head_size)[:limit]:
        band = config.block_band if mode in ("additive", "inference", "additive-split") else 0
        config = replace(config, block_band=band)
        halves = (mode, f"{mode}-queries")
        modes = halves if kernel in ("backward", SHORT_BACKWARD) else (mode,)
        for part, layout in itertools.product(modes, LAYOUTS):
            variant = Variant(kernel, part, architecture, precision, head_size, config)
            usage = maker.usage(variant, layout)
            found = problems(variant, usage)
            progress(f"{variant.name} {layout}: {'; '.join(found) or usage}")
            if found:
                break
        else:
            return config
    return None


def promising(kernel: str, architecture: int, precision: str, head_size: int) -> list[Config]:
    """Return configurations that may fit registers and shared memory, the best guess first."""
    if kernel == "combine":
        return [Config(16, 0, 0, warps, 1) for warps in (4, 8)]
    if kernel == "preprocess":
        rows = (64, 32, 16)
        return [Config(m, 0, band, 4, 2) for m, band in itertools.product(rows, rows) if band <= m]
    if kernel in SHORT:
        # Few rows fit more programs; wgmma and tcgen05 take 64.
        sizes = (64, 128) if architecture in (90, 100) and precision != "fp32" else (32, 64, 16)
        keys = sum(SHORT[kernel])
        return [Config(m, keys, 32, warps, 1) for m, warps in itertools.product(sizes, (4, 8))]
    band = _band(precision, head_size)
    place = (architecture, precision, head_size)
    if kernel in ("backward", SHORT_BACKWARD):
        return _together(*place, band if kernel == "backward" else 0)
    ranked = []
    for owned, looped, warps, stages in itertools.product(_SIZES, _SIZES, (4, 8), (3, 2)):
        promise = _promise(_SHAPES[kernel], *place, owned, looped, warps, stages)
        if promise is None:
            continue
        m, n = (looped, owned) if kernel == "backward_keys" else (owned, looped)
        ranked.append((promise, Config(m, n, band, warps, stages)))
    ranked.sort(key=lambda entry: -entry[0])
    return [config for _, config in ranked]


def _together(architecture: int, precision: str, head_size: int, band: int) -> list[Config]:
    """Return configurations of the backward pass in one launch, the best guess first.

    Four of its seven products are those of dK and dV: so much of the time has their promise.
    """
    ranked = []
    for owned, m, n, warps, stages in itertools.product(_SIZES, _SIZES, _SIZES, (4, 8), (3, 2)):
        keys, queries = (
            _promise(
                _SHAPES[half], architecture, precision, head_size, owned, looped, warps, stages
            )
            for half, looped in (("backward_keys", m), ("backward_queries", n))
        )
        if keys is not None and queries is not None:
            config = Config(m, owned, band, warps, stages, queries_n=n)
            ranked.append((7 / (4 / keys + 3 / queries), config))
    ranked.sort(key=lambda entry: -entry[0])
    return [config for _, config in ranked]


def _band(precision: str, head_size: int) -> int:
    if precision == "fp32":
        return 32 if head_size <= 64 else 16
    return 64 if precision != "tf32" and head_size <= 128 else 32


def _promise(
    shape: _Shape,
    architecture: int,
    precision: str,
    head_size: int,
    owned: int,
    looped: int,
    warps: int,
    stages: int,
) -> float | None:
    """Return a figure that grows with the expected speed, None where there is no point in trying.

    Products per loaded row, owned x looped / (owned + looped), come first; then whether one more
    block fits a multiprocessor, and what suits the tensor cores: wgmma and tcgen05 take 64 rows of
    a group of 4 warps, so fewer rows would lose them.
    """
    itemsize = 2 if precision in ("bf16", "fp16") else 4
    threads = 32 * warps
    scalar = precision == "fp32"
    groups = architecture in (90, 100)
    registers = owned * (shape.accumulators * head_size + shape.tiles * looped) / threads
    # mma.sync takes its own rows from registers, if only after a pass through shared memory.
    kept = shape.owned * owned if groups else owned
    shared = itemsize * head_size * (kept + 2 * stages * looped)
    if (
        registers > (70 if scalar else 150)
        or shared > SHARED_BYTES[architecture]
        or owned * looped < 2 * threads
        or (scalar and max(owned, looped) > 64)
        or (groups and not scalar and owned < 64)
    ):
        return None
    promise = owned * looped / (owned + looped)
    if owned < looped:
        promise *= 0.9
    blocks = min(2, int(_REGISTERS // ((registers + _OVERHEAD) * threads))) or 1
    fits = blocks * shared <= SHARED_BYTES[architecture]
    promise *= (1.0 if fits else 0.96) * (1.02 if stages == 3 and fits else 1.0)
    if scalar:
        suited = warps == 8
    elif groups:
        suited = (warps == 8) == (owned == 128)
    else:
        suited = (warps == 4) == (registers * threads / 128 <= 120)
    return promise * (1.0 if suited else 0.88)
