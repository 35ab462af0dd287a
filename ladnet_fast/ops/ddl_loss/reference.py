"""The backend "reference": plain PyTorch, with the backward pass in closed form.

It serves packed bags under torch.compile, whose sizes are data that a graph must not read, and the
meta device. Elsewhere ``impl="reference"`` calls `definition`, and autograd differentiates.

This is the derivation that the kernels follow, without their loops. For a bag of t snippets in a
batch of N, with step i from snippet i to i + 1, r_i = s_i - s_{i+1}, ds = |r|,

    d MIL / d s_i     = (p - y) / max(p (1 - p), 1e-12) / N / k   for the chosen i (as torch's BCE)
    d E / d r_i       = 2 r_i / k                                 for the chosen steps
    d alignment/d r_i = -log(df_i + eps) sign(r_i) / ((t - 1) N)
    d alignment/d df_i = -ds_i / (df_i + eps) / ((t - 1) N)       where df_i < 1

and with u, v two successive rows at unit length, df = |u - v|^2 / 2: d df / d u = u - v, and a row
x = |x| u receives (g - u <u, g>) / |x|, where g is the gradient of u.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from . import definition
from .definition import Bags, Options


def why_not(scores: Tensor, features: Tensor) -> list[str]:
    """Return no reasons: the reference serves everything that the checks let through."""
    return []


def forward(
    scores: Tensor,
    features: Tensor,
    labels: Tensor,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    *,
    training: bool,
    margin: float,
    topk_divisor: int,
    eps: float,
    pairing: str,
    select: str,
    detach: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``(terms, score_grads, feature_dynamics)`` as `schema` describes them."""
    options = Options(margin, topk_divisor, eps, pairing, select, detach)
    terms = torch.stack(
        definition.ddl_terms(scores, features, labels, lengths, cu_seqlens, options)
    )
    if not training:
        return terms, scores.new_empty(0), scores.new_empty(0)
    bags = definition.padded_bags(scores, features, lengths, cu_seqlens)
    df = torch.where(bags.pairs, definition.feature_dynamics(bags.features), 0)
    grads = torch.stack(
        [
            _mil_gradient(bags, labels, options),
            _ranking_gradient(bags, labels, options),
            _alignment_gradient(bags, df, options),
        ]
    )
    df = F.pad(df, (0, 1))
    if cu_seqlens is None:
        return terms, grads, df
    return terms, grads[:, bags.valid], df[bags.valid]


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
    """Return the gradients of scores and features, contiguous."""
    grad_scores = torch.tensordot(grad_terms, score_grads, dims=1)
    grad_features = torch.zeros_like(features, memory_format=torch.contiguous_format)
    if detach == "feature":
        return grad_scores, grad_features
    bags = definition.padded_bags(scores, features, lengths, cu_seqlens)
    df = definition.feature_dynamics(bags.features)
    ds = (bags.scores[:, :-1] - bags.scores[:, 1:]).abs()
    slope = grad_terms[2] * -ds / (df + eps) / _steps(bags)
    slope = torch.where(bags.pairs & ~(df >= 1), slope, 0)[..., None]

    largest = bags.features.abs().amax(dim=-1, keepdim=True)
    zero = largest == 0
    scaled = bags.features / torch.where(zero, 1, largest)
    norm = torch.where(zero, 1, torch.linalg.vector_norm(scaled, dim=-1, keepdim=True))
    unit = scaled / norm
    pull = slope * (unit[:, :-1] - unit[:, 1:])
    g = F.pad(pull, (0, 0, 0, 1)) - F.pad(pull, (0, 0, 1, 0))
    along = (unit * g).sum(dim=-1, keepdim=True)
    padded = torch.where(zero, 0, (g - unit * along) / norm / largest)
    if cu_seqlens is None:
        grad_features.copy_(torch.where(bags.valid[..., None], padded, 0))
    else:
        grad_features.copy_(padded[bags.valid])
    return grad_scores, grad_features


def _steps(bags: Bags) -> Tensor:
    """Return (t - 1) N of every bag, (N, 1): what its alignment is divided by."""
    return (bags.lengths - 1).clamp(min=1)[:, None] * bags.lengths.shape[0]


def _to_snippets(grad_r: Tensor) -> Tensor:
    """Turn gradients of r_i = s_i - s_{i+1}, (N, T - 1), into gradients of s, (N, T)."""
    return F.pad(grad_r, (0, 1)) - F.pad(grad_r, (1, 0))


def _topk_weights(values: Tensor, valid: Tensor, k: Tensor) -> Tensor:
    """Return 1 / k[i] where `definition.topk_mean` chooses, else 0."""
    order = values.masked_fill(~valid, -torch.inf).argsort(dim=1, descending=True, stable=True)
    rank = torch.arange(values.shape[1], device=values.device)
    chosen = (rank < k[:, None]).to(values.dtype) / k.clamp(min=1)[:, None]
    return torch.zeros_like(values).scatter(1, order, chosen)


def _mil_gradient(bags: Bags, labels: Tensor, options: Options) -> Tensor:
    k = torch.minimum(bags.lengths // options.topk_divisor + 1, bags.lengths)
    weights = _topk_weights(bags.scores, bags.valid, torch.where(labels, k, 1))
    p = (weights * bags.scores).sum(dim=1)
    slope = (p - labels.to(p.dtype)) / (p * (1 - p)).clamp(min=1e-12) / labels.shape[0]
    return slope[:, None] * weights


def _ranking_gradient(bags: Bags, labels: Tensor, options: Options) -> Tensor:
    energy = definition.dynamics_energy(bags, options)
    grad_energy = _hinge_gradient(energy, labels, options)
    r = bags.scores[:, :-1] - bags.scores[:, 1:]
    steps = bags.lengths - 1
    k = torch.minimum(bags.lengths // options.topk_divisor + 1, steps)
    weights = _topk_weights(r.square(), bags.pairs, steps if options.select == "all" else k)
    return _to_snippets(grad_energy[:, None] * weights * 2 * r)


def _hinge_gradient(energy: Tensor, labels: Tensor, options: Options) -> Tensor:
    """Return d ranking / d E of every bag: the pull of each active hinge on its two sides."""
    positive, negative = labels.nonzero()[:, 0], (~labels).nonzero()[:, 0]
    grad = torch.zeros_like(energy)
    if len(positive) == 0 or len(negative) == 0:
        return grad
    if options.pairing == "batch_mean":
        active = options.margin - energy[positive].mean() + energy[negative].mean() > 0
        grad[positive] = -active.to(grad.dtype) / len(positive)
        grad[negative] = active.to(grad.dtype) / len(negative)
    elif options.pairing == "all_pairs":
        active = options.margin - energy[positive][:, None] + energy[negative][None, :] > 0
        grad[positive] = -active.to(grad.dtype).mean(dim=1) / len(positive)
        grad[negative] = active.to(grad.dtype).mean(dim=0) / len(negative)
    else:  # one_to_one
        pairs = min(len(positive), len(negative))
        positive, negative = positive[:pairs], negative[:pairs]
        active = options.margin - energy[positive] + energy[negative] > 0
        grad[positive] = -active.to(grad.dtype) / pairs
        grad[negative] = active.to(grad.dtype) / pairs
    return grad


def _alignment_gradient(bags: Bags, df: Tensor, options: Options) -> Tensor:
    if options.detach == "score":
        return torch.zeros_like(bags.scores)
    sign = (bags.scores[:, :-1] - bags.scores[:, 1:]).sign()
    slope = -torch.log(df + options.eps) * sign / _steps(bags)
    return _to_snippets(torch.where(bags.pairs, slope, 0))
