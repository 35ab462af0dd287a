"""Less work for Triton's interpreter, with the same results.

At each launch it replaces the functions of ``triton.language``, and once more at each call of a
device function, where nothing is left to replace; and it looks for the same dtypes again and again.
Together that is a large part of the time of the tests in this folder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime import interpreter


def speed_up() -> None:
    """Have each launch replace the functions of ``triton.language`` once, and remember dtypes."""
    interpreter._patch_lang = _once_a_launch(interpreter._patch_lang)
    interpreter._get_np_dtype = _remembered(interpreter._get_np_dtype)


def _once_a_launch(patch: Callable[[Any], Any]) -> Callable[[Any], Any]:
    patched: list[object] = []  # the modules, while a launch is going on

    def once(function: Any) -> Any:
        named = [x for x in function.__globals__.values() if x is tl or x is tl.core]
        if patched and all(module in patched for module in named):
            return interpreter._LangPatchScope()  # nothing was replaced, nothing is put back
        outermost = not patched
        scope = patch(function)
        patched.extend(named)
        if outermost:
            put_back = scope.restore

            def restore() -> None:
                put_back()
                patched.clear()

            scope.restore = restore
        return scope

    return once


def _remembered(find: Callable[[tl.dtype], np.dtype]) -> Callable[[tl.dtype], np.dtype]:
    known: dict[str, np.dtype] = {}

    def remembered(dtype: tl.dtype) -> np.dtype:
        scalar = dtype.scalar  # of a block, its elements'
        if scalar.name not in known:
            known[scalar.name] = find(scalar)
        return known[scalar.name]

    return remembered
