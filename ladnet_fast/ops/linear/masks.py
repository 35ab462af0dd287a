"""What dropout keeps: drawn from torch's generator as torch draws it, but many numbers at a time.

On the CPU torch draws one number after the other, which takes as long as a large layer. The
compiled module runs the same generator (MT19937) on a copy of its state, in vectors.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from ... import _native
from .. import _impl
from .._operator import is_plain_call

#: Below this, copying the generator's state costs more than is saved.
_LEAST = 4096


def draw(keeps: Tensor, keep: float) -> Tensor:
    """Fill ``keeps`` as ``keeps.bernoulli_(keep)`` does, to the same bits; return it.

    Parameters
    ----------
    keeps : Tensor
        Boolean, freshly allocated.
    keep : float
        The probability of True, in (0, 1).
    """
    if torch.compiler.is_compiling() or not is_plain_call(keeps) or keeps.numel() < _LEAST:
        return keeps.bernoulli_(keep)
    if _native.cpu is None or not _draws_like_torch():
        return keeps.bernoulli_(keep)
    _draw(keeps, keep, torch.default_generator)
    return keeps


def _draw(keeps: Tensor, keep: float, generator: torch.Generator) -> None:
    state = generator.get_state()
    _native.cpu.draw_keeps(  # type: ignore[union-attr]
        generator_state=state.data_ptr(),
        keep=keep,
        count=keeps.numel(),
        keeps=keeps.data_ptr(),
    )
    generator.set_state(state)


@functools.cache
def _draws_like_torch() -> bool:
    """Whether this torch draws what the compiled module does; other builds may have another way."""
    drawn = []
    for native in (True, False):
        generator = torch.Generator().manual_seed(1)
        keeps = torch.empty(1000, dtype=torch.bool)
        if native:
            _draw(keeps, 0.7, generator)
        else:
            keeps.bernoulli_(0.7, generator=generator)
        drawn.append((keeps, generator.get_state()))
    (ours, our_state), (theirs, their_state) = drawn
    same = torch.equal(ours, theirs) and torch.equal(our_state, their_state)
    if not same:
        _impl._log_once("this torch draws dropout's masks in another way: it draws them itself")
    return same
