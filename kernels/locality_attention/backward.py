"""The backward pass in one launch: programs of dK and dV, and programs of dQ.

On the grid's first axis are the programs of `bags.locate`; on its second, 0 stands for keys and 1
for queries. Both own ``BLOCK_N`` rows, so there are as many of either. GPUs start programs in this
order, the first axis fastest: those of dK and dV come first, since their four products for each
pair of rows take longer than the three of dQ.
"""

import triton
import triton.language as tl

from .backward_keys import attention_backward_keys
from .backward_queries import attention_backward_queries
from .tiles import NEVER_SPECIALIZED


@triton.jit(do_not_specialize=NEVER_SPECIALIZED)
def attention_backward(
    q, k, v, w, b, grad_out, lse, delta, grad_q, grad_k, grad_v, partials, lengths, cu_seqlens,
    q_batch: tl.int64, q_head: tl.int64, q_row: tl.int64,
    k_batch: tl.int64, k_head: tl.int64, k_row: tl.int64,
    v_batch: tl.int64, v_head: tl.int64, v_row: tl.int64,
    grad_out_batch: tl.int64, grad_out_head: tl.int64, grad_out_row: tl.int64,
    scale: tl.float32, H: tl.int32, T: tl.int32, bags: tl.int32, tiles: tl.int32,
    D: tl.constexpr, BLOCK_D: tl.constexpr, UNIT: tl.constexpr,
    PRIOR: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_BAND: tl.constexpr,
    QUERIES_N: tl.constexpr, ONE_FAR_LOOP: tl.constexpr,
):  # fmt: skip
    """Fill ``BLOCK_N`` rows of grad_k and grad_v, or as many of grad_q.

    ``partials`` is that of the logit prior, [programs along the first axis, 2].
    """
    # A return on both sides: Triton inlines a function that returns early only outside of an if.
    if tl.program_id(1) == 0:
        attention_backward_keys(
            q, k, v, w, b, grad_out, lse, delta, grad_k, grad_v, lengths, cu_seqlens,
            q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row,
            grad_out_batch, grad_out_head, grad_out_row, scale, H, T, bags, tiles,
            D, BLOCK_D, UNIT, PRIOR, PRECISION, BLOCK_M, BLOCK_N, BLOCK_BAND, ONE_FAR_LOOP,
        )  # fmt: skip
        return
    attention_backward_queries(
        q, k, v, w, b, grad_out, lse, delta, grad_q, partials, lengths, cu_seqlens,
        q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row,
        grad_out_batch, grad_out_head, grad_out_row, scale, H, T, bags, tiles,
        D, BLOCK_D, UNIT, "logit" if PRIOR == "logit" else "none", PRECISION,
        BLOCK_N, QUERIES_N, ONE_FAR_LOOP,
    )  # fmt: skip
