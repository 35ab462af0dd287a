"""Reading a pickle without trusting it: the published I3D checkpoint.

The file is a nested dict of float32 arrays. Its pickle names three things: NumPy's
``_reconstruct``, ``ndarray`` and ``dtype``. They resolve to the small stand-ins below, so nothing
of NumPy is built from the file but plain arrays of raw bytes, and any other name is refused.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import WeightsError

Array = npt.NDArray[np.float32]


class _Dtype:
    """Stands in for numpy.dtype: remembers the code and byte order."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


class _Ndarray:
    """Stands in for numpy.ndarray: becomes a float32 array from raw bytes."""

    array: Array

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _Dtype) or (dtype.code, dtype.order) != ("f4", "<"):
            raise pickle.UnpicklingError("an array is not little-endian float32")
        if fortran or not isinstance(data, bytes) or len(data) != 4 * math.prod(shape):
            raise pickle.UnpicklingError(f"the bytes of an array don't fit its shape {shape}")
        self.array = np.frombuffer(data, dtype="<f4").reshape(shape)


def _reconstruct(kind: type, shape: tuple[int, ...], code: bytes) -> _Ndarray:
    """Stand in for NumPy's function of this name; the array's state follows in the pickle."""
    if kind is not _Ndarray:
        raise pickle.UnpicklingError(f"an array of unknown kind {kind!r}")
    return _Ndarray()


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,  # as NumPy 2 writes it
    ("numpy", "ndarray"): _Ndarray,
    ("numpy", "dtype"): _Dtype,
}


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def read_checkpoint(content: bytes) -> dict[str, Array]:
    """Return the arrays of a pickled nested dict, keyed by their path joined with ``/``.

    Parameters
    ----------
    content : bytes
        The checkpoint.

    Returns
    -------
    dict of str to ndarray
        float32 arrays, read-only views of the content.

    Raises
    ------
    WeightsError
        If the pickle is damaged, asks for anything but float32 arrays, or is not a nested dict
        of them. Nothing it names is imported or called.
    """
    try:
        tree = _RestrictedUnpickler(io.BytesIO(content)).load()
        arrays: dict[str, Array] = {}
        _flatten(tree, (), arrays)
    except Exception as error:  # a damaged pickle may fail in any way
        raise WeightsError(
            f"the checkpoint is not a pickle of float32 arrays and is refused: {error}"
        ) from error
    return arrays


def _flatten(node: Any, path: tuple[str, ...], arrays: dict[str, Array]) -> None:
    name = "/".join(path)
    if isinstance(node, _Ndarray):
        arrays[name] = node.array
    elif isinstance(node, dict):
        for key, child in node.items():
            _flatten(child, (*path, str(key)), arrays)
    else:
        raise pickle.UnpicklingError(f"{name or 'the root'} is a {type(node).__name__}")
