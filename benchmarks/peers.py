"""What our kernels are compared with: the best that PyTorch offers, and the plain reference.

Every peer is defined here and nowhere else. Speed against a peer means little unless the peer is
called as its own users would call it; how is said at each.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention

import ladnet_fast.functional as LF
from ladnet_fast import DDLLoss, LANet
from ladnet_fast.functional import DDLTerms
from ladnet_fast.nn import LANetOutput, LocalityAttention
from ladnet_fast.ops._bags import Bags
from ladnet_fast.ops.linear import api as linear
from ladnet_fast.ops.locality_attention.definition import location_prior
from ladnet_fast.ops.residual_norm import residual_norm
from ladnet_fast.ops.score_head import score_head

_Result = TypeVar("_Result")

# ---- Attention -----------------------------------------------------------------------------------


def sdpa(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Torch's fused attention with no prior at all: less work than ours, so a lower bound."""
    return F.scaled_dot_product_attention(q, k, v, scale=scale)


def sdpa_flash(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Torch's attention without a prior, by its FlashAttention kernels and no others."""
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return sdpa(q, k, v, scale)


def sdpa_cudnn(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Torch's attention without a prior, by cuDNN and nothing else."""
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        return sdpa(q, k, v, scale)


def sdpa_with_prior_as_mask(
    q: Tensor, k: Tensor, v: Tensor, w: Tensor, b: Tensor, scale: float
) -> Tensor:
    """Torch's attention with the materialised (H, T, T) prior as ``attn_mask``: the logit prior.

    The prior is built in the call, because its parameters change with every step of training.
    """
    mask = location_prior(w, b, q.shape[2]).to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[None], scale=scale)


def sdpa_plus_prior(q: Tensor, k: Tensor, v: Tensor, w: Tensor, b: Tensor, scale: float) -> Tensor:
    """Torch's fused attention, plus the materialised prior times v: the additive prior.

    The best composition of PyTorch's own operators that we know for this formula.
    """
    prior = location_prior(w, b, q.shape[2]).to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, scale=scale) + prior @ v


def flex_logit(q: Tensor, k: Tensor, v: Tensor, w: Tensor, b: Tensor, scale: float) -> Tensor:
    """FlexAttention with the prior as its ``score_mod``: the logit prior, the same formula as ours.

    Fused only under torch.compile: see `compiled_for_shape`.
    """

    def add_prior(score: Tensor, bag: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return score + torch.exp(_log_prior(w[head], b[head], i - j))

    out: Tensor = flex_attention(q, k, v, score_mod=add_prior, scale=scale)
    return out


def flex_band(
    q: Tensor, k: Tensor, v: Tensor, w: Tensor, b: Tensor, scale: float, band: Any
) -> Tensor:
    """FlexAttention without a prior, plus a second one over the band for G v: the additive prior.

    The second has log G as its logits, so that its output times its softmax's sum is G v. The best
    that we know to say in FlexAttention, which has no place behind the softmax. ``band`` is what
    `flex_band_mask` returns.
    """

    def only_prior(score: Tensor, bag: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        # The backward pass on GPUs asks for the score's gradient: it must have one, if of 0.
        return 0.0 * score + _log_prior(w[head], b[head], i - j)

    plain: Tensor = flex_attention(q, k, v, scale=scale)
    near, aux = flex_attention(
        q, k, v, score_mod=only_prior, block_mask=band, return_aux=AuxRequest(lse=True)
    )
    assert aux.lse is not None  # asked for
    return plain + (near * aux.lse.exp()[..., None]).to(plain.dtype)


def flex_band_mask(T: int, reach: int, device: torch.device) -> Any:
    """Return FlexAttention's mask of |i - j| <= reach; made once, as its users do."""
    # Said in blocks: create_block_mask would fill a (T, T) matrix first.
    block = 128
    index = torch.arange(-(-T // block), device=device)
    near = (index[:, None] - index).abs() <= -(-reach // block)  # [blocks, blocks]
    order = near.int().argsort(dim=1, descending=True, stable=True)
    return BlockMask.from_kv_blocks(
        near.sum(dim=1, dtype=torch.int32)[None, None],
        order.to(torch.int32)[None, None],
        BLOCK_SIZE=block,
        mask_mod=lambda bag, head, i, j: (i - j).abs() <= reach,
        seq_lengths=(T, T),
    )


def _log_prior(w: Tensor, b: Tensor, distance: Tensor) -> Tensor:
    return -(w * distance.to(w.dtype).square() + b).abs()


def eager_attention(
    q: Tensor, k: Tensor, v: Tensor, w: Tensor | None, b: Tensor | None, prior: str, scale: float
) -> Tensor:
    """Compute the reference in eager mode."""
    return LF.locality_attention(q, k, v, w, b, prior=prior, scale=scale, impl="reference")


# ---- Losses --------------------------------------------------------------------------------------


def eager_ddl(scores: Tensor, features: Tensor, labels: Tensor) -> DDLTerms:
    """Compute the reference losses in eager mode, with the default options."""
    return LF.ddl_loss(scores, features, labels, impl="reference")


# ---- Score head ----------------------------------------------------------------------------------


def eager_head(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Pad, convolve and take the sigmoid in eager mode, as LANet does without the fused kernel."""
    return score_head(features, weight, bias, impl="reference")


# ---- Residual and LayerNorm ----------------------------------------------------------------------


def eager_norm(x: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Add and normalise in eager mode, as LANet does without the fused kernel."""
    return residual_norm(x, hidden, weight, bias, eps, impl="reference")


# ---- Networks ------------------------------------------------------------------------------------


class _PlainAttention(LocalityAttention):
    """The layer with torch's fused attention and no prior."""

    def forward(
        self,
        x: Tensor,
        query: Tensor,
        lengths: Tensor | Bags | None,
        cu_seqlens: Tensor | None = None,
    ) -> Tensor:
        """Map x (B, T, feature_dim) as the base class does, minus the prior; full bags only."""
        bags = lengths
        if isinstance(bags, Bags):
            lengths, cu_seqlens = bags.lengths, bags.cu_seqlens
        if lengths is not None or cu_seqlens is not None:
            raise ValueError("this peer takes full bags only: leave lengths and cu_seqlens out")
        q, k, v = self._heads(self.q(query)), self._heads(self.k(x)), self._heads(self.v(x))
        out = F.scaled_dot_product_attention(q, k, v)
        hidden: Tensor = self.o(out.transpose(1, 2).flatten(2))
        return hidden


def with_torch_layers(call: Callable[[], _Result]) -> Callable[[], _Result]:
    """Return ``call`` as it is with ``LADNET_LINEAR=reference``, which is read at import."""

    def run() -> _Result:
        chosen = linear._choice
        linear._choice = "reference"
        try:
            return call()
        finally:
            linear._choice = chosen

    return run


def with_plain_attention(net: LANet) -> LANet:
    """Return a copy of ``net`` that uses torch's fused attention and leaves the prior out.

    Its other layers are PyTorch's, too.
    """
    net = with_impl(net, "reference")
    net.attention.__class__ = _PlainAttention
    return net


def with_impl(net: LANet, impl: str) -> LANet:
    """Return a copy of ``net`` that computes with ``impl``."""
    net = copy.deepcopy(net)
    net.attention.impl = impl
    return net


def network_forward(net: LANet, x: Tensor, lengths: Tensor | None) -> LANetOutput:
    """Score a batch."""
    out: LANetOutput = net(x, lengths)
    return out


def network_step(
    net: LANet, criterion: DDLLoss, x: Tensor, labels: Tensor, lengths: Tensor | None
) -> Tensor:
    """Return the total loss of a batch."""
    out: LANetOutput = net(x, lengths)
    total: Tensor = criterion(out.scores, out.features, labels, lengths).total
    return total


# ---- torch.compile -------------------------------------------------------------------------------


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``torch.compile(function, dynamic=True)``, the same object at every call.

    ``dynamic=True``, because lengths vary: one compilation serves all.
    """
    result: Callable[..., Any] = torch.compile(function, dynamic=True)
    return result


@functools.cache
def compiled_for_shape(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``torch.compile(function, dynamic=False)``: compiled anew for every shape.

    What FlexAttention is fastest with.
    """
    result: Callable[..., Any] = torch.compile(function, dynamic=False)
    return result


@functools.cache
def compile_problem(device: torch.device) -> str | None:
    """Return why torch.compile does not work for tensors of a device, or None.

    Each kind of device has a compiler of its own, and either may be missing.
    """
    try:
        torch.compile(torch.exp, dynamic=True)(torch.zeros(8, device=device))
    except Exception as error:  # whatever the tool chain raises is the answer
        return f"torch.compile fails here: {type(error).__name__}: {_first_line(error)}"
    return None


def why_not_compiled(inputs: Any) -> list[str]:
    """Return `compile_problem` as a list of reasons, for a dataclass with tensors."""
    device = next(x.device for x in vars(inputs).values() if isinstance(x, Tensor))
    problem = compile_problem(device)
    return [] if problem is None else [problem]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no message"


# ---- Memory --------------------------------------------------------------------------------------


def copy_into(target: Tensor, source: Tensor) -> Tensor:
    """Copy into memory that is already there: what any pass over ``source`` costs at least."""
    return target.copy_(source)
