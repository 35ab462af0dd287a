"""Tensor maps: how a bulk copy finds a box of a tensor, and how its bytes lie in shared memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from .errors import PtxError
from .formats import Row

if TYPE_CHECKING:
    from .launch import Pointer

Swizzle = Literal[0, 32, 64, 128]


@dataclass(frozen=True)
class TensorMap:
    """A tensor in global memory, cut in boxes; passed as the 128 bytes of a CUtensorMap.

    Dimensions are in numpy's order, the innermost last, which is the reverse of PTX's and CUDA's.

    Parameters
    ----------
    base
        Where the tensor begins: an array, a `Pointer`, or a device address.
    shape, strides
        In elements. The last stride is 1.
    box
        How many elements of each dimension one copy takes.
    element_bytes
        Bytes of one element.
    swizzle
        The span in bytes inside of which 16-byte pieces change their places; 0 for none.
    fill
        What elements outside of the shape become.
    """

    base: np.ndarray | Pointer | int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    box: tuple[int, ...]
    element_bytes: int
    swizzle: Swizzle = 0
    fill: Literal["zero", "nan"] = "zero"

    def __post_init__(self) -> None:
        rank, size = len(self.shape), self.element_bytes
        if not 1 <= rank <= 5 or len(self.strides) != rank or len(self.box) != rank:
            raise PtxError(f"no tensor map has such dimensions: {self}")
        inner = self.box[-1] * size
        problems = {
            "the innermost stride is not 1": self.strides[-1] != 1,
            "a stride is no multiple of 16 bytes": any(s * size % 16 for s in self.strides[:-1]),
            "a side of the box is not in 1 .. 256": not all(1 <= n <= 256 for n in self.box),
            "the box's rows are no multiple of 16 bytes": inner % 16 != 0,
            "a row of the box is longer than the swizzle's span": 0 < self.swizzle < inner,
            "the swizzle is not 0, 32, 64 or 128": self.swizzle not in (0, 32, 64, 128),
        }
        for problem, there in problems.items():
            if there:
                raise PtxError(f"a tensor map is wrong: {problem}: {self}")

    @property
    def box_bytes(self) -> int:
        """How many bytes a copy writes."""
        return int(np.prod(self.box)) * self.element_bytes

    def elements(self, start: list[int]) -> tuple[Row, Row]:
        """Return the byte offsets of a box's elements from the base, and which are inside."""
        inside, offsets = np.ones(self.box, bool), np.zeros(self.box, np.int64)
        for axis, (first, count, size, stride) in enumerate(
            zip(start, self.box, self.shape, self.strides, strict=True)
        ):
            index = (first + np.arange(count)).reshape(-1, *[1] * (len(self.box) - axis - 1))
            inside = inside & (index >= 0) & (index < size)
            offsets = offsets + index * (stride * self.element_bytes)
        return offsets.reshape(-1), inside.reshape(-1)


def swizzled(addresses: Row, span: int) -> Row:
    """Return where bytes lie in shared memory whose rows of 128 bytes have their pieces mixed.

    Of an address, the bits from 4 on change by those from 7 on: three for a span of 128 bytes, two
    for 64, one for 32.
    """
    if not span:
        return addresses
    return addresses ^ ((addresses >> 7 & (span // 16 - 1)) << 4)
