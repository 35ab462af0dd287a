"""Where the bags of a batch lie: checked once, then handed from operator to operator."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from . import _checks


class Bags(NamedTuple):
    """The layout of a batch; `Bags.checked` makes it, and whoever gets one may trust it.

    On devices where values are not checked (see `_checks`), kernels clamp them.
    """

    B: int
    T: int
    lengths: Tensor | None
    """(B,) int64, each from 0 to T: bag b holds rows 0 .. lengths[b] - 1, the rest is padding."""
    cu_seqlens: Tensor | None
    """(N + 1,) int64, from 0 to T, never falling: N bags end to end, without padding; B is 1."""

    @classmethod
    def checked(
        cls,
        name: str,
        x: Tensor,
        T: int,
        lengths: object = None,
        cu_seqlens: object = None,
    ) -> Bags:
        """Return the bags of ``x``, copies of what was given, or raise.

        Parameters
        ----------
        name, x
            A tensor of the batch, with B in front, and its name for messages.
        T : int
            Its number of snippets.
        lengths, cu_seqlens : Tensor or None
            As the public functions take them: int32 or int64 on the device of ``x``.
        """
        B = x.shape[0]
        if lengths is not None:
            if cu_seqlens is not None:
                raise ValueError(_checks.BOTH_LAYOUTS)
            lengths = _checks.check_index_vector("lengths", lengths, B, x)
            return cls(B, T, _checks.checked_lengths(lengths, T, 0), None)
        if cu_seqlens is not None:
            cu_seqlens = _checks.check_index_vector("cu_seqlens", cu_seqlens, None, x)
            if B != 1:
                raise ValueError(f"{name} must have B = 1 beside cu_seqlens; got B = {B}")
            return cls(B, T, None, _checks.checked_cu_seqlens(cu_seqlens, T, 0))
        return cls(B, T, None, None)

    def check_fits(self, name: str, x: Tensor, T: int) -> None:
        """Raise unless ``x``, with T snippets in each row of the batch, has these bags."""
        if x.shape[0] != self.B or T != self.T:
            raise ValueError(
                f"{name} must have B = {self.B} and T = {self.T}, as the batch has; got "
                f"B = {x.shape[0]} and T = {T}"
            )

    def valid(self, device: torch.device) -> Tensor | None:
        """Return (B, T), False on padding; None where there is none."""
        if self.lengths is None:
            return None
        return torch.arange(self.T, device=device) < self.lengths[:, None]
