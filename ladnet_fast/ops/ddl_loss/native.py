"""The losses on the CPU, by the compiled module.

Forward reads every feature row once and leaves the feature dynamics behind; backward reads them
once more and writes their gradient. `forward_with_gradient` does both at once, where what backward
will be given is known. The derivation is in csrc/cpu/ddl.md.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import _native
from .. import _blocks
from ._compiled import DTYPES, Batch, check_call, checked_divisor

NAME = "native"


def _score_dtype(features: Tensor) -> torch.dtype:
    return torch.float64 if features.dtype == torch.float64 else torch.float32


def why_not(scores: Tensor, features: Tensor) -> list[str]:
    """Return every reason why this backend cannot serve these tensors; empty if it can."""
    reasons = []
    if _native.cpu_problem is not None:
        reasons.append(_native.cpu_problem)
    for name, tensor in (("scores", scores), ("features", features)):
        if tensor.device.type != "cpu":
            reasons.append(f"it serves CPU tensors, and {name} is on {tensor.device}")
    if features.dtype not in DTYPES:
        reasons.append(
            f"it serves features in float32, float64, bfloat16 or float16, not {features.dtype}"
        )
    elif scores.dtype != _score_dtype(features):
        reasons.append(
            f"beside features in {features.dtype} it serves scores in {_score_dtype(features)}, "
            f"not {scores.dtype}"
        )
    return reasons


def forward(
    scores: Tensor,
    features: Tensor,
    labels: Tensor,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    **options: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``(terms, score_grads, feature_dynamics)`` as `schema` describes them."""
    return forward_with_gradient(
        scores, features, labels, lengths, cu_seqlens, **options, grad_alignment=None
    )[:3]


def forward_with_gradient(
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
    grad_alignment: float | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return what `forward` does and the gradient of the features, in one pass over them.

    The gradient is that of ``grad_alignment`` times the alignment, contiguous, to the bits that
    `backward` gives for ``grad_terms[2] = grad_alignment``; None if that is None.
    """
    batch = _batch(scores, features, lengths, cu_seqlens)
    labels = batch.labels(labels)
    terms = scores.new_empty(3)
    score_grads = scores.new_empty((3, *scores.shape) if training else 0)
    dynamics = scores.new_empty(scores.shape)
    grad_features = None if grad_alignment is None else _blocks.empty(features, features.shape)
    _module().ddl_forward(
        batch.handle,
        labels=labels.data_ptr(),
        margin=margin,
        eps=eps,
        topk_divisor=checked_divisor(topk_divisor),
        pairing=pairing,
        select=select,
        detach=detach,
        threads=torch.get_num_threads(),
        terms=terms.data_ptr(),
        score_grads=score_grads.data_ptr() if training else 0,
        feature_dynamics=dynamics.data_ptr(),
        grad_alignment=0.0 if grad_alignment is None else grad_alignment,
        grad_features=0 if grad_features is None else grad_features.data_ptr(),
    )
    dynamics = dynamics if training else scores.new_empty(0)
    return terms, score_grads, dynamics, grad_features


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

    A term whose gradient is 0 adds nothing, even where its own derivative is not finite.
    """
    batch = _batch(scores, features, lengths, cu_seqlens)
    grad_features = _blocks.empty(features, features.shape)
    grad_scores = _backward(
        batch, grad_terms, score_grads, feature_dynamics, grad_features, eps, detach
    )
    return grad_scores, grad_features


def backward_of_scores(
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
) -> Tensor:
    """Return the first of the gradients that `backward` returns; the features are not read."""
    batch = _batch(scores, features, lengths, cu_seqlens)
    return _backward(batch, grad_terms, score_grads, feature_dynamics, None, eps, detach)


def _backward(
    batch: Batch,
    grad_terms: Tensor,
    score_grads: Tensor,
    feature_dynamics: Tensor,
    grad_features: Tensor | None,
    eps: float,
    detach: str,
) -> Tensor:
    saved = batch.saved(grad_terms, score_grads, feature_dynamics)
    grad_scores = batch.scores.new_empty(batch.scores.shape)
    _module().ddl_backward(
        batch.handle,
        eps=eps,
        detach=detach,
        threads=torch.get_num_threads(),
        **{name: tensor.data_ptr() for name, tensor in saved.items()},
        grad_scores=grad_scores.data_ptr(),
        grad_features=0 if grad_features is None else grad_features.data_ptr(),
    )
    return grad_scores


def _batch(
    scores: Tensor, features: Tensor, lengths: Tensor | None, cu_seqlens: Tensor | None
) -> Batch:
    check_call(NAME, why_not, scores, features, lengths, cu_seqlens)
    batch = Batch(_module(), scores, features, lengths, cu_seqlens)
    _check_values(batch)
    return batch


def _module() -> Any:
    if _native.cpu is None:
        raise RuntimeError(_native.cpu_problem)
    return _native.cpu


def _check_values(batch: Batch) -> None:
    """Raise ``ValueError`` for lengths or offsets that would lead out of the tensors."""
    T = batch.T
    if batch.cu_seqlens is not None:
        offsets = batch.cu_seqlens
        if offsets[0] != 0 or offsets[-1] != T or offsets.diff().min() < 1:
            raise ValueError(
                f"cu_seqlens must start at 0, rise from bag to bag and end at T = {T}; "
                f"got {offsets.tolist()}"
            )
    elif batch.lengths is not None:
        least, most = batch.lengths.min(), batch.lengths.max()
        if least < 1 or most > T:
            raise ValueError(f"lengths must be from 1 to T = {T}; got {least} to {most}")
