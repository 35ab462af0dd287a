"""Names of a package that are imported at their first use, so that the command line starts fast."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def attach(
    package: str, names: Mapping[str, str], submodules: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the functions ``__getattr__`` and ``__dir__`` of a package (PEP 562).

    Parameters
    ----------
    package : str
        Its ``__name__``.
    names : mapping of str to str
        Each public name, and the submodule that defines it: ``{"LANet": "nn"}``.
    submodules : iterable of str
        Submodules that are imported when ``package.submodule`` is first read.
    """
    modules = frozenset(submodules)

    def get(name: str) -> Any:
        if name in names:
            found = getattr(importlib.import_module(f"{package}.{names[name]}"), name)
        elif name in modules:
            found = importlib.import_module(f"{package}.{name}")
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, found)  # asked for once
        return found

    def names_of() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names, *modules})

    return get, names_of
