"""Losses on trial: what the accuracy benchmark tries beside the package's own, all ours.

They rest on the plain PyTorch form of the package's losses and are differentiated by autograd.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ladnet_fast.ops.ddl_loss.definition import feature_dynamics, topk_mean

from .grid import TrialConfig

_EPS = 1e-6
#: The default of DDLLoss: k = floor(t / 16) + 1.
_TOPK_DIVISOR = 16
#: Scores are averaged over up to five snippets, two on each side.
_REACH = 2


def trial_terms(
    scores: Tensor, features: Tensor, labels: Tensor, lengths: Tensor, trial: TrialConfig
) -> Tensor | None:
    """Return the weighted sum of the terms on trial, or None without any."""
    terms = []
    if trial.push_weight or trial.correlation_weight or trial.crossentropy_weight:
        terms.append(_alignments(scores, features, lengths, trial))
    if trial.ranking != "none":
        terms.append(trial.ranking_weight * ranking_term(scores, labels, lengths, trial))
    return sum(terms[1:], start=terms[0]) if terms else None


def _alignments(scores: Tensor, features: Tensor, lengths: Tensor, trial: TrialConfig) -> Tensor:
    """Return the control and the alignments that are normalised within the bag.

    With score dynamics ds and feature dynamics df, over the n snippet pairs of each bag, then
    averaged over the bags: push = mean(-log(df + eps)); correlation = 1 - corr(ds, df);
    cross entropy = -sum(p log q), p and q being ds and df (plus eps) divided by their sums.
    """
    valid = torch.arange(1, scores.shape[1]) < lengths[:, None]
    n = (lengths - 1).clamp(min=1)
    df = torch.where(valid, feature_dynamics(features), 0)
    total = scores.new_zeros(())
    if trial.push_weight:
        push = torch.where(valid, -torch.log(df + _EPS), 0).sum(dim=1) / n
        total = total + trial.push_weight * push.mean()
    ds = torch.where(valid, scores.diff(dim=1).abs(), 0)
    ds = ds.detach() if trial.detach == "score" else ds
    df = df.detach() if trial.detach == "feature" else df
    if trial.correlation_weight:
        centred = [torch.where(valid, x - (x.sum(dim=1) / n)[:, None], 0) for x in (ds, df)]
        a, b = centred
        # Bags of one pair, or whose dynamics are all alike, have no correlation: 1 - 0.
        norm = (a.square().sum(dim=1) * b.square().sum(dim=1) + 1e-16).sqrt()
        total = total + trial.correlation_weight * (1 - (a * b).sum(dim=1) / norm).mean()
    if trial.crossentropy_weight:
        p, q = (
            torch.where(valid, x + _EPS, 0)
            / (x + _EPS * valid).sum(dim=1, keepdim=True).clamp(_EPS)
            for x in (ds, df)
        )
        entropy = torch.where(valid, -p * torch.log(torch.where(valid, q, 1)), 0).sum(dim=1)
        total = total + trial.crossentropy_weight * entropy.mean()
    return total


def ranking_term(scores: Tensor, labels: Tensor, lengths: Tensor, trial: TrialConfig) -> Tensor:
    """Return max(0, margin - E_a + E_n), E_a and E_n the means of E over the bags of a class.

    With k = floor(t / 16) + 1 snippets or pairs of a bag of t snippets, E is

    - partly: the paper's, the mean of the k largest squared score dynamics; but an anomalous bag
      counts only if the mean of its k highest scores is at least 1/2 and that of its k lowest
      below, so that bags which are anomalous throughout ask for no jumps;
    - spread: the mean of the k highest scores minus that of the k lowest, wherever they lie;
    - smoothed: the paper's, of scores that are averaged over five snippets, so that a single
      snippet's flicker is no dynamics.

    It is 0 where no bag of one of the classes counts.
    """
    valid = torch.arange(scores.shape[1]) < lengths[:, None]
    k = torch.minimum(lengths // _TOPK_DIVISOR + 1, lengths)
    highest = topk_mean(scores, valid, k)
    lowest = -topk_mean(-scores, valid, k)
    anomalous = labels.bool()
    normal = ~anomalous
    if trial.ranking == "spread":
        energy = highest - lowest
    else:
        if trial.ranking == "smoothed":
            scores = _smoothed(scores, valid)
        else:
            anomalous = anomalous & (highest >= 0.5) & (lowest < 0.5)
        jumps = scores.diff(dim=1).square()
        energy = topk_mean(jumps, valid[:, 1:], torch.minimum(k, lengths - 1))
    if not (anomalous.any() and normal.any()):
        return 0 * energy.sum()
    return torch.relu(trial.ranking_margin - energy[anomalous].mean() + energy[normal].mean())


def _smoothed(scores: Tensor, valid: Tensor) -> Tensor:
    """Return each score's mean with up to two neighbours on either side, within its bag."""
    width = 2 * _REACH + 1
    sums, counts = (
        torch.nn.functional.pad(x, (_REACH, _REACH)).unfold(1, width, 1).sum(dim=-1)
        for x in (torch.where(valid, scores, 0), valid.to(scores.dtype))
    )
    return torch.where(valid, sums / counts.clamp(min=1), 0)
