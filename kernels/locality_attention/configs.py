"""Block sizes, warps and pipeline stages of the kernels: the shipped table and its lookup.

Every entry compiles without register spills, keeps its products on tensor cores (except IEEE fp32,
which has none) and its loads asynchronous; ``docs/gpu-resources.md`` has the figures, and the
command that makes them. The table was made by static counts alone: nothing in it was timed.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from .config_table import TABLE

#: Head sizes are padded to the next of these.
HEAD_SIZES = (16, 32, 64, 128, 256)
PRIORS = ("none", "additive", "logit")
PRECISIONS = ("bf16", "fp16", "tf32", "fp32")
#: The forward kernels of short bags: their tiles of keys, of which bags have at most the sum.
SHORT = {"short_128": (128, 0, 0), "short_208": (128, 64, 16)}
#: The backward kernel of short bags, and how many snippets they have at most, or on average.
SHORT_BACKWARD = "short_backward"
SHORT_BACKWARD_SNIPPETS = 256
KERNELS = (
    "forward", *SHORT, "combine", "preprocess", SHORT_BACKWARD, "backward", "backward_keys",
    "backward_queries",
)  # fmt: skip
#: Compute capabilities with entries of their own, and the shared memory that a program may have.
SHARED_BYTES = {
    80: 163 * 1024,
    86: 99 * 1024,
    90: 227 * 1024,
    100: 227 * 1024,
    110: 227 * 1024,
    120: 99 * 1024,
}


@dataclass(frozen=True)
class Config:
    """One configuration of one kernel.

    ``block_m`` rows of queries, ``block_n`` rows of keys, ``block_band`` columns of a tile of the
    banded product; 0 where a kernel has no such block. A kernel of `SHORT` has all keys at once.

    ``one_far_loop``, for the backward kernels with the logit prior alone: the tiles before and
    behind the near ones go through one loop that runs twice, instead of two loops. Where registers
    are short the compiler makes the second of two loops longer than the first; one loop avoids it.

    ``whole_keys``, for the forward kernel: keys are never split, since the kernel that does so
    would spill registers, or its far loop would be too long.

    ``descriptors``, for the forward kernel alone: far tiles are copied by descriptors, which k and
    v must have (`descriptors.describable`).

    ``specialized``, for the forward kernel alone: whose warps are specialised in the far loop, by
    "triton"'s compiler (`specialized`) or by hand in "gluon" (`specialized_sm90`); "" for none.
    Such a one also has ``descriptors``, which q must have too, and ``whole_keys``.

    ``queries_n``, for the backward passes in one launch: programs of dQ own ``block_n`` rows, as
    those of dK and dV do, and walk over tiles of ``queries_n`` keys. ``block_m``, ``block_n`` and
    ``block_band`` are those of dK and dV.
    """

    block_m: int
    block_n: int
    block_band: int
    num_warps: int
    num_stages: int
    one_far_loop: bool = False
    whole_keys: bool = False
    descriptors: bool = False
    queries_n: int = 0
    specialized: str = ""

    @property
    def kind(self) -> str:
        """One of "plain", "descriptors" and "specialized"; the last two only autotuning tries."""
        if self.specialized:
            return "specialized"
        return "descriptors" if self.descriptors else "plain"

    def __str__(self) -> str:
        if self == TWO_LAUNCHES:
            return "-"
        keys = f"x{self.block_n}" if self.block_n else ""
        band = f"/{self.block_band}" if self.block_band else ""
        queries = f"+{self.queries_n}" if self.queries_n else ""
        marks = "o" * self.one_far_loop + "u" * self.whole_keys + "t" * self.descriptors
        marks += _SPECIALIZED[self.specialized]
        return f"{self.block_m}{keys}{band}{queries}w{self.num_warps}s{self.num_stages}{marks}"


#: How the table marks a configuration with specialised warps.
_SPECIALIZED = {"": "", "triton": "p", "gluon": "g"}
#: What the kernel "backward" has where none is shipped: dK, dV and dQ are computed in two launches.
TWO_LAUNCHES = Config(0, 0, 0, 0, 0)
#: Kernels that have no banded product.
_NO_BAND = ("combine", SHORT_BACKWARD)
_INTERPRETER = Config(32, 32, 16, 4, 1)
#: AMD: small tiles and no software pipeline. ``tests/kernels_aot/test_amd.py`` compiles kernels for
#: gfx942, which take half of its 64 KB of shared memory. Nothing was ever run on an AMD GPU.
_HIP = Config(64, 32, 32, 4, 1)
_HIP_LARGE = Config(32, 16, 16, 4, 1)
#: What needs the least shared memory that any kernel can do with.
_SMALLEST = Config(16, 16, 16, 4, 1)


def lookup(
    kernel: str, *, prior: str, architecture: int | str, precision: str, head_size: int
) -> Config:
    """Return the shipped configuration of a kernel.

    Parameters
    ----------
    kernel
        One of `KERNELS`.
    prior
        The prior that the kernel is compiled for, "additive", "logit" or "none". For "logit" the
        kernels that combine and preprocess are those of "none"; so is the queries' kernel for
        "additive". "backward" is that of dK, dV and dQ in one launch.
    architecture
        Ten times the major compute capability plus the minor, at least 80; "hip" for AMD GPUs;
        "interpreter" for Triton's interpreter.
    precision
        One of `PRECISIONS`: "fp32" is IEEE, "tf32" float32 rounded for tensor cores.
    head_size
        From 1 to 256.

    Raises
    ------
    ValueError
        If an argument is none of these.
    """
    return candidates(
        kernel, prior=prior, architecture=architecture, precision=precision, head_size=head_size
    )[0]


def candidates(
    kernel: str, *, prior: str, architecture: int | str, precision: str, head_size: int
) -> tuple[Config, ...]:
    """Return the configurations that autotuning measures; `lookup` returns the first.

    The last one of "backward" is always `TWO_LAUNCHES`. Arguments and errors are those of `lookup`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}")
    size = head_class(head_size)
    table = _table()
    family = "16-bit" if precision in ("bf16", "fp16") else precision
    if kernel in (*SHORT, SHORT_BACKWARD):
        row = architecture_row(architecture) if isinstance(architecture, int) else 0
        return table.get((row, family, kernel, prior, size), ())
    if (86, family, kernel, prior, size) not in table:
        compiled = sorted({f"{name} {kind}" for _, _, name, kind, _ in table})
        raise ValueError(
            f"kernel and prior must be one of {', '.join(compiled)}; got {kernel!r} and {prior!r}"
        )
    if architecture == "interpreter":
        return (_without_unused(_INTERPRETER, kernel, prior),)
    if architecture == "hip":
        if kernel == "backward":
            return (TWO_LAUNCHES,)
        large = size > 128 or (size > 64 and family != "16-bit")
        return (_without_unused(_HIP_LARGE if large else _HIP, kernel, prior),)
    return table[(architecture_row(architecture), family, kernel, prior, size)]


def forward_kernel(snippets: int, **where: Any) -> str:
    """Return which kernel computes the forward pass: "forward", or the one of `SHORT` that fits.

    Parameters
    ----------
    snippets : int
        T: no bag has more.
    where
        The other arguments of `offered`, which raises the same errors.
    """
    for name, tiles in SHORT.items():  # the shortest first
        if snippets <= sum(tiles):
            return name if _fits(name, **where) else "forward"
    return "forward"


def backward_kernel(snippets: int, **where: Any) -> str:
    """Return which kernel computes the backward pass: "backward", or `SHORT_BACKWARD`.

    Parameters
    ----------
    snippets : int
        T; of packed bags, whose lengths the host does not know, what they have on average.
    where
        The other arguments of `offered`, which raises the same errors.
    """
    if snippets > SHORT_BACKWARD_SNIPPETS or not _fits(SHORT_BACKWARD, **where):
        return "backward"
    return SHORT_BACKWARD


def _fits(kernel: str, **where: Any) -> bool:
    """Return whether the table has a kernel of short bags there that fits the shared memory."""
    asked = {name: value for name, value in where.items() if name != "shared_bytes"}
    # The last one that is offered is in no table.
    return bool(candidates(kernel, **asked)) and len(offered(kernel, **where)) > 1


@cache
def offered(
    kernel: str,
    *,
    prior: str,
    architecture: int | str,
    precision: str,
    head_size: int,
    shared_bytes: int | None = None,
) -> tuple[Config, ...]:
    """Return what may serve, in the order in which to try it; the first is `lookup`'s.

    First the `candidates`, then those of architectures with less shared memory, the largest first,
    and tiles of 16 rows at last; for "backward", `TWO_LAUNCHES` at last, and nothing else where its
    own architecture has nothing else. None has ``descriptors``: those only autotuning tries.

    Parameters
    ----------
    shared_bytes : int, optional
        What a block may have on the GPU. Where that is less than `SHARED_BYTES` has for an
        architecture, its configurations are left out.

    Other arguments and errors are those of `lookup`.
    """
    where = {"prior": prior, "precision": precision, "head_size": head_size}
    found = candidates(kernel, architecture=architecture, **where)
    if found[0] == TWO_LAUNCHES:
        return found
    if isinstance(architecture, int):
        own = architecture_row(architecture)
        rows = sorted((row for row in SHARED_BYTES if _less(row, own)), key=_by_memory)
        fitting = [
            row for row in (own, *rows) if shared_bytes is None or SHARED_BYTES[row] <= shared_bytes
        ]
        found = tuple(
            config for row in fitting for config in candidates(kernel, architecture=row, **where)
        )
    last = TWO_LAUNCHES if kernel == "backward" else _without_unused(_SMALLEST, kernel, prior)
    found = tuple(config for config in found if not config.descriptors and config != TWO_LAUNCHES)
    return tuple(dict.fromkeys((*found, last)))


def _less(row: int, own: int) -> bool:
    return SHARED_BYTES[row] < SHARED_BYTES[own]


def _by_memory(row: int) -> tuple[int, int]:
    return -SHARED_BYTES[row], row


def _without_unused(config: Config, kernel: str, prior: str) -> Config:
    return replace(
        config,
        block_m=16 if kernel == "combine" else config.block_m,
        block_n=_keys(kernel, config),
        block_band=config.block_band if prior == "additive" and kernel not in _NO_BAND else 0,
        queries_n=config.block_n if kernel in ("backward", SHORT_BACKWARD) else 0,
    )


def _keys(kernel: str, config: Config) -> int:
    if kernel in SHORT:
        return sum(SHORT[kernel])
    return 0 if kernel in ("combine", "preprocess") else config.block_n


def head_class(head_size: int) -> int:
    """Return the padded head size, whose column of the table serves.

    Raises
    ------
    ValueError
        If it is not from 1 to 256.
    """
    for size in HEAD_SIZES:
        if 1 <= head_size <= size:
            return size
    raise ValueError(f"head_size must be from 1 to {HEAD_SIZES[-1]}; got {head_size}")


def architecture_row(architecture: int | str) -> int:
    """Return the architecture whose rows of the table serve this one.

    The nearest of the same family, with the same kind of tensor core and at most as much shared
    memory: 87 is served as 80, 89 as 86, 103 as 100, 121 as 120. GPUs newer than the table get the
    rows of 86, which need the least shared memory.

    Raises
    ------
    ValueError
        If it is no integer from 80 on; the kernels need bf16 tensor cores and asynchronous copies.
    """
    if not isinstance(architecture, int) or architecture < 80:
        raise ValueError(
            "architecture must be an integer from 80 on (ten times the major compute capability "
            f'plus the minor), "hip" or "interpreter"; got {architecture!r}'
        )
    if architecture in (80, 87):  # 87 has 163 KB as well
        return 80
    families = {8: 86, 9: 90, 10: 100, 11: 110, 12: 120}
    return families.get(architecture // 10, 86)


@cache
def _table() -> dict[tuple[int, str, str, str, int], tuple[Config, ...]]:
    table: dict[tuple[int, str, str, str, int], tuple[Config, ...]] = {}
    architectures, precision, instead = [0], "", False
    for line in TABLE.strip().splitlines():
        if line.startswith("sm_"):
            instead = line.endswith(" instead")
            *names, precision = line.removesuffix(" instead").split()
            architectures = [int(name.removeprefix("sm_")) for name in names]
            continue
        kernel, prior, *entries = line.split()
        for size, entry in zip(HEAD_SIZES, entries, strict=True):
            for architecture in architectures if entry != "-" else ():
                key = (architecture, precision, kernel, prior, size)
                before = () if instead else table.get(key, ())
                table[key] = (*before, _parse(entry))
    families = {precision for _, precision, *_ in table}
    for key in itertools.product(SHARED_BYTES, families, ("backward",), PRIORS, HEAD_SIZES):
        table[key] = (*table.get(key, ()), TWO_LAUNCHES)
    return table


def _parse(entry: str) -> Config:
    found = re.fullmatch(
        r"(\d+)(?:x(\d+))?(?:/(\d+))?(?:\+(\d+))?w(\d)s(\d)(o?)(u?)(t?)([pg]?)", entry
    )
    assert found, entry
    m, n, band, queries_n, warps, stages = (int(number or 0) for number in found.groups()[:6])
    once, whole, tiles, mark = found.groups()[6:]
    return Config(
        m, n, band, warps, stages,
        one_far_loop=bool(once),
        whole_keys=bool(whole),
        descriptors=bool(tiles),
        queries_n=queries_n,
        specialized=next(name for name, letter in _SPECIALIZED.items() if letter == mark),
    )  # fmt: skip
