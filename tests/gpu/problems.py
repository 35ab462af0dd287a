"""Ragged batches at real sizes: what our kernels make of them, and what is right."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

import ladnet_fast.functional as LF
from benchmarks import impls
from benchmarks.cases.attention_sides import CANDIDATES
from benchmarks.oracle import blockwise_attention
from benchmarks.vocabulary import Outputs
from ladnet_fast.ops import _triton
from ladnet_fast.ops.locality_attention.layout import lse_dtype
from ladnet_fast.ops.residual_norm import residual_norm
from ladnet_fast.ops.score_head import score_head
from tests import budget

from .bags import Draw, inside, pad, pad_rows, ragged_lengths, short_name, unpad
from .sizes import Sizes

#: Operator -> the implementation that is checked on a device. On the CPU that is what Triton's
#: interpreter runs, where it is on, and otherwise the reference in the kernels' place.
OWN = {
    "cuda": {
        "locality_attention": "triton",
        "ddl_loss": "cuda",
        "score_head": "triton",
        "residual_norm": "triton",
    },
}
OWN["cpu"] = (
    OWN["cuda"] | {"ddl_loss": "native"}
    if _triton.INTERPRETED
    else dict.fromkeys(OWN["cuda"], "reference")
)
PRIORS = ("additive", "logit", "none")
LAYOUTS = ("padded", "packed")

#: (w, b) of successive heads: sigma = 8, a rising one whose peak is off the diagonal, a flat one.
_HEADS = ((1 / 16, 0.0), (-0.003, 0.5), (0.0, 0.7))
#: A rounding to tf32, which keeps 10 bits of a significand.
_TF32 = 2.0**-10


@dataclass(frozen=True)
class Problem:
    """One call of one operator, forward and backward.

    Parameters
    ----------
    op, name : str
        The operator; and what distinguishes the problem, for the report.
    dtype : torch.dtype
        Of the inputs.
    own : callable
        Computes everything with our kernels. "padding" holds all that was returned for padding.
    exact : callable
        ``exact(dtype)`` computes the same by the reference in a dtype.
    scales : callable
        ``scales(truth)``: the sizes that `tests.budget.compare` takes.
    why_not : list of str
        Reasons why our kernels cannot serve here; empty if they can.
    """

    op: str
    name: str
    dtype: torch.dtype
    own: Callable[[], Outputs]
    exact: Callable[[torch.dtype], Outputs]
    scales: Callable[[Outputs], Mapping[str, float]]
    why_not: list[str]


def all_problems(sizes: Sizes) -> dict[str, Callable[[torch.device], Problem]]:
    """Return by name what makes each problem; nothing is made before, so one is in memory."""
    made: list[tuple[str, Callable[[torch.device], Problem]]] = []

    def add(op: str, name: str, make: Any, *given: Any, **options: Any) -> None:
        made.append((f"{op}: {name}", lambda device: make(device, sizes, *given, **options)))

    def add_attention(*given: Any, **options: Any) -> None:
        name = attention_name(sizes, *given, **options)
        add("locality_attention", name, attention, *given, **options)

    for dtype, layout in itertools.product(sizes.dtypes, LAYOUTS):
        for prior in PRIORS:
            add_attention(dtype, layout, prior)
    for prior, kind in itertools.product(PRIORS, CANDIDATES):
        add_attention(sizes.dtypes[0], LAYOUTS[kind == "descriptors"], prior, candidate=kind)
    for head_size in sizes.other_head_sizes:
        add_attention(sizes.dtypes[0], "padded", "additive", head_size)
    # Short bags have kernels of their own in 16 bits; packed ones for the backward pass.
    short = ((100, "padded"), (200, "padded"), (200, "packed"))
    for (snippets, layout), prior in itertools.product(short, PRIORS):
        if snippets < sizes.snippets:
            shorter, given = replace(sizes, snippets=snippets), (sizes.dtypes[0], layout, prior)
            make = partial(attention, sizes=shorter, dtype=given[0], layout=given[1], prior=prior)
            made.append((f"locality_attention: {attention_name(shorter, *given)}", make))
    for layout, prior in itertools.product(LAYOUTS, PRIORS):
        add_attention(torch.float32, layout, prior, tf32=True)
    for dtype, layout in itertools.product(sizes.dtypes, LAYOUTS):
        add("ddl_loss", ddl_name(sizes, dtype, layout), ddl, dtype, layout)
    for dtype in sizes.dtypes:
        add("score_head", head_name(sizes, dtype), head, dtype)
        add("residual_norm", norm_name(sizes, dtype), norm, dtype)
    return dict(made)


# ---- Attention -----------------------------------------------------------------------------------


def attention_name(
    sizes: Sizes,
    dtype: torch.dtype,
    layout: str,
    prior: str,
    head_size: int | None = None,
    *,
    tf32: bool = False,
    candidate: str = "",
) -> str:
    """Return what distinguishes the problem that `attention` makes of the same arguments."""
    kind = "tf32" if tf32 else short_name(dtype)
    d = head_size or sizes.head_size
    name = f"{prior}, {layout}, {kind}, {sizes.bags} bags up to {sizes.snippets}, d {d}"
    return f"{name}, {candidate}" if candidate else name


def attention(
    device: torch.device,
    sizes: Sizes,
    dtype: torch.dtype,
    layout: str,
    prior: str,
    head_size: int | None = None,
    seed: int = 0,
    *,
    tf32: bool = False,
    candidate: str = "",
) -> Problem:
    """Return bags of every length from 0 on, with a different prior for every head.

    ``tf32`` allows products to round float32; the inputs then are such rounded numbers.
    ``candidate`` is the kind of forward kernel that serves on a GPU, of those that only autotuning
    tries. On the CPU there is none, and the usual one is checked.
    """
    lengths = ragged_lengths(sizes, 0, seed)
    H, d = sizes.heads, head_size or sizes.head_size
    draw = Draw(device, dtype, seed)
    q, k, v, grad = (draw(1, H, sum(lengths), d) for _ in range(4))
    if tf32:
        q, k, v, grad = ((x.view(torch.int32) & ~0x1FFF).view(dtype) for x in (q, k, v, grad))
    pairs = list(itertools.islice(itertools.cycle(_HEADS), H))
    w, b = torch.tensor(pairs, dtype=torch.float32, device=device).unbind(1)
    names = ("dq", "dk", "dv") if prior == "none" else ("dq", "dk", "dv", "dw", "db")
    bags = list(itertools.pairwise(itertools.accumulate(lengths, initial=0)))

    def differentiate(function: Any, leaves: list[Tensor], grad: Tensor) -> Outputs:
        out = function(*leaves)
        grads = torch.autograd.grad(out, leaves[: len(names)], grad)
        return {"out": out.detach(), **dict(zip(names, grads, strict=True))}

    def own() -> Outputs:
        options: dict[str, Any] = {"prior": prior, "impl": OWN[device.type]["locality_attention"]}
        if layout == "packed":
            options["cu_seqlens"] = torch.tensor([0, *(end for _, end in bags)], device=device)
            given = [q, k, v]
            weights = grad
        else:
            options["lengths"] = torch.tensor(lengths, device=device)
            given = [pad(x, lengths) for x in (q, k, v)]
            weights = pad(grad, lengths)
        leaves = [x.detach().requires_grad_() for x in (*given, w, b)]
        with _product_precision("tf32") if tf32 else nullcontext():
            attend: Callable[..., Tensor] = partial(LF.locality_attention, **options)
            if candidate and device.type == "cuda":
                attend = impls.candidate(candidate, attend)
            found = differentiate(attend, leaves, weights)
        return found if layout == "packed" else unpad(found, lengths)

    def exact(real: torch.dtype) -> Outputs:
        leaves = [x.detach().to(real).requires_grad_() for x in (q, k, v)]
        leaves += [x.detach().to(lse_dtype(real)).requires_grad_() for x in (w, b)]

        def by_bags(q: Tensor, k: Tensor, v: Tensor, w: Tensor, b: Tensor) -> Tensor:
            parts = [
                blockwise_attention(q[:, :, s:e], k[:, :, s:e], v[:, :, s:e], w, b, prior=prior)
                for s, e in bags
                if e > s
            ]
            return torch.cat(parts, dim=2)

        return differentiate(by_bags, leaves, grad.to(real))

    def scales(truth: Outputs) -> Mapping[str, float]:
        where = [(0, s, e) for s, e in bags]
        lse, terms = budget.attention_terms(
            (q, k, v, w, b, grad), prior=prior, scale=d**-0.5, bags=where
        )
        # Probabilities and the gradients of logits are rounded before they are multiplied.
        operand_eps = _TF32 if tf32 else 0.0
        found = budget.attention_sizes(truth, lse, terms, dtype, operand_eps=operand_eps)
        if prior == "additive":
            summed = lse_dtype(dtype)
            share = torch.finfo(summed).eps / torch.finfo(dtype).eps
            for name, values in (("out", v), ("dv", grad)):
                parts = [values[0, :, s:e] for s, e in bags if e > s]
                chain = max(budget.chain_size(w, b, part, summed) for part in parts)
                added = found[name] if name == "dv" else 0.0
                found[name] = max(found[name], added + share * chain)
        return budget.at_least_the_values(found, truth)

    impl = OWN[device.type]["locality_attention"]
    name = attention_name(sizes, dtype, layout, prior, head_size, tf32=tf32, candidate=candidate)
    reasons = impls.why_not("locality_attention", impl, q, k, v)
    if candidate and device.type == "cuda" and not reasons:
        reasons = impls.why_no_candidate(candidate, q, k, v)
    return Problem("locality_attention", name, dtype, own, exact, scales, reasons)


# ---- DDL losses ----------------------------------------------------------------------------------


def ddl_name(sizes: Sizes, dtype: torch.dtype, layout: str) -> str:
    """Return what distinguishes the problem that `ddl` makes."""
    return f"{layout}, {short_name(dtype)}, {sizes.bags} bags up to {sizes.snippets}"


def ddl(
    device: torch.device, sizes: Sizes, dtype: torch.dtype, layout: str, seed: int = 0
) -> Problem:
    """Return bags of every length from 1 on, every other one anomalous."""
    lengths = ragged_lengths(sizes, 1, seed)
    random = torch.Generator().manual_seed(seed)
    scores = torch.rand(sum(lengths), generator=random).to(device)
    features = Draw(device, dtype, seed)(sum(lengths), sizes.features)
    labels = torch.arange(len(lengths), device=device) % 2 == 0
    offsets = torch.tensor([0, *itertools.accumulate(lengths)], device=device)

    def differentiate(scores: Tensor, features: Tensor, **options: Any) -> Outputs:
        scores, features = (x.detach().requires_grad_() for x in (scores, features))
        terms = LF.ddl_loss(scores, features, labels, **options)
        dscores, dfeatures = torch.autograd.grad(terms.total, (scores, features))
        found = {name: term.detach() for name, term in terms._asdict().items()}
        return {**found, "dscores": dscores, "dfeatures": dfeatures}

    def own() -> Outputs:
        impl = OWN[device.type]["ddl_loss"]
        if layout == "packed":
            return differentiate(scores, features, cu_seqlens=offsets, impl=impl)
        found = differentiate(
            pad_rows(scores, lengths),
            pad_rows(features, lengths),
            lengths=torch.tensor(lengths, device=device),
            impl=impl,
        )
        valid = inside(lengths, device)
        padding = [found[name][~valid].flatten() for name in ("dscores", "dfeatures")]
        packed = {name: found[name][valid] for name in ("dscores", "dfeatures")}
        return {**found, **packed, "padding": torch.cat([x.float() for x in padding])}

    def exact(real: torch.dtype) -> Outputs:
        wide = torch.float64 if real == torch.float64 else torch.float32
        given = (scores.to(wide), features.to(real))
        return differentiate(*given, cu_seqlens=offsets, impl="reference")

    impl = OWN[device.type]["ddl_loss"]
    name = ddl_name(sizes, dtype, layout)

    def scales(truth: Outputs) -> Mapping[str, float]:
        return budget.at_least_the_values(budget.long_ddl_sizes(), truth)

    reasons = impls.why_not("ddl_loss", impl, scores, features)
    return Problem("ddl_loss", name, dtype, own, exact, scales, reasons)


# ---- Score head ----------------------------------------------------------------------------------


def head_name(sizes: Sizes, dtype: torch.dtype) -> str:
    """Return what distinguishes the problem that `head` makes."""
    return f"{short_name(dtype)}, {sizes.bags} bags up to {sizes.snippets}, K {sizes.taps}"


def head(device: torch.device, sizes: Sizes, dtype: torch.dtype, seed: int = 0) -> Problem:
    """Return bags of every length from 0 on."""
    lengths = ragged_lengths(sizes, 0, seed)
    C, K = sizes.features, sizes.taps
    draw = Draw(device, dtype, seed)
    features = pad_rows(draw(sum(lengths), C), lengths)
    weight, bias = draw(1, C, K) / (C * K) ** 0.5, draw(1)
    grad = pad_rows(draw(sum(lengths)), lengths)
    on_device = torch.tensor(lengths, device=device)
    valid = inside(lengths, device)

    def differentiate(dtype: torch.dtype, grad: Tensor, impl: str) -> Outputs:
        leaves = [x.detach().to(dtype).requires_grad_() for x in (features, weight, bias)]
        scores = score_head(leaves[0], leaves[1], leaves[2], lengths=on_device, impl=impl)
        grads = torch.autograd.grad(scores, leaves, grad.to(dtype))
        padding = torch.cat([x.detach()[~valid].flatten() for x in (scores, grads[0])])
        return {
            "scores": scores.detach()[valid],
            "dfeatures": grads[0][valid],
            "dweight": grads[1],
            "dbias": grads[2],
            "padding": padding,
        }

    def exact(real: torch.dtype) -> Outputs:
        found = differentiate(real, torch.where(valid, grad, 0), "reference")
        del found["padding"]
        return found

    def scales(truth: Outputs) -> Mapping[str, float]:
        found = budget.score_head_sizes(truth["scores"], grad[valid], features[valid])
        named = dict(zip(("dweight", "dbias"), found, strict=True))
        return budget.at_least_the_values(named, truth)

    impl = OWN[device.type]["score_head"]
    name = head_name(sizes, dtype)
    reasons = impls.why_not("score_head", impl, features, weight, bias)
    return Problem(
        "score_head", name, dtype, lambda: differentiate(dtype, grad, impl), exact, scales, reasons
    )


# ---- Residual and LayerNorm ----------------------------------------------------------------------

_EPS = 1e-5


def norm_name(sizes: Sizes, dtype: torch.dtype) -> str:
    """Return what distinguishes the problem that `norm` makes."""
    return f"{short_name(dtype)}, {sizes.bags} bags up to {sizes.snippets}"


def norm(device: torch.device, sizes: Sizes, dtype: torch.dtype, seed: int = 0) -> Problem:
    """Return bags of every length from 0 on, eight times as wide as the embeddings."""
    lengths = ragged_lengths(sizes, 0, seed)
    D = 8 * sizes.features
    draw = Draw(device, dtype, seed)
    x, hidden, grad = (pad_rows(draw(sum(lengths), D), lengths) for _ in range(3))
    weight, bias = draw(D), draw(D)
    on_device = torch.tensor(lengths, device=device)
    valid = inside(lengths, device)

    def differentiate(dtype: torch.dtype, grad: Tensor, impl: str) -> Outputs:
        leaves = [y.detach().to(dtype).requires_grad_() for y in (x, hidden, weight, bias)]
        a, b, c, d = leaves
        out = residual_norm(a, b, c, d, _EPS, lengths=on_device, impl=impl)
        grads = torch.autograd.grad(out, leaves, grad.to(dtype))
        padding = torch.cat([y.detach()[~valid].flatten() for y in (out, *grads[:2])])
        names = ("out", "dx", "dhidden")
        rows = {n: y.detach()[valid] for n, y in zip(names, (out, *grads[:2]), strict=True)}
        return {**rows, "dweight": grads[2], "dbias": grads[3], "padding": padding}

    def exact(real: torch.dtype) -> Outputs:
        found = differentiate(real, torch.where(valid[..., None], grad, 0), "reference")
        del found["padding"]
        return found

    def scales(truth: Outputs) -> Mapping[str, float]:
        found = budget.residual_norm_sizes(x, hidden, grad, _EPS)
        named = dict(zip(("dweight", "dbias"), found, strict=True))
        return budget.at_least_the_values(named, truth)

    impl = OWN[device.type]["residual_norm"]
    name = norm_name(sizes, dtype)
    reasons = impls.why_not("residual_norm", impl, x, hidden, weight, bias)
    return Problem(
        "residual_norm", name, dtype, lambda: differentiate(dtype, grad, impl), exact, scales,
        reasons,
    )  # fmt: skip


@contextmanager
def _product_precision(precision: str) -> Iterator[None]:
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = precision
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
