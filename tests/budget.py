"""How far a result may be off: one rule, for all tests and for the benchmarks.

For every output, with an error as the largest absolute difference from the oracle in float64,

    error <= 2 (error of the reference in the tested dtype + one rounding band).

The band is the dtype's epsilon times the size of what is rounded: of the largest exact value, or,
where something larger is rounded on the way (a sum whose terms cancel, a value that is stored in
between), of that. What that is for each operator, the functions ``..._sizes`` say, and no test
says anything else.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

Outputs = Mapping[str, Tensor]

#: An oracle in float64 is no better than a result in float64: roundings in its band.
_FLOAT64_ROUNDINGS = 32
#: Elements of a piece, and of a slice of a (T, T) matrix: 32 and 128 MiB in float64.
_PIECE, _SLICE = 2**22, 2**24


@dataclass(frozen=True)
class OutputError:
    """How far one output is off, and how far it may be."""

    output: str
    error: float
    budget: float

    @property
    def ok(self) -> bool:
        """Whether the error is within the budget; NaN is not."""
        return self.error <= self.budget

    def as_dict(self) -> dict[str, object]:
        """Return the fields, for JSON."""
        return asdict(self)


def compare(
    got: Outputs, truth: Outputs, reference: Outputs, sizes: Mapping[str, float] | None = None
) -> list[OutputError]:
    """Compare outputs with the oracle's.

    Parameters
    ----------
    got : mapping of str to Tensor
        What was computed.
    truth, reference : mapping of str to Tensor
        The oracle in float64, and the reference in the tested dtype.
    sizes : mapping of str to float, optional
        For outputs whose band is not that of their largest exact value, of what it is.

    Raises
    ------
    ValueError
        If outputs are missing or too many, or if their shapes differ.
    """
    if got.keys() != truth.keys() or reference.keys() != truth.keys():
        raise ValueError(f"outputs {sorted(got)} are not the oracle's, {sorted(truth)}")
    sizes = sizes or {}
    found = []
    for name, exact in truth.items():
        band = _rounding(got[name].dtype) * (sizes[name] if name in sizes else largest(exact))
        budget = 2 * (_error(reference[name], exact) + band)
        found.append(OutputError(name, _error(got[name], exact), budget))
    return found


def assert_within(
    got: Outputs, truth: Outputs, reference: Outputs, sizes: Mapping[str, float] | None = None
) -> None:
    """Fail, with all that is wrong, unless every output is finite and within its budget."""
    for name, values in got.items():
        assert torch.isfinite(values).all(), f"{name} is not finite"
    wrong = [entry for entry in compare(got, truth, reference, sizes) if not entry.ok]
    assert not wrong, describe(wrong)


def describe(errors: Iterable[OutputError]) -> str:
    """Return what is off, by how much, and what is allowed."""
    return "; ".join(f"{e.output} is off by {e.error:.2g}, allowed {e.budget:.2g}" for e in errors)


def at_least_the_values(sizes: Mapping[str, float], truth: Outputs) -> dict[str, float]:
    """Return the sizes, none of them smaller than the output's largest exact value."""
    return {name: max(size, largest(truth[name])) for name, size in sizes.items()}


def largest(x: Tensor) -> float:
    """Return the largest magnitude; 0 for no elements."""
    return float(x.abs().max()) if x.numel() else 0.0


def _rounding(dtype: torch.dtype) -> float:
    eps = torch.finfo(dtype).eps
    return _FLOAT64_ROUNDINGS * eps if dtype == torch.float64 else eps


def _error(got: Tensor, exact: Tensor) -> float:
    if got.shape != exact.shape:
        raise ValueError(f"an output has shape {tuple(got.shape)}, not {tuple(exact.shape)}")
    if exact.numel() == 0:
        return 0.0
    # Pieces bound the float64 temporaries of large outputs; max keeps a NaN.
    pieces = zip(got.reshape(-1).split(_PIECE), exact.reshape(-1).split(_PIECE), strict=True)
    return float(torch.stack([(a.double() - b.double()).abs().max() for a, b in pieces]).max())


# ---- Locality attention --------------------------------------------------------------------------

#: (index in the batch, begin, end) of a bag.
Bag = tuple[int, int, int]


def bags_of(q: Tensor, lengths: Tensor | None, cu_seqlens: Tensor | None) -> list[Bag]:
    """Return where the bags of (B, H, T, d) are."""
    if cu_seqlens is not None:
        bounds = cu_seqlens.tolist()
        return [(0, s, e) for s, e in itertools.pairwise(bounds)]
    ends = [q.shape[2]] * q.shape[0] if lengths is None else lengths.tolist()
    return [(n, 0, end) for n, end in enumerate(ends)]


def attention_terms(
    tensors: Sequence[Tensor], *, prior: str, scale: float, bags: Sequence[Bag]
) -> tuple[float, dict[str, float]]:
    """Return by how much roundings grow on the way to the gradients.

    Parameters
    ----------
    tensors
        q, k, v (B, H, T, d), w, b (H,) and the output's gradient.
    prior, scale
        As in `ladnet_fast.functional.locality_attention`.
    bags
        Where they are; rows of padding are not looked at.

    Returns
    -------
    lse : float
        The largest magnitude of the softmax's logarithmic sum. A backward pass in linear memory
        rebuilds probabilities from that sum, which was rounded once: a relative error of epsilon
        times its magnitude.
    terms : dict of str to float
        The size of what is added up to "dw" and "db", T^2 terms of either sign; empty without the
        prior. Errors within a row go together, since they share its softmax; those of different
        rows do not. So magnitudes are added along a row, and the rows by their squares.
    """
    q, k, v, w, b, grad = (x.detach().double() for x in tensors)
    squares = torch.zeros(2, q.shape[1], dtype=torch.float64, device=q.device)
    lse = 0.0
    for n, begin, end in bags:
        T = end - begin
        columns = torch.arange(T, device=q.device, dtype=torch.float64)
        bag = [x[n, :, begin:end] for x in (q, k, v, grad)]  # [H, T, d]
        step = max(1, _SLICE // max(1, q.shape[1] * T))
        for start in range(0, T, step):
            rows = slice(start, start + step)
            logits = (bag[0][:, rows] @ bag[1].mT) * scale  # [H, R, T]
            distance2 = (columns[rows, None] - columns).square()
            G = torch.exp(-(w[:, None, None] * distance2 + b[:, None, None]).abs())
            if prior == "logit":
                logits = logits + G
            lse = max(lse, largest(logits.logsumexp(dim=-1)))
            if prior == "none":
                continue
            size = (bag[3][:, rows] @ bag[2].mT).abs()
            if prior == "logit":
                P = logits.softmax(dim=-1)
                size = P * (size + (P * size).sum(dim=-1, keepdim=True))
            size = size * G
            for i, added in enumerate((size * distance2, size)):
                squares[i] += added.sum(dim=-1).square().sum(dim=1)
    if prior == "none":
        return lse, {}
    dw, db = squares.sqrt().amax(dim=1).tolist()
    return lse, {"dw": dw, "db": db}


def attention_sizes(
    truth: Outputs,
    lse: float,
    terms: Mapping[str, float],
    dtype: torch.dtype,
    *,
    operand_eps: float = 0.0,
) -> dict[str, float]:
    """Return the sizes of the output "out" and of the gradients "dq", "dk", "dv", "dw" and "db".

    The attention's output is stored in ``dtype`` for the backward pass, its logarithmic sum in
    float32 or better: both roundings reach every gradient, whatever that is stored in.

    Parameters
    ----------
    truth
        The exact results; "dw" and "db" may be missing.
    lse, terms
        As `attention_terms` returns them.
    dtype
        Of q, k and v.
    operand_eps
        What products round their operands to, where that is coarser than the dtype: tf32.
    """
    stored = torch.finfo(dtype).eps
    summed = torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32).eps
    coarsest = max(stored, operand_eps)
    sizes = {"out": coarsest / stored * largest(truth["out"])} if "out" in truth else {}
    for name in ("dq", "dk", "dv"):
        sizes[name] = (coarsest + lse * summed) / stored * largest(truth[name])
    return sizes | {name: (coarsest / summed + lse) * size for name, size in terms.items()}


def chain_size(w: Tensor, b: Tensor, values: Tensor, summed: torch.dtype) -> float:
    """Return what a rounding of G ``values``, added up term by term, is in proportion to.

    A right kernel may add G v (and G's transpose times the output's gradient, the same sum) in one
    chain of T additions, where the reference's product adds up shorter parts. With s_k the partial
    sums, the rounding of addition k is at most eps |s_k| / 2 to either side, and no larger than the
    term that is added. Taken as independent and even, its root mean square is eps |s_k| / sqrt(12),
    and that of all T of them eps S / sqrt(12) with S^2 the sum of s_k^2. The worst of 10^8 results,
    more than there are, lies within 6 of these deviations. The budget is twice the size: 6 / 2 /
    sqrt(12) = sqrt(3) / 2 of S, the largest of S.

    Of all rows the first, the middle and the last are looked at. With w = 0 all have the same sum;
    with a prior that dies within a hundred snippets a row adds up as many terms, wherever it is.

    Parameters
    ----------
    w, b : Tensor
        (H,), the prior's parameters.
    values : Tensor
        (H, T, d), one bag.
    summed : torch.dtype
        In what is added up.
    """
    eps = torch.finfo(summed).eps
    T = values.shape[1]
    values, w, b = (x.detach().double() for x in (values, w, b))
    columns = torch.arange(T, dtype=torch.float64, device=values.device)
    found = 0.0
    for row in {0, T // 2, T - 1}:
        distance2 = (columns - row).square()
        terms = torch.exp(-(w[:, None] * distance2 + b[:, None]).abs())[..., None] * values
        rounded = torch.minimum(terms.cumsum(dim=1).abs(), terms.abs() / eps)
        found = max(found, float(rounded.square().sum(dim=1).sqrt().max()))
    return math.sqrt(3) / 2 * found


# ---- The other operators -------------------------------------------------------------------------


def ddl_sizes(truth: Outputs, scores: Tensor, bags: Sequence[int]) -> dict[str, float]:
    """Return the size of the term "alignment" of packed bags.

    One rounding of a feature's dynamics moves their logarithm by epsilon, however small it is, and
    that is weighted with the dynamics of the scores.
    """
    parts = scores.double().split(list(bags))
    steps = torch.stack([part.diff().abs().sum() / max(len(part) - 1, 1) for part in parts])
    return {"alignment": largest(truth["alignment"]) + float(steps.mean())}


def long_ddl_sizes() -> dict[str, float]:
    """Return the size of the term "ranking" of bags of thousands of snippets.

    It is the margin plus a difference of mean squares of scores, which are up to 1.
    """
    return {"ranking": 1.0}


def score_head_sizes(scores: Tensor, grad: Tensor, features: Tensor) -> tuple[float, float]:
    """Return the sizes of what is added up to the gradients of weight and bias.

    The terms have either sign: the root of the sum of their squares. Padding is NaN or 0.
    """
    scores, grad, features = (x.detach().double().nan_to_num() for x in (scores, grad, features))
    size = float((grad * scores * (1 - scores)).square().sum().sqrt())
    return size * largest(features), size


def residual_norm_sizes(x: Tensor, hidden: Tensor, grad: Tensor, eps: float) -> tuple[float, float]:
    """Return the sizes of what is added up to the gradients of LayerNorm's weight and bias.

    The terms have either sign: the root of the sum of their squares. Padding is NaN or 0.
    """
    x, hidden, grad = (y.detach().double().nan_to_num() for y in (x, hidden, grad))
    normal = torch.nn.functional.layer_norm(x + hidden, x.shape[2:], eps=eps)
    terms = (grad * normal, grad)
    weight, bias = (largest(term.square().sum(dim=(0, 1)).sqrt()) for term in terms)
    return weight, bias


def linear_sizes(truth: Outputs) -> dict[str, float]:
    """Return the sizes of layers in float32, whose sums of many terms round at the terms' size."""
    least = 1e-6 / torch.finfo(torch.float32).eps
    return {name: 8 * largest(exact) + least for name, exact in truth.items()}
