"""The source text that a kernel is compiled from."""

from __future__ import annotations

import ast
from functools import cache
from typing import Any

import triton
import triton.language as tl


@cache
def texts(kernel: Any) -> dict[str, str]:
    """Return by name the source of a kernel, of the functions it calls and of constants it reads.

    Triton's own cache key of a function is not used, because it may differ from process to process:
    it depends on which other functions' keys were computed before.
    """
    found: dict[str, str] = {}
    waiting = [kernel]
    while waiting:
        function = waiting.pop()
        name = f"{function.__module__}.{function.__name__}"
        if name in found:
            continue
        found[name] = function.src
        names = {
            node.id for node in ast.walk(ast.parse(function.src)) if isinstance(node, ast.Name)
        }
        for used_name in names & function.__globals__.keys():
            used = function.__globals__[used_name]
            if isinstance(used, triton.JITFunction):
                waiting.append(used)
            elif isinstance(used, tl.constexpr):
                found[f"{function.__module__}.{used_name}"] = repr(used)
    return dict(sorted(found.items()))
