"""The process that trains: Accelerate's setting, and torch's global random state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from .._extras import import_extra
from .config import ConfigError, TrainingConfig


def make_accelerator(training: TrainingConfig) -> Any:
    """Return an ``accelerate.Accelerator``; ConfigError if its device can't be had."""
    accelerate = import_extra("accelerate", extra="tools", purpose="train")
    state = import_extra("accelerate.state", extra="tools", purpose="train")
    if training.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("training.device=cuda, but torch sees no CUDA device; use auto or cpu")
    on_cpu = training.device == "cpu"
    if state.is_initialized():
        # Accelerate keeps one setting a process and refuses another one.
        old = state.AcceleratorState()
        other_device = on_cpu != (old.device.type == "cpu") and torch.cuda.is_available()
        if old.mixed_precision != training.mixed_precision or other_device:
            state.AcceleratorState._reset_state(reset_partial_state=old.num_processes == 1)
    return accelerate.Accelerator(
        mixed_precision=training.mixed_precision,
        gradient_accumulation_steps=training.accumulate,
        cpu=on_cpu,
    )


def is_main_process() -> bool:
    """Tell whether this is the process that writes files; true where there is only one."""
    state = import_extra("accelerate.state", extra="tools", purpose="train")
    return bool(state.PartialState().is_main_process)


@contextmanager
def private_random_state(device: torch.device, deterministic: bool) -> Iterator[None]:
    """Leave torch's global generators and its determinism flag as they were."""
    before = torch.are_deterministic_algorithms_enabled()
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.use_deterministic_algorithms(before or deterministic)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)


def seed_step(*position: int) -> None:
    """Seed torch's generators for one part of one step: a stream of its own for each."""
    state = np.random.SeedSequence(position).generate_state(1, np.uint64)[0]
    torch.manual_seed(int(state >> np.uint64(1)))
