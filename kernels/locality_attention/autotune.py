"""Configurations measured on the GPU at hand: LADNET_AUTOTUNE=1.

Only the shipped candidates are measured, all of which compile without spills. Where the backward
pass is one launch, two launches are measured as well, each with its first configuration. Kernels
with specialised warps, which ran on no GPU yet, first have to agree with the first configuration on
the tensors at hand. A choice holds for one kernel, dtype, head size, and sizes rounded up to powers
of two. It is kept in a JSON file in the cache folder, so that later runs choose the same without
measuring. The last bits of a result depend on the configuration: runs that must agree in them share
the file, or leave this off.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import triton
from triton.compiler.errors import CompilationError
from triton.runtime.errors import OutOfResources

from ..._files import atomic_write_text, cache_folder
from ..launch import Launch
from ..sources import texts
from .configs import TWO_LAUNCHES, Config
from .plan import KERNELS, Choose, specialized_kernels

log = logging.getLogger("ladnet_fast")

#: What is launched in the place of "backward" where its configuration is `TWO_LAUNCHES`.
_TWO = ("backward_keys", "backward_queries")
#: File -> its entries; a process reads each file once.
_known: dict[Path, dict[str, Any]] = {}


def measure(run: Callable[[], None]) -> float:
    """Return the median time of ``run`` in milliseconds, with a cold L2 cache."""
    return float(triton.testing.do_bench(run, return_mode="median"))


def chooser(
    plan: Callable[[Choose], Mapping[str, Launch]],
    candidates: Callable[[str, str], Sequence[Config]],
    *,
    device: str,
    problem: str,
) -> Choose:
    """Return a function that chooses the fastest candidate of each kernel.

    Parameters
    ----------
    plan
        Returns the launches of the pass that is about to run, by kernel name.
    candidates
        Returns the configurations of a kernel and a prior, the one from the table first.
    device : str
        The GPU's name; each kind of GPU has its own file.
    problem : str
        What else a choice depends on, from `describe`.

    Raises
    ------
    RuntimeError
        If no candidate fits the GPU, or the file is not one that this module wrote.
    """
    path = cache_folder() / f"triton-{re.sub(r'[^A-Za-z0-9]+', '-', device).lower()}.json"
    if path not in _known:
        _known[path] = _read(path)
    entries = _known[path]

    def choose(kernel: str, prior: str) -> Config:
        offered = candidates(kernel, prior)
        if len(offered) == 1:
            if offered[0] != TWO_LAUNCHES:
                _say_no_choice(kernel, prior, problem)
            return offered[0]
        key = f"{kernel} prior={prior} {problem} {_build(kernel)}"
        if key not in entries or Config(**entries[key]["config"]) not in offered:
            found = _fastest(kernel, prior, plan, candidates)
            # Read again: other processes may have added entries in the meantime.
            entries.update({**_read(path), key: found})
            atomic_write_text(path, json.dumps(entries, indent=1, sort_keys=True) + "\n")
        return Config(**entries[key]["config"])

    return choose


def describe(precision: str, head_size: int, layout: str, **sizes: int) -> str:
    """Return a name of the problem; ``sizes`` are rounded up to powers of two to have few names."""
    rounded = {name: 1 << (max(size, 1) - 1).bit_length() for name, size in sizes.items()}
    return " ".join(
        [
            precision,
            f"d={head_size}",
            layout,
            *(f"{name}<={size}" for name, size in rounded.items()),
        ]
    )


@functools.cache
def _say_no_choice(kernel: str, prior: str, problem: str) -> None:
    log.info(
        "LADNET_AUTOTUNE=1: %s, prior %s, %s: one configuration is shipped, nothing to measure",
        kernel, prior, problem,
    )  # fmt: skip


def _build(kernel: str) -> str:
    """Return a name of what was compiled: the kernel's source with all it calls, and Triton."""
    sources = [texts(KERNELS[kernel])]
    if kernel == "forward":
        sources += map(texts, specialized_kernels())
    source = hashlib.sha256(json.dumps(sources).encode()).hexdigest()[:16]
    return f"source={source} triton={triton.__version__}"


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        for entry in entries.values():
            Config(**entry["config"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RuntimeError(
            f"LADNET_AUTOTUNE=1: {path} is not what autotuning writes ({error!r}); delete it"
        ) from error
    return entries


def _fastest(
    kernel: str,
    prior: str,
    plan: Callable[[Choose], Mapping[str, Launch]],
    candidates: Callable[[str, str], Sequence[Config]],
) -> dict[str, Any]:
    times: dict[Config, float] = {}
    for config in candidates(kernel, prior):

        def choose(name: str, kind: str, config: Config = config) -> Config:
            if name == "backward" and kernel in _TWO:
                return TWO_LAUNCHES
            return config if name == kernel else candidates(name, kind)[0]

        launches = plan(choose)
        measured = _TWO if config == TWO_LAUNCHES else (kernel,)
        try:
            fault = ""
            if config.specialized:
                trusted = plan(lambda name, kind: candidates(name, kind)[0])
                fault = _fault(launches[kernel], trusted)
            if fault:
                log.warning(
                    "LADNET_AUTOTUNE=1: %s, prior %s, configuration %s: %s, so it is left out. "
                    "Please report it with the GPU and Triton %s",
                    kernel, prior, config, fault, triton.__version__,
                )  # fmt: skip
                continue
            times[config] = sum(measure(launches[name].run) for name in measured)
        except OutOfResources:
            # This GPU has less shared memory than others of its architecture: leave it out.
            continue
    if not times:
        raise RuntimeError(
            f"LADNET_AUTOTUNE=1: no configuration of {kernel!r} (prior {prior!r}) fits this GPU's "
            f"shared memory; unset LADNET_AUTOTUNE and report the GPU"
        )
    best = min(times, key=lambda config: times[config])
    return {"config": dataclasses.asdict(best), "milliseconds": times[best]}


#: How far results of two configurations may be apart, in roundings of the largest number: weights
#: are rounded to the dtype before they are multiplied, and so are results.
_ROUNDINGS = 4


def _fault(launch: Launch, trusted: Mapping[str, Launch]) -> str:
    """Return what is wrong with a launch that should fill its results as the ``trusted`` ones do.

    It may not compile with this release of Triton. Where trusted results are not finite, since
    inputs are not, nothing is compared.
    """
    try:
        launch.compile()
    except (CompilationError, RuntimeError) as error:
        return f"it does not compile ({error!r})"
    for other in trusted.values():
        other.run()
    results = [launch.arguments[name] for name in ("out", "softmax_out", "lse")]
    results = [x for x in results if x is not None]
    expected = [x.clone() for x in results]
    for x in results:
        x.fill_(torch.nan)  # so that rows which it leaves out show
    launch.run()
    # lse is float32, of products as exact as those of the results.
    tolerance = _ROUNDINGS * torch.finfo(results[0].dtype).eps
    for x, e in zip(results, expected, strict=True):
        compared = e.isfinite()
        largest = e[compared].abs().max() if compared.any() else 0.0
        if not bool(((x - e)[compared].abs() <= tolerance * largest).all()):
            return "wrong results"
    return ""
