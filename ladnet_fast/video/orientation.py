"""How a video's pictures are turned and mirrored to be shown: its display matrix."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .._extras import import_extra

Frame = npt.NDArray[np.uint8]

#: A turn within this many degrees of a right angle counts as one, as in FFmpeg's own tools.
TOLERANCE_DEGREES = 1.0


class Orientation(NamedTuple):
    """One of the eight ways to lay a picture on a screen; the steps are done in this order."""

    transpose: bool = False
    mirror_rows: bool = False
    mirror_columns: bool = False


def orientation_of(matrix: Sequence[float]) -> Orientation:
    """Read a display matrix as FFmpeg's ``libavutil/display.h`` defines it.

    The nine numbers are the rows of (a b u; c d v; x y w). The pixel in column p and row q is shown
    in column a p + c q + x and row b p + d q + y. Only the signs of a, b, c, d count here: where
    the picture lies (x, y) and how it is stretched changes nothing, and neither does the unit.

    Parameters
    ----------
    matrix : sequence of nine numbers
        Where a, b, c and d are all 0, the writer left the field blank: the picture is shown as it
        is coded, which is what players do.

    Raises
    ------
    ValueError
        If the matrix is no combination of right angles and mirrors, within 1 degree.
    """
    a, b, u, c, d, v = (float(value) for value in matrix[:6])
    if u or v:
        raise ValueError("asks for a perspective view")
    if not (a or b or c or d):
        return Orientation()
    slack = math.tan(math.radians(TOLERANCE_DEGREES))
    if a and d and abs(b) <= slack * abs(a) and abs(c) <= slack * abs(d):
        return Orientation(False, mirror_rows=d < 0, mirror_columns=a < 0)
    if b and c and abs(a) <= slack * abs(b) and abs(d) <= slack * abs(c):
        return Orientation(True, mirror_rows=b < 0, mirror_columns=c < 0)
    if a * d == b * c:
        raise ValueError("flattens the picture to a line")
    if math.isclose(a * c, -b * d, rel_tol=1e-3, abs_tol=1e-3 * max(map(abs, (a, b, c, d))) ** 2):
        angle = math.degrees(math.atan2(b, a))
        raise ValueError(f"turns the picture by {angle:.0f} degrees, which is no right angle")
    raise ValueError("shears the picture")


def orientation_of_frame(frame: Any) -> Orientation:
    """Return how a decoded frame is to be shown. PyAV's ``frame.rotation`` leaves out mirrors.

    Raises
    ------
    ValueError
        As `orientation_of`.
    """
    sidedata = import_extra("av.sidedata.sidedata", extra="video", purpose="decode videos")
    matrix = frame.side_data.get(sidedata.Type.DISPLAYMATRIX)
    return Orientation() if matrix is None else orientation_of(unpack(bytes(matrix)))


def orient(image: Frame, orientation: Orientation) -> Frame:
    """Turn and mirror a picture (H, W, 3); ``image`` itself where there is nothing to do."""
    if orientation == Orientation():
        return image
    if orientation.transpose:
        image = image.transpose(1, 0, 2)
    if orientation.mirror_rows:
        image = image[::-1]
    if orientation.mirror_columns:
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def unpack(side_data: bytes) -> tuple[int, ...]:
    """Return the nine numbers of FFmpeg's side data ``DISPLAYMATRIX`` (int32, native order)."""
    return struct.unpack("=9i", side_data)
