"""Checks of plain arguments: numbers, switches, names of choices, sequences and paths.

NumPy's numbers count as numbers and come back as Python's, because sizes and rates are often
computed with NumPy. A bool is no number, and text never is: ``"1"`` may have been a typing error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

#: Limits of float32, in which the operators compute unless their tensors are float64.
FLOAT32_MAX = float(np.finfo(np.float32).max)
FLOAT32_LEAST = float(np.finfo(np.float32).tiny)


def real_number(
    name: str,
    value: object,
    allowed: str = "a finite number",
    *,
    least: float = -FLOAT32_MAX,
    most: float = FLOAT32_MAX,
) -> float:
    """Return ``value`` as a number from ``least`` to ``most``, or raise.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value
        What was given.
    allowed : str
        What the message says is allowed.
    least, most : float
        Limits, both included.

    Raises
    ------
    ValueError
        If it is not a number (NaN is not one) or beyond the limits.
    """
    if isinstance(value, np.number):
        value = value.item()
    if (
        not isinstance(value, (int, float))
        or isinstance(value, bool)
        or not least <= value <= most  # false for NaN too
    ):
        raise ValueError(f"{name} must be {allowed}; got {shown(value)}")
    return value


def as_real(value: object) -> float | None:
    """Return ``value`` if it is a number that float64 holds, else None."""
    if isinstance(value, np.number):
        value = value.item()
    most = sys.float_info.max
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if number and -most <= value <= most else None  # type: ignore[operator,return-value]


def as_whole(value: object) -> int | None:
    """Return ``value`` as an int if it is a whole number, else None."""
    if isinstance(value, np.integer):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def count(
    name: str,
    value: object,
    *,
    least: int | None = 1,
    most: int | None = 2**63 - 1,
    allowed: str | None = None,
) -> int:
    """Return ``value`` as an int from ``least`` to ``most``, or raise.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value
        What was given.
    least, most : int or None
        Limits, both included; None for no limit.
    allowed : str, optional
        What the message says is allowed, apart from being a whole number.

    Raises
    ------
    ValueError
        If it is not a whole number, or beyond the limits.
    """
    number = as_whole(value)
    if number is None or (least is not None and number < least):
        if allowed is None and least is not None:
            allowed = f"at least {least}"
        allowed = "a whole number" if allowed is None else f"{allowed}, and a whole number"
        raise ValueError(f"{name} must be {allowed}; got {shown(value)}")
    if most is not None and number > most:
        raise ValueError(f"{name} must be at most {most}; got {shown(value)}")
    return number


def whole_number(name: str, value: object, *, least: int = 1, most: int = 2**63 - 1) -> int:
    """Return ``value`` as an int from ``least`` to ``most``; see `count`."""
    "likewise."
    return count(name, value, least=least, most=most)


def switch(name: str, value: object) -> bool:
    """Return ``value`` as a bool if it is True, False, 1 or 0, else raise ``ValueError``."""
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise ValueError(f"{name} must be True or False; got {shown(value)}")


def choice(name: str, value: object, allowed: Sequence[str]) -> str:
    """Return ``value`` if it is one of the names ``allowed``, else raise ``ValueError``."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {shown(value)}")
    return value


def path(name: str, value: object) -> Path:
    """Return ``value`` as a path if it is text or path-like, else raise ``ValueError``."""
    if isinstance(value, Path):
        return value
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):  # bytes are not accepted
        raise ValueError(f"{name} must be a path, as text or a pathlib.Path; got {shown(value)}")
    return Path(value)


def sequence(name: str, value: Any, of: str) -> Sequence[Any]:
    """Return ``value`` if it has a length and an order, else raise ``ValueError``.

    Text and mappings are refused: their entries would be letters and keys. ``of`` names the
    entries in the message.
    """
    try:
        has_entries = len(value) >= 0 and hasattr(value, "__getitem__")
    except TypeError:  # of an array without axes too
        has_entries = False
    if not has_entries or isinstance(value, (str, bytes, Mapping)):
        raise ValueError(f"{name} must be a list of {of}; got {shown(value)}")
    return value


def texts(name: str, value: Any, of: str) -> Sequence[str]:
    """Return ``value`` if it is a sequence of texts, else raise ``ValueError``."""
    if not all(isinstance(entry, str) for entry in sequence(name, value, of)):
        raise ValueError(f"{name} must be a list of {of}, each of them text; got {shown(value)}")
    return value


def shown(value: object) -> str:
    """Return a value as a message shows it: on one line, not longer than a line."""
    if isinstance(value, int) and abs(value) >= 10**40:
        return f"an integer of {value.bit_length()} bits"  # Python refuses to print a huge one
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:60]} ... ({type(value).__name__})"
