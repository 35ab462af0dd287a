"""What crosses from Python to the compiled module: the tests of each operator look at it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from ladnet_fast import _native


class Recorder:
    """Stands for the compiled module, and keeps name and keyword arguments of every call.

    Parameters
    ----------
    module
        The compiled module.
    by_pointers : bool
        Nothing that is asked to read tensors does: as with a torch that has no functions for it.
    """

    def __init__(self, module: Any, *, by_pointers: bool = False) -> None:
        self._module = module
        self._by_pointers = by_pointers
        self.calls: list[tuple[str, dict[str, Any]]] = []
        #: Name and positional arguments of the calls that have read tensors.
        self.read: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(self._module, name)

        def recorded(*arguments: Any, **options: Any) -> Any:
            reads_tensors = name.endswith("_of_tensors") or name == "attention_fit"
            if reads_tensors and self._by_pointers:
                return False
            self.calls.append((name, options))
            result = function(*arguments, **options)
            if name.endswith("_of_tensors") and result:
                self.read.append((name, arguments))
            return result

        return recorded

    def given(self, function: str, argument: str) -> list[Any]:
        """Return what each call of ``function`` was given as ``argument``, in order."""
        return [options[argument] for name, options in self.calls if name == function]


def record(monkeypatch: pytest.MonkeyPatch, *, by_pointers: bool = False) -> Recorder:
    """Put a `Recorder` in the place of the compiled module."""
    recorder = Recorder(_native.cpu, by_pointers=by_pointers)
    monkeypatch.setattr(_native, "cpu", recorder)
    return recorder


def assert_threads_follow_torch(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[], Any], function: str, calls: int
) -> None:
    """Check the argument ``threads`` of every call of ``function``, ``calls`` times in ``run``."""
    recorder = record(monkeypatch)
    before = torch.get_num_threads()
    try:
        for threads in (1, 3, 2):
            recorder.calls.clear()
            torch.set_num_threads(threads)
            run()
            given = [options["threads"] for _, options in recorder.calls if "threads" in options]
            assert given == [threads] * calls, f"{given} where torch has {threads}"
    finally:
        torch.set_num_threads(before)
    assert recorder.given(function, "threads"), f"{function} was not called"


@contextmanager
def _counting() -> Iterator[list[int]]:
    """Let a thread count its turns in ``[0]`` while the block runs."""
    turns, stop = [0], threading.Event()

    def count() -> None:
        while not stop.is_set():
            turns[0] += 1
            time.sleep(0)  # gives the interpreter back, which nobody can take from it below

    # No thread is interrupted to let another one run: the interpreter changes hands only where it
    # is given away, and between two readings of the turns only the compiled function could do that.
    interval = sys.getswitchinterval()
    thread = threading.Thread(target=count)
    sys.setswitchinterval(1000.0)
    thread.start()
    try:
        yield turns
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


def assert_other_threads_run_meanwhile(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[], Any], functions: set[str]
) -> None:
    """Check that a Python thread makes progress inside calls of each of ``functions``.

    ``run`` calls all of them, with enough work for another thread to be given a processor. It is
    repeated until that has happened, which it never does if a function keeps the interpreter.
    """
    progressed = set()

    class Watcher(Recorder):
        def __getattr__(self, name: str) -> Callable[..., Any]:
            function = getattr(self._module, name)

            def watched(*arguments: Any, **options: Any) -> Any:
                before = turns[0]
                result = function(*arguments, **options)
                if turns[0] != before:
                    progressed.add(name)
                return result

            return watched

    monkeypatch.setattr(_native, "cpu", Watcher(_native.cpu))
    with _counting() as turns:
        for _ in range(50):
            run()
            if functions <= progressed:
                break
    assert functions <= progressed, f"no thread ran during {functions - progressed}"
