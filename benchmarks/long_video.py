"""LANet scores a synthetic day of video: time, and peak memory of the whole process.

24 hours at 25 frames a second are 135,000 snippets of 16 frames. The reference cannot do it: each
of its (T, T) matrices takes 73 GB. Some of the scores are checked against the formulas in float64.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from typing import Any

import torch
from torch import Tensor, nn

from ladnet_fast import LANet

from . import impls
from .check import compare
from .memory import peak_resident
from .oracle import attention_rows
from .runner import Measurement
from .vocabulary import Outputs
from .worker import WorkerError, run_worker

SNIPPETS = 135_000
_WINDOWS = 16  # places in the video where the scores are checked


def score_day(threads: int, *, snippets: int = SNIPPETS, feature_dim: int = 1024) -> dict[str, Any]:
    """Score the video in a process of its own; return a measurement as a JSON row."""
    try:
        return run_worker("benchmarks.long_video", threads, snippets, feature_dim, threads=threads)
    except WorkerError as error:
        failed = _blank(snippets, feature_dim)
        failed.status, failed.reason = "error", str(error)
        return failed.as_dict()


def _blank(T: int, D: int) -> Measurement:
    shape = {"B": 1, "T": T, "D": D}
    return Measurement("day_of_video", "default", shape, "float32", "native", True, status="ok")


def measure(threads: int, T: int, D: int) -> Measurement:
    """Score in this process, and check some of the scores."""
    torch.set_num_threads(threads)
    row = _blank(T, D)
    torch.manual_seed(0)
    net = LANet(feature_dim=D).eval()
    q = torch.empty(1, 1, 1, net.attention.q.out_features)
    reasons = impls.why_not("locality_attention", "native", q, q, q)
    if reasons:
        row.status, row.reason = "unavailable", "; ".join(reasons)
        return row
    x = torch.randn(1, T, D)
    with torch.inference_mode():
        net(x[:, :64])  # loads libraries, starts threads
        start = time.perf_counter()
        scores = net(x).scores[0]
        seconds = time.perf_counter() - start
        row.peak_bytes = peak_resident()
        errors = compare(*_check(net, x, scores))
    row.errors = [entry.as_dict() for entry in errors]
    if not all(entry.ok for entry in errors):
        row.status, row.reason, row.peak_bytes = "wrong", "the scores are not the formulas'", None
        return row
    row.seconds = {"p20": seconds, "p50": seconds, "p80": seconds, "count": 1}
    return row


def _check(net: LANet, x: Tensor, scores: Tensor) -> tuple[Outputs, Outputs, Outputs]:
    """Return what was computed at some snippets, and the formulas' answers in two precisions."""
    K, T = net.kernel_size, x.shape[1]
    ends = torch.linspace(min(K, T) - 1, T - 1, _WINDOWS).long().unique()
    exact, plain = (
        {"scores": _scores_at(copy.deepcopy(net).to(dtype), x, ends)}
        for dtype in (torch.float64, torch.float32)
    )
    return {"scores": scores[ends]}, exact, plain


def _scores_at(net: LANet, x: Tensor, ends: Tensor) -> Tensor:
    """Return the scores of single snippets, in the dtype of ``net``: one head, self-attention."""
    layer = net.attention
    dtype = layer.k.weight.dtype

    def over_time(project: nn.Linear) -> Tensor:
        # In pieces: a float64 copy of all features would be large.
        return torch.cat([project(part.to(dtype)) for part in x.split(8192, dim=1)], dim=1)

    k, v = over_time(layer.k)[:, None], over_time(layer.v)[:, None]  # [1, 1, T, d]
    w, b = (None, None) if layer.prior is None else layer.prior()
    scores = []
    for end in ends.tolist():
        # The causal convolution sees a snippet and those just before it.
        positions = torch.arange(max(0, end - net.kernel_size + 1), end + 1)
        rows = x[:, positions].to(dtype)
        q = layer.q(rows)[:, None]
        out = attention_rows(q, positions, k, v, w, b, layer.prior_kind, q.shape[-1] ** -0.5)
        features = net.mlp(net.norm(rows + layer.o(out[:, 0])))
        scores.append(net._score(features)[0, -1])
    return torch.stack(scores)


if __name__ == "__main__":
    print(json.dumps(measure(*(int(value) for value in sys.argv[1:])).as_dict()))
