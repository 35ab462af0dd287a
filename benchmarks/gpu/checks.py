"""The checks of a GPU: the tests in tests/gpu, run in a process of their own."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import torch

from . import processes
from .outcome import Outcome
from .reporter import MARK

#: What is left of a step whose process ended too early.
REST = "what is left of it"

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "gpu"
#: Lines of the tests' output that are kept, to say why they ended.
_KEPT = 20


def outcomes(
    step: str,
    device: torch.device,
    sizes: str,
    seconds: float = math.inf,
    folder: Path = FOLDER,
) -> Iterator[Outcome]:
    """Run a step's tests on a device; yield what becomes of each, as soon as it is known.

    A process of their own, so that a device which fails for good costs this step alone, and what
    the tests allocate and set is gone after them. It is ended if the caller loses interest, and
    after so many seconds.

    Parameters
    ----------
    step : str
        One of `.parts.CHECKS`.
    device : torch.device
        Where the tests run, see `tests.gpu.settings`.
    sizes : str
        "full", "quick" or "tiny".
    seconds : float
        How long the process may take.
    folder : Path
        Where the file is.
    """
    # The mark, not -k: the files' helpers may have tests of their own.
    command = [
        sys.executable, "-m", "pytest", str(folder / f"test_{step}.py"), "-m", "gpu", "-s",
        "-p", "tests.gpu.plugin", "-p", "benchmarks.gpu.reporter", "-p", "no:cacheprovider",
        "-o", "addopts=--import-mode=importlib",
    ]  # fmt: skip
    # Plugins that happen to be installed have no part in it.
    chosen = {
        "LADNET_GPU_DEVICE": str(device),
        "LADNET_GPU_SIZES": sizes,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    environment = {name: x for name, x in os.environ.items() if name != "PYTEST_ADDOPTS"} | chosen
    printed: deque[str] = deque(maxlen=_KEPT)
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        late = threading.Event()

        def stop() -> None:
            late.set()
            processes.end(process)

        timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), stop)
        timer.start()
        try:
            for line in process.stdout:
                if line.startswith(MARK):
                    yield Outcome(**json.loads(line.removeprefix(MARK)))
                elif line.strip():
                    printed.append(line.rstrip())
        except BaseException:  # an interrupt, or a caller that wants no more
            processes.end(process)
            raise
        finally:
            timer.cancel()
    if late.is_set():
        yield Outcome(step, REST, "unavailable", f"its {seconds:.0f} s were over")
        return
    if process.returncode not in (0, 1):  # 1: some tests have failed, and were told
        said = printed[-1] if printed else "nothing was printed"
        yield Outcome(step, REST, "failed", f"pytest ended with {process.returncode}: {said}")
