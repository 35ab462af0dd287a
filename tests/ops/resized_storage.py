"""Calls with tensors whose storage was taken away, run as a program: a crash must not end a test.

Prints a line of JSON for each call: its name, and the error's type and text, or what came back.
"""

from __future__ import annotations

import json
import sys

import torch

import ladnet_fast.functional as LF
from ladnet_fast import LANet
from ladnet_fast.ops import linear
from ladnet_fast.ops._bags import Bags
from ladnet_fast.ops.ddl_loss.schema import ddl_backward
from ladnet_fast.ops.locality_attention.schema import Call, attention_backward, attention_forward
from ladnet_fast.ops.score_head import score_head


def shrink(tensor: torch.Tensor, bytes_: int) -> torch.Tensor:
    """Return a copy with the same strides, whose storage then keeps only ``bytes_``."""
    copy = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
    copy.copy_(tensor)
    copy.untyped_storage().resize_(bytes_)
    return copy


def attention_arguments() -> dict[str, torch.Tensor]:
    q, k, v = (torch.randn(1, 9, 2, 8).transpose(1, 2) for _ in range(3))
    return {"q": q, "k": k, "v": v, "prior_w": torch.ones(2), "prior_b": torch.zeros(2)}


def attention(impl, **changed):
    return LF.locality_attention(**(attention_arguments() | changed), impl=impl)


def attention_under_autocast(**changed):
    with torch.autocast("cpu", torch.bfloat16):
        return attention("auto", **changed)


def compiled_attention(**changed):
    call = torch.compile(lambda given: attention("native", **given), backend="eager")
    return call(changed)


def loss(impl, **changed):
    given = {
        "scores": torch.rand(2, 9),
        "features": torch.randn(2, 9, 8)[:, :, ::2],
        "labels": torch.tensor([1, 0]),
    }
    return LF.ddl_loss(**(given | changed), impl=impl)


def head(**changed):
    given = {
        "features": torch.randn(1, 9, 4),
        "weight": torch.randn(1, 4, 3),
        "bias": torch.zeros(1),
    }
    return score_head(**(given | changed), impl="reference")


def network(query_dim=None, **changed):
    net = LANet(24, 16, mlp_dims=(20, 12), kernel_size=3, query_dim=query_dim)
    return net(**({"x": torch.randn(2, 9, 24)} | changed))


def projections(**changed):
    given = {"x": torch.randn(1, 9, 4), "weight": torch.randn(3, 4), "bias": torch.zeros(3)}
    given |= changed
    bags = Bags.checked("x", given["x"], given["x"].shape[1])
    return linear.projections(given["x"], [given["weight"]], [given["bias"]], bags)


def raw_attention(**changed):
    q, k, v, w, b = (attention_arguments() | changed).values()
    return attention_forward(Call(q, k, v, w, b, None, None, "additive", 1.0, False, "native"))


def raw_attention_backward(**changed):
    q, k, v, w, b = attention_arguments().values()
    call = Call(q, k, v, w, b, None, None, "additive", 1.0, True, "native")
    out, lse, softmax = attention_forward(call)
    saved = {"grad_out": torch.ones_like(out), "softmax_out": softmax, "lse": lse} | changed
    return attention_backward(
        saved["grad_out"], call, saved["softmax_out"], out, saved["lse"], True
    )


def raw_ddl_backward(**changed):
    saved = {
        "grad_terms": torch.ones(3),
        "score_grads": torch.ones(3, 2, 9),
        "feature_dynamics": torch.ones(2, 9),
    } | changed
    scores, features = torch.rand(2, 9), torch.randn(2, 9, 4)
    return ddl_backward(
        saved["grad_terms"], scores, features, None, None, saved["score_grads"],
        saved["feature_dynamics"], 1e-6, "none", "native",
    )  # fmt: skip


def cases():
    """Yield name, argument, whole tensor, function for every place that takes addresses."""
    q = attention_arguments()["q"]
    scores, features = torch.rand(2, 9), torch.randn(2, 9, 8)[:, :, ::2]
    lengths, offsets = torch.tensor([9]), torch.tensor([0, 4, 9])
    for impl in ("native", "reference", "auto"):
        for name, tensor in attention_arguments().items():
            yield f"attention {impl}", name, tensor, lambda impl=impl, **t: attention(impl, **t)
        yield f"attention {impl}", "lengths", lengths, lambda impl=impl, **t: attention(impl, **t)
        yield (
            f"attention {impl}", "cu_seqlens", offsets, lambda impl=impl, **t: attention(impl, **t),
        )  # fmt: skip
        for name, tensor in (
            ("scores", scores), ("features", features), ("labels", torch.tensor([1, 0])),
            ("lengths", torch.tensor([9, 3])),
        ):  # fmt: skip
            yield f"loss {impl}", name, tensor, lambda impl=impl, **t: loss(impl, **t)
    yield "autocast", "q", q, attention_under_autocast
    yield "compiled", "k", q, compiled_attention
    for name, shape in (("features", (1, 9, 4)), ("weight", (1, 4, 3)), ("bias", (1,))):
        yield "head", name, torch.randn(shape), head
    for large in (9, 2048):  # PyTorch's layers, and ours
        yield f"network {large}", "x", torch.randn(2, large, 24), network
    query = torch.randn(2, 9, 8)
    yield "network", "query", query, lambda **t: network(query_dim=8, **t)
    yield "network", "lengths", torch.tensor([9, 3]), network
    for name, shape in (("x", (1, 9, 4)), ("weight", (3, 4)), ("bias", (3,))):
        yield "projections", name, torch.randn(shape), projections
    yield "raw attention", "v", q, raw_attention
    for name in ("grad_out", "softmax_out"):
        yield "raw attention backward", name, q, raw_attention_backward
    yield "raw attention backward", "lse", torch.zeros(1, 2, 9), raw_attention_backward
    for name, shape in (("score_grads", (3, 2, 9)), ("feature_dynamics", (2, 9))):
        yield "raw loss backward", name, torch.ones(shape), raw_ddl_backward


def main() -> None:
    for name, argument, tensor, call in cases():
        reach = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True)) + 1
        needed = reach * tensor.element_size()
        for kept in (0, needed - 1, needed):
            try:
                call(**{argument: shrink(tensor, kept)})
                error, text = "", ""
            except Exception as caught:
                error, text = type(caught).__name__, str(caught)
            line = {"name": name, "argument": argument, "needed": needed, "kept": kept}
            json.dump(line | {"error": error, "text": text}, sys.stdout)
            print(flush=True)


if __name__ == "__main__":
    main()
