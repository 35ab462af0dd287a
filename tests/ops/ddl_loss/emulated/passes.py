"""Both passes of the losses through the module _cuda, on arrays in emulated device memory.

Needs numpy alone, so that a process with a sanitizer can use it: there it does the problems that
lie in a folder and leaves their results beside them.

    python -m tests.ops.ddl_loss.emulated.passes FOLDER
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.emulators.cuda_on_cpu.device import Device
from tests.emulators.cuda_on_cpu.job import run_child

#: name -> array or setting; see `both_passes`.
Problem = Mapping[str, Any]
Results = dict[str, np.ndarray]


def load_module(path: Path) -> Any:
    """Import the extension module ``_cuda`` from where it was built."""
    spec = importlib.util.spec_from_file_location("_cuda", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def both_passes(module: Any, device: Device, problem: Problem) -> Results:
    """Run forward and backward; return everything that they write.

    ``problem`` has the arrays scores, features (bfloat16 as uint16), labels (bool), grad_terms (3,)
    and lengths or cu_seqlens (int64) or neither, and the settings that the module's functions
    have. Features may have a row stride: (rows, stride) with ``width`` the columns that count.
    """
    arrays = {name: device.array(value) for name, value in problem.items() if np.ndim(value) > 0}

    def address(name: str) -> int:
        return int(arrays[name].ctypes.data) if name in arrays else 0

    scores, features = arrays["scores"], arrays["features"]
    rows = scores.shape[-1]
    bags = len(arrays["labels"])
    batch = module.DdlBatch(
        bags=bags, T=rows, width=problem["width"], scores=address("scores"),
        features=address("features"), dtype=problem["dtype"],
        batch_stride=0 if "cu_seqlens" in arrays else rows * features.shape[-1],
        row_stride=features.shape[-1],
        lengths=address("lengths"), cu_seqlens=address("cu_seqlens"),
    )  # fmt: skip
    written = {
        "terms": device.empty(3, np.float32),
        "score_grads": device.empty((3, *scores.shape), np.float32),
        "feature_dynamics": device.empty(scores.shape, np.float32),
        "grad_scores": device.empty(scores.shape, np.float32),
        "grad_features": device.empty((*scores.shape, problem["width"]), features.dtype),
    }
    arrays |= written
    tuning = {name: problem[name] for name in ("chunk", "strip", "part")}
    bytes_needed = module.ddl_workspace_bytes(batch, **tuning)
    arrays["workspace"] = device.empty(int(bytes_needed), np.uint8)
    where = {"device": 0, "stream": 0, "eps": problem["eps"], "detach": problem["detach"]}
    module.ddl_forward(
        batch, **where, labels=address("labels"), margin=problem["margin"],
        topk_divisor=problem["topk_divisor"], pairing=problem["pairing"],
        select=problem["select"], workspace=address("workspace"), terms=address("terms"),
        score_grads=address("score_grads"), feature_dynamics=address("feature_dynamics"),
        **tuning,
    )  # fmt: skip
    module.ddl_backward(
        batch, **where, grad_terms=address("grad_terms"), score_grads=address("score_grads"),
        feature_dynamics=address("feature_dynamics"), grad_scores=address("grad_scores"),
        grad_features=address("grad_features"), **tuning,
    )  # fmt: skip
    device.check()
    return {name: values.copy() for name, values in written.items()}


def run_in_child(
    folder: Path,
    problems: Sequence[Problem],
    *,
    module: Path,
    emulator: Path,
    preload: Sequence[str],
    schedule: str = "up",
    removed_barrier: tuple[str, int] = ("", 0),
) -> tuple[list[Results], str]:
    """Run both passes of every problem in a process where a sanitizer watches.

    Return the results, or none and everything that the child said when it failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = []
    for n, problem in enumerate(problems):
        arrays = {name: value for name, value in problem.items() if np.ndim(value) > 0}
        np.savez(folder / f"{n}.npz", **arrays)
        settings.append({name: value for name, value in problem.items() if name not in arrays})
    job = {
        "emulator": str(emulator), "module": str(module), "schedule": schedule,
        "settings": settings, "removed_barrier": removed_barrier,
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job))
    done = run_child(__name__, folder, preload)
    if done.returncode != 0:
        return [], f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    results = []
    for n in range(len(problems)):
        with np.load(folder / f"{n}_results.npz", allow_pickle=False) as stored:
            results.append(dict(stored))
    return results, ""


def main(folder: Path) -> None:
    """Do the problems of a folder: ``job.json`` and ``<n>.npz``, results in ``<n>_results.npz``.

    See `run_in_child`, which writes such a folder.
    """
    job = json.loads((folder / "job.json").read_text())
    module = load_module(Path(job["module"]))
    for n, settings in enumerate(job["settings"]):
        with Device(Path(job["emulator"])) as device:
            device.configure(job["schedule"], n + 1)
            device.remove_barrier(*job["removed_barrier"])
            with np.load(folder / f"{n}.npz", allow_pickle=False) as arrays:
                problem = {**arrays, **settings}
            results: Any = both_passes(module, device, problem)
            np.savez(folder / f"{n}_results.npz", **results)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
