"""A training step as one CUDA graph: captured once, then replayed on new batches.

A graph repeats the launches of a step with the same addresses, so batches are copied into buffers
of a fixed shape, and whatever changes from step to step (learning rate, step count, seed of the
dropout) is on the device. All but `CudaGraphs` runs on any device.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..data import Batch
from .coercion import ConfigError
from .step import Evidence

#: Steps that are done without a graph first: they load kernels, and make the optimiser's state.
WARM_UPS = 3

Step = Callable[[Batch], Evidence]


class Recording(NamedTuple):
    """Launches that can be repeated."""

    replay: Callable[[], None]
    evidence: Evidence
    """Its tensors are written by every replay; a recording alone need not compute them."""


class Recorder(Protocol):
    """Records launches; `CudaGraphs` does on a GPU."""

    def warm_up(self, body: Callable[[], Evidence]) -> Evidence:
        """Call ``body`` as it must be called before a recording."""
        ...

    def record(self, body: Callable[[], Evidence]) -> Recording:
        """Return what ``body`` launches, without computing it."""
        ...


class CudaGraphs:
    """Records by `torch.cuda.graph`.

    Parameters
    ----------
    device : torch.device
        A CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def warm_up(self, body: Callable[[], Evidence]) -> Evidence:
        """Call ``body`` in a stream of its own, as captures need it."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            evidence = body()
        current.wait_stream(self._stream)
        return evidence

    def record(self, body: Callable[[], Evidence]) -> Recording:
        """Capture what ``body`` launches."""
        graph = torch.cuda.CUDAGraph()
        # Other threads, such as the one that pins batches, may go on calling CUDA.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            evidence = body()
        return Recording(graph.replay, evidence)


class CapturedStep:
    """Does the step of every full batch by one recording, of others as it is.

    Parameters
    ----------
    step : callable
        Takes a batch on the device through the whole step, without looking at a value.
    recorder : Recorder
        How launches are recorded.
    shape : (int, int, int)
        Bags of a full batch, snippets to which they are padded, and their width.
    query_dim : int or None
        Width of the second modality, if there is one.
    device : torch.device
        Where batches are.
    warm_ups : int
        Full batches that are done without a recording first.
    """

    def __init__(
        self,
        step: Step,
        recorder: Recorder,
        shape: tuple[int, int, int],
        query_dim: int | None,
        device: torch.device,
        *,
        warm_ups: int = WARM_UPS,
    ) -> None:
        self._step, self._recorder, self._left = step, recorder, warm_ups
        bags, snippets, width = shape
        self._inputs = Batch(
            torch.zeros(bags, snippets, width, device=device),
            torch.zeros(bags, dtype=torch.int64, device=device),
            torch.zeros(bags, device=device),
            None if query_dim is None else torch.zeros(bags, snippets, query_dim, device=device),
        )
        self._recording: Recording | None = None

    def __call__(self, batch: Batch) -> Evidence:
        """Do the step of a batch; what it returns stays as it is."""
        if batch.labels.shape != self._inputs.labels.shape:  # the last one of an epoch
            return self._step(batch)
        for place, entry in zip(self._inputs, batch, strict=True):
            _copy_in(place, entry)
        if self._left > 0:
            self._left -= 1
            return self._recorder.warm_up(self._body).kept()
        if self._recording is None:
            self._recording = self._recorded()
        self._recording.replay()
        return self._recording.evidence.kept()

    def _recorded(self) -> Recording:
        try:
            return self._recorder.record(self._body)
        except torch.OutOfMemoryError:
            raise  # says itself what is wrong
        except RuntimeError as error:
            raise ConfigError(
                f"training.cuda_graph=true, but the step can't be captured: {error}. The reference "
                "implementation waits for the GPU, and a graph can't: 'python -m ladnet_fast' says "
                "whether the Triton kernels serve here; or leave the option out"
            ) from error

    def _body(self) -> Evidence:
        return self._step(self._inputs)


def check_capturable(device: torch.device, processes: int) -> None:
    """Refuse ``training.cuda_graph`` where a step can't be captured.

    Options that exclude each other are refused when a `TrainingConfig` is made of them.

    Raises
    ------
    ConfigError
        Says why, and what to do.
    """
    if device.type != "cuda":
        raise ConfigError(
            f"training.cuda_graph=true needs an NVIDIA GPU, and this training runs on {device}; "
            "leave it out"
        )
    if processes > 1:
        raise ConfigError(
            f"training.cuda_graph=true needs one process; got {processes}: start one, or leave it "
            "out"
        )
    if os.environ.get("LADNET_CHECK") == "1":
        raise ConfigError(
            "training.cuda_graph=true can't be had with LADNET_CHECK=1 in the environment, which "
            "looks at lengths and labels on the host in every step; unset one of the two"
        )


def _copy_in(place: Tensor | None, entry: Tensor | None) -> None:
    """Copy a batch's tensor into a buffer; rows beyond it are padding, which nobody reads."""
    if place is None or entry is None:
        return
    if place.dim() > 1:
        place = place[:, : entry.shape[1]]
    place.copy_(entry, non_blocking=True)
