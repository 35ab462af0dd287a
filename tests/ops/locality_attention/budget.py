"""What a backend of locality attention returned, against float64 within `tests.budget`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ladnet_fast.ops.locality_attention import definition
from tests import budget

from .cases import oracle

#: Results of both passes, in the order of `assert_results_within_budget`; lse comes last.
NAMES = ("out", "dq", "dk", "dv", "dw", "db")


def same_dtype_reference(
    q: Tensor, k: Tensor, v: Tensor, w: Tensor, b: Tensor, grad_out: Tensor, **options: object
) -> tuple[Tensor, ...]:
    """Return what the reference computes in the tested dtype, in the order of `NAMES`."""
    leaves = [x.detach().requires_grad_() for x in (q, k, v, w, b)]
    options = {"scale": q.shape[-1] ** -0.5, **options}
    out, _ = definition.locality_attention(*leaves, **options)
    return (out.detach(), *torch.autograd.grad(out, leaves, grad_out, materialize_grads=True))


def assert_results_within_budget(
    actual: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    grad_out: Tensor,
    prior: str,
    *,
    operand_eps: float = 0.0,
    **options: Tensor | None,
) -> None:
    """Check every output and gradient with the same inputs.

    Parameters
    ----------
    actual
        What a backend returned, in the order of `NAMES`, and lse; None for dw and db without
        a prior.
    inputs
        q, k, v, w, b.
    operand_eps
        What products round their operands to, where that is coarser than the dtype: tf32.
    options
        ``lengths`` or ``cu_seqlens``, or neither.
    """
    exact = oracle(*inputs, grad_out, prior=prior, **options)
    plain = same_dtype_reference(*inputs, grad_out, prior=prior, **options)
    got, truth, reference = (
        {name: x for name, x, a in zip(NAMES, results, actual, strict=False) if a is not None}
        for results in (actual, exact, plain)
    )
    assert prior == "none" or len(got) == len(NAMES)
    q = inputs[0]
    lse, terms = budget.attention_terms(
        (*inputs, grad_out),
        prior=prior,
        scale=q.shape[-1] ** -0.5,
        bags=budget.bags_of(q, options.get("lengths"), options.get("cu_seqlens")),
    )
    sizes = budget.attention_sizes(truth, lse, terms, q.dtype, operand_eps=operand_eps)
    budget.assert_within(got, truth, reference, sizes)
    assert actual[0].dtype == q.dtype
