"""A training step on a GPU: it waits for nothing, and captured in a graph it trains the same."""

from __future__ import annotations

import copy
import os
from typing import Any

import pytest
import torch
from torch import Tensor

import ladnet_fast
from ladnet_fast import DDLLoss, LANet
from ladnet_fast.data import Batch
from ladnet_fast.engine.captured import CapturedStep, CudaGraphs, Recorder, Recording
from ladnet_fast.engine.late_reading import LAG, LateReading
from ladnet_fast.engine.step import Evidence, TrainingStep
from tests.engine.tape import Tape

from .judging import Unavailable
from .settings import chosen_sizes
from .sizes import TINY, Sizes
from .test_determinism import differences

#: Snippets that bags are padded to, as the paper does.
SNIPPETS = 200
STEPS = 12
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16}


class OneProcess:
    """What a step asks of an ``accelerate.Accelerator``, in one process; nothing is installed."""

    sync_gradients = True

    def __init__(self, dtype: torch.dtype | None) -> None:
        self.dtype = dtype

    def reduce(self, x: Tensor, kind: str) -> Tensor:
        return x.clone()

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def clip_grad_norm_(self, parameters: Any, norm: float) -> None:
        torch.nn.utils.clip_grad_norm_(parameters, norm)


class Training:
    """A network, its optimiser with the learning rate on the device, and batches to train on."""

    def __init__(self, device: torch.device, sizes: Sizes, dtype: torch.dtype | None) -> None:
        torch.manual_seed(0)
        self.width, self.bags = 8 * sizes.features, sizes.bags
        self.net = LANet(feature_dim=self.width, hidden_dim=sizes.head_size).to(device).train()
        self.lr = torch.tensor(5e-4, device=device)
        on_gpu = device.type == "cuda"
        self.optimizer = torch.optim.Adam(
            self.net.parameters(), lr=self.lr, fused=True, capturable=on_gpu
        )
        model = self.net if dtype is None else Autocast(self.net, device, dtype)
        self.step = TrainingStep(
            OneProcess(dtype), model, self.net, DDLLoss.from_preset("paper"), self.optimizer,
            accumulate=1, clip_norm=1.0, look_at_weights=True,
        )  # fmt: skip
        self.device = device

    def batch(self, number: int, bags: int) -> Batch:
        """Return a batch of ragged bags; the longest is shorter than `SNIPPETS` in some."""
        random = torch.Generator().manual_seed(number)
        longest = SNIPPETS - 17 * (number % 3)
        lengths = torch.randint(1, longest + 1, (bags,), generator=random)
        lengths[0] = longest
        features = torch.randn(bags, longest, self.width, generator=random)
        labels = (torch.arange(bags) % 2).float()
        return Batch(*(x.to(self.device) for x in (features, lengths, labels)), None)

    def whole(self, batch: Batch) -> Evidence:
        total, evidence = self.step.losses(batch)
        self.step.descend(total, 1)
        return evidence


class Autocast(torch.nn.Module):
    """A network under autocast whose results are float32, as Accelerate makes it."""

    def __init__(self, net: LANet, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.net, self.kind, self.dtype = net, device.type, dtype

    def forward(self, *arguments: Any, **options: Any) -> Any:
        with torch.autocast(self.kind, dtype=self.dtype):
            out = self.net(*arguments, **options)
        return type(out)(*(x.float() for x in out))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_training_step_waits_for_nothing(precision, device, check):
    check(lambda: waits(device, chosen_sizes(), PRECISIONS[precision]))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", PRECISIONS)
def test_captured_steps_train_to_the_bits_of_eager_ones(precision, device, check):
    check(lambda: capture(device, chosen_sizes(), PRECISIONS[precision]))


def waits(device: torch.device, sizes: Sizes, dtype: torch.dtype | None) -> tuple[bool, str]:
    """Return whether steps run through where CUDA refuses to wait for the device."""
    _require(device)
    training = Training(device, sizes, dtype)
    batches = [training.batch(number, training.bags) for number in range(3 + LAG)]
    for batch in batches[:3]:  # loads kernels, makes the optimiser's state
        training.whole(batch)
    torch.cuda.synchronize(device)
    reading, found = LateReading(device), []
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches[3:]:
            reading.add(training.whole(batch).values, found.append)
    except RuntimeError as error:
        return False, f"a step waits for the device: {error}"
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    early = len(found)
    reading.finish()
    return early == 0 and len(found) == LAG, f"{LAG} steps, of which {early} were waited for"


def capture(
    device: torch.device,
    sizes: Sizes,
    dtype: torch.dtype | None,
    recorder: Recorder | None = None,
) -> tuple[bool, str]:
    """Return whether captured steps give the losses and weights of eager ones, bit for bit."""
    if recorder is None:
        _require(device)
        recorder = CudaGraphs(device)
    results = {}
    for name, warm_ups in (("eager", STEPS), ("captured", 3)):
        training = Training(device, sizes, dtype)
        call = CapturedStep(
            training.whole, recorder, (training.bags, SNIPPETS, training.width), None, device,
            warm_ups=warm_ups,
        )  # fmt: skip
        losses = []
        for number in range(STEPS):
            torch.manual_seed(number)  # dropout
            training.lr.fill_(5e-4 / (1 + number))
            bags = training.bags - (number == STEPS - 3)  # a smaller batch between the others
            losses.append(call(training.batch(number, bags)).values)
        weights = copy.deepcopy(training.net.state_dict())
        results[name] = {**weights, "losses": torch.stack(losses)}
    if not results["eager"]["losses"].isfinite().all():
        return False, "the losses of eager steps are not finite"
    changed = differences(results["captured"], results["eager"])
    if changed:
        largest = max(
            (results["captured"][name] - results["eager"][name]).abs().max().item()
            for name in changed
        )
        return False, f"{', '.join(changed)} differ, by at most {largest:.3g}"
    return True, f"{STEPS} steps, {STEPS - 4} of them replays: the same bits"


def _require(device: torch.device) -> None:
    if device.type != "cuda":
        raise Unavailable("CUDA graphs and CUDA's check for waiting need a CUDA device")
    if os.environ.get("LADNET_CHECK") == "1":
        raise Unavailable("LADNET_CHECK=1 looks at lengths on the host in every step; unset it")


# ---- The checks themselves, with a tape in the graph's place -------------------------------------


class Stale(Tape):
    """Replays nothing after the first time."""

    def record(self, body):
        recording = super().record(body)
        return Recording(lambda: None, recording.evidence)


@pytest.mark.parametrize("kind", [Tape, Stale])
def test_the_comparison_passes_what_is_replayed_and_finds_what_is_not(kind):
    cpu = torch.device("cpu")
    with ladnet_fast.use_impl("reference"):
        passed, found = capture(cpu, TINY, None, kind(cpu))
    assert passed == (kind is Tape), found


def test_what_needs_a_gpu_says_so(monkeypatch):
    for judge in (waits, capture):
        with pytest.raises(Unavailable, match="CUDA device"):
            judge(torch.device("cpu"), TINY, None)
    monkeypatch.setenv("LADNET_CHECK", "1")
    with pytest.raises(Unavailable, match="LADNET_CHECK=1"):
        waits(torch.device("cuda"), TINY, None)
