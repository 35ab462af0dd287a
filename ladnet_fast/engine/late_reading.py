"""Reading numbers back from a device without waiting for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

#: Parts of a step that a GPU may be behind the host. While one is waited for, the later ones are
#: still to be computed, so the GPU never runs out of work; and what is read is at most this late.
#: It is a number, not a time, so that all processes of a training read the same parts.
LAG = 4


class LateReading:
    """Numbers that are copied to the host as they come, and looked at some calls later.

    On the CPU there is nothing to wait for: they are looked at at once.

    Parameters
    ----------
    device : torch.device
        Where the numbers are.
    lag : int, optional
        Calls of `add` after which numbers are looked at; default `LAG`, and 0 on the CPU.
    """

    def __init__(self, device: torch.device, lag: int | None = None) -> None:
        self.lag = (0 if device.type == "cpu" else LAG) if lag is None else lag
        self._waiting: deque[tuple[Tensor, Any, Callable[[list[float]], None]]] = deque()

    def add(self, numbers: Tensor, look: Callable[[list[float]], None]) -> None:
        """Have ``look`` called with the values of a vector, in the order of these calls.

        What ``look`` raises is raised by the call of `add` or `finish` that calls it; later numbers
        are then dropped.
        """
        host, copied = _on_the_way(numbers)
        self._waiting.append((host, copied, look))
        self._look(self.lag)

    def finish(self) -> None:
        """Look at all that has not been looked at."""
        self._look(0)

    def _look(self, left: int) -> None:
        while len(self._waiting) > left:
            host, copied, look = self._waiting.popleft()
            if copied is not None:
                copied.synchronize()
            try:
                look(host.tolist())
            except BaseException:
                self._waiting.clear()
                raise


def _on_the_way(numbers: Tensor) -> tuple[Tensor, Any]:
    """Return where a vector will be on the host, and the event after which it is there."""
    if not numbers.is_cuda:
        return numbers, None
    host = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
    host.copy_(numbers, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(numbers.device))
    return host, copied
