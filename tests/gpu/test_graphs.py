"""CUDA graphs: the losses can be captured once and replayed on new inputs."""

from __future__ import annotations

import os

import pytest
import torch

import ladnet_fast.functional as LF
from benchmarks import impls
from benchmarks.vocabulary import Outputs
from ladnet_fast.functional import DDLTerms

from .judging import Unavailable
from .settings import chosen_sizes
from .sizes import Sizes
from .test_determinism import differences

LAYOUTS = {"padded": False, "packed": True}
NAMES = {f"ddl_loss, forward and backward, {layout}": packed for layout, packed in LAYOUTS.items()}


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_replays_on_new_inputs_give_the_bits_of_eager_calls(name, device, check):
    check(lambda: capture(device, chosen_sizes(), NAMES[name]))


def capture(device: torch.device, sizes: Sizes, packed: bool) -> tuple[bool, str]:
    """Return whether replays give the bits of eager calls on the same new inputs."""
    if device.type != "cuda":
        raise Unavailable("CUDA graphs need a CUDA device")
    if os.environ.get("LADNET_CHECK") == "1":
        raise Unavailable(
            "LADNET_CHECK=1 looks at lengths on the host, for which the device cannot be waited "
            "while it is captured; unset it"
        )
    N, T, C = sizes.bags, sizes.snippets, sizes.features
    scores = torch.rand(N * T, device=device).requires_grad_()
    features = torch.randn(N * T, C, device=device).requires_grad_()
    reasons = impls.why_not("ddl_loss", "cuda", scores, features)
    if reasons:
        raise Unavailable("; ".join(reasons))
    labels = torch.arange(N, device=device) % 2 == 0
    offsets = torch.arange(0, N * T + 1, T, device=device)
    lengths = torch.full((N,), T, device=device)

    def loss() -> DDLTerms:
        if packed:
            return LF.ddl_loss(scores, features, labels, cu_seqlens=offsets, impl="cuda")
        shaped = (scores.view(N, T), features.view(N, T, C))
        return LF.ddl_loss(*shaped, labels, lengths=lengths, impl="cuda")

    def call() -> Outputs:
        total = loss().total
        grads = torch.autograd.grad(total, (scores, features))
        return {"total": total.detach(), "dscores": grads[0], "dfeatures": grads[1]}

    # The first calls load kernels and allocate, which a capture does not allow.
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = call()
    replays = 10
    for turn in range(replays):
        with torch.no_grad():
            scores.copy_(torch.rand_like(scores))
            features.copy_(torch.randn_like(features))
        graph.replay()
        torch.cuda.synchronize(device)
        changed = differences(captured, call())
        if changed:
            return False, f"{', '.join(changed)} of replay {turn + 1} differ from an eager call"
    return True, f"{replays} replays with new inputs, bit for bit the eager result"
