"""What the compiled backends share: how tensors are checked and handed to their modules.

Every address that reaches a module comes from a tensor that was checked here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .._memory import check_memory

#: The dtypes of features, by the names that the modules take.
DTYPES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}


def check_call(
    name: str,
    why_not: Callable[[Tensor, Tensor], list[str]],
    scores: Tensor,
    features: Tensor,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
) -> None:
    """Raise ``ValueError`` unless shapes fit each other and the backend ``name`` can serve."""
    packed = cu_seqlens is not None
    if packed and lengths is not None:
        raise ValueError("lengths and cu_seqlens exclude each other; got both")
    if scores.dim() != (1 if packed else 2) or scores.numel() == 0:
        layout = "(total,)" if packed else "(B, T)"
        raise ValueError(f"scores must be {layout} and not empty; got {tuple(scores.shape)}")
    if features.dim() != scores.dim() + 1 or features.shape[:-1] != scores.shape:
        raise ValueError(
            f"features must be {(*scores.shape, 'C')}, one row per score; "
            f"got {tuple(features.shape)}"
        )
    reasons = why_not(scores, features)
    if features.device != scores.device:
        reasons.append(f"features are on {features.device}, scores on {scores.device}")
    if math.prod(features.shape) * features.element_size() >= 2**62:
        reasons.append(f"features of shape {tuple(features.shape)} exceed 2^62 bytes")
    if reasons:
        raise ValueError(f"the {name} ddl_loss cannot serve this call: " + "; ".join(reasons))


class Batch:
    """Scores and features of a batch, and a module's ``handle`` of them.

    The object keeps the tensors alive that ``handle`` points into. Values of ``lengths`` and
    ``cu_seqlens``, which are kept contiguous, are not looked at.

    Parameters
    ----------
    module
        ``ladnet_fast._cpu`` or ``ladnet_fast._cuda``.
    scores, features, lengths, cu_seqlens
        As `schema` describes them, and as `check_call` has found them good.

    Raises
    ------
    ValueError
        If lengths or cu_seqlens have another shape, dtype or device than they must.
    """

    def __init__(
        self,
        module: Any,
        scores: Tensor,
        features: Tensor,
        lengths: Tensor | None,
        cu_seqlens: Tensor | None,
    ) -> None:
        check_memory("scores", scores)
        check_memory("features", features)
        if features.stride(-1) != 1 and features.shape[-1] > 1:
            features = features.contiguous()
        self.scores = scores.contiguous()
        self.features = features
        self.T = scores.shape[-1]
        self.lengths: Tensor | None = None
        self.cu_seqlens: Tensor | None = None
        device = scores.device
        if cu_seqlens is not None:
            self.bags = cu_seqlens.numel() - 1
            shape = (max(self.bags, 1) + 1,)
            self.cu_seqlens = contiguous("cu_seqlens", cu_seqlens, shape, torch.int64, device)
        else:
            self.bags = scores.shape[0]
            if lengths is not None:
                self.lengths = contiguous("lengths", lengths, (self.bags,), torch.int64, device)
        self.handle = module.DdlBatch(
            bags=self.bags,
            T=self.T,
            width=features.shape[-1],
            scores=self.scores.data_ptr(),
            features=features.data_ptr(),
            dtype=DTYPES[features.dtype],
            batch_stride=0 if self.cu_seqlens is not None else features.stride(0),
            row_stride=features.stride(-2),
            lengths=0 if self.lengths is None else self.lengths.data_ptr(),
            cu_seqlens=0 if self.cu_seqlens is None else self.cu_seqlens.data_ptr(),
        )

    def labels(self, labels: Tensor) -> Tensor:
        """Return labels as the modules read them: bool, one per bag."""
        check_memory("labels", labels)
        return contiguous(
            "labels", labels.to(torch.bool), (self.bags,), torch.bool, self.scores.device
        )

    def saved(
        self, grad_terms: Tensor, score_grads: Tensor, feature_dynamics: Tensor
    ) -> dict[str, Tensor]:
        """Return by name what the backward pass reads beside the batch itself, checked."""
        shape = tuple(self.scores.shape)
        expected = {
            "grad_terms": (grad_terms, (3,)),
            "score_grads": (score_grads, (3, *shape)),
            "feature_dynamics": (feature_dynamics, shape),
        }
        kind = (self.scores.dtype, self.scores.device)
        return {
            name: contiguous(name, tensor, its_shape, *kind)
            for name, (tensor, its_shape) in expected.items()
        }


def contiguous(
    name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the tensor, contiguous; ``ValueError`` unless dtype, shape and device are these."""
    if tuple(tensor.shape) != shape or tensor.dtype != dtype or tensor.device != device:
        raise ValueError(
            f"{name} must be {dtype} of shape {shape} on {device}; got {tensor.dtype} of shape "
            f"{tuple(tensor.shape)} on {tensor.device}"
        )
    check_memory(name, tensor)
    return tensor.contiguous()


def checked_divisor(topk_divisor: int) -> int:
    """Return the divisor, at most 2^62 to fit in an int64; ``ValueError`` if it is less than 1."""
    if topk_divisor < 1:
        raise ValueError(f"topk_divisor must be at least 1; got {topk_divisor}")
    # No bag is longer than 2^62 snippets: a larger divisor means the same.
    return min(topk_divisor, 2**62)
