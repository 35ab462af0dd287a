"""What is timed on a GPU: the registry's operators, with the sides that are worth timing there."""

from __future__ import annotations

import dataclasses

import torch

from ..cases import attention, ddl, network, residual_norm, score_head
from ..cases.attention_sides import CANDIDATES
from ..vocabulary import Case, Op, subsets

_BF16, _FP16, _FP32 = torch.bfloat16, torch.float16, torch.float32
_OWN = ("triton", "triton_no_prior")
_UNSPLIT = "triton_unsplit"
#: Forward kernels that only autotuning tries, where bags are long.
_CANDIDATES = tuple(f"triton_{kind}" for kind in CANDIDATES)
_PLAIN = ("sdpa_flash", "sdpa_cudnn")
#: Above this length a (T, T) matrix is not worth its memory.
_LONGEST_MATRIX = 16_384
_LENGTHS = (200, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072)
_QUICK_LENGTHS = (200, 4096, 16_384, 131_072)
#: FlexAttention is compiled for each length, seconds every time.
_FLEX_LENGTHS = (200, 4096, 16_384, 131_072)
#: Where everybody takes part.
_TYPICAL = 4096


def cases() -> list[Case]:
    """Return the cases; those of the quick run are in the subset "quick"."""
    return [
        *(_attention(op, T) for op in attention.OPS for T in _LENGTHS),
        *(_batch(op, dtype) for op in attention.OPS for dtype in (_BF16, _FP32)),
        *(_logit(op, T) for op in attention.OPS for T in (4096, 16_384)),
        *(_variant(op) for op in attention.OPS),
        *(_width(op, H, d) for op in attention.OPS for H, d in ((2, 64), (1, 256), (4, 32))),
        *(_dtype(op, dtype) for op in attention.OPS for dtype in (_FP16, _FP32)),
        *(_ddl(op, shape, dtype) for op in ddl.OPS for shape, dtype in _DDL),
        *(_head(op, shape, dtype) for op in score_head.OPS for shape, dtype in _HEAD),
        *(_norm(op, dtype) for op in residual_norm.OPS for dtype in (_BF16, _FP32)),
        *(_lanet(T, dtype) for dtype in (_BF16, _FP32) for T in (200, 4096, 16_384)),
        *_steps(),
    ]


def select(quick: bool, patterns: tuple[str, ...]) -> list[Case]:
    """Return the cases whose key contains one of ``patterns`` (all, if none given).

    The quick run leaves out what torch.compile makes of the reference.

    Raises
    ------
    ValueError
        If nothing matches.
    """
    found = [
        dataclasses.replace(case, sides=_quick_sides(case)) if quick else case
        for case in cases()
        if (not quick or "quick" in case.subsets)
        and (not patterns or any(pattern in case.key for pattern in patterns))
    ]
    if not found:
        which = "quick case" if quick else "case"
        raise ValueError(f"no {which} matches {', '.join(patterns)}; --list shows their names")
    return found


def _quick_sides(case: Case) -> tuple[str, ...]:
    return tuple(side for side in case.sides if side != "compiled")


def tiny(patterns: tuple[str, ...] = ()) -> list[Case]:
    """Return each operator and variant once, at its tiny shape in float32, without torch.compile.

    ``sides`` are all that any of its cases has.
    """
    merged: dict[str, Case] = {}
    for case in select(False, patterns):
        small = dataclasses.replace(case.tiny(), dtype=_FP32, subsets=subsets("quick"))
        before = merged[small.key].sides if small.key in merged else ()
        sides = dict.fromkeys((*before, *(s for s in case.sides if s != "compiled")))
        merged[small.key] = dataclasses.replace(small, sides=tuple(sides))
    return list(merged.values())


# ---- Attention -----------------------------------------------------------------------------------


def _case(
    op: Op,
    shape: tuple[int, int, int, int],
    sides: tuple[str, ...],
    variant: str = "additive",
    dtype: torch.dtype = _BF16,
    *chosen: str,
) -> Case:
    sizes = dict(zip("BHTd", shape, strict=True))
    return Case(op, sizes, sides, dtype=dtype, variant=variant, subsets=subsets(*chosen))


def _attention(op: Op, T: int) -> Case:
    sides: tuple[str, ...] = (*_OWN, _UNSPLIT, *_PLAIN)
    if op.name == "attention_forward" and T >= _TYPICAL:
        sides = (*_OWN, _UNSPLIT, *_CANDIDATES, *_PLAIN)
    if T in _FLEX_LENGTHS:
        sides = (*sides, "flex_band")
    if T <= _LONGEST_MATRIX:
        sides = (*sides, "sdpa_plus_prior", "eager")
    if T == _TYPICAL:  # what torch.compile makes of a (T, T) matrix is the same at other lengths
        sides = (*sides, "compiled")
    chosen = ("quick",) if T in _QUICK_LENGTHS else ()
    return _case(op, (1, 1, T, 128), sides, "additive", _BF16, *chosen)


def _batch(op: Op, dtype: torch.dtype) -> Case:
    sides = (*_OWN, *_PLAIN, "sdpa", "flex_band", "sdpa_plus_prior", "eager", "compiled")
    chosen = ("quick",) if dtype == _BF16 else ()
    return _case(op, (128, 1, 200, 128), sides, "additive", dtype, *chosen)


def _logit(op: Op, T: int) -> Case:
    sides = (*_OWN, *_PLAIN, "flex", "sdpa_mask", "eager")
    chosen = ("quick",) if T == _TYPICAL else ()
    return _case(op, (1, 1, T, 128), sides, "logit", _BF16, *chosen)


def _variant(op: Op) -> Case:
    sides = (*_OWN, *_PLAIN, "sdpa_plus_prior", "eager")
    return _case(op, (1, 1, _TYPICAL, 128), sides, "flat")


def _width(op: Op, H: int, d: int) -> Case:
    return _case(op, (1, H, _TYPICAL, d), (*_OWN, *_PLAIN, "eager"))


def _dtype(op: Op, dtype: torch.dtype) -> Case:
    sides = (*_OWN, *_PLAIN, "sdpa", "eager")
    return _case(op, (1, 1, _TYPICAL, 128), sides, "additive", dtype)


# ---- Losses, score head, networks ----------------------------------------------------------------

#: A training batch, long bags, and one of a million snippets.
_DDL = (
    ((128, 200, 128), _FP32),
    ((128, 200, 128), _BF16),
    ((64, 8192, 128), _FP32),
    ((64, 8192, 128), _BF16),
    ((1, 1_000_000, 128), _BF16),
)
_HEAD = (
    ((128, 200, 128, 7), _FP32),
    ((128, 200, 128, 7), _BF16),
    ((1, 131_072, 128, 7), _BF16),
    ((64, 8192, 128, 7), _BF16),
)


def _ddl(op: Op, shape: tuple[int, int, int], dtype: torch.dtype) -> Case:
    chosen = ("quick",) if dtype == _BF16 else ()
    sizes = dict(zip("NTC", shape, strict=True))
    sides = ("cuda", "eager", "compiled", "copy")
    return Case(op, sizes, sides, dtype=dtype, subsets=subsets(*chosen))


def _head(op: Op, shape: tuple[int, int, int, int], dtype: torch.dtype) -> Case:
    chosen = ("quick",) if dtype == _BF16 else ()
    sizes = dict(zip("BTCK", shape, strict=True))
    sides = ("triton", "eager", "compiled")
    return Case(op, sizes, sides, dtype=dtype, subsets=subsets(*chosen))


def _norm(op: Op, dtype: torch.dtype) -> Case:
    chosen = ("quick",) if dtype == _BF16 else ()
    sizes = {"B": 128, "T": 200, "D": 1024}
    sides = ("triton", "eager", "compiled")
    return Case(op, sizes, sides, dtype=dtype, subsets=subsets(*chosen))


def _lanet(T: int, dtype: torch.dtype) -> Case:
    sides: tuple[str, ...] = ("cuda", "sdpa", "eager")
    chosen = ("quick",) if dtype == _BF16 and T < _LONGEST_MATRIX else ()
    if T == _TYPICAL:
        sides = (*sides, "compiled")
    shape = {"B": 1, "T": T, "D": 1024}
    return Case(network.FORWARD, shape, sides, dtype=dtype, subsets=subsets(*chosen))


def _steps() -> list[Case]:
    batch, sides = {"B": 128, "T": 200, "D": 1024}, ("cuda", "eager", "compiled")
    captured = ("cuda", network.CAPTURED, "eager", "compiled")
    return [
        Case(network.STEP, batch, captured, dtype=_BF16, subsets=subsets("quick")),
        Case(network.STEP, batch, captured, dtype=_FP32, subsets=subsets("quick")),
        Case(network.STEP, batch, captured, dtype=_BF16, variant="ragged"),
        Case(network.STEP_ADAM, batch, sides, dtype=_FP32),
    ]
