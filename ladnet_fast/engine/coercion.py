"""From what YAML gives to the types that the options are annotated with."""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Sequence
from typing import Any, Literal, Union, get_args, get_origin


class ConfigError(ValueError):
    """A configuration has an unknown key or a value that is not allowed."""


def unknown(name: str, known: Sequence[str], what: str) -> str:
    """Return the message for a name that isn't known, with the closest one that is."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"unknown {what} {name}{hint}; the known ones are: {', '.join(known)}"


def coerce(name: str, value: Any, hint: Any) -> Any:
    """Return ``value`` as the annotated type, or raise ConfigError that says what is allowed."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner = next(arg for arg in args if arg is not type(None))
        return None if value is None else coerce(name, value, inner)
    if origin is Literal:
        # YAML reads an unquoted no as False, and "no" is what mixed_precision is called by default.
        value = "no" if value is False and "no" in args else value
        if value not in args:
            raise ConfigError(f"{name} must be one of {', '.join(args)}; got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{name} must be a list such as [512, 128]; got {value!r}")
        return tuple(coerce(f"{name}[{i}]", entry, args[0]) for i, entry in enumerate(value))
    if hint is float:
        if isinstance(value, str):  # YAML 1.1 reads 5e-4, without a point, as text
            try:
                value = float(value)
            except ValueError:
                raise ConfigError(f"{name} must be a number; got {value!r}") from None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{name} must be a number; got {value!r}")
        if not math.isfinite(value):
            raise ConfigError(f"{name} must be finite; got {value!r}")
        return float(value)
    if hint is int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(f"{name} must be a whole number; got {value!r}")
        return value
    assert hint is bool
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false; got {value!r}")
    return value
