"""The losses on the CPU, by the compiled module.

Forward reads every feature row once and leaves the feature dynamics behind; backward reads them
once more and writes their gradient. The derivation is in csrc/cpu/ddl.md.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ... import _native

NAME = "native"

# Numbers that csrc/core gives to the same names.
_DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
_PAIRINGS = {"batch_mean": 0, "all_pairs": 1, "one_to_one": 2}
_SELECTS = {"topk": 0, "all": 1}
_DETACHES = {"none": 0, "score": 1, "feature": 2}


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
    if features.dtype not in _DTYPES:
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
    *,
    margin: float,
    topk_divisor: int,
    eps: float,
    pairing: str,
    select: str,
    detach: str,
    training: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``(terms, score_grads, feature_dynamics)`` as :mod:`.schema` describes them."""
    batch = _Batch(scores, features, lengths, cu_seqlens)
    labels = labels.to(torch.bool).contiguous()
    _expect("labels", labels, (batch.bags,), torch.bool)
    if topk_divisor < 1:
        raise ValueError(f"topk_divisor must be at least 1; got {topk_divisor}")
    terms = scores.new_empty(3)
    score_grads = scores.new_empty((3, *scores.shape) if training else 0)
    dynamics = scores.new_empty(scores.shape)
    _module().ddl_forward(
        batch.handle,
        labels=labels.data_ptr(),
        margin=margin,
        eps=eps,
        # No bag is longer than 2^62 snippets: a larger divisor means the same.
        topk_divisor=min(topk_divisor, 2**62),
        pairing=_PAIRINGS[pairing],
        select=_SELECTS[select],
        detach=_DETACHES[detach],
        threads=torch.get_num_threads(),
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

    A term whose gradient is 0 adds nothing, even where its own derivative is not finite.
    """
    batch = _Batch(scores, features, lengths, cu_seqlens)
    grad_terms, score_grads, feature_dynamics = (
        tensor.contiguous() for tensor in (grad_terms, score_grads, feature_dynamics)
    )
    _expect("grad_terms", grad_terms, (3,), scores.dtype)
    _expect("score_grads", score_grads, (3, *scores.shape), scores.dtype)
    _expect("feature_dynamics", feature_dynamics, tuple(scores.shape), scores.dtype)
    grad_scores = scores.new_empty(scores.shape)
    grad_features = features.new_empty(features.shape)
    _module().ddl_backward(
        batch.handle,
        eps=eps,
        detach=_DETACHES[detach],
        threads=torch.get_num_threads(),
        grad_terms=grad_terms.data_ptr(),
        score_grads=score_grads.data_ptr(),
        feature_dynamics=feature_dynamics.data_ptr(),
        grad_scores=grad_scores.data_ptr(),
        grad_features=grad_features.data_ptr(),
    )
    return grad_scores, grad_features


def _module() -> Any:
    if _native.cpu is None:
        raise RuntimeError(_native.cpu_problem)
    return _native.cpu


class _Batch:
    """Scores and features, checked, as the compiled module wants them.

    Every address that reaches the module comes from a tensor that was checked here or by
    :func:`_expect`. The object keeps the tensors alive that ``handle`` points into.
    """

    def __init__(
        self,
        scores: Tensor,
        features: Tensor,
        lengths: Tensor | None,
        cu_seqlens: Tensor | None,
    ) -> None:
        reasons = why_not(scores, features)
        if reasons:
            raise ValueError("the native ddl_loss cannot serve this call: " + "; ".join(reasons))
        packed = cu_seqlens is not None
        if packed and lengths is not None:
            raise ValueError("lengths and cu_seqlens exclude each other")
        if scores.dim() != (1 if packed else 2) or scores.numel() == 0:
            layout = "(total,)" if packed else "(B, T)"
            raise ValueError(f"scores must be {layout} and not empty; got {tuple(scores.shape)}")
        if features.dim() != scores.dim() + 1 or features.shape[:-1] != scores.shape:
            raise ValueError(
                f"features must be {(*scores.shape, 'C')}, one row a score; "
                f"got {tuple(features.shape)}"
            )
        if math.prod(features.shape) * features.element_size() >= 2**62:
            raise ValueError(f"features of shape {tuple(features.shape)} exceed 2^62 bytes")
        if features.stride(-1) != 1 and features.shape[-1] > 1:
            features = features.contiguous()
        scores = scores.contiguous()
        T = scores.shape[-1]
        if cu_seqlens is not None:
            cu_seqlens = cu_seqlens.contiguous()
            self.bags = cu_seqlens.numel() - 1
            _expect("cu_seqlens", cu_seqlens, (max(self.bags, 1) + 1,), torch.int64)
            sizes = cu_seqlens.diff()
            if cu_seqlens[0] != 0 or cu_seqlens[-1] != T or sizes.min() < 1:
                raise ValueError(
                    f"cu_seqlens must start at 0, rise with every bag and end at {T}; "
                    f"got {cu_seqlens.tolist()}"
                )
        else:
            self.bags = scores.shape[0]
            if lengths is not None:
                lengths = lengths.contiguous()
                _expect("lengths", lengths, (self.bags,), torch.int64)
                if lengths.min() < 1 or lengths.max() > T:
                    raise ValueError(
                        f"lengths must be from 1 to T = {T}; got {lengths.min()} to {lengths.max()}"
                    )
        self._alive = (scores, features, lengths, cu_seqlens)
        self.handle = _module().DdlBatch(
            bags=self.bags,
            T=T,
            width=features.shape[-1],
            scores=scores.data_ptr(),
            features=features.data_ptr(),
            dtype=_DTYPES[features.dtype],
            batch_stride=0 if packed else features.stride(0),
            row_stride=features.stride(-2),
            lengths=0 if lengths is None else lengths.data_ptr(),
            cu_seqlens=0 if cu_seqlens is None else cu_seqlens.data_ptr(),
        )


def _expect(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Raise ``ValueError`` unless a contiguous tensor on the CPU is what the module will read."""
    if tuple(tensor.shape) != shape or tensor.dtype != dtype or tensor.device.type != "cpu":
        raise ValueError(
            f"{name} must be {dtype} of shape {shape} on the CPU; got {tensor.dtype} of shape "
            f"{tuple(tensor.shape)} on {tensor.device}"
        )
