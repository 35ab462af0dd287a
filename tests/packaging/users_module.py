"""What a user writes: mypy --strict must find every name of it typed (test_typing.py)."""

import torch
from torch import Tensor

import ladnet_fast
import ladnet_fast.functional as LF
from ladnet_fast import DDLLoss, DDLTerms, LANet, LANetOutput, use_impl
from ladnet_fast.data import Video, read_manifest
from ladnet_fast.engine import load_model
from ladnet_fast.export import to_onnx, to_torch
from ladnet_fast.metrics import FrameAUC, Metrics, evaluate


class Detector(torch.nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = LANet(feature_dim=width, prior="logit")
        self.criterion = DDLLoss(detach="score")

    def loss(self, x: Tensor, labels: Tensor, lengths: Tensor | None = None) -> Tensor:
        out: LANetOutput = self.net.forward(x, lengths)
        terms: DDLTerms = self.criterion.forward(*out, labels, lengths)
        return terms.total


def attend(q: Tensor) -> Tensor:
    w = torch.ones(q.shape[1])
    with use_impl("reference"):
        out, lse = LF.locality_attention(q, q, q, w, w, return_lse=True)
    single: Tensor = LF.locality_attention(q, q, q, prior="none")
    return out + single + lse[..., None]


def move(folder: str) -> LANet:
    net = LANet.from_pretrained(folder, impl="native")
    net.save_pretrained(folder, card={"data": "ours"})
    address: str = net.push_to_hub("us/net", private=True)
    print(address, to_onnx(net, "net.onnx").name, to_torch(net, "net.pt2").name)
    return load_model(folder)


def figures(path: str) -> float:
    videos: list[Video] = read_manifest(path)
    found: Metrics = evaluate([[0.1] for _ in videos], [[0] for _ in videos], [16 for _ in videos])
    streaming = FrameAUC(frames_per_snippet=16)
    streaming.update(torch.rand(3), torch.zeros(48))
    return found.auc + float(streaming.compute())


version: str = ladnet_fast.__version__
