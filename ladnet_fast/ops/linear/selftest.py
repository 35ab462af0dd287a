"""The native linear layers against PyTorch's, timed on this machine.

Both sides compute what `ladnet_fast.LANet` does around its attention, at the default sizes: once
forward as in scoring, once forward and backward as in training. They take turns, and the verdict
is about the ratios inside the turns, so that a machine that slows down for a while does not decide.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from . import masks, schema

#: How many times faster the native layers must be, in the median.
MARGIN = 1.1
#: A pass has at least so many turns, and more while they disagree about the margin, but not after
#: so many seconds.
LEAST_TURNS, MOST_TURNS, MOST_SECONDS = 4, 15, 1.0
_WIDTH, _HIDDEN, _MLP, _DROPOUT = 1024, 128, (512, 128), 0.1
_EPS = 1e-5

Call = Callable[[], object]
#: Seconds of one turn: the native layers' and PyTorch's.
Turn = tuple[float, float]


@dataclass(frozen=True)
class Timings:
    """Seconds of every turn, forward alone and forward with backward."""

    forward: tuple[Turn, ...]
    training: tuple[Turn, ...]


def speedup(turns: tuple[Turn, ...]) -> float:
    """Return how many times faster the native layers are than PyTorch's, in the median."""
    return statistics.median(torch_time / native for native, torch_time in turns)


def native_wins(turns: tuple[Turn, ...]) -> bool:
    """Judge one pass: by the margin, in the median of the turns and between the best times.

    The best times are those that other work on the machine disturbed least.
    """
    native, torch_time = (min(times) for times in zip(*turns, strict=True))
    return speedup(turns) >= MARGIN and torch_time / native >= MARGIN


def measure(
    snippets: int,
    *,
    sides: Callable[[int], tuple[tuple[Call, Call], tuple[Call, Call]]] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Timings:
    """Time both sides with the number of threads that torch is set to.

    The calls run in a thread of their own, which none of the caller's modes reaches: autocast,
    inference mode, tracing. Torch's generators are left as they were.

    Parameters
    ----------
    snippets : int
        In the batch.
    sides : callable, optional
        Returns the calls to time, for ``snippets``: (native, torch) forward, then both passes.
    clock : callable
        Returns seconds.
    """

    def run() -> Timings:
        forward, training = (sides or _sides)(snippets)
        with torch.random.fork_rng(devices=[]):  # dropout draws
            return Timings(_take_turns(*forward, clock), _take_turns(*training, clock))

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ladnet-self-test") as alone:
        return alone.submit(run).result()


def _take_turns(native: Call, torch_: Call, clock: Callable[[], float]) -> tuple[Turn, ...]:
    for call in (native, torch_):
        call()  # memory, threads and tables that only the first call needs
    turns: list[Turn] = []
    end = clock() + MOST_SECONDS
    while len(turns) < LEAST_TURNS or (
        len(turns) < MOST_TURNS and _disagree(turns) and clock() < end
    ):
        first_is_native = len(turns) % 2 == 0
        times = list(_timed((native, torch_) if first_is_native else (torch_, native), clock))
        turns.append((times[0], times[1]) if first_is_native else (times[1], times[0]))
    return tuple(turns)


def _timed(calls: tuple[Call, Call], clock: Callable[[], float]) -> Iterator[float]:
    for call in calls:
        begin = clock()
        call()
        yield clock() - begin


def _disagree(turns: list[Turn]) -> bool:
    return len({torch_time / native >= MARGIN for native, torch_time in turns}) > 1


# ---- The two sides ------------------------------------------------------------------------------


def _sides(snippets: int) -> tuple[tuple[Call, Call], tuple[Call, Call]]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        drawn = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
        return drawn.mul_(scale)

    def linear(inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
        return normal(outputs, inputs, scale=inputs**-0.5).requires_grad_(), normal(
            outputs
        ).requires_grad_()

    x = normal(1, snippets, _WIDTH)
    front = [linear(_WIDTH, _HIDDEN) for _ in range(3)]
    widths = (_WIDTH, *_MLP)
    behind = [linear(_HIDDEN, _WIDTH), *(linear(a, b) for a, b in pairwise(widths))]
    norm = torch.ones(_WIDTH).requires_grad_(), torch.zeros(_WIDTH).requires_grad_()
    parameters = [p for layer in (*front, *behind) for p in layer] + list(norm)

    front_weights, front_biases = ([layer[i] for layer in front] for i in (0, 1))
    weights, biases = ([layer[i] for layer in behind] for i in (0, 1))

    def in_torch(dropout: float) -> Tensor:
        q, k, v = (F.linear(x, w, b) for w, b in front)
        y = F.linear(q + k + v, weights[0], biases[0]) + x
        y = F.layer_norm(y, y.shape[-1:], *norm, _EPS)
        for i, (w, b) in enumerate(behind[1:]):
            y = F.dropout(F.gelu(y), dropout) if i else y
            y = F.linear(y, w, b)
        return F.dropout(y, dropout)

    def in_native(dropout: float) -> Tensor:
        q, k, v = schema.projections(schema.Projections(x, front_weights, front_biases, None))
        keeps = [
            masks.draw(x.new_empty(1, snippets, width, dtype=torch.bool), 1 - dropout)
            for width in (_MLP if dropout else ())
        ]
        call = schema.ResidualMLP(
            q + k + v, x, *norm, weights, biases, keeps, 1 / (1 - dropout), _EPS, None
        )
        out: Tensor = schema.residual_mlp(call, torch.is_grad_enabled())[0]
        return out

    def network(native: bool, dropout: float) -> Tensor:
        return in_native(dropout) if native else in_torch(dropout)

    def forward(native: bool) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return (network(native, 0.0),)

    def train(native: bool) -> tuple[Tensor, ...]:
        features = network(native, _DROPOUT)
        return torch.autograd.grad(features, parameters, torch.ones_like(features))

    return (
        (lambda: forward(True), lambda: forward(False)),
        (lambda: train(True), lambda: train(False)),
    )
