"""Failed allocations of every library become one sentence; other errors pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ladnet_fast._out_of_memory import NotEnoughMemoryError, memory_errors, readable_size


def of_torch() -> None:
    torch.empty(10**15)


def of_torch_by_overflow() -> None:
    torch.empty(2**62, 2**10)


def of_numpy() -> None:
    np.empty(10**15, np.float32)


def of_python() -> None:
    bytearray(10**17)


def of_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        (of_torch, "not enough memory: 3.6 PiB more were asked for; do less"),
        (of_torch_by_overflow, "not enough memory; do less"),
        (of_numpy, "not enough memory: 3.55 PiB more were asked for; do less"),
        (of_python, "not enough memory; do less"),
        (of_a_gpu, "not enough GPU memory: 2.00 GiB more were asked for; do less"),
    ],
)
def test_failed_allocation_says_what_was_asked_for(fails, message):
    with pytest.raises(NotEnoughMemoryError) as error, memory_errors("do less"):
        fails()
    assert str(error.value) == message


def test_the_innermost_advice_stays():
    with (
        pytest.raises(NotEnoughMemoryError, match="inner"),
        memory_errors("outer"),
        memory_errors("inner"),
    ):
        raise MemoryError


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("memory")])
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as passed, memory_errors("do less"):
        raise error
    assert passed.value is error


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (3 * 2**30, "3.0 GiB")],
)
def test_sizes_have_units(count, text):
    assert readable_size(count) == text
