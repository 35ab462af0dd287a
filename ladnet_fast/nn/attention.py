"""Locality-aware attention as a layer: projections, the operator, output projection."""

from __future__ import annotations

from torch import Tensor, nn

from ..ops._bags import Bags
from ..ops.locality_attention import attend
from ._projections import project
from .prior import LocationPrior


class LocalityAttention(nn.Module):
    r"""Compute :math:`[\mathrm{attention}_k(X W_q, X W_k, X W_v)]_k W_h`, without the residual.

    Head h owns the h-th contiguous block of the hidden units; the logits are scaled by
    1 / sqrt(hidden / heads). Queries may come from a second modality over the same snippets.

    Parameters
    ----------
    feature_dim, hidden_dim, num_heads : int
        Widths of X and of q, k, v (all heads together); number of heads.
    query_dim : int or None
        Width of the second modality that asks the questions; None for self-attention.
    prior, prior_form, sigma, learn_prior
        See `ladnet_fast.LANet`.
    impl : str
        See `ladnet_fast.use_impl`.
    """

    def __init__(
        self,
        feature_dim: int,
        hidden_dim: int,
        num_heads: int,
        query_dim: int | None,
        prior: str,
        prior_form: str,
        sigma: float,
        learn_prior: bool,
        impl: str,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.prior_kind = prior
        self.impl = impl
        self.q = nn.Linear(feature_dim if query_dim is None else query_dim, hidden_dim)
        self.k = nn.Linear(feature_dim, hidden_dim)
        self.v = nn.Linear(feature_dim, hidden_dim)
        self.o = nn.Linear(hidden_dim, feature_dim)
        self.prior: LocationPrior | None = None
        if prior != "none":
            self.prior = LocationPrior(num_heads, prior_form, sigma, learn_prior)

    def forward(
        self,
        x: Tensor,
        query: Tensor,
        lengths: Tensor | Bags | None,
        cu_seqlens: Tensor | None = None,
    ) -> Tensor:
        """Map x (B, T, feature_dim) and query (B, T, query_dim) to (B, T, feature_dim).

        ``lengths`` and ``cu_seqlens`` as `LANet.forward` takes them; LANet itself gives the bags
        that it has checked.
        """
        if query is x:
            q, k, v = project(x, (self.q, self.k, self.v), self.impl)
        else:
            q = self.q(query)
            k, v = project(x, (self.k, self.v), self.impl)
        if not isinstance(lengths, Bags):
            lengths = Bags.checked("x", x, x.shape[1], lengths, cu_seqlens)
        hidden: Tensor = self.o(self.attend(q, k, v, lengths))
        return hidden

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bags: Bags) -> Tensor:
        """Return what ``o`` is applied to, from projected q, k, v: all (B, T, hidden_dim)."""
        q, k, v = (self._heads(x) for x in (q, k, v))
        w, b = (None, None) if self.prior is None else self.prior()
        out = attend(q, k, v, w, b, bags, prior=self.prior_kind, impl=self.impl)
        return out.transpose(1, 2).flatten(2)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [B, H, T, d], a view
