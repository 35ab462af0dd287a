"""The whole scoring pass: from the feature files of a video to one score a snippet."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ladnet_fast import LANet

from .. import impls, peers
from ..vocabulary import Call, Case, Cost, Op, Outputs, Side, subsets

if TYPE_CHECKING:  # files of features need more packages than the other operators
    from ladnet_fast.data import Video


@dataclass(frozen=True)
class Inputs:
    """A network, and a video whose crops are files."""

    net: LANet
    video: Video
    folder: tempfile.TemporaryDirectory[str]
    """Deletes the files when the inputs are dropped."""


def build(case: Case, device: torch.device) -> Inputs:
    """Draw the weights, and write normal features to one ``.npy`` file a crop."""
    from ladnet_fast.data import FeatureSource, Video

    crops, T, D = case.shape["crops"], case.shape["T"], case.shape["D"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = LANet(feature_dim=D).to(device).eval()
    # The inputs own the folder: it must outlive this function.
    folder = tempfile.TemporaryDirectory(prefix="ladnet-benchmark-")
    random = np.random.default_rng(0)
    sources = []
    for crop in range(crops):
        path = Path(folder.name) / f"video__{crop}.npy"
        np.save(path, random.standard_normal((T, D), dtype=np.float32))
        sources.append(FeatureSource(path))
    return Inputs(net, Video("video", tuple(sources), label=0), folder)


def _score(inputs: Inputs, check: bool, *, name: str) -> Call:
    from ladnet_fast.engine.scoring import score_video

    net = peers.with_impl(inputs.net, "reference" if name == "eager" else "auto")

    def call() -> Outputs:
        return {"scores": torch.from_numpy(score_video(net, inputs.video))}

    return call


def _oracle(inputs: Inputs, target: str, dtype: torch.dtype) -> Outputs:
    from ladnet_fast.data import iter_crops

    net = peers.with_impl(inputs.net, "reference").to(dtype)
    device = next(net.parameters()).device
    with torch.inference_mode():
        crops = [
            net(torch.from_numpy(crop.features)[None].to(device, dtype)).scores[0]
            for crop in iter_crops(inputs.video)
        ]
    return {"scores": torch.stack(crops).mean(0).cpu()}


def _why_not(inputs: Inputs, *, impl: str) -> list[str]:
    parameter = next(inputs.net.parameters())
    q = parameter.new_empty(1, 1, 1, inputs.net.attention.q.out_features)
    return impls.why_not("locality_attention", impl, q, q, q)


def _cost(case: Case) -> Cost:
    crops, T, D = case.shape["crops"], case.shape["T"], case.shape["D"]
    layers = 4 * D * 128 + D * 512 + 512 * 128 + 7 * 128
    flops = crops * (2.0 * T * layers + 4.0 * T * T * 128)
    return Cost(flops=flops, check_bytes=8.0 * T * (T * 5 + D * 8))


SCORING = Op(
    "scoring_pass",
    "Scoring pass: feature files of all crops to one score a snippet",
    build,
    _oracle,
    _cost,
    (
        *(
            Side(
                impl,
                functools.partial(_score, name=impl),
                own=True,
                why_not=functools.partial(_why_not, impl=impl),
            )
            for impl in ("native", "triton")
        ),
        Side("eager", functools.partial(_score, name="eager")),
    ),
    tiny={"crops": 2, "T": 21, "D": 24},
    varies=None,
)
OPS = (SCORING,)


def cases() -> list[Case]:
    """Return the cases: a video of nine minutes with ten crops, and a long one with one."""
    sides = ("native", "triton", "eager")
    return [
        Case(SCORING, {"crops": 10, "T": 1000, "D": 1024}, sides, subsets=subsets("quick")),
        Case(SCORING, {"crops": 1, "T": 8192, "D": 1024}, sides),
    ]
