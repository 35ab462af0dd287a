"""The losses as PyTorch functions that autograd differentiates: the definition of the operator.

Every backend is compared with it, in float64. Bags are padded to (N, T). In the formulas bag i has
t_i snippets with scores s and features x.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Options(NamedTuple):
    """What the losses depend on besides tensors; see `ladnet_fast.functional.ddl_loss`."""

    margin: float
    topk_divisor: int
    eps: float
    pairing: str
    select: str
    detach: str


class Bags(NamedTuple):
    """Padded bags with their padding replaced by zeros."""

    scores: Tensor  # [N, T]
    features: Tensor  # [N, T, C], in the dtype of the scores
    lengths: Tensor  # [N] int64
    valid: Tensor  # [N, T] bool
    pairs: Tensor  # [N, T - 1] bool: snippet t and its successor both belong to the bag


def padded_bags(
    scores: Tensor, features: Tensor, lengths: Tensor | None, cu_seqlens: Tensor | None
) -> Bags:
    """Bring padded or packed arguments to `Bags`."""
    if cu_seqlens is not None:
        sizes = cu_seqlens.diff()
        parts = sizes.tolist()
        scores = torch.nn.utils.rnn.pad_sequence(list(scores.split(parts)), batch_first=True)
        features = torch.nn.utils.rnn.pad_sequence(list(features.split(parts)), batch_first=True)
        lengths = sizes
    N, T = scores.shape
    if lengths is None:
        lengths = torch.full((N,), T, device=scores.device)
    valid = torch.arange(T, device=scores.device) < lengths[:, None]
    # Padding may hold NaN: it must reach no product, or the backward pass meets it again.
    scores = torch.where(valid, scores, 0)
    features = torch.where(valid[..., None], features.to(scores.dtype), 0)
    return Bags(scores, features, lengths, valid, valid[:, 1:])


def topk_mean(values: Tensor, valid: Tensor, k: Tensor) -> Tensor:
    """Return the mean of the ``k[i]`` largest valid values of each row; 0 where ``k[i]`` is 0.

    A stable sort lets the lowest index win among equals. NaN counts as the largest value.
    """
    ordered = values.masked_fill(~valid, -torch.inf).sort(dim=1, descending=True, stable=True)[0]
    chosen = torch.arange(values.shape[1], device=values.device) < k[:, None]
    return torch.where(chosen, ordered, 0).sum(dim=1) / k.clamp(min=1)


def mil_loss(bags: Bags, labels: Tensor, options: Options) -> Tensor:
    """Return the mean binary cross entropy of the bags' scores.

    p_i = mean of the k largest scores of a positive bag, k = floor(t_i / topk_divisor) + 1 and at
    most t_i; the maximum of a negative one.
    """
    k = torch.minimum(bags.lengths // options.topk_divisor + 1, bags.lengths)
    p = topk_mean(bags.scores, bags.valid, torch.where(labels, k, 1))
    # torch's cross entropy refuses what is no probability; the loss reports it as NaN instead,
    # because a check of values would wait for the device.
    sound = (p >= 0) & (p <= 1)
    loss = F.binary_cross_entropy(torch.where(sound, p, 0.5), labels.to(p.dtype), reduction="none")
    return torch.where(sound, loss, torch.nan).mean()


def dynamics_energy(bags: Bags, options: Options) -> Tensor:
    """Return E of every bag: the mean of the chosen ds_t^2, with ds_t = |s_t - s_{t+1}|.

    Chosen are the k = min(floor(t_i / topk_divisor) + 1, t_i - 1) largest, or all with
    ``select="all"``. A bag of one snippet has E = 0.
    """
    ds2 = (bags.scores[:, :-1] - bags.scores[:, 1:]).square()
    steps = bags.lengths - 1
    k = torch.minimum(bags.lengths // options.topk_divisor + 1, steps)
    return topk_mean(ds2, bags.pairs, steps if options.select == "all" else k)


def ranking_loss(bags: Bags, labels: Tensor, options: Options) -> Tensor:
    """Return the hinge max(0, margin - E_a + E_n) between positive and negative bags.

    ``pairing`` says which: the class means, the mean over all pairs, or the mean over the i-th
    positive with the i-th negative bag. Without one of the classes it is 0.
    """
    energy = dynamics_energy(bags, options)
    N = energy.shape[0]
    positives, negatives = labels.sum(), (~labels).sum()
    # relu rather than clamp: its derivative at the kink is 0.
    if options.pairing == "batch_mean":
        positive = torch.where(labels, energy, 0).sum() / positives.clamp(min=1)
        negative = torch.where(labels, 0, energy).sum() / negatives.clamp(min=1)
        loss = torch.relu(options.margin - positive + negative)
    elif options.pairing == "all_pairs":
        hinges = torch.relu(options.margin - energy[:, None] + energy[None, :])
        paired = labels[:, None] & ~labels[None, :]
        loss = torch.where(paired, hinges, 0).sum() / (positives * negatives).clamp(min=1)
    else:  # one_to_one
        i = torch.arange(N, device=energy.device)
        ith_positive = torch.argsort((~labels).to(torch.int8), stable=True)
        ith_negative = torch.argsort(labels.to(torch.int8), stable=True)
        hinges = torch.relu(options.margin - energy[ith_positive] + energy[ith_negative])
        count = torch.minimum(positives, negatives)
        loss = torch.where(i < count, hinges, 0).sum() / count.clamp(min=1)
    return torch.where((positives > 0) & (negatives > 0), loss, 0 * loss)


def feature_dynamics(features: Tensor) -> Tensor:
    """Return df_t = 1 - cos(x_t, x_{t+1}) in [0, 1], shape (N, T - 1).

    Computed as |u - v|^2 / 2 with u, v the rows at unit length: 1 - cos would cancel for rows that
    are nearly the same. A zero row has cos 0. The gradient is 0 where the clamp at 1 holds.
    """
    largest = features.detach().abs().amax(dim=-1, keepdim=True)
    zero = largest == 0
    # The scale of a row drops out of the result; taking it out first keeps squares in range.
    scaled = features / torch.where(zero, 1, largest)
    unit = scaled / torch.where(zero, 1, torch.linalg.vector_norm(scaled, dim=-1, keepdim=True))
    df = (unit[:, :-1] - unit[:, 1:]).square().sum(dim=-1) / 2
    undefined = (zero[:, :-1] | zero[:, 1:]).squeeze(-1)
    return torch.where(undefined | (df >= 1), 1, df)


def alignment_loss(bags: Bags, options: Options) -> Tensor:
    """Return (1/N) sum_i 1/(t_i - 1) sum_t -ds_t log(df_t + eps); a bag of one snippet gives 0."""
    ds = (bags.scores[:, :-1] - bags.scores[:, 1:]).abs()
    df = feature_dynamics(bags.features)
    ds = ds.detach() if options.detach == "score" else ds
    df = df.detach() if options.detach == "feature" else df
    steps = torch.where(bags.pairs, -ds * torch.log(df + options.eps), 0)
    return (steps.sum(dim=1) / (bags.lengths - 1).clamp(min=1)).mean()


def ddl_terms(
    scores: Tensor,
    features: Tensor,
    labels: Tensor,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    options: Options,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the MIL, ranking and alignment losses. Checked arguments only; labels are bool."""
    bags = padded_bags(scores, features, lengths, cu_seqlens)
    return (
        mil_loss(bags, labels, options),
        ranking_loss(bags, labels, options),
        alignment_loss(bags, options),
    )
