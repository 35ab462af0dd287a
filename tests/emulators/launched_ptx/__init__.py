"""Launchers compiled by g++ whose kernels run as nvcc's PTX: the two emulators together.

Needs both packages beside it. See README.md.
"""

from __future__ import annotations

from .device import PtxDevice

__all__ = ["PtxDevice"]
