"""LA-Net."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .. import _values
from ..ops import _impl, _memory
from ..ops._bags import Bags
from ..ops.locality_attention.api import PRIORS
from . import _arguments, _packed, _paths
from ._size import check_affordable
from .attention import LocalityAttention
from .hub import HubMixin, describe_in_state_dict
from .prior import FORMS, LocationPrior, check_sigma

_UNDER_1 = math.nextafter(1.0, 0.0)


class LANetOutput(NamedTuple):
    """What LA-Net returns for a batch of bags."""

    scores: Tensor
    """(B, T) in [0, 1], the anomaly score of every snippet; 0 on padding."""
    features: Tensor
    """(B, T, mlp_dims[-1]), the embeddings whose dynamics DDL aligns; 0 on padding."""


class LANet(HubMixin, nn.Module):
    r"""Locality-aware Attention Network: from snippet features to anomaly scores.

    .. math::

        \tilde X &= \mathrm{LayerNorm}(\mathrm{LocalityAttention}(X) + X) \\
        X^F &= \mathrm{MLP}(\tilde X) \\
        S_t &= \mathrm{sigmoid}(\mathrm{CausalConv1d}(X^F)_t)

    (slides 8, 9 and 11 of the authors' ICME 2022 presentation; scale, LayerNorm, sizes and
    initialisation from their released code). The MLP has GELU and dropout between its layers, only
    dropout after the last; the convolution sees a snippet and the ``kernel_size - 1`` before it.
    With the default sizes there are about 1.12 million parameters.

    Parameters
    ----------
    feature_dim : int
        D, width of the snippet features.
    hidden_dim : int
        Width of q, k and v, all heads together.
    num_heads : int
        Must divide ``hidden_dim``.
    mlp_dims : sequence of int
        Output widths of the MLP's layers.
    kernel_size : int
        Of the causal convolution.
    dropout : float
        In [0, 1).
    prior : {"additive", "logit", "none"}
        Where the location prior enters; see `ladnet_fast.functional.locality_attention`.
    prior_form : {"gaussian", "exp_abs"}
        Its parameters; see `ladnet_fast.nn.LocationPrior`.
    sigma : float
        Its initial width, in squared snippets, within the range of PyTorch's default dtype. 8 is
        this project's choice, not the paper's.
    learn_prior : bool
        Whether it is trained.
    query_dim : int, optional
        Width of a second modality, such as audio, that asks the questions. None: self-attention.
    impl : {"auto", "reference", "native", "triton", "cuda"}
        Which implementation computes; see `ladnet_fast.use_impl`. All have the same weights.

    Notes
    -----
    State-dict keys are public: ``attention.{q,k,v,o}.{weight,bias}``, ``attention.prior.raw_sigma``
    (Gaussian) or ``attention.prior.{w,b}`` (exp_abs), ``norm.{weight,bias}``,
    ``mlp.{0,3,...}.{weight,bias}`` and ``classifier.{weight,bias}`` with weight
    (1, mlp_dims[-1], kernel_size).

    Examples
    --------
    >>> net = LANet(feature_dim=1024)
    >>> scores, features = net(torch.randn(2, 200, 1024), lengths=torch.tensor([200, 64]))
    """

    #: Settings of the extractor of the training features, if `ladnet_fast.engine.load_model` read
    #: them with the weights.
    trained_on: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        feature_dim: int = 1024,
        hidden_dim: int = 128,
        num_heads: int = 1,
        mlp_dims: Sequence[int] = (512, 128),
        kernel_size: int = 7,
        dropout: float = 0.1,
        prior: str = "additive",
        prior_form: str = "gaussian",
        sigma: float = 8.0,
        learn_prior: bool = True,
        query_dim: int | None = None,
        impl: str = "auto",
    ) -> None:
        super().__init__()
        feature_dim = _values.whole_number("feature_dim", feature_dim)
        hidden_dim = _values.whole_number("hidden_dim", hidden_dim)
        num_heads = _values.whole_number("num_heads", num_heads)
        kernel_size = _values.whole_number("kernel_size", kernel_size)
        mlp_dims = _arguments.checked_widths(mlp_dims)
        if query_dim is not None:
            query_dim = _values.whole_number("query_dim", query_dim)
        if hidden_dim % num_heads:
            raise ValueError(
                f"num_heads must divide hidden_dim = {hidden_dim}; got num_heads = {num_heads}"
            )
        dropout = _values.real_number("dropout", dropout, "in [0, 1)", least=0, most=_UNDER_1)
        learn_prior = _values.switch("learn_prior", learn_prior)
        check_affordable(feature_dim, hidden_dim, mlp_dims, kernel_size, query_dim)
        self.feature_dim = feature_dim
        self.query_dim = query_dim
        self.kernel_size = kernel_size
        self.attention = LocalityAttention(
            feature_dim,
            hidden_dim,
            num_heads,
            query_dim,
            _values.choice("prior", prior, PRIORS),
            _values.choice("prior_form", prior_form, FORMS),
            check_sigma(sigma),
            learn_prior,
            _values.choice("impl", impl, _impl.IMPLS),
        )
        self.norm = nn.LayerNorm(feature_dim)
        self.mlp = _mlp(feature_dim, mlp_dims, dropout)
        self.classifier = nn.Conv1d(mlp_dims[-1], 1, kernel_size)
        self.reset_parameters()
        self.register_state_dict_post_hook(describe_in_state_dict)

    def reset_parameters(self) -> None:
        """Draw new weights: Xavier-uniform for Linear and Conv1d, PyTorch's defaults elsewhere."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv1d, nn.LayerNorm, LocationPrior)):
                module.reset_parameters()
            if isinstance(module, (nn.Linear, nn.Conv1d)):
                nn.init.xavier_uniform_(module.weight)

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        query: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> LANetOutput:
        """Score every snippet of a batch of bags.

        Parameters
        ----------
        x : Tensor
            (B, T, feature_dim) in the dtype of the weights; under autocast float32, bfloat16 or
            float16. On the meta device, with a network there, so are the outputs.
        lengths : Tensor, optional
            (B,) int32 or int64, each from 0 to T. Snippets beyond a bag's length are never read,
            NaN included; their outputs are 0 and they receive no gradient. None: all have T.
        query : Tensor, optional
            (B, T, query_dim), exactly when the network was made with ``query_dim``.
        cu_seqlens : Tensor, optional
            (N + 1,) int32 or int64: N bags packed end to end along T, bag n from cu_seqlens[n] to
            cu_seqlens[n + 1]; B must be 1. Bags of length zero are allowed. No bag sees another.
            Excludes ``lengths``.

        Returns
        -------
        LANetOutput
            ``(scores, features)``: (B, T) and (B, T, mlp_dims[-1]).

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type, shape, dtype, device or value; the message names it.
        """
        self._check(x, query)
        bags = Bags.checked("x", x, x.shape[1], lengths, cu_seqlens)
        if bags.T == 0:  # nothing to score, and a convolution needs an input
            empty = x.new_zeros(*x.shape[:2], self.classifier.in_channels)
            return LANetOutput(empty[..., 0], empty)
        valid = bags.valid(x.device)
        path = _paths.choose(self, x, query)
        features = _paths.embed(self, path, x, query, bags, valid)
        if bags.cu_seqlens is not None:
            return LANetOutput(_packed.score(self, path, features, bags.cu_seqlens), features)
        scores = _paths.score(self, path, features, bags)
        if valid is not None:
            scores = torch.where(valid, scores, 0)
        return LANetOutput(scores, features)

    def _score(self, features: Tensor) -> Tensor:
        """Return the scores (B, T) of embeddings (B, T, C) of whole bags, however they came."""
        bags = Bags.checked("features", features, features.shape[1])
        return _paths.score(self, "modules", features, bags)

    def _check(self, x: Tensor, query: Tensor | None) -> None:
        _arguments.check_width("x", x, "feature_dim", self.feature_dim)
        _arguments.check_fits(self, "x", x, self.attention.k)
        _memory.check_given("x", x)
        if (query is None) != (self.query_dim is None):
            raise ValueError(
                "query must be None, since the network was made without query_dim; got "
                f"{type(query).__name__}. Leave it out."
                if self.query_dim is None
                else f"query must be a tensor of shape (B, T, {self.query_dim}), since the network "
                f"was made with query_dim = {self.query_dim}; got None"
            )
        if query is not None and self.query_dim is not None:
            _arguments.check_width("query", query, "query_dim", self.query_dim)
            if query.shape[:2] != x.shape[:2] or query.device != x.device:
                raise ValueError(
                    f"query must have the snippets of x, {tuple(x.shape[:2])} on {x.device}; got "
                    f"{tuple(query.shape[:2])} on {query.device}"
                )
            _arguments.check_fits(self, "query", query, self.attention.q)
            _memory.check_given("query", query)

    @classmethod
    def from_authors_checkpoint(
        cls,
        source: str | os.PathLike[str] | Mapping[str, Tensor],
        *,
        dropout: float = 0.1,
        impl: str = "auto",
    ) -> LANet:
        """Build a network from the authors' published audio-visual checkpoint.

        Their network (audio-guided attention, ICCECE 2022) is LA-Net with ``prior="logit"``,
        ``prior_form="exp_abs"`` and audio queries: ``net(video, lengths, query=audio)``. Sizes are
        read from the weights. The scores are those of their forward pass.

        Parameters
        ----------
        source : path or mapping
            A safetensors file, a file of ``torch.save`` (read with ``weights_only=True``), or a
            state dict. A ``module.`` prefix, and a state dict under the key ``state_dict``,
            ``model`` or ``model_state_dict``, are recognised. Entries, with the published shapes:
            ``dis_adj.w`` and ``dis_adj.bias`` (1,);
            ``cross_attention.cross_attention.{q,k,v,o}.weight`` (128, 128), (128, 1024),
            (128, 1024), (1024, 128) and ``.bias``; ``cross_attention.ffn.{0,3}.weight``
            (512, 1024, 1), (128, 512, 1) and ``.bias``; ``cross_attention.norm.{weight,bias}``
            (1024,); ``classifier.weight`` (1, 128, 7) and ``.bias`` (1,). Other widths are taken
            as they are.
        dropout : float
            For training on; not stored in checkpoints.
        impl : str
            See `ladnet_fast.use_impl`.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the entries are not those of that network (the message lists the differences), or the
            file is damaged or holds pickled objects.
        """
        from .weight_layouts import read_authors_checkpoint

        options, state = read_authors_checkpoint(source)
        net = cls(**options, dropout=dropout, impl=impl)  # type: ignore[arg-type]
        net.load_state_dict(state)
        return net


def _mlp(width: int, dims: Sequence[int], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, dim in enumerate(dims):
        if i:
            layers += [nn.GELU(), nn.Dropout(dropout)]
        layers.append(nn.Linear(width, dim))
        width = dim
    return nn.Sequential(*layers, nn.Dropout(dropout))
