"""Converting YAML's values to the types that the options are annotated with."""

from __future__ import annotations

import difflib
import math
import numbers
import re
import reprlib
import types
from collections.abc import Sequence
from typing import Any, Literal, Union, get_args, get_origin

from .. import _values


class ConfigError(ValueError):
    """A configuration has an unknown key or a value that is not allowed."""


_SHOWN = 200
# YAML 1.1 reads 5e-4 and 1.5e3 as text: the first lacks a point, the second a sign.
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", re.ASCII)
_LARGEST_INT = 2**63 - 1
_LARGEST_FLOAT = (2 - 2**-23) * 2.0**127  # of float32, in which training computes


class _Short(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        """Shorten integers that Python refuses to print, in the words of other checks."""
        return super().repr_int(x, level) if abs(x) < 10**100 else _values.shown(x)


_short = _Short()
_short.maxlevel, _short.maxlist, _short.maxdict = 3, 8, 8
_short.maxstring = _short.maxother = _short.maxlong = 100


def shown(value: Any) -> str:
    """Return a value as a message shows it: whatever it is, in a line of bounded length."""
    text = _short.repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def unknown(name: str, known: Sequence[str], what: str) -> str:
    """Return the message for a name that isn't known, with the closest one that is."""
    name = name if len(name) <= _SHOWN else name[:_SHOWN] + "..."
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
        # Types are compared too, since 1 equals True.
        if not isinstance(value, str | bool) or _typed(value) not in map(_typed, args):
            allowed = ", ".join(str(arg).lower() if isinstance(arg, bool) else arg for arg in args)
            raise ConfigError(f"{name} must be one of {allowed}; got {shown(value)}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{name} must be a list such as [512, 128]; got {shown(value)}")
        return tuple(coerce(f"{name}[{i}]", entry, args[0]) for i, entry in enumerate(value))
    if hint is float:
        return _number(name, value)
    if hint is int:
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise ConfigError(f"{name} must be a whole number; got {shown(value)}")
        if abs(int(value)) > _LARGEST_INT:
            raise ConfigError(f"{name} must be at most {_LARGEST_INT}; got {shown(value)}")
        return int(value)
    assert hint is bool
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false; got {shown(value)}")
    return value


def _typed(value: Any) -> tuple[type, Any]:
    return type(value), value


def _number(name: str, value: Any) -> float:
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ConfigError(f"{name} must be a number; got {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ConfigError(f"{name} must be finite; got {shown(value)}")
    if abs(number) > _LARGEST_FLOAT:
        raise ConfigError(
            f"{name} must be at most {_LARGEST_FLOAT:.2g} in size, the largest number of float32; "
            f"got {shown(value)}"
        )
    return number
