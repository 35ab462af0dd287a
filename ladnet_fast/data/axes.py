"""Which axis of a three-dimensional feature file holds the crops, as stated or by its shape."""

from __future__ import annotations

from typing import get_args

from .._wording import give
from .video import Axes, DataError, FeatureSource

#: Extractors of this field cut one, five or ten crops.
CROP_COUNTS = (1, 5, 10)


def crop_axis(shape: tuple[int, ...], axes: Axes | None, source: FeatureSource | str) -> int | None:
    """Return the axis of ``shape`` that holds the crops, 0 or 1; None for (T, D).

    An axis of crops is 1, 5 or 10 long. Where one of the first two is and the other isn't, that
    decides; where both or none are, only ``axes`` can. (1, T, D) and (T, 1, D) are one crop.

    Parameters
    ----------
    shape : tuple of int
        Of two or three axes, the last one D.
    axes : "snippets,crops", "crops,snippets" or None
        Order of the first two axes as a manifest, a layout or the user states it; None: by shape.
    source : FeatureSource or str
        Named in messages.

    Raises
    ------
    DataError
        If the order is unknown, or what is stated contradicts the shape: the axis that would hold
        the crops is not 1, 5 or 10 long, and the other one is.
    """
    if len(shape) == 2:
        return None
    first, second = (length in CROP_COUNTS for length in shape[:2])
    if axes is not None:
        stated = get_args(Axes).index(axes) ^ 1  # the place of "crops"
        if (first, second)[stated ^ 1] and not (first, second)[stated]:
            other = get_args(Axes)[stated]
            raise DataError(
                f"{source}: shape {shape} is stated to be {_named(axes)}, which would be "
                f"{shape[stated]} crops of {shape[stated ^ 1]} snippets; crops are 1, 5 or 10, so "
                f"it looks like {_named(other)}. Then say {give('axes', other)}, or the same words "
                "in the manifest's column axes; if not, save one file (T, D) for each crop"
            )
        return stated
    if first != second:
        return 0 if first else 1
    if shape[:2] == (1, 1):
        return 1
    a, b = shape[:2]
    snippets_first, crops_first = get_args(Axes)
    raise DataError(
        f"{source}: shape {shape} does not tell which axis holds the crops (1, 5 or 10): "
        f"{_named(snippets_first)}, {a} snippets in {b} crops, or {_named(crops_first)}, "
        f"{b} snippets in {a} crops? Say which with {give('axes', snippets_first)} or "
        f"{give('axes', crops_first)}, or with the same words, in quotes, in a manifest's "
        "column axes"
    )


def _named(axes: str) -> str:
    return f"({', '.join('T' if part == 'snippets' else part for part in axes.split(','))}, D)"
