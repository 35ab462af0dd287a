"""The text that a kernel is compiled from."""

from __future__ import annotations

import ast
from functools import cache
from typing import Any

import triton
import triton.language as tl


@cache
def texts(kernel: Any) -> dict[str, str]:
    """Return the texts of a kernel, and of what it calls and which constants it reads, by name.

    Triton's own key of a function will not do where a name has to last: it depends on which
    functions of the process were asked for theirs before.
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
