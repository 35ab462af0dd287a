"""Theoretical occupancy, as NVIDIA's calculator defines it."""

from __future__ import annotations

from dataclasses import dataclass

_WARP = 32
_REGISTERS = 65536  # of a multiprocessor
_REGISTER_UNIT = 256  # in which a warp gets them
_WARP_UNIT = 4  # warps get registers in groups: a multiprocessor has four schedulers
_SHARED_UNIT = 128
_SHARED_RESERVED = 1024  # of each block, by the system


@dataclass(frozen=True)
class Multiprocessor:
    """Limits, from the CUDA C++ programming guide's technical specifications."""

    warps: int
    blocks: int
    shared: int  # bytes


MULTIPROCESSORS = {
    "sm_80": Multiprocessor(64, 32, 164 << 10),
    "sm_90": Multiprocessor(64, 32, 228 << 10),
    "sm_100": Multiprocessor(64, 32, 228 << 10),
    "sm_120": Multiprocessor(48, 24, 100 << 10),
}


def resident_warps(architecture: str, threads: int, registers: int, shared: int) -> int:
    """Return how many warps of a kernel a multiprocessor holds at once.

    Parameters
    ----------
    architecture : str
        ``"sm_80"`` ...; see :data:`MULTIPROCESSORS`.
    threads : int
        Of a block.
    registers : int
        Of a thread.
    shared : int
        Bytes of a block.
    """
    limits = MULTIPROCESSORS[architecture]
    warps = _up(threads, _WARP) // _WARP
    by_registers = _REGISTERS // _up(max(registers, 1) * _WARP, _REGISTER_UNIT)
    by_registers -= by_registers % _WARP_UNIT
    used = _up(shared, _SHARED_UNIT) + _SHARED_RESERVED
    blocks = min(limits.warps // warps, limits.blocks, by_registers // warps, limits.shared // used)
    return blocks * warps


def occupancy(architecture: str, threads: int, registers: int, shared: int) -> float:
    """Return the share of the warps that a multiprocessor could hold."""
    warps = resident_warps(architecture, threads, registers, shared)
    return warps / MULTIPROCESSORS[architecture].warps


def _up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
