"""CUDA graphs and streams: captured once and replayed, or beside each other, with the same bits."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import ladnet_fast.functional as LF
from benchmarks import impls
from benchmarks.vocabulary import Outputs

from .judging import Unavailable
from .problems import OWN, PRIORS
from .settings import chosen_sizes
from .sizes import Sizes
from .test_determinism import differences

LAYOUTS = ("padded", "packed")
_REPLAYS = 10
#: Streams beside each other, and calls on each.
_STREAMS, _CALLS = 3, 4


@dataclass(frozen=True)
class Captured:
    """A call, forward and backward, on tensors that stay where they are.

    ``draw`` fills them with new numbers; ``call`` computes everything from what they hold.
    """

    inputs: list[Tensor]
    call: Callable[[], Outputs]
    reasons: list[str]

    def draw(self) -> None:
        """Fill the inputs with new numbers."""
        with torch.no_grad():
            for x in self.inputs:
                x.copy_(torch.rand_like(x))


def ddl(device: torch.device, sizes: Sizes, layout: str, kind: str = "") -> Captured:
    """Return the losses of bags of one length."""
    N, T, C = sizes.bags, sizes.snippets, sizes.features
    scores = torch.rand(N * T, device=device).requires_grad_()
    features = torch.randn(N * T, C, device=device).requires_grad_()
    labels = torch.arange(N, device=device) % 2 == 0
    offsets = torch.arange(0, N * T + 1, T, device=device)
    lengths = torch.full((N,), T, device=device)
    impl = OWN[device.type]["ddl_loss"]

    def call() -> Outputs:
        if layout == "packed":
            terms = LF.ddl_loss(scores, features, labels, cu_seqlens=offsets, impl=impl)
        else:
            shaped = (scores.view(N, T), features.view(N, T, C))
            terms = LF.ddl_loss(*shaped, labels, lengths=lengths, impl=impl)
        grads = torch.autograd.grad(terms.total, (scores, features))
        return {"total": terms.total.detach(), "dscores": grads[0], "dfeatures": grads[1]}

    reasons = impls.why_not("ddl_loss", impl, scores, features)
    return Captured([scores, features], call, reasons)


def attention(device: torch.device, sizes: Sizes, layout: str, kind: str) -> Captured:
    """Return attention of bags of different lengths; their padding is left out of the outputs."""
    N, H, T, d = sizes.bags, sizes.heads, sizes.snippets, sizes.head_size
    lengths = torch.tensor([T - i * (T // (2 * N)) for i in range(N)], device=device)
    ends = torch.cumsum(lengths, 0)
    offsets = torch.cat([ends.new_zeros(1), ends])
    shape = (N, H, T, d) if layout == "padded" else (1, H, int(ends[-1]), d)
    q, k, v, grad = (torch.randn(*shape, device=device).to(sizes.dtypes[0]) for _ in range(4))
    w = torch.tensor([1 / 16, -0.003, 0.0][:H], device=device)
    b = torch.tensor([0.0, 0.5, 0.7][:H], device=device)
    leaves = [x.requires_grad_() for x in (q, k, v)]
    named = ["dq", "dk", "dv"]
    if kind != "none":
        leaves += [w.requires_grad_(), b.requires_grad_()]
        named += ["dw", "db"]
    impl = OWN[device.type]["locality_attention"]
    bags: dict[str, Any] = {"lengths": lengths} if layout == "padded" else {"cu_seqlens": offsets}

    def call() -> Outputs:
        out = LF.locality_attention(q, k, v, w, b, prior=kind, impl=impl, **bags)
        grads = torch.autograd.grad(out, leaves, grad)
        return {"out": out.detach(), **dict(zip(named, grads, strict=True))}

    reasons = impls.why_not("locality_attention", impl, q, k, v)
    return Captured([q, k, v, grad], call, reasons)


MAKERS: dict[str, tuple[Callable[..., Captured], str, str]] = {
    **{f"ddl_loss, {layout}": (ddl, layout, "") for layout in LAYOUTS},
    **{
        f"locality_attention, {prior}, {layout}": (attention, layout, prior)
        for prior in PRIORS
        for layout in LAYOUTS
    },
}


@pytest.mark.gpu
@pytest.mark.parametrize("name", [f"graph: {name}" for name in MAKERS])
def test_replays_on_new_inputs_give_the_bits_of_eager_calls(name, device, check):
    check(lambda: capture(device, chosen_sizes(), *MAKERS[name.removeprefix("graph: ")]))


@pytest.mark.gpu
@pytest.mark.parametrize("name", [f"streams: {name}" for name in MAKERS])
def test_streams_beside_each_other_do_not_change_a_bit(name, device, check):
    check(lambda: beside(device, chosen_sizes(), *MAKERS[name.removeprefix("streams: ")]))


def capture(
    device: torch.device,
    sizes: Sizes,
    make: Callable[..., Captured],
    layout: str,
    kind: str,
) -> tuple[bool, str]:
    """Return whether replays give the bits of eager calls on the same new inputs."""
    if device.type != "cuda":
        raise Unavailable("CUDA graphs need a CUDA device")
    if os.environ.get("LADNET_CHECK") == "1":
        raise Unavailable(
            "LADNET_CHECK=1 looks at lengths on the host, for which the device cannot be waited "
            "while it is captured; unset it"
        )
    made = _made(make(device, sizes, layout, kind))
    # The first calls load kernels and allocate, which a capture does not allow.
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(3):
            made.call()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = made.call()
    for turn in range(_REPLAYS):
        made.draw()
        graph.replay()
        torch.cuda.synchronize(device)
        changed = differences(captured, made.call())
        if changed:
            return False, f"{', '.join(changed)} of replay {turn + 1} differ from an eager call"
    return True, f"{_REPLAYS} replays with new inputs, bit for bit the eager result"


def beside(
    device: torch.device,
    sizes: Sizes,
    make: Callable[..., Captured],
    layout: str,
    kind: str,
    *,
    stream: Callable[[torch.device], Any] | None = None,
) -> tuple[bool, str]:
    """Return whether calls on several streams at once give the bits of calls one by one.

    ``stream`` makes a context in which calls are queued on a stream of its own.
    """
    if device.type != "cuda" and stream is None:
        raise Unavailable("streams need a CUDA device")
    contexts = [(stream or _stream)(device) for _ in range(_STREAMS)]
    made = [_made(make(device, sizes, layout, kind)) for _ in contexts]
    for captured in made:
        captured.draw()
    alone = [captured.call() for captured in made]
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    found: list[list[Outputs]] = [[] for _ in made]
    for _ in range(_CALLS):
        for i, context in enumerate(contexts):
            with context:
                found[i].append(made[i].call())
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    for i, before in enumerate(alone):
        for turn, after in enumerate(found[i]):
            changed = differences(after, before)
            if changed:
                return False, f"{', '.join(changed)} changed in call {turn + 1} of stream {i + 1}"
    return True, f"{_STREAMS} streams at once, {_CALLS} calls on each, bit for bit"


def _stream(device: torch.device) -> Any:
    own = torch.cuda.Stream(device)
    own.wait_stream(torch.cuda.current_stream(device))
    return torch.cuda.stream(own)


def _made(captured: Captured) -> Captured:
    if captured.reasons:
        raise Unavailable("; ".join(captured.reasons))
    return captured
