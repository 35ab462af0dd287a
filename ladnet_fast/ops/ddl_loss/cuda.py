"""The losses on NVIDIA GPUs, by the compiled module.

Everything stays on the device and in the current stream: torch allocates outputs and workspace,
sizes come from shapes alone, and nothing waits for the device, so calls can be captured in a CUDA
graph. Values of lengths and cu_seqlens are not checked here (``api.py`` does with
``LADNET_CHECK=1``); the kernels clamp them into the tensors. csrc/cuda/README.md has the
derivation.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import torch
from torch import Tensor

from ... import _native
from .. import _capability
from .._impl import constant_in_graphs
from ._compiled import Batch, check_call, checked_divisor

NAME = "cuda"

#: The largest sizes that are tested. Of packed bags only the sum is checked, since their lengths
#: are on the device.
MAX_SNIPPETS = 1_000_000
MAX_FEATURES = 4096
MAX_BAGS = 4096

_DEVICE = "cuda"
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def why_not(scores: Tensor, features: Tensor) -> list[str]:
    """Return every reason why this backend cannot serve these tensors; empty if it can."""
    reasons = []
    on_device = True
    for name, tensor in (("scores", scores), ("features", features)):
        if tensor.device.type != _DEVICE:
            reasons.append(f"it serves CUDA tensors, and {name} is on {tensor.device}")
            on_device = False
    machine = _machine_problem(scores.device.index if on_device else None)
    if machine is not None:
        reasons.append(machine)
    if features.dtype not in _DTYPES:
        reasons.append(f"it serves features in float32, bfloat16 or float16, not {features.dtype}")
    if scores.dtype != torch.float32:
        reasons.append(f"it serves scores in float32, not {scores.dtype}")
    return [*reasons, *_size_problems(scores, features)]


def _size_problems(scores: Tensor, features: Tensor) -> list[str]:
    packed = scores.dim() == 1
    sizes = [("features", features.shape[-1], MAX_FEATURES)]
    if packed:
        sizes.append(("packed snippets", scores.shape[0], MAX_BAGS * MAX_SNIPPETS))
    else:
        sizes.append(("bags", scores.shape[0], MAX_BAGS))
        sizes.append(("snippets per bag", scores.shape[1], MAX_SNIPPETS))
    return [
        f"it serves 1 to {most} {what}, not {size}"
        for what, size, most in sizes
        if size < 1 or size > most
    ]


@constant_in_graphs
def _machine_problem(index: int | None) -> str | None:
    """Return why no kernel can run on this machine, or on the device of that index.

    Asked while a graph is traced, hence constant there.
    """
    return _cached_machine_problem(_native.cuda, index)


@functools.cache
def _cached_machine_problem(module: Any, index: int | None) -> str | None:
    if torch.version.hip is not None:
        return "this torch is built for ROCm, and the module ladnet_fast._cuda serves NVIDIA GPUs"
    if module is None:
        return _native.cuda_problem
    problem = module.why_no_device()
    if problem is not None or index is None:
        return problem
    problem = _capability.why_not(index)
    if problem is not None:
        return problem
    capability = torch.cuda.get_device_capability(index)
    if not has_kernels(capability, module.architectures):
        return (
            f"it was built for {module.architectures}, not for sm_{capability[0]}{capability[1]}; "
            f"reinstall with that in the environment variable LADNET_CUDA_ARCHS"
        )
    return None


def has_kernels(capability: tuple[int, int], architectures: str) -> bool:
    """Whether a module built for ``architectures`` runs on a device of that compute capability.

    Parameters
    ----------
    capability : (int, int)
        Major and minor, as from `torch.cuda.get_device_capability`.
    architectures : str
        As CMake writes them, e.g. ``"80-real,90-real,120"``: machine code serves its own and later
        minors of one major, PTX (an entry without ``-real``) everything later.
    """
    major, minor = capability
    for entry in re.split("[;,]", architectures):
        match = re.fullmatch(r"(\d+)(\d)[af]?(?:-(real|virtual))?", entry)
        if match is None:
            continue
        its_major, its_minor, kind = int(match[1]), int(match[2]), match[3]
        if kind != "virtual" and its_major == major and its_minor <= minor:
            return True
        if kind != "real" and (its_major, its_minor) <= capability:
            return True
    return False


def forward(
    scores: Tensor,
    features: Tensor,
    labels: Tensor,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    *,
    margin: float,
    topk_divisor: int,
    eps: float,
    pairing: str,
    select: str,
    detach: str,
    training: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``(terms, score_grads, feature_dynamics)`` as `schema` describes them."""
    batch = _batch(scores, features, lengths, cu_seqlens)
    labels = batch.labels(labels)
    topk_divisor = checked_divisor(topk_divisor)
    with _on_device(scores.device) as place:
        terms = scores.new_empty(3)
        score_grads = scores.new_empty((3, *scores.shape) if training else 0)
        dynamics = scores.new_empty(scores.shape)
        module = _module()
        workspace = scores.new_empty(module.ddl_workspace_bytes(batch.handle), dtype=torch.uint8)
        module.ddl_forward(
            batch.handle,
            **place,
            labels=labels.data_ptr(),
            margin=margin,
            eps=eps,
            topk_divisor=topk_divisor,
            pairing=pairing,
            select=select,
            detach=detach,
            workspace=workspace.data_ptr(),
            terms=terms.data_ptr(),
            score_grads=score_grads.data_ptr() if training else 0,
            feature_dynamics=dynamics.data_ptr(),
        )
    return terms, score_grads, dynamics if training else scores.new_empty(0)


def backward(
    grad_terms: Tensor,
    scores: Tensor,
    features: Tensor,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    score_grads: Tensor,
    feature_dynamics: Tensor,
    *,
    eps: float,
    detach: str,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of scores and features, contiguous, from what ``forward`` left.

    A term whose gradient is 0 adds nothing to the scores', even where its own derivative is not
    finite.
    """
    batch = _batch(scores, features, lengths, cu_seqlens)
    saved = batch.saved(grad_terms, score_grads, feature_dynamics)
    with _on_device(scores.device) as place:
        grad_scores = scores.new_empty(scores.shape)
        grad_features = features.new_empty(features.shape)
        _module().ddl_backward(
            batch.handle,
            **place,
            eps=eps,
            detach=detach,
            **{name: tensor.data_ptr() for name, tensor in saved.items()},
            grad_scores=grad_scores.data_ptr(),
            grad_features=grad_features.data_ptr(),
        )
    return grad_scores, grad_features


class _on_device:  # noqa: N801 - used like torch.cuda.device
    """Makes a device current; returns the arguments ``device`` and ``stream`` of the module."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._guard = torch.cuda.device(device)

    def __enter__(self) -> dict[str, int]:
        self._guard.__enter__()
        return {
            "device": torch.cuda.current_device(),
            "stream": torch.cuda.current_stream(self._device).cuda_stream,
        }

    def __exit__(self, *error: Any) -> None:
        self._guard.__exit__(*error)


def _batch(
    scores: Tensor, features: Tensor, lengths: Tensor | None, cu_seqlens: Tensor | None
) -> Batch:
    check_call(NAME.upper(), why_not, scores, features, lengths, cu_seqlens)
    return Batch(_module(), scores, features, lengths, cu_seqlens)


def _module() -> Any:
    if _native.cuda is None:
        raise RuntimeError(_native.cuda_problem)
    return _native.cuda
