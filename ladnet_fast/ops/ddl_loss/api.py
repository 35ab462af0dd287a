"""The entry point of the DDL losses: checks the arguments and chooses the backend."""

from __future__ import annotations

import sys
from typing import NamedTuple

import torch
from torch import Tensor

from ... import _values
from .. import _checks, _impl, _memory
from .._operator import is_plain_call
from . import definition, one_pass, schema
from .correlation import correlation_loss

CHOICES = {
    "pairing": ("batch_mean", "all_pairs", "one_to_one"),
    "select": ("topk", "all"),
    "detach": ("none", "score", "feature"),
}
ALIGNMENT_FORMS = ("product", "correlation")
_NAME = "ddl_loss"
_DOUBLE_MAX = sys.float_info.max


class DDLTerms(NamedTuple):
    """The losses of a batch: 0-d tensors, float32 (float64 for float64 input), differentiable."""

    total: Tensor
    """mil + ranking_weight * ranking + alignment_weight * alignment"""
    mil: Tensor
    """Multiple-instance cross entropy, not weighted."""
    ranking: Tensor
    """Dynamics ranking between bags, not weighted."""
    alignment: Tensor
    """Dynamics alignment inside bags, not weighted."""


def ddl_loss(
    scores: Tensor,
    features: Tensor,
    labels: Tensor,
    *,
    lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    ranking_weight: float = 0.1,
    alignment_weight: float = 1.0,
    margin: float = 0.1,
    topk_divisor: int = 16,
    eps: float = 1e-6,
    pairing: str = "batch_mean",
    select: str = "topk",
    detach: str = "none",
    impl: str = "auto",
    alignment_form: str = "product",
) -> DDLTerms:
    r"""Compute the losses of Discriminative Dynamics Learning for a batch of bags.

    For N bags, bag i with :math:`t_i` scores s in [0, 1] and features x, and

    .. math::

        ds_t = |s_t - s_{t+1}|, \quad df_t = 1 - \cos(x_t, x_{t+1}) \text{ clamped to } [0, 1],

    the terms are (slides 9 to 12 of the authors' ICME 2022 presentation)

    .. math::

        L_{MIL} &= \tfrac1N \textstyle\sum_i \mathrm{BCE}(p_i, y_i), \\
        L_{DR} &= \max(0, margin - E_a + E_n), \quad
            E = \tfrac1k \textstyle\sum_{\text{top } k} ds_t^2, \\
        L_{DA} &= \tfrac1N \textstyle\sum_i \tfrac{1}{t_i - 1} \sum_t -ds_t \log(df_t + eps),

    where :math:`p_i` is the mean of the floor(t_i / topk_divisor) + 1 largest scores of a positive
    bag (never more than it has) and the maximum of a negative one. A bag of one snippet has E = 0
    and adds nothing to the alignment. A zero feature row has cos 0. Among equal values the lowest
    index is chosen. The derivative of the absolute value at 0, of the hinge and of the clamp on
    their flat side and at the kink is 0.

    The sources do not give margin, eps, the weights, the pairing or which dynamics E sums; the
    defaults are this project's choice, not the paper's.

    Parameters
    ----------
    scores : Tensor
        (B, T), or packed (total,). Computed with in float32 (float64 if either is float64).
    features : Tensor
        (B, T, C), or packed (total, C): float32, float64, bfloat16 or float16.
    labels : Tensor
        (N,) bool, integer or floating, 1 for an anomalous bag, 0 for a normal one.
    lengths : Tensor, optional
        (B,) int32 or int64, each from 1 to T; the rest of a row is padding, which is never read.
    cu_seqlens : Tensor, optional
        (N + 1,) int32 or int64 for packed bags; no bag may be empty. Excludes ``lengths``.
    ranking_weight, alignment_weight : float
        Weights of the ranking and the alignment in ``total``.
    margin : float
        Margin of the ranking hinge.
    topk_divisor : int
        At least 1; see above.
    eps : float
        Greater than 0; keeps the logarithm finite.
    pairing : {"batch_mean", "all_pairs", "one_to_one"}
        E_a and E_n as class means over the batch; or the mean of the hinges over all pairs of a
        positive and a negative bag; or over the i-th positive with the i-th negative one. The
        ranking is 0 if a class is absent.
    select : {"topk", "all"}
        Whether E sums the floor(t_i / topk_divisor) + 1 largest dynamics or all of them.
    detach : {"none", "score", "feature"}
        Which factor of the alignment receives no gradient.
    impl : {"auto", "reference", "native", "triton", "cuda"}
        Who computes; see `ladnet_fast.use_impl`.
    alignment_form : {"product", "correlation"}
        "product" is the equation above. "correlation", this project's own form, replaces
        :math:`L_{DA}` by :math:`\tfrac1N \sum_i (1 - \mathrm{corr}_t(ds_t, df_t))`, the correlation
        over the pairs of bag i, 0 where one side doesn't vary or a bag has fewer than two pairs;
        ``eps`` has no part in it. PyTorch computes it, whatever ``impl`` serves the other terms.

    Returns
    -------
    DDLTerms
        ``(total, mil, ranking, alignment)``. A score or feature that is NaN makes the terms it
        enters non-finite; so does a bag's p (the mean of its chosen scores) outside [0, 1].

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape, dtype, device or value; an empty bag is one.
    ladnet_fast.ImplUnavailableError
        If a named ``impl`` cannot serve; the message lists every reason.
    """
    ranking_weight, alignment_weight, options = check_options(
        ranking_weight, alignment_weight, margin, topk_divisor, eps, pairing, select, detach
    )
    _values.choice("impl", impl, _impl.IMPLS)
    _values.choice("alignment_form", alignment_form, ALIGNMENT_FORMS)
    _check_tensors(scores, features, labels, lengths, cu_seqlens)
    either64 = torch.float64 in (scores.dtype, features.dtype)
    _check_range(either64, ranking_weight, alignment_weight, options)
    scores = scores.to(torch.float64 if either64 else torch.float32)
    features = features.to(torch.float64) if either64 else features
    labels = _checks.checked_labels(labels)
    if cu_seqlens is not None:
        cu_seqlens = _checks.checked_cu_seqlens(cu_seqlens, scores.shape[0], 1)
    elif lengths is not None:
        lengths = _checks.checked_lengths(lengths, scores.shape[1], 1)

    backends = {name: module.why_not for name, module in schema.BACKENDS.items()}
    impl = _impl.choose(_NAME, impl, scores.device, backends, scores, features)
    # The packed reference splits by sizes that are data: a graph must not look inside. On the meta
    # device the operator answers with what its fake says.
    opaque = cu_seqlens is not None and torch.compiler.is_compiling()
    if impl == "reference" and not opaque and scores.device.type != "meta":
        with torch.autocast(scores.device.type, enabled=False):
            mil, ranking, alignment = definition.ddl_terms(
                scores, features, labels, lengths, cu_seqlens, options
            )
    elif impl == "native" and _is_one_pass(features, scores, labels, lengths, cu_seqlens):
        # The correlation replaces the alignment, for which nothing arrives then.
        weight = alignment_weight if alignment_form == "product" else 0.0
        mil, ranking, alignment = one_pass.ddl_terms(
            scores, features, labels, lengths, cu_seqlens, options, weight
        ).unbind()
    else:
        training = torch.is_grad_enabled() and (scores.requires_grad or features.requires_grad)
        terms, _, _ = schema.ddl_forward(
            scores, features, labels, lengths, cu_seqlens, *options, training, impl
        )
        mil, ranking, alignment = terms.unbind()
    if alignment_form == "correlation":
        # The meta device has no autocast, and naming it is an error.
        kind = "cpu" if scores.device.type == "meta" else scores.device.type
        with torch.autocast(kind, enabled=False):
            alignment = correlation_loss(scores, features, lengths, cu_seqlens, detach)
    total = mil + ranking_weight * ranking + alignment_weight * alignment
    return DDLTerms(total, mil, ranking, alignment)


def _is_one_pass(features: Tensor, *others: Tensor | None) -> bool:
    """Whether the features' gradient may be computed in the forward pass."""
    return (
        torch.is_grad_enabled()
        and features.requires_grad
        and not torch.compiler.is_compiling()
        and is_plain_call(features, *others)
    )


def check_options(
    ranking_weight: float,
    alignment_weight: float,
    margin: float,
    topk_divisor: int,
    eps: float,
    pairing: str,
    select: str,
    detach: str,
) -> tuple[float, float, definition.Options]:
    """Return the options of `ddl_loss`, numbers as Python's, or raise ``ValueError``."""
    ranking_weight, alignment_weight, margin, eps = (
        _values.real_number(name, value, "a finite number of at least 0", least=0, most=_DOUBLE_MAX)
        for name, value in (
            ("ranking_weight", ranking_weight),
            ("alignment_weight", alignment_weight),
            ("margin", margin),
            ("eps", eps),
        )
    )
    if eps == 0:
        raise ValueError(
            f"eps must be greater than 0, or log(df + eps) is infinite for equal rows; got {eps!r}"
        )
    topk_divisor = _values.whole_number("topk_divisor", topk_divisor)
    for name, choice in (("pairing", pairing), ("select", select), ("detach", detach)):
        _values.choice(name, choice, CHOICES[name])
    options = definition.Options(float(margin), topk_divisor, float(eps), pairing, select, detach)
    return ranking_weight, alignment_weight, options


def _check_range(
    either64: bool, ranking_weight: float, alignment_weight: float, options: definition.Options
) -> None:
    if either64:
        return
    for name, value, least in (
        ("ranking_weight", ranking_weight, 0.0),
        ("alignment_weight", alignment_weight, 0.0),
        ("margin", options.margin, 0.0),
        ("eps", options.eps, _values.FLOAT32_LEAST),
    ):
        if not least <= value <= _values.FLOAT32_MAX:
            raise ValueError(
                f"{name} must be from {least:.3g} to {_values.FLOAT32_MAX:.3g} where the losses "
                f"are computed in float32; got {value!r}. Give it another value, or scores in "
                f"float64."
            )


def _check_tensors(
    scores: Tensor,
    features: Tensor,
    labels: Tensor,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
) -> None:
    packed = cu_seqlens is not None
    if packed and lengths is not None:
        raise ValueError(_checks.BOTH_LAYOUTS)
    _checks.check_floating("scores", scores, 1 if packed else 2, "(total,)" if packed else "(B, T)")
    _checks.check_floating(
        "features", features, 2 if packed else 3, "(total, C)" if packed else "(B, T, C)"
    )
    if features.shape[:-1] != scores.shape or features.device != scores.device:
        raise ValueError(
            f"features must have one row per score, as scores are {tuple(scores.shape)}: "
            f"{(*scores.shape, 'C')} on {scores.device}; got {tuple(features.shape)} on "
            f"{features.device}"
        )
    for name, x in (("scores", scores), ("features", features)):
        _memory.check_given(name, x)
    _checks.check_label_vector(labels)
    if cu_seqlens is not None:
        bags = _checks.check_index_vector("cu_seqlens", cu_seqlens, None, scores).shape[0] - 1
    else:
        bags = scores.shape[0]
        if lengths is not None:
            _checks.check_index_vector("lengths", lengths, bags, scores)
        if scores.shape[1] == 0:
            raise ValueError(
                f"scores must have T of at least 1; got shape {tuple(scores.shape)}. An empty bag "
                f"has no loss."
            )
    what = "scores" if cu_seqlens is None else "cu_seqlens"
    given = tuple((scores if cu_seqlens is None else cu_seqlens).shape)
    if bags < 1:
        raise ValueError(f"{what} must hold at least one bag; got shape {given}")
    if labels.shape[0] != bags or labels.device != scores.device:
        raise ValueError(
            f"labels must have one entry per bag: ({bags},) on {scores.device}, as {what} of shape "
            f"{given} say; got {tuple(labels.shape)} on {labels.device}"
        )
