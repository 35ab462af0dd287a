"""Timing on a GPU."""

from __future__ import annotations

import torch

from ..measure import Clock, Timed, cpu_clock

_LEAST_FLUSH = 2**26


def clock_for(device: torch.device) -> Clock:
    """Return the clock of a device."""
    return cuda_clock(device) if device.type == "cuda" else cpu_clock


def cuda_clock(device: torch.device) -> Clock:
    """Return a clock that reads events on the device's current stream.

    Each call finds the L2 cache full of something else, as after other layers. The write that does
    this also gives Python time to queue the call's kernels, so that what is measured is the device,
    unless the call is shorter than its own launches: then these are measured, as users have them.
    """
    cache = getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 0)
    flush = torch.empty(max(_LEAST_FLUSH, 4 * cache), dtype=torch.int8, device=device)

    def clock(call: Timed, repeats: int) -> float:
        pairs = []
        for _ in range(repeats):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            flush.zero_()
            start.record()
            call()
            end.record()
            pairs.append((start, end))
        torch.cuda.synchronize(device)
        return sum(start.elapsed_time(end) for start, end in pairs) / repeats / 1e3

    return clock
