"""Training in memory: forward, loss, backward, step, and the scores after every epoch.

Order of bags, random streams, learning rate and held-out bags are those of the engine, so that a
run here gives the weights that ``ladnet-fast train`` gives with the same options.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ladnet_fast.data import BagDataset, Video, collate, train_validation_split
from ladnet_fast.engine.batches import BatchPlan
from ladnet_fast.engine.process import seed_step
from ladnet_fast.engine.run import learning_rate

from . import baselines
from .datasets import Bags, DataSet, Part, training_bags
from .figures import bag_criteria, test_figures
from .grid import Setup, TrialConfig
from .trials import trial_terms

Scorer = Callable[[Tensor, Tensor], Tensor]
_BASELINES: dict[str, Callable[[int], nn.Module]] = {
    "mlp": baselines.MLP,
    "sultani": baselines.Sultani,
    "rtfm": baselines.RTFM,
}


@dataclass
class PartRun:
    """What the training on one part gave, epoch by epoch."""

    scores: list[NDArray[np.float32]] = field(default_factory=list)  # of all test snippets
    criteria: list[dict[str, float]] = field(default_factory=list)  # of the held-out bags
    train_seconds: list[float] = field(default_factory=list)
    score_seconds: list[float] = field(default_factory=list)
    sigma: float | None = None


def run(dataset: DataSet, setup: Setup, seed: int) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """Train and score one configuration with one seed.

    Returns
    -------
    (dict, ndarray)
        Figures and times, JSON types; and the scores (epochs, snippets) of the test videos.
    """
    parts = [_run_part(part, setup, seed) for part in dataset.parts]
    scores = np.concatenate([np.stack(part.scores) for part in parts], axis=1)
    epochs = [test_figures(row.astype(np.float64), dataset.truth) for row in scores]
    criteria: list[dict[str, float]] = []
    if parts[0].criteria:
        criteria = [
            {name: float(np.mean([p.criteria[e][name] for p in parts])) for name in first}
            for e, first in enumerate(parts[0].criteria)
        ]
    result = {
        "epochs": epochs,
        "criteria": criteria,
        "train_seconds": [
            float(sum(p.train_seconds[e] for p in parts)) for e in range(len(epochs))
        ],
        "score_seconds": [
            float(sum(p.score_seconds[e] for p in parts)) for e in range(len(epochs))
        ],
        "sigma": [part.sigma for part in parts],
    }
    return result, scores


def _run_part(part: Part, setup: Setup, seed: int) -> PartRun:
    training = setup.config.training
    train, held_out = list(part.train), list[Video]()
    if training.validation > 0:
        train, held_out = train_validation_split(train, fraction=training.validation, seed=seed)
    bags = training_bags(train, training)
    shift = _normaliser(bags, setup.trial)
    tests = [Bags(part.test), *([Bags(held_out)] if held_out else [])]
    padded = [[(i, shift(x), lengths) for i, x, lengths in t.padded()] for t in tests]
    labels = np.array([video.known_label for video in held_out])
    found = PartRun()

    def finish(score: Scorer, seconds: float) -> None:
        start = time.perf_counter()
        results = [_scores(score, b, rows) for b, rows in zip(tests, padded, strict=True)]
        found.scores.append(results[0])
        if held_out:
            video = np.repeat(np.arange(len(held_out)), tests[1].lengths)
            found.criteria.append(bag_criteria(results[1].astype(np.float64), video, labels))
        found.train_seconds.append(seconds)
        found.score_seconds.append(time.perf_counter() - start)

    with torch.random.fork_rng(devices=[]):
        if setup.trial.method == "logistic":
            _logistic(bags, shift, seed, finish)
        else:
            found.sigma = _train(bags, shift, setup, seed, finish)
    return found


def _train(
    bags: BagDataset,
    shift: Callable[[Tensor], Tensor],
    setup: Setup,
    seed: int,
    finish: Callable[[Scorer, float], None],
) -> float | None:
    training, trial = setup.config.training, setup.trial
    plan = BatchPlan(bags.labels, training.batch_size, balanced=training.balanced, seed=seed)
    torch.manual_seed(seed)
    net, loss = _network(bags.feature_dim, setup)
    optimizer = torch.optim.Adam(
        net.parameters(), lr=training.lr, weight_decay=training.weight_decay
    )

    def score(x: Tensor, lengths: Tensor) -> Tensor:
        scores: Tensor = net(x, lengths)[0]
        return scores

    for epoch in range(training.epochs):
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(training, epoch)
        warmth = min((epoch + 1) / (trial.warmup_epochs + 1), 1.0)
        net.train()
        for step, [samples] in enumerate(plan.epoch(epoch)):
            batch = collate([bags[i] for i in samples])
            seed_step(seed, epoch, step, 0, 0)
            scores, features = net(shift(batch.features), batch.lengths)
            total = loss(scores, features, batch.labels, batch.lengths, warmth)
            if not torch.isfinite(total):
                raise FloatingPointError(
                    f"epoch {epoch + 1}, step {step + 1}: the loss is {total.item()}; lower "
                    "training.lr or the weights of this configuration"
                )
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
        seconds = time.perf_counter() - start
        net.eval()
        finish(score, seconds)
    prior = getattr(getattr(net, "attention", None), "prior", None)
    if prior is None or prior.form != "gaussian":
        return None
    with torch.no_grad():
        return float((1 / (2 * prior()[0])).mean())


def _network(feature_dim: int, setup: Setup) -> tuple[nn.Module, Callable[..., Tensor]]:
    """Return a network and its loss of (scores, features, labels, lengths, warmth)."""
    trial = setup.trial
    if trial.method in _BASELINES:
        baseline = _BASELINES[trial.method](feature_dim)

        def own(scores: Tensor, features: Tensor, labels: Tensor, lengths: Tensor, _: float) -> Any:
            return baseline.loss(scores, features, labels, lengths)  # type: ignore[operator]

        return baseline, own
    config = setup.config
    criterion = config.loss.build()

    def loss(
        scores: Tensor, features: Tensor, labels: Tensor, lengths: Tensor, warmth: float
    ) -> Tensor:
        terms = criterion(scores, features, labels, lengths=lengths)
        total: Tensor = terms.total if warmth == 1 else terms.mil.lerp(terms.total, warmth)
        extra = trial_terms(scores, features, labels, lengths, trial)
        return total if extra is None else total + warmth * extra

    net = config.replace(model={"feature_dim": feature_dim}).model.build()
    prior = net.attention.prior
    if trial.sigmas and prior is not None:
        widths = torch.tensor(trial.sigmas, dtype=torch.float64)
        # The inverse of softplus; the state holds the entry itself, learned or not.
        prior.state_dict()["raw_sigma"].copy_(widths + torch.log(-torch.expm1(-widths)))
    return net, loss


def _scores(score: Scorer, bags: Bags, padded: list[Any]) -> NDArray[np.float32]:
    sums = [np.zeros(length) for length in bags.lengths]
    with torch.inference_mode():
        for videos, x, lengths in padded:
            scores = score(x, lengths).double().numpy()
            for row, video in zip(scores, videos, strict=True):
                sums[video] += row[: bags.lengths[video]]
    means = [total / crops for total, crops in zip(sums, bags.crops, strict=True)]
    return np.concatenate(means).astype(np.float32)


def _normaliser(bags: BagDataset, trial: TrialConfig) -> Callable[[Tensor], Tensor]:
    if trial.normalise == "l2":
        return lambda x: torch.nn.functional.normalize(x, dim=-1)
    if trial.normalise == "z":
        rows = torch.cat([bags[i].features for i in range(len(bags))])
        mean, scale = rows.mean(dim=0), rows.std(dim=0).clamp(min=1e-6)
        return lambda x: (x - mean) / scale
    return lambda x: x


def _logistic(
    bags: BagDataset,
    shift: Callable[[Tensor], Tensor],
    seed: int,
    finish: Callable[[Scorer, float], None],
) -> None:
    start = time.perf_counter()
    means = torch.stack([shift(bags[i].features).mean(dim=0) for i in range(len(bags))])
    centre, scale, weight, bias = baselines.logistic_scores(means, bags.labels, seed)
    seconds = time.perf_counter() - start
    finish(lambda x, _: torch.sigmoid((x - centre) / scale @ weight + bias), seconds)
