"""The sides of an operator that is one Triton kernel here and some operators in PyTorch."""

from __future__ import annotations

import functools
from typing import Any

from .. import peers
from ..vocabulary import Side


def fused_sides(prepare: Any, why_not: Any) -> tuple[Side, ...]:
    """Return the kernel, PyTorch's operators one by one, and what torch.compile makes of them.

    ``prepare`` and ``why_not`` are those of `Side`; ``prepare`` also takes the side's ``name``.
    """
    return (
        Side("triton", functools.partial(prepare, name="triton"), own=True, why_not=why_not),
        Side("eager", functools.partial(prepare, name="eager")),
        Side(
            "compiled",
            functools.partial(prepare, name="compiled"),
            why_not=peers.why_not_compiled,
        ),
    )
