"""LANet as a whole: its forward pass, and the step of training."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ladnet_fast import DDLLoss, LANet
from ladnet_fast.ops.locality_attention.layout import lse_dtype

from .. import impls, peers
from ..oracle import blockwise_networks
from ..vocabulary import Call, Case, Cost, Op, Outputs, Side, subsets

#: Bags longer than this meet the oracle block by block.
_LONG = 4096


@dataclass(frozen=True)
class Inputs:
    """A network with the default sizes but for ``feature_dim``, and a batch."""

    net: LANet
    x: Tensor
    labels: Tensor
    lengths: Tensor | None


def build(case: Case, device: torch.device) -> Inputs:
    """Draw the weights and normal features; "ragged" bags have 25 % to 100 % of T."""
    B, T, D = (case.shape[axis] for axis in "BTD")
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = LANet(feature_dim=D)
    x = torch.randn(B, T, D, generator=generator)
    lengths = None
    if case.variant == "ragged":
        lengths = torch.randint(max(1, T // 4), T + 1, (B,), generator=generator).to(device)
    labels = torch.arange(B, device=device) % 2 == 0
    return Inputs(net.to(device, case.dtype), x.to(device, case.dtype), labels, lengths)


#: Ours with PyTorch's linear layers: what the native ones bring.
_TORCH_LAYERS = "native_torch_layers"
_OWN = ("native", _TORCH_LAYERS, "cuda")
#: A step of training on a GPU as one CUDA graph.
CAPTURED = "captured"


def _network(inputs: Inputs, name: str) -> LANet:
    if name in _OWN or name == CAPTURED:
        # "auto", as users have it: it also chooses how the linear layers are computed.
        return peers.with_impl(inputs.net, "auto")
    if name == "sdpa":
        return peers.with_plain_attention(inputs.net)
    return peers.with_impl(inputs.net, "reference")


def _forward(inputs: Inputs, check: bool, *, name: str) -> Call:
    net = _network(inputs, name).eval()
    forward: Any = peers.network_forward
    if name == "compiled":
        forward = peers.compiled(forward)

    def call() -> Outputs:
        with torch.inference_mode():
            return forward(net, inputs.x, inputs.lengths)._asdict()

    return _with_layers_of(name, call)


def _with_layers_of(name: str, call: Call) -> Call:
    return peers.with_torch_layers(call) if name == _TORCH_LAYERS else call


def _step(inputs: Inputs, check: bool, *, name: str, optimizer: bool) -> Call:
    # Dropout draws at random, so the checked call goes without it; gradients flow all the same.
    net = _network(inputs, name).train(not check)
    own = name in _OWN or name == CAPTURED
    criterion = DDLLoss.from_preset("paper", impl="auto" if own else "reference")
    step: Any = peers.network_step
    if name == "compiled":
        step = peers.compiled(step)
    adam = torch.optim.Adam(net.parameters(), lr=5e-4) if optimizer and not check else None

    def call() -> Outputs:
        net.zero_grad(set_to_none=True)
        loss = step(net, criterion, inputs.x, inputs.labels, inputs.lengths)
        loss.backward()
        if adam is not None:
            adam.step()
        return _gradients(net, loss) if check else {"loss": loss.detach()}

    return _captured(call) if name == CAPTURED else _with_layers_of(name, call)


def _captured(call: Call) -> Call:
    """Return a call as one CUDA graph; its results lie in the same memory at every replay."""
    # The first calls load kernels and allocate, which a capture does not allow.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = call()

    def replay() -> Outputs:
        graph.replay()
        return results

    return replay


def _why_not_captured(inputs: Inputs) -> list[str]:
    if inputs.x.device.type != "cuda":
        return ["CUDA graphs need a CUDA device"]
    return _why_not(inputs, impl="cuda", losses=True)


def _gradients(net: LANet, loss: Tensor) -> Outputs:
    # Judged together: some are tiny sums of large terms (that of the keys' bias is exactly 0), and
    # their rounding errors are in proportion to the terms.
    grads = [p.grad.flatten() for p in net.parameters() if p.grad is not None]
    return {"loss": loss.detach(), "gradients": torch.cat(grads)}


def _oracle_forward(inputs: Inputs, target: str, dtype: torch.dtype) -> Outputs:
    # A double copy of the network; without the prior for the peer that has none.
    net = _oracle_network(inputs, target, dtype)
    x = inputs.x.to(dtype)
    with torch.inference_mode():
        if x.shape[1] <= _LONG:
            return net(x, inputs.lengths)._asdict()
        with blockwise_networks():
            return net(x, inputs.lengths)._asdict()


def _oracle_step(inputs: Inputs, target: str, dtype: torch.dtype) -> Outputs:
    net = _oracle_network(inputs, target, dtype)
    criterion = DDLLoss.from_preset("paper", impl="reference")
    loss = peers.network_step(net, criterion, inputs.x.to(dtype), inputs.labels, inputs.lengths)
    loss.backward()
    return _gradients(net, loss)


def _oracle_network(inputs: Inputs, target: str, dtype: torch.dtype) -> LANet:
    net = peers.with_impl(inputs.net, "reference").to(dtype).eval()
    if target == "none":
        net.attention.prior_kind = "none"
    return net


def _why_not(inputs: Inputs, *, impl: str, losses: bool) -> list[str]:
    # Asked for tensors of the widths that the layers hand to the two operators.
    q = inputs.x.new_empty(1, 1, 1, inputs.net.attention.q.out_features)
    # The losses get scores in the dtype of sums.
    scores = inputs.x.new_empty(1, 1, dtype=lse_dtype(inputs.x.dtype))
    features = inputs.x.new_empty(1, 1, 1)
    attention = "triton" if impl == "cuda" else impl
    reasons = impls.why_not("locality_attention", attention, q, q, q)
    return reasons + (impls.why_not("ddl_loss", impl, scores, features) if losses else [])


def _why_not_plain(inputs: Inputs) -> list[str]:
    return [] if inputs.lengths is None else ["it takes full bags only"]


def _sides(prepare: Any, *, plain: bool, losses: bool, capture: bool = False) -> tuple[Side, ...]:
    own = [
        Side(
            name,
            functools.partial(prepare, name=name),
            own=True,
            why_not=functools.partial(_why_not, impl=name.partition("_")[0], losses=losses),
        )
        for name in _OWN
    ]
    peer = [
        Side("eager", functools.partial(prepare, name="eager")),
        Side(
            "compiled",
            functools.partial(prepare, name="compiled"),
            why_not=peers.why_not_compiled,
        ),
    ]
    if losses and capture:
        captured = functools.partial(prepare, name=CAPTURED)
        own.append(Side(CAPTURED, captured, own=True, why_not=_why_not_captured))
    if plain:
        sdpa = functools.partial(prepare, name="sdpa")
        peer.append(Side("sdpa", sdpa, target="none", why_not=_why_not_plain))
    return (*own, *peer)


def _flops(case: Case) -> float:
    """Count the forward pass with the default sizes: linear layers, attention, convolution."""
    B, T, D = (case.shape[axis] for axis in "BTD")
    hidden, middle, out, kernel = 128, 512, 128, 7
    layers = 4 * D * hidden + D * middle + middle * out + kernel * out
    return 2.0 * B * T * layers + 4.0 * B * T * T * hidden


def _cost_forward(case: Case) -> Cost:
    B, T, D = (case.shape[axis] for axis in "BTD")
    full = 8.0 * B * T * T * 5 if T <= _LONG else 2.0**30
    return Cost(flops=_flops(case), check_bytes=full + 8.0 * B * T * D * 8)


def _cost_step(case: Case) -> Cost:
    B, T, D = (case.shape[axis] for axis in "BTD")
    check_bytes = 8.0 * B * T * (T * 8 + D * 10)
    return Cost(flops=3 * _flops(case), check_bytes=check_bytes)


_BEHIND = {
    _TORCH_LAYERS: "where PyTorch's layers serve on both sides, they differ by chance.",
    "sdpa": "it has no prior; at 200 snippets both spend most time in PyTorch's linear layers.",
    "compiled": "at 200 snippets PyTorch's linear layers take most of both sides' time, and a "
    "compiled graph spares the calls between them.",
}
FORWARD = Op(
    "lanet_forward",
    "LANet, forward",
    build,
    _oracle_forward,
    _cost_forward,
    _sides(_forward, plain=True, losses=False),
    tiny={"B": 2, "T": 37, "D": 24},
    behind=_BEHIND,
)
STEP = Op(
    "training_step",
    "Training step: forward, DDL losses, backward",
    build,
    _oracle_step,
    _cost_step,
    _sides(functools.partial(_step, optimizer=False), plain=False, losses=True, capture=True),
    tiny={"B": 4, "T": 33, "D": 24},
    varies=None,
    behind=_BEHIND,
)
STEP_ADAM = Op(
    "training_step_adam",
    "Training step with Adam: forward, DDL losses, backward, update",
    build,
    _oracle_step,
    _cost_step,
    _sides(functools.partial(_step, optimizer=True), plain=False, losses=True),
    tiny={"B": 4, "T": 33, "D": 24},
    varies=None,
    behind=_BEHIND,
)
OPS = (FORWARD, STEP, STEP_ADAM)


def cases() -> list[Case]:
    """Return the cases: one video of 200 to 16,384 snippets; the paper's training batch."""
    batch = {"B": 128, "T": 200, "D": 1024}
    step_sides = (*_OWN, "eager", "compiled")
    return [
        *(_forward_case(T) for T in (200, 1024, 4096, 16384)),
        Case(STEP, batch, step_sides, subsets=subsets("quick", "bars"), memory=("native", "eager")),
        Case(STEP, batch, step_sides, variant="ragged"),
        Case(STEP_ADAM, batch, step_sides),
    ]


def _forward_case(T: int) -> Case:
    chosen = {200: ("quick",), 1024: ("quick",), 4096: ("quick", "bars"), 16384: ("bars",)}[T]
    sides = (*_OWN, "sdpa", "eager")
    return Case(
        FORWARD,
        {"B": 1, "T": T, "D": 1024},
        sides if T == 16384 else (*sides, "compiled"),
        subsets=subsets(*chosen),
        memory=("native", "sdpa", "eager") if T >= 4096 else (),
    )
