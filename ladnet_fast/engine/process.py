"""The process that trains: Accelerate's setting, and torch's global random state."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch

from .._extras import import_extra
from .._launchers import launched_processes
from .coercion import ConfigError
from .sections import TrainingConfig

T = TypeVar("T")


class OtherProcessError(ValueError):
    """The main process refused; this one stops with its message."""


def make_accelerator(training: TrainingConfig) -> Any:
    """Return an ``accelerate.Accelerator`` that all processes of the launcher have joined.

    Raises
    ------
    ConfigError
        If the device is not there, or several processes were started that can't share a training.
    """
    accelerate = import_extra("accelerate", extra="tools", purpose="train")
    state = import_extra("accelerate.state", extra="tools", purpose="train")
    if training.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("training.device=cuda, but torch sees no CUDA device; use auto or cpu")
    processes = launched_processes()
    on_cpu = training.device == "cpu"
    if processes > 1 and not on_cpu:
        # Accelerate joins processes on a CPU only where it is told to use it.
        on_cpu = not torch.cuda.is_available()
        here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), torch.cuda.device_count()
        if not on_cpu and here > gpus:
            raise ConfigError(
                f"{here} processes were started on a machine with {gpus} GPU(s); start at most "
                f"{gpus}, or train on the CPU (training.device=cpu)"
            )
    if state.is_initialized():
        # Accelerate keeps one setting per process and refuses another one.
        old = state.AcceleratorState()
        other_device = on_cpu != (old.device.type == "cpu") and torch.cuda.is_available()
        if old.mixed_precision != training.mixed_precision or other_device:
            state.AcceleratorState._reset_state(reset_partial_state=old.num_processes == 1)
    accelerator = accelerate.Accelerator(
        mixed_precision=training.mixed_precision,
        gradient_accumulation_steps=training.accumulate,
        cpu=on_cpu,
    )
    if accelerator.num_processes != processes:
        raise ConfigError(
            f"{processes} processes were started, but {accelerator.num_processes} of them share "
            "this training, and the others would write into the same folder; start them with "
            "torchrun --standalone --nproc_per_node N -m ladnet_fast.cli train ..., or start one"
        )
    return accelerator


def in_main_process(accelerator: Any, action: Callable[[], T]) -> T:
    """Do something in the main process; return its result, or raise what it raises, in all.

    The result must be of JSON types or a path, since it travels between the processes.
    """
    outcome: list[Any] = [None, None]
    error: Exception | None = None
    if accelerator.is_main_process:
        try:
            outcome[0] = action()
        except Exception as caught:
            error, outcome[1] = caught, str(caught) or type(caught).__name__
    if accelerator.num_processes > 1:
        from accelerate.utils import broadcast_object_list

        broadcast_object_list(outcome, from_process=0)
    if error is not None:
        raise error
    if outcome[1] is not None:
        raise OtherProcessError(f"the main process stopped: {outcome[1]}")
    result: T = outcome[0]
    return result


def is_main_process() -> bool:
    """Tell whether this is the process that writes files; true where there is only one."""
    state = import_extra("accelerate.state", extra="tools", purpose="train")
    return bool(state.PartialState().is_main_process)


@contextmanager
def private_random_state(device: torch.device, deterministic: bool) -> Iterator[None]:
    """Leave torch's global generators and its determinism flag as they were."""
    before = _determinism()
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        _set_determinism((True, False) if before[0] or deterministic else before)
        try:
            yield
        finally:
            _set_determinism(before)


def _determinism() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _set_determinism(wanted: tuple[bool, bool]) -> None:
    # Only where it changes something: the call imports torch's compiler, which takes seconds.
    if _determinism() != wanted:
        torch.use_deterministic_algorithms(wanted[0], warn_only=wanted[1])


def seed_step(*position: int) -> None:
    """Seed torch's generators for one part of one step: a stream of its own for each."""
    state = np.random.SeedSequence(position).generate_state(1, np.uint64)[0]
    torch.manual_seed(int(state >> np.uint64(1)))
