"""A training step does not wait for the device: on the meta device there is no value to read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor

from ladnet_fast import DDLLoss, DDLTerms, LANet
from ladnet_fast.data import Batch
from ladnet_fast.data.batch_reader import PackedBatch
from ladnet_fast.engine.step import Evidence, TrainingStep
from ladnet_fast.ops.ddl_loss.correlation import correlation_loss
from ladnet_fast.ops.ddl_loss.definition import Options, ddl_terms

META = torch.device("meta")
#: What a host does that has to wait for a GPU, each in another way.
READS: dict[str, Callable[[Tensor], object]] = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x.detach().sum()),
    "if": lambda x: bool((x > 0).all()),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "numpy": lambda x: x.detach().numpy(),
    "mask": lambda x: x[x > 0],
    "nonzero": lambda x: x.nonzero(),
    "unique": lambda x: x.unique(),
    "equal": lambda x: torch.equal(x, x),
    "repeat": lambda x: x.flatten().repeat_interleave(x.flatten().long()),
}


class Reading(DDLLoss):
    """Losses that look at a value."""

    def __init__(self, read: Callable[[Tensor], object]) -> None:
        super().__init__()
        self._read = read

    def forward(self, scores: Tensor, *arguments: Any, **options: Any) -> DDLTerms:
        self._read(scores)
        return super().forward(scores, *arguments, **options)


@pytest.fixture(scope="module", autouse=True)
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def whole_step(
    accelerator: Accelerator, criterion: DDLLoss, *, packed: bool = False, query: bool = False,
    prior: str = "additive", learn_prior: bool = True, clip_norm: float | None = None,
    parts: int = 1,
) -> list[Evidence]:  # fmt: skip
    """Do two steps on the meta device, as training does them on a GPU; return what is left."""
    sizes = {"feature_dim": 12, "hidden_dim": 8, "mlp_dims": (16, 8), "prior": prior}
    net = LANet(**sizes, learn_prior=learn_prior, query_dim=5 if query else None).to(META)
    adam = torch.optim.Adam([p for p in net.parameters() if p.requires_grad])
    optimizer = AcceleratedOptimizer(adam, device_placement=False)
    step = TrainingStep(
        accelerator, net, net, criterion, optimizer,
        accumulate=parts, clip_norm=clip_norm, look_at_weights=True,
    )  # fmt: skip
    shape = (1, 30) if packed else (3, 10)
    features = torch.empty(*shape, 12, device=META)
    queries = torch.empty(*shape, 5, device=META) if query else None
    labels = torch.empty(3, device=META)
    places = torch.empty(4 if packed else 3, dtype=torch.int64, device=META)
    kind = PackedBatch if packed else Batch
    found = []
    for _ in range(2 * parts):
        total, evidence = step.losses(kind(features, places, labels, queries))
        step.descend(total, parts)
        found.append(evidence.kept())
    assert {"exp_avg", "exp_avg_sq", "step"} <= set(adam.state[net.classifier.weight])
    return found


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"clip_norm": 1.0}, id="padded"),
        pytest.param({"packed": True, "prior": "logit"}, id="packed"),
        pytest.param({"query": True, "learn_prior": False, "parts": 2}, id="queries-in-parts"),
        pytest.param({"packed": True, "query": True, "prior": "none"}, id="packed-queries"),
    ],
)
@pytest.mark.parametrize("form", ["product", "correlation"])
def test_no_value_is_read_between_forward_and_optimiser(
    accelerator: Accelerator, options: dict[str, Any], form: str
) -> None:
    criterion = DDLLoss.from_preset("paper", alignment_form=form)
    for evidence in whole_step(accelerator, criterion, **options):
        assert evidence.values.device == evidence.scores.device == META
        assert evidence.peaks is not None
        assert evidence.peaks.shape[0] >= 16


@pytest.mark.parametrize("read", READS)
def test_a_value_that_is_read_would_be_found(accelerator: Accelerator, read: str) -> None:
    with pytest.raises((RuntimeError, NotImplementedError, TypeError), match=r"(?i)meta"):
        whole_step(accelerator, Reading(READS[read]))


@pytest.mark.parametrize("pairing", ["batch_mean", "all_pairs", "one_to_one"])
def test_losses_in_plain_pytorch_read_no_value_of_padded_bags(pairing: str) -> None:
    # What a GPU without the compiled module computes; on the meta device the operator would answer.
    scores = torch.empty(3, 10, device=META, requires_grad=True)
    features = torch.empty(3, 10, 4, device=META, requires_grad=True)
    labels = torch.empty(3, dtype=torch.bool, device=META)
    lengths = torch.empty(3, dtype=torch.int64, device=META)
    for select in ("topk", "all"):
        options = Options(0.1, 16, 1e-6, pairing, select, "none")
        sum(ddl_terms(scores, features, labels, lengths, None, options)).backward()
    correlation_loss(scores, features, lengths, None, "none").backward()
    assert scores.grad is not None


def test_correlation_reads_no_value_of_packed_bags() -> None:
    scores = torch.empty(10, device=META, requires_grad=True)
    features = torch.empty(10, 4, device=META, requires_grad=True)
    offsets = torch.empty(4, dtype=torch.int64, device=META)
    correlation_loss(scores, features, None, offsets, "score").backward()
    assert features.grad is not None
