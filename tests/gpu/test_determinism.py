"""The same inputs give the same bits, however often, and whatever ran in between.

Calls of different lengths and operators take turns, and free memory is filled with NaN before each:
a race, a read of uninitialised memory or a sum in varying order shows as a changed bit.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks.vocabulary import Outputs

from .judging import Unavailable
from .problems import PRIORS, Problem, attention, ddl, head, norm
from .settings import chosen_sizes
from .sizes import Sizes

_SEEDS = (0, 1, 2)
_POISON_BYTES = 2**26


def families(sizes: Sizes) -> dict[str, Callable[[torch.device], list[Problem]]]:
    """Return by name, for each operator and dtype, what makes the problems that take turns.

    Nothing is made before it is asked for: only one family is in memory.
    """
    found: dict[str, Callable[[torch.device], list[Problem]]] = {}
    for dtype in sizes.dtypes:
        makers: dict[str, Callable[[torch.device], list[Problem]]] = {
            f"locality_attention, {prior}": functools.partial(
                _attentions, sizes=sizes, dtype=dtype, prior=prior
            )
            for prior in PRIORS
        }
        makers["ddl_loss"] = functools.partial(_losses, sizes=sizes, dtype=dtype)
        makers["score_head"] = functools.partial(_heads, sizes=sizes, dtype=dtype)
        makers["residual_norm"] = functools.partial(_norms, sizes=sizes, dtype=dtype)
        for name, make in makers.items():
            found[f"{name}, {str(dtype).removeprefix('torch.')}, {sizes.repeats} times"] = make
    return found


def _attentions(
    device: torch.device, sizes: Sizes, dtype: torch.dtype, prior: str
) -> list[Problem]:
    if dtype == torch.float32:
        shorter = min(sizes.snippets, sizes.fp32_repeated)
        sizes = dataclasses.replace(sizes, snippets=shorter)
    return [
        attention(device, sizes, dtype, layout, prior, seed=seed)
        for seed, layout in zip(_SEEDS, ("padded", "packed", "padded"), strict=True)
    ]


def _losses(device: torch.device, sizes: Sizes, dtype: torch.dtype) -> list[Problem]:
    return [ddl(device, sizes, dtype, "padded", seed) for seed in _SEEDS]


def _heads(device: torch.device, sizes: Sizes, dtype: torch.dtype) -> list[Problem]:
    return [head(device, sizes, dtype, seed) for seed in _SEEDS]


def _norms(device: torch.device, sizes: Sizes, dtype: torch.dtype) -> list[Problem]:
    return [norm(device, sizes, dtype, seed) for seed in _SEEDS]


SIZES = chosen_sizes()
FAMILIES = families(SIZES)


@pytest.mark.gpu
@pytest.mark.parametrize("name", FAMILIES)
def test_calls_in_turns_keep_their_bits(name, device, check):
    check(lambda: repeat(FAMILIES[name](device), SIZES.repeats))


def repeat(problems: list[Problem], repeats: int) -> tuple[bool, str]:
    """Make every call so often, in turns; return whether all bits stayed, else what changed."""
    for problem in problems:
        if problem.why_not:
            raise Unavailable("; ".join(problem.why_not))
    first = [problem.own() for problem in problems]
    for turn in range(1, repeats):
        for problem, before in zip(problems, first, strict=True):
            _poison(before)
            changed = differences(problem.own(), before)
            if changed:
                return False, f"{', '.join(changed)} changed in call {turn + 1} of {problem.name}"
    return True, f"{len(problems)} batches, all outputs and gradients bit for bit"


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same bits, NaN included."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    kind = {2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    return torch.equal(a.contiguous().view(kind), b.contiguous().view(kind))


def differences(a: Outputs, b: Outputs) -> list[str]:
    """Return the names of outputs whose bits differ."""
    return [name for name, x in a.items() if not same_bits(x, b[name])]


def _poison(outputs: Outputs) -> None:
    """Fill memory that the next call is likely to be given with NaN, and free it.

    An allocator hands blocks out by size: those of the outputs, and one for workspaces.
    """
    like = next(iter(outputs.values()))
    filled = [torch.full_like(x, torch.nan) for x in outputs.values()]
    filled.append(like.new_full((_POISON_BYTES // like.element_size(),), torch.nan))
