"""Locality attention: what every block of every launch does.

The launches are those of the kernels' own plans, for bags of one length; the instructions of a turn
of the loop over tiles are those of the compiled kernel.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import triton

from ladnet_fast.kernels.launch import Launch
from ladnet_fast.kernels.locality_attention import configs
from ladnet_fast.kernels.locality_attention.configs import TWO_LAUNCHES, Config
from ladnet_fast.kernels.locality_attention.plan import plan_backward, plan_forward
from ladnet_fast.ops.locality_attention.layout import empty_lse, empty_output

from ...resources.rows import Usage
from . import resources
from .band import Prior
from .chips import Chip
from .timing import Block, Kernel

PRECISIONS = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}
#: Instructions that a value of the prior costs, by its formula: a difference, its square, a
#: multiply-add, a product, an exponential, and half of a conversion of two values.
PRIOR_INSTRUCTIONS = 5.5
#: And those of its derivatives by w and b: two comparisons, two products, two additions.
SLOPE_INSTRUCTIONS = 6
#: And those of a logit that stays in a register until it is a weight: it is scaled, masked (a
#: selection, and half of a comparison), compared, an exponent, added, and half of a conversion.
LOGIT_INSTRUCTIONS = 7

#: Behind the configuration of a kernel that is not in docs/gpu-resources.json yet.
STAND_IN = " *"
#: Of the kernel that joins parts, until it is there: few registers hold its rows.
_COMBINE = Usage(registers=128, shared=0)


@dataclass(frozen=True)
class Call:
    """A call of locality attention on bags of one length."""

    B: int
    H: int
    T: int
    d: int
    dtype: torch.dtype
    prior: Prior
    backward: bool = False
    splits: int | None = None
    """Into how many parts the forward pass splits the keys; None: as it is planned."""
    one_launch: bool = True
    """Whether dK, dV and dQ are one launch where that is shipped; else they are two."""
    short: bool = True
    """Whether short bags have kernels of their own where that is shipped."""


@functools.lru_cache(maxsize=1024)
def kernels(call: Call, chip: Chip) -> tuple[Kernel, ...]:
    """Return the launches of a call, in their order."""
    found = _launches(call, chip).items()
    return tuple(_kernel(name, launch, call, chip) for name, launch in found)


def _launches(call: Call, chip: Chip) -> dict[str, Launch]:
    """Return the launches of the kernels' own plans, on tensors without memory."""

    def tensor(*shape: int) -> torch.Tensor:
        return torch.empty(*shape, dtype=call.dtype, device="meta")

    shape, kind = (call.B, call.H, call.T, call.d), call.prior.kind
    q, k, v, grad_out = (tensor(*shape) for _ in range(4))
    heads = torch.empty(call.H, dtype=torch.float32, device="meta")
    w, b = (None, None) if kind == "none" else (heads, torch.empty_like(heads))
    out, lse = empty_output(q), empty_lse(q)
    attended = empty_output(q) if kind == "additive" and call.backward else None
    where: dict[str, Any] = {
        "architecture": chip.architecture,
        "precision": PRECISIONS[call.dtype],
        "head_size": call.d,
    }
    options: dict[str, Any] = {
        "prior": kind,
        "scale": call.d**-0.5,
        "precision": "ieee",
        "choose": functools.partial(_choose, call, where),
    }
    kernel = configs.forward_kernel(call.T, prior=kind, **where) if call.short else "forward"
    found = plan_forward(
        q, k, v, w, b, None, None, out, lse, attended,
        multiprocessors=chip.multiprocessors, splits=call.splits, kernel=kernel, **options,
    )  # fmt: skip
    if call.backward:
        kernel = configs.backward_kernel(call.T, prior=kind, **where) if call.short else "backward"
        kept = out if attended is None else attended
        grads = (empty_output(q) for _ in range(3))
        found |= plan_backward(
            grad_out, q, k, v, w, b, kept, lse, None, None, *grads,
            need_prior_grad=kind != "none", kernel=kernel, **options,
        ).launches  # fmt: skip
    return found


def _choose(call: Call, where: Mapping[str, Any], kernel: str, prior: str) -> Config:
    if kernel == "backward" and not call.one_launch:
        return TWO_LAUNCHES
    return configs.lookup(kernel, prior=prior, **where)


def _kernel(name: str, launch: Launch, call: Call, chip: Chip) -> Kernel:
    constant = launch.constexprs
    config = Config(
        constant.get("ROWS", constant["BLOCK_M"]),
        _keys(name, constant),
        constant.get("BLOCK_BAND", 0),
        launch.num_warps,
        launch.num_stages,
        constant.get("ONE_FAR_LOOP", False),
        queries_n=constant.get("QUERIES_N", 0),
    )
    precision = PRECISIONS[call.dtype]
    size = configs.head_class(call.d)
    mode = _mode(name, launch)
    row = f"sm_{chip.architecture} {precision} {name} {mode} d{size} {config}"
    if resources.known(f"{row}u"):  # a launch does not tell that its keys are never split
        row += "u"
    usage, mark = _usage(name, row)
    if name not in _BLOCKS:
        raise KeyError(
            f"the model does not know the kernel {name!r}; say in {__name__}._BLOCKS what a block "
            "of it does"
        )
    loops = [usage]
    if name in ("backward", configs.SHORT_BACKWARD):
        loops.append(resources.triton(row.replace(f" {mode} ", f" {mode}-queries ")))
    blocks, saved = _BLOCKS[name](launch, call, *loops)
    if precision == "fp32":  # no tensor cores: its products are among the instructions
        blocks = [Block(b.count, 0.0, b.exponentials, b.instructions, b.l2_bytes) for b in blocks]
    return Kernel(
        name, f"{config}{mark}", precision, 32 * launch.num_warps, usage.registers, usage.shared,
        tensor_bytes(launch.arguments) - saved, tuple(blocks),
    )  # fmt: skip


def _usage(name: str, row: str) -> tuple[Usage, str]:
    """Return what a kernel takes, and `STAND_IN` if another one stands in for it.

    A kernel for split keys that docs/gpu-resources.json has no row of yet is taken to have the loop
    of the one without splits, whose source it shares.
    """
    if resources.known(row) or not (name == "combine" or "-split " in row):
        return resources.triton(row), ""
    if name == "combine":
        return _COMBINE, STAND_IN
    return resources.triton(row.replace("-split ", " ")), STAND_IN


def _mode(name: str, launch: Launch) -> str:
    """Return how docs/gpu-resources.json calls the variant of a kernel that is launched."""
    prior: str = launch.constexprs["PRIOR"]
    arguments = launch.arguments
    if name == "forward" and arguments.get("parts") is not None:
        return f"{prior}-split"
    ends_here = name in ("forward", "combine", *configs.SHORT)
    if ends_here and prior == "additive" and arguments["softmax_out"] is None:
        return "inference"
    return prior


def tensor_bytes(arguments: Mapping[str, Any]) -> float:
    """Return the bytes of all tensors: each is read or written at least once."""
    found = {id(x): x.numel() * x.element_size() for x in arguments.values()
             if isinstance(x, torch.Tensor)}  # fmt: skip
    return float(sum(found.values()))


# ---- What a block does ---------------------------------------------------------------------------

#: Blocks in their order, and bytes of the arguments that are not touched.
_Found = tuple[list[Block], float]


def _split_blocks(launch: Launch, call: Call, usage: Usage) -> _Found:
    """Return the blocks of the forward pass: a tile of queries, and a split of the keys."""
    M, N, D, warps = _sizes(launch)
    splits = launch.arguments.get("splits") or 1
    band = launch.constexprs["BLOCK_BAND"]
    tiles = triton.cdiv(call.T, N)
    per_split = triton.cdiv(tiles, splits)
    blocks: list[Block] = []
    unused = 0
    for split in range(splits):
        begin, end = split * per_split, min((split + 1) * per_split, tiles)
        for start in range(0, call.T, M):
            near = _overlap(call.prior.tiles(start, M, N, call.T), (begin, end))
            low, high = _overlap(
                call.prior.rows(start, M, call.T), (begin * N, min(end * N, call.T))
            )
            turns = max(0, end - begin)
            steps = triton.cdiv(high - low, band) if band else 0
            unused += splits > 1 and band > 0 and steps == 0
            prior_values = M * N * (near[1] - near[0]) if call.prior.kind == "logit" else 0
            prior_values += M * band * steps
            blocks.append(
                Block(
                    call.B * call.H,
                    tensor=2.0 * M * D * (2 * N * turns + band * steps),
                    exponentials=float(M * (N + 1) * turns + prior_values),
                    instructions=turns * usage.far_loop * warps
                    + prior_values / 32 * PRIOR_INSTRUCTIONS,
                    l2_bytes=_row_bytes(call) * (2 * N * turns + band * steps),
                )
            )
    return _merged(blocks), 4.0 * unused * call.B * call.H * M * D


def _short_blocks(launch: Launch, call: Call, usage: Usage) -> _Found:
    """Return the blocks of short bags: a tile of queries, and all keys at once."""
    constant, kind = launch.constexprs, call.prior.kind
    M, D, band = constant["BLOCK_M"], constant["BLOCK_D"], constant["BLOCK_BAND"]
    keys = sum(constant[tile] for tile in ("FIRST", "SECOND", "THIRD"))
    # In training the additive prior has a product of its own; else it is in the weights.
    apart = launch.arguments["softmax_out"] is not None
    inside = M * keys if kind != "none" and not apart else 0
    blocks = []
    for start in range(0, call.T, M):
        low, high = call.prior.rows(start, M, call.T)
        rows = band * triton.cdiv(high - low, band) if apart else 0
        values = inside + M * rows
        issued = M * keys * LOGIT_INSTRUCTIONS + values * PRIOR_INSTRUCTIONS + inside
        blocks.append(
            Block(
                call.B * call.H,
                tensor=2.0 * M * D * (2 * keys + rows),
                exponentials=float(M * keys + values),
                instructions=issued / 32,
                l2_bytes=_row_bytes(call) * (2 * min(keys, call.T) + rows),
                trips=3,
            )
        )
    return _merged(blocks), 0.0


def _combine_blocks(launch: Launch, call: Call, usage: Usage) -> _Found:
    """Return the blocks that join parts: each reads its rows of them, and writes its own."""
    rows, D = launch.constexprs["ROWS"], launch.constexprs["BLOCK_D"]
    splits = launch.arguments["splits"]
    count = 1
    for axis in launch.grid:
        count *= axis
    # A load, a multiplication and an addition for each value, four values a load.
    values = rows * D * splits
    block = Block(count, instructions=values / 32 * 2.5, l2_bytes=4.0 * values, trips=4)
    band = launch.arguments["band_parts"]
    if band is None:
        return [block], 0.0
    M, N = launch.constexprs["BLOCK_M"], launch.constexprs["BLOCK_N"]
    keys = triton.cdiv(triton.cdiv(call.T, N), splits) * N
    used = 0
    for start in range(0, call.T, M):
        low, high = call.prior.rows(start, M, call.T)
        used += triton.cdiv(high, keys) - low // keys if high > low else 0
    every = band.numel() * band.element_size()
    return [block], every - 4.0 * used * call.B * call.H * M * D


def _keys_blocks(launch: Launch, call: Call, usage: Usage) -> _Found:
    """Return the blocks of dK and dV: a tile of keys, and all queries."""
    M, N, D, warps = _sizes(launch)
    kind = launch.constexprs["PRIOR"]
    return _merged(_loop(launch, call, kind, N, M, 4, usage.far_loop * warps, D)), 0.0


def _queries_blocks(launch: Launch, call: Call, usage: Usage) -> _Found:
    """Return the blocks of dQ: a tile of queries, and all keys."""
    M, N, D, warps = _sizes(launch)
    kind = launch.constexprs["PRIOR"]
    return _merged(_loop(launch, call, kind, M, N, 3, usage.far_loop * warps, D)), 0.0


def _together_blocks(launch: Launch, call: Call, keys: Usage, queries: Usage) -> _Found:
    """Return those of dK and dV, and behind them those of dQ, which own as many rows."""
    _, owned, D, warps = _sizes(launch)
    step = launch.constexprs["QUERIES_N"]
    kind = "logit" if launch.constexprs["PRIOR"] == "logit" else "none"
    first, saved = _keys_blocks(launch, call, keys)
    last = _loop(launch, call, kind, owned, step, 3, queries.far_loop * warps, D)
    return [*first, *_merged(last)], saved


def _loop(
    launch: Launch, call: Call, kind: str, owned: int, step: int, products: int, issued: int, D: int
) -> Iterable[Block]:
    """Yield blocks that own some rows and walk over all others, with a band behind the loop."""
    band = launch.constexprs.get("BLOCK_BAND", 0) if kind == "additive" else 0
    turns = triton.cdiv(call.T, step)
    for start in range(0, call.T, owned):
        low, high = call.prior.rows(start, owned, call.T)
        steps = triton.cdiv(high - low, band) if band else 0
        near = call.prior.tiles(start, owned, step, call.T)
        logit = owned * step * (near[1] - near[0]) if kind == "logit" else 0
        slopes = SLOPE_INSTRUCTIONS if products == 3 else 0
        prior = logit * (PRIOR_INSTRUCTIONS + slopes) + owned * band * steps * PRIOR_INSTRUCTIONS
        yield Block(
            call.B * call.H,
            tensor=2.0 * owned * D * (products * step * turns + band * steps),
            exponentials=float(owned * step * turns + logit + owned * band * steps),
            instructions=turns * issued + prior / 32,
            l2_bytes=_row_bytes(call) * (2 * step * turns + band * steps),
        )


def _preprocess_blocks(launch: Launch, call: Call, usage: Usage) -> _Found:
    """Return the blocks of delta; additive: with the shares of dw and db."""
    M, D = launch.constexprs["BLOCK_M"], launch.constexprs["BLOCK_D"]
    additive = launch.constexprs["PRIOR"] == "additive"
    band = launch.constexprs["BLOCK_BAND"] if additive else 0
    blocks = []
    for start in range(0, call.T, M):
        low, high = call.prior.rows(start, M, call.T)
        steps = triton.cdiv(high - low, band) if band else 0
        values = M * band * steps
        # dO and A in fours: two conversions, a product and a sum for each.
        issued = M * D / 32 * 3 + values / 32 * (PRIOR_INSTRUCTIONS + SLOPE_INSTRUCTIONS)
        blocks.append(
            Block(
                call.B * call.H,
                tensor=2.0 * D * values,
                exponentials=float(values),
                instructions=issued,
                l2_bytes=_row_bytes(call) * (2 * M + band * steps),
            )
        )
    unread = 0.0
    if not additive:  # v is among the arguments, and nobody reads it
        v = launch.arguments["v"]
        unread = v.numel() * v.element_size()
    return _merged(blocks), unread


def _short_backward_blocks(launch: Launch, call: Call, keys: Usage, queries: Usage) -> _Found:
    """Return those of dK and dV, whose turns read A as well, and behind them those of dQ."""
    M, owned, D, warps = _sizes(launch)
    kind = launch.constexprs["PRIOR"]
    blocks = []
    for usage, step, products, read in (
        (keys, M, 4, 3),
        (queries, launch.constexprs["QUERIES_N"], 3, 2),
    ):
        turns = triton.cdiv(call.T, step)
        for start in range(0, call.T, owned):
            low, high = call.prior.rows(start, owned, call.T)
            near = triton.cdiv(high, step) - low // step if high > low else 0
            near *= kind != "none"
            # The logit prior of a tile of queries is computed twice: for the logits, and for dw.
            values = near * owned * step * (1 + (kind == "logit" and products == 3))
            blocks.append(
                Block(
                    call.B * call.H,
                    tensor=2.0 * owned * D * products * step * turns,
                    exponentials=float(owned * step * turns + values),
                    instructions=warps
                    * ((usage.far_loop - usage.longer) * turns + usage.longer * near),
                    l2_bytes=_row_bytes(call) * read * step * turns,
                )
            )
    return _merged(blocks), 0.0


#: By kernel; called with the launch, the call, and what the kernel takes: of one that has two
#: halves, for dK with dV and for dQ, what each takes.
_BLOCKS: dict[str, Callable[..., _Found]] = {
    "forward": _split_blocks,
    **dict.fromkeys(configs.SHORT, _short_blocks),
    "combine": _combine_blocks,
    "preprocess": _preprocess_blocks,
    configs.SHORT_BACKWARD: _short_backward_blocks,
    "backward": _together_blocks,
    "backward_keys": _keys_blocks,
    "backward_queries": _queries_blocks,
}


def _sizes(launch: Launch) -> tuple[int, int, int, int]:
    constant = launch.constexprs
    return constant["BLOCK_M"], constant["BLOCK_N"], constant["BLOCK_D"], launch.num_warps


def _keys(name: str, constant: Mapping[str, Any]) -> int:
    """Return the keys of a tile, or of all of them that a block holds; 0 if it has none."""
    if name in configs.SHORT:
        return sum(configs.SHORT[name])
    return constant.get("BLOCK_N", 0) if name not in ("combine", "preprocess") else 0


def _row_bytes(call: Call) -> float:
    return float(call.d * call.dtype.itemsize)


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    low, high = max(a[0], b[0]), min(a[1], b[1])
    return low, max(low, high)


def _merged(blocks: Iterable[Block]) -> list[Block]:
    """Return the blocks with neighbours that are alike counted together."""
    found: list[Block] = []
    for block in blocks:
        last = found[-1] if found else None
        if last is not None and Block(last.count, *_work(block)) == last:
            found[-1] = Block(last.count + block.count, *_work(block))
        else:
            found.append(block)
    return found


def _work(block: Block) -> tuple[Any, ...]:
    return (
        block.tensor, block.exponentials, block.instructions, block.l2_bytes, block.trips,
    )  # fmt: skip
