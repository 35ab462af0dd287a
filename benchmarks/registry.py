"""The list of what is measured: every operator and every case, and how to choose among them."""

from __future__ import annotations

import dataclasses

from .cases import attention, ddl, network, residual_norm, score_head, scoring
from .vocabulary import SUBSETS, Case, Op


def all_ops() -> tuple[Op, ...]:
    """Return every operator."""
    kernels = (*attention.OPS, *ddl.OPS, *score_head.OPS, *residual_norm.OPS)
    return (*kernels, *network.OPS, *scoring.OPS)


def all_cases() -> list[Case]:
    """Return every case that a CPU runs, the single operators first; see also benchmarks.gpu."""
    return [*attention.cases(), *ddl.cases(), *network.cases(), *scoring.cases()]


def select(subset: str = "full", patterns: tuple[str, ...] = ()) -> list[Case]:
    """Return the cases of a subset whose key contains one of ``patterns`` (all, if none given).

    Only the full set has the sides that torch.compile makes: compiling takes longer than the rest.

    Raises
    ------
    ValueError
        If the subset is unknown or nothing matches.
    """
    if subset not in SUBSETS:
        raise ValueError(f"subset must be one of {', '.join(SUBSETS)}; got {subset!r}")
    found = [
        case if subset == "full" else _without_compiled(case)
        for case in all_cases()
        if subset in case.subsets and (not patterns or any(p in case.key for p in patterns))
    ]
    if not found:
        raise ValueError(
            f"no case of the subset {subset!r} matches {', '.join(patterns)}; "
            "`python -m benchmarks list` shows their names"
        )
    return found


def _without_compiled(case: Case) -> Case:
    return dataclasses.replace(case, sides=tuple(s for s in case.sides if s != "compiled"))


def find(key: str) -> Case:
    """Return the case of that key; raise ``KeyError`` if there is none."""
    for case in all_cases():
        if case.key == key:
            return case
    raise KeyError(f"no case is named {key!r}; `python -m benchmarks list` shows their names")
