"""What our kernels are compared with: the best that PyTorch offers, and the plain reference.

Every peer is defined here and nowhere else. Speed against a peer means little unless the peer is
called as its own users would call it; how is said at each.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import ladnet_fast.functional as LF
from ladnet_fast import DDLLoss, LANet
from ladnet_fast.functional import DDLTerms
from ladnet_fast.nn import LANetOutput, LocalityAttention
from ladnet_fast.ops.locality_attention.reference import location_prior

# ---- Attention -----------------------------------------------------------------------------------


def sdpa(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Torch's fused attention with no prior at all: less work than ours, so a lower bound."""
    return F.scaled_dot_product_attention(q, k, v, scale=scale)


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


def eager_attention(
    q: Tensor, k: Tensor, v: Tensor, w: Tensor | None, b: Tensor | None, prior: str, scale: float
) -> Tensor:
    """Compute the reference in eager mode."""
    return LF.locality_attention(q, k, v, w, b, prior=prior, scale=scale, impl="reference")


# ---- Losses --------------------------------------------------------------------------------------


def eager_ddl(scores: Tensor, features: Tensor, labels: Tensor) -> DDLTerms:
    """Compute the reference losses in eager mode, with the default options."""
    return LF.ddl_loss(scores, features, labels, impl="reference")


# ---- Networks ------------------------------------------------------------------------------------


class _PlainAttention(LocalityAttention):
    """The layer with torch's fused attention and no prior."""

    def forward(self, x: Tensor, query: Tensor, lengths: Tensor | None) -> Tensor:
        """Map x (B, T, feature_dim) as the base class does, minus the prior; full bags only."""
        if lengths is not None:
            raise ValueError("lengths is not supported by this peer: give full bags")
        q, k, v = self._heads(self.q(query)), self._heads(self.k(x)), self._heads(self.v(x))
        out = F.scaled_dot_product_attention(q, k, v)
        hidden: Tensor = self.o(out.transpose(1, 2).flatten(2))
        return hidden


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
def compile_problem() -> str | None:
    """Return why torch.compile does not work here, or None."""
    try:
        torch.compile(torch.exp, dynamic=True)(torch.zeros(8))
    except Exception as error:  # whatever the tool chain raises is the answer
        return f"torch.compile fails here: {type(error).__name__}: {_first_line(error)}"
    return None


def why_not_compiled(*_: object) -> list[str]:
    """Return :func:`compile_problem` as a list of reasons."""
    problem = compile_problem()
    return [] if problem is None else [problem]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no message"


# ---- Memory --------------------------------------------------------------------------------------


def copy_into(target: Tensor, source: Tensor) -> Tensor:
    """Copy into memory that is already there: what any pass over ``source`` costs at least."""
    return target.copy_(source)
