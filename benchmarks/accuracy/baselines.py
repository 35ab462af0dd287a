"""Baselines that the field knows, as small reference models on the same features and bags.

Each follows its paper's idea in our training loop (Adam, our bags, our seeds); none is the authors'
code, and none is tuned. All return (scores, features) for padded bags as LA-Net does.

- `Sultani`: W. Sultani, C. Chen, M. Shah, "Real-world Anomaly Detection in Surveillance
  Videos", CVPR 2018: a hinge between the largest scores, with sparsity and smoothness.
- `RTFM`: Y. Tian et al., "Weakly-supervised Video Anomaly Detection with Robust Temporal
  Feature Magnitude Learning", ICCV 2021: magnitudes of temporal features, the top k of them.
- `MLP`: layers on single snippets with the multiple-instance loss on the top k.
- logistic regression on the means of bags, in `training` (it has no epochs).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ladnet_fast import DDLLoss


def _xavier(module: nn.Module) -> None:
    """Draw weights as LA-Net does: with PyTorch's own, a few epochs teach an MLP nothing."""
    if isinstance(module, nn.Linear | nn.Conv1d):
        nn.init.xavier_uniform_(module.weight)


def _valid(x: Tensor, lengths: Tensor) -> Tensor:
    return torch.arange(x.shape[1]) < lengths[:, None]


class MLP(nn.Module):
    """Dense layers on each snippet by itself."""

    def __init__(self, feature_dim: int, dims: tuple[int, ...] = (512, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in dims:
            layers += [nn.Linear(feature_dim, width), nn.ReLU(), nn.Dropout(0.1)]
            feature_dim = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(feature_dim, 1)
        self.mil = DDLLoss(ranking_weight=0.0, alignment_weight=0.0)
        self.apply(_xavier)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (B, T), 0 on padding, and features (B, T, C)."""
        features = self.body(x)
        scores = torch.sigmoid(self.head(features)).squeeze(-1)
        return torch.where(_valid(x, lengths), scores, 0), features

    def loss(self, scores: Tensor, features: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        """Return the multiple-instance cross entropy."""
        total: Tensor = self.mil(scores, features, labels, lengths=lengths).total
        return total


class Sultani(MLP):
    """512-32-1 with dropout 0.6; hinge of the maxima, smoothness and sparsity at 8e-5."""

    smoothness = sparsity = 8e-5

    def __init__(self, feature_dim: int) -> None:
        super().__init__(feature_dim, (512, 32))
        for layer in self.body:
            if isinstance(layer, nn.Dropout):
                layer.p = 0.6

    def loss(self, scores: Tensor, features: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        """Return the mean hinge over all pairs of an anomalous and a normal bag, and both terms."""
        valid = _valid(scores, lengths)
        largest = scores.masked_fill(~valid, -1).amax(dim=1)
        anomalous = labels > 0.5
        hinges = F.relu(1 - largest[anomalous][:, None] + largest[~anomalous][None, :])
        steps = torch.where(valid[:, 1:], scores.diff(dim=1).square(), 0)[anomalous].sum(dim=1)
        total = torch.where(valid, scores, 0)[anomalous].sum(dim=1)
        regular = self.smoothness * steps.sum() + self.sparsity * total.sum()
        return regular if hinges.numel() == 0 else hinges.mean() + regular


class RTFM(nn.Module):
    """Three dilated convolutions and self-attention, then 512-128-1 with dropout 0.7."""

    margin, magnitude_weight, smoothness, sparsity = 100.0, 1e-4, 8e-4, 8e-3

    def __init__(self, feature_dim: int, width: int = 32) -> None:
        super().__init__()
        self.pyramid = nn.ModuleList(
            nn.Conv1d(feature_dim, width, 3, padding=dilation, dilation=dilation)
            for dilation in (1, 2, 4)
        )
        self.qkv = nn.Conv1d(feature_dim, 3 * width, 1)
        self.join = nn.Conv1d(4 * width, feature_dim, 3, padding=1)
        self.head = nn.Sequential(
            nn.Linear(feature_dim, 512), nn.ReLU(), nn.Dropout(0.7),
            nn.Linear(512, 128), nn.ReLU(), nn.Dropout(0.7), nn.Linear(128, 1),
        )  # fmt: skip
        self.apply(_xavier)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (B, T), 0 on padding, and features (B, T, D)."""
        valid = _valid(x, lengths)
        rows = torch.where(valid[..., None], x, 0).transpose(1, 2)
        q, k, v = self.qkv(rows).transpose(1, 2).chunk(3, dim=-1)
        seen = torch.nn.functional.scaled_dot_product_attention(q, k, v, valid[:, None, :])
        parts = [F.relu(conv(rows)) for conv in self.pyramid] + [seen.transpose(1, 2)]
        features = F.relu(self.join(torch.cat(parts, dim=1))).transpose(1, 2) + x
        features = torch.where(valid[..., None], features, 0)
        scores = torch.sigmoid(self.head(features)).squeeze(-1)
        return torch.where(valid, scores, 0), features

    def loss(self, scores: Tensor, features: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        """Return the cross entropy at the largest magnitudes, their separation, and both terms."""
        valid = _valid(scores, lengths)
        magnitude = features.norm(dim=-1).masked_fill(~valid, -1)
        p, mean_feature = [], []
        for i, length in enumerate(lengths.tolist()):
            chosen = magnitude[i].topk(min(length // 16 + 1, length)).indices
            p.append(scores[i, chosen].mean())
            mean_feature.append(features[i, chosen].mean(dim=0).norm())
        sizes, anomalous = torch.stack(mean_feature), labels > 0.5
        loss = F.binary_cross_entropy(torch.stack(p), labels)
        if anomalous.any() and not anomalous.all():
            apart = (self.margin - sizes[anomalous]).abs().mean() + sizes[~anomalous].mean()
            loss = loss + self.magnitude_weight * apart.square()
        steps = torch.where(valid[:, 1:], scores.diff(dim=1).square(), 0)[anomalous].sum()
        sparse = torch.where(valid, scores, 0)[anomalous].square().sum(dim=1).add(1e-12).sqrt()
        count = max(int(anomalous.sum()), 1)
        return loss + self.smoothness * steps / count + self.sparsity * sparse.sum() / count


def logistic_scores(
    means: Tensor, labels: Tensor, seed: int
) -> tuple[Tensor, Tensor, Tensor, float]:
    """Fit a logistic regression to the means of bags; return mean, scale, weight and bias."""
    from ladnet_fast._extras import import_extra

    linear = import_extra("sklearn.linear_model", extra="tools", purpose="fit the baseline")
    centre, scale = means.mean(dim=0), means.std(dim=0).clamp(min=1e-6)
    model = linear.LogisticRegression(max_iter=2000, random_state=seed)
    model.fit(((means - centre) / scale).numpy(), labels.numpy())
    weight = torch.from_numpy(model.coef_[0]).float()
    return centre, scale, weight, float(model.intercept_[0])
