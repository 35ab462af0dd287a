"""The fixtures of `.plugin`."""

from __future__ import annotations

from .plugin import _memory_is_given_back, check, device, pytest_pyfunc_call

__all__ = ["_memory_is_given_back", "check", "device", "pytest_pyfunc_call"]
