"""Checks of plain arguments: numbers, switches and names of choices.

NumPy's numbers count as numbers and come back as Python's, because sizes and rates are often
computed with NumPy. A bool is no number, and text never is: ``"1"`` may have been a typing error.
"""

from __future__ import annotations

from collections.abc import Sequence

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
        If it is no number (NaN is none) or beyond the limits.
    """
    if isinstance(value, np.number):
        value = value.item()
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not least <= value <= most  # false for NaN too
    ):
        raise ValueError(f"{name} must be {allowed}; got {shown(value)}")
    return value


def whole_number(name: str, value: object, *, least: int = 1, most: int = 2**63 - 1) -> int:
    """Return ``value`` as an int from ``least`` to ``most``, else raise ``ValueError``."""
    if isinstance(value, np.integer):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {shown(value)}")
    if value > most:
        raise ValueError(f"{name} must be an integer of at most {most}; got {shown(value)}")
    return value


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


def shown(value: object) -> str:
    """Return a value as a message shows it: on one line, not longer than a line."""
    if isinstance(value, int) and abs(value) >= 10**40:
        return f"an integer of {value.bit_length()} bits"  # str() of a huge one is refused
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:60]} ... ({type(value).__name__})"
