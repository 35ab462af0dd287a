"""Who computes LA-Net's layers in a forward pass, and how.

Attention itself, softmax and prior, is the operator `ladnet_fast.ops.locality_attention`,
which chooses its backend by the network's ``impl``. The layers around it take a path that
`choose` and `score` decide:

========== ======== ===================================================== =========================
layers     path     what computes them                                    it is taken where
========== ======== ===================================================== =========================
up to the  native   two chains of C++ layers: the projections; residual,  ``linear.serves`` says so
embeddings          LayerNorm and MLP                                     (float32 on a CPU where
                                                                          they are faster), and
                                                                          `is_untouched`
           modules  PyTorch's modules are called, but for the two that    everywhere else
                    follow
q, k, v    one      one product for the three projections                 ``_projections.project``
           product                                                        finds that it pays (on a
                                                                          GPU)
residual,  triton   ``residual_norm``: one fused kernel                   ``residual_norm.serves``
LayerNorm                                                                 says so (on a GPU), and
                                                                          `is_untouched`
scores     native   ``score_head``: the convolution as a thin product     the embeddings were native
           triton   ``score_head``: one fused kernel                      ``score_head.serves`` says
                                                                          so (on a GPU), and
                                                                          `is_untouched`
           modules  PyTorch's module is called                            everywhere else
========== ======== ===================================================== =========================

"native" and "triton" read the weights of PyTorch's modules without calling the modules. That is the
same only while nobody has replaced, parametrised, quantised, patched or hooked one of them, hence
`is_untouched`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import linear, residual_norm, score_head
from ..ops._bags import Bags
from ._untouched import hooks_on_all, is_as_made
from .attention import LocalityAttention

if TYPE_CHECKING:
    from .lanet import LANet

Path = Literal["native", "modules"]


def choose(net: LANet, x: Tensor, query: Tensor | None) -> Path:
    """Return who computes the layers up to the embeddings in this call."""
    inputs = (x,) if query is None else (x, query)
    native = (
        linear.serves(net.attention.impl, *inputs, *net.parameters())
        and is_untouched(net)
        and 1 + len(_linear_layers(net.mlp)) <= linear.MAX_LAYERS  # 1: attention's output layer
    )
    return "native" if native else "modules"


def embed(
    net: LANet,
    path: Path,
    x: Tensor,
    query: Tensor | None,
    bags: Bags,
    valid: Tensor | None,
) -> Tensor:
    """Return the embeddings (B, T, mlp_dims[-1]) by the path; arguments are checked.

    ``valid`` is that of ``bags``. Padding is never read, and its embeddings are 0.
    """
    if path == "native":
        return _embed_natively(net, x, query, bags)
    fused = _norm_is_fused(net, x)
    # Attention and the fused norm never read padding; the gradient of a projection's weight does.
    if valid is not None and (torch.is_grad_enabled() or not fused):
        x = torch.where(valid[..., None], x, 0)
        query = query if query is None else torch.where(valid[..., None], query, 0)
    # Others, and a forward that somebody has put in ours, know tensors only.
    ours = type(net.attention) is LocalityAttention and "forward" not in vars(net.attention)
    given = (bags,) if ours else (bags.lengths, bags.cu_seqlens)
    hidden = net.attention(x, x if query is None else query, *given)
    if fused:
        norm, impl = net.norm, net.attention.impl
        normal = residual_norm.residual_norm(
            x, hidden, norm.weight, norm.bias, norm.eps, lengths=bags, impl=impl
        )
    else:
        normal = net.norm(x + hidden)
    features: Tensor = net.mlp(normal)  # [B, T, C]
    return features if valid is None else torch.where(valid[..., None], features, 0)


def _norm_is_fused(net: LANet, x: Tensor) -> bool:
    """Whether one kernel adds attention's result to x and normalises the sum."""
    norm = net.norm
    if type(norm) is not nn.LayerNorm or norm.weight is None or norm.bias is None:
        return False
    # What attention will return has the shape of x, and no other dtype than the kernel takes.
    asked = residual_norm.serves(net.attention.impl, x, x, norm.weight, norm.bias)
    return asked and is_untouched(net)


def score(net: LANet, path: Path, features: Tensor, bags: Bags) -> Tensor:
    """Return the scores (B, T) of embeddings (B, T, C) that `embed` made by the path.

    On padding they are 0 on the Triton path only; the caller clears them.
    """
    if type(net.classifier) is nn.Conv1d and net.classifier.bias is not None:
        head = (features, net.classifier.weight, net.classifier.bias)
        if path == "native":
            # What is padding need not be known: its embeddings are 0, its scores will be.
            return score_head.score_head(*head, impl="native")
        if score_head.serves(net.attention.impl, *head) and is_untouched(net):
            return score_head.score_head(*head, lengths=bags, impl=net.attention.impl)
    causal = F.pad(features.transpose(1, 2), (net.kernel_size - 1, 0))  # [B, C, K - 1 + T]
    return torch.sigmoid(net.classifier(causal)).squeeze(1)


# ---- The native path -----------------------------------------------------------------------------


def _embed_natively(
    net: LANet,
    x: Tensor,
    query: Tensor | None,
    bags: Bags,
) -> Tensor:
    attention = net.attention
    layers = [attention.q, attention.k, attention.v]
    weights, biases = [m.weight for m in layers], [m.bias for m in layers]
    if query is None:
        q, k, v = linear.projections(x, weights, biases, bags)  # one pass over x
    else:
        (q,) = linear.projections(query, weights[:1], biases[:1], bags)
        k, v = linear.projections(x, weights[1:], biases[1:], bags)
    layers = [attention.o, *_linear_layers(net.mlp)]
    return linear.residual_mlp(
        attention.attend(q, k, v, bags),
        x,
        (net.norm.weight, net.norm.bias, net.norm.eps),
        [m.weight for m in layers],
        [m.bias for m in layers],
        _dropout_of(net.mlp),
        bags,
    )


def _linear_layers(mlp: nn.Sequential) -> list[nn.Linear]:
    return [m for m in mlp if isinstance(m, nn.Linear)]


def _dropout_of(mlp: nn.Sequential) -> float:
    """Return the probability that the MLP's dropout uses now: 0 outside training."""
    last = mlp[-1]
    return float(last.p) if isinstance(last, nn.Dropout) and last.training else 0.0


# ---- Whether the modules may be bypassed ---------------------------------------------------------


def is_untouched(net: LANet) -> bool:
    """Whether the layers of ``net`` are PyTorch's own, as LANet made them, without hooks."""
    if hooks_on_all():
        return False
    attention, mlp = net.attention, net.mlp
    modules = [attention, attention.q, attention.k, attention.v, attention.o, net.norm, mlp, *mlp]
    kinds: list[type[nn.Module]] = [LocalityAttention, *[nn.Linear] * 4]
    kinds += [nn.LayerNorm, nn.Sequential]
    kinds += [(nn.Linear, nn.GELU, nn.Dropout)[i % 3] for i in range(len(mlp) - 1)] + [nn.Dropout]
    modules.append(net.classifier)
    kinds.append(nn.Conv1d)
    if len(mlp) % 3 != 2 or any(
        not is_as_made(m, kind) for m, kind in zip(modules, kinds, strict=True)
    ):
        return False
    # Loops, not `all`: the compiler of torch 2.9 cannot follow that over conditions on classes.
    drops = [m for m in mlp if isinstance(m, nn.Dropout)]
    for m in drops:
        if (m.p, m.training) != (drops[0].p, drops[0].training):
            return False
    for m in modules:
        if isinstance(m, nn.GELU) and m.approximate != "none":
            return False
        if isinstance(m, (nn.Linear, nn.LayerNorm, nn.Conv1d)) and m.bias is None:
            return False
    return drops[0].p < 1
