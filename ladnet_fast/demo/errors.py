"""Errors of the demo."""

from __future__ import annotations


class DemoError(ValueError):
    """The demo can't run with the footage or the folder given; the message says what to change."""
