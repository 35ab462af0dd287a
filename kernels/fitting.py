"""The next configuration where one needs more shared memory than the GPU has.

Tables are made for the GPUs that are known, by the release of Triton that compiled them. Another
GPU may have less shared memory, another release may want more of it: Triton then refuses the
launch, before anything runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from triton.runtime.errors import OutOfResources

from .launch import Launch

log = logging.getLogger("ladnet_fast")

_Plan = TypeVar("_Plan")
#: (kernel, prior or pass) -> a configuration.
Choose = Callable[[str, str], Any]

#: Where, kernel, kind and configuration -> what Triton said when it was too large. A process tries
#: each once.
_too_large: dict[tuple[Any, ...], str] = {}


def run(
    plan: Callable[[Choose], _Plan],
    launches: Callable[[_Plan], Mapping[str, Launch]],
    choose: Choose,
    offered: Callable[[str, str], Sequence[Any]],
    *,
    place: tuple[Any, ...],
) -> _Plan:
    """Plan a pass and launch it; with the next configurations where the first do not fit.

    The pass is planned anew for each, since its workspaces depend on the configurations. It fills
    results and adds to none, so what has run already may run again.

    Parameters
    ----------
    plan
        Returns the plan of the pass with the configurations that its argument chooses.
    launches
        Returns a plan's launches by kernel name, in order.
    choose
        Returns the configuration that is wanted for a kernel and a kind.
    offered
        Returns what to try where that one is too large, in this order; it may be among them.
    place : tuple
        What else decides whether a configuration fits: the device, dtype and sizes.

    Returns
    -------
    Plan
        The plan that has run.

    Raises
    ------
    RuntimeError
        If no configuration of a kernel fits.
    """
    while True:
        chosen: dict[str, tuple[Any, ...]] = {}

        def first(kernel: str, kind: str, chosen: dict[str, tuple[Any, ...]] = chosen) -> Any:
            key, tried = (*place, kernel, kind), None
            for config in (choose(kernel, kind), *offered(kernel, kind)):
                chosen[kernel] = (*key, config)
                if chosen[kernel] not in _too_large:
                    return config
                tried = _too_large[chosen[kernel]]
            raise RuntimeError(
                f"no configuration of {' '.join(map(str, key))} fits this GPU ({tried}); "
                'impl="reference" computes the same in PyTorch. Please report the GPU'
            )

        planned = plan(first)
        refused = _launch(launches(planned))
        if refused is None:
            return planned
        kernel, error = refused
        _too_large[chosen[kernel]] = str(error)
        log.warning(
            "%s needs %s bytes of %s, of which this GPU gives a block %s: the next configuration "
            "serves",
            " ".join(map(str, chosen[kernel])), error.required, error.name, error.limit,
        )  # fmt: skip


def _launch(launches: Mapping[str, Launch]) -> tuple[str, OutOfResources] | None:
    """Launch in order; return the first kernel that Triton refuses as too large, and its words."""
    for kernel, launch in launches.items():
        try:
            launch.run()
        except OutOfResources as error:
            return kernel, error
    return None
