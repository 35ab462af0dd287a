"""torch.library definitions of the DDL losses: schemas, fakes and autograd.

The forward operator leaves behind what the backward needs per snippet, not per feature: the
gradients of the three terms with respect to the scores, and the feature dynamics. So the features
are read once forward, and once more backward where their gradient is written.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from torch import Tensor

from .._autograd import no_second_derivative
from .._operator import operator
from . import cuda, native, reference

#: impl -> the module that serves it; see the same table of locality attention.
BACKENDS: dict[str, ModuleType] = {"reference": reference, "native": native, "cuda": cuda}


@operator("ladnet_fast::ddl_loss")
def ddl_forward(
    scores: Tensor,
    features: Tensor,
    labels: Tensor,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    margin: float,
    topk_divisor: int,
    eps: float,
    pairing: str,
    select: str,
    detach: str,
    training: bool,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``(terms, score_grads, feature_dynamics)``.

    ``terms`` (3,): MIL, ranking, alignment, in the dtype of the scores. When ``training``,
    ``score_grads`` (3, *scores.shape) holds d term / d score, and ``feature_dynamics``, shaped as
    the scores, df_t at snippet t and 0 at a bag's last snippet and on padding; otherwise both are
    empty. Scores are float32 (float64 beside float64 features).
    Only ``terms`` has a derivative.
    """
    return BACKENDS[impl].forward(
        scores, features, labels, lengths, cu_seqlens,
        margin=margin, topk_divisor=topk_divisor, eps=eps,
        pairing=pairing, select=select, detach=detach, training=training,
    )  # fmt: skip


@ddl_forward.register_fake
def _(
    scores: Tensor,
    features: Tensor,
    labels: Tensor,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    margin: float,
    topk_divisor: int,
    eps: float,
    pairing: str,
    select: str,
    detach: str,
    training: bool,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor]:
    terms = scores.new_empty(3)
    if not training:
        return terms, scores.new_empty(0), scores.new_empty(0)
    return terms, scores.new_empty(3, *scores.shape), scores.new_empty(scores.shape)


@operator("ladnet_fast::ddl_loss_backward")
def ddl_backward(
    grad_terms: Tensor,
    scores: Tensor,
    features: Tensor,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    score_grads: Tensor,
    feature_dynamics: Tensor,
    eps: float,
    detach: str,
    impl: str,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of scores and features, contiguous."""
    return BACKENDS[impl].backward(
        grad_terms, scores, features, lengths, cu_seqlens, score_grads, feature_dynamics,
        eps=eps, detach=detach,
    )  # fmt: skip


@ddl_backward.register_fake
def _(
    grad_terms: Tensor,
    scores: Tensor,
    features: Tensor,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    score_grads: Tensor,
    feature_dynamics: Tensor,
    eps: float,
    detach: str,
    impl: str,
) -> tuple[Tensor, Tensor]:
    return scores.new_empty(scores.shape), features.new_empty(features.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    scores, features, _, lengths, cu_seqlens, _, _, ctx.eps, _, _, ctx.detach, _, ctx.impl = inputs
    _, score_grads, dynamics = output
    ctx.save_for_backward(scores, features, lengths, cu_seqlens, score_grads, dynamics)
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, grad_terms: Tensor | None, *_: Any) -> tuple[Any, ...]:
    if grad_terms is None:
        return (None,) * 13
    scores, features, lengths, cu_seqlens, score_grads, dynamics = ctx.saved_tensors
    grad_scores, grad_features = ddl_backward(
        grad_terms, scores, features, lengths, cu_seqlens, score_grads, dynamics,
        ctx.eps, ctx.detach, ctx.impl,
    )  # fmt: skip
    return (grad_scores, grad_features, *(None,) * 11)


_refuse = no_second_derivative("ddl_loss has", "impl='reference' outside torch.compile")

ddl_forward.register_autograd(_differentiate, setup_context=_setup_context)
ddl_backward.register_autograd(_refuse)
