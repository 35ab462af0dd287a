"""Small Triton kernels that exercise the interpreter; Triton wants to read them from a file."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def row_softmax(X, Y, N, stride, BLOCK: tl.constexpr):
    row, column = tl.program_id(0), tl.arange(0, BLOCK)
    x = tl.load(X + row * stride + column, mask=column < N, other=-float("inf"))
    e = tl.exp(x - tl.max(x, 0))
    tl.store(Y + row * stride + column, e / tl.sum(e, 0), mask=column < N)


@triton.jit
def matmul(
    A, B, C, M, N, K, stride_a, stride_b, stride_c,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    inner = tl.arange(0, BK)
    total = tl.zeros((BM, BN), tl.float32)
    for k in range(0, K, BK):
        a_mask = (rows[:, None] < M) & ((k + inner)[None, :] < K)
        b_mask = ((k + inner)[:, None] < K) & (columns[None, :] < N)
        a = tl.load(A + rows[:, None] * stride_a + (k + inner)[None, :], mask=a_mask, other=0.0)
        b = tl.load(B + (k + inner)[:, None] * stride_b + columns[None, :], mask=b_mask, other=0.0)
        total = tl.dot(a, b, total, input_precision=PRECISION)
    inside = (rows[:, None] < M) & (columns[None, :] < N)
    tl.store(C + rows[:, None] * stride_c + columns[None, :], total, mask=inside)


@triton.jit
def running_sums(X, ROWS, COLUMNS, M: tl.constexpr, N: tl.constexpr):
    i, j = tl.arange(0, M), tl.arange(0, N)
    x = tl.load(X + i[:, None] * N + j[None, :])
    tl.store(ROWS + i[:, None] * N + j[None, :], tl.cumsum(x, 1))
    tl.store(COLUMNS + i[:, None] * N + j[None, :], tl.cumsum(x, 0))


@triton.jit
def histogram(X, COUNTS, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(X + i, mask=i < n, other=0)
    tl.atomic_add(COUNTS + x, 1, mask=i < n)


@triton.jit
def positive_only(X, Y, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    x = tl.load(X + i)
    tl.device_assert(x > 0, "not positive")
    tl.store(Y + i, tl.sqrt(x))


@triton.jit
def functions(X, Y, N, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(X + i, mask=i < N, other=1.0)
    size = tl.abs(x)
    y = tl.sin(x) + tl.exp(x) + tl.log(size + 1) + tl.sqrt(size) + tl.erf(x) + tl.floor(x)
    tl.store(Y + i, y + tl.sigmoid(x) + tl.rsqrt(size + 0.5), mask=i < N)


@triton.jit
def sorted_with_places(X, Y, FIRST, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    x = tl.load(X + i)
    tl.store(Y + i, tl.sort(x))
    tl.store(FIRST, tl.argmax(x, 0))


@triton.jit
def random_bits(Y, seed, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(Y + i, tl.randint(seed, i))


@triton.jit
def odd_numbers(X, Y, BLOCK: tl.constexpr):
    program, total = tl.program_id(0), tl.zeros((BLOCK,), tl.float32)
    n = tl.load(X + program)
    while n > 0:
        if n % 2 == 1:
            total += n
        n -= 1
    tl.store(Y + program * BLOCK + tl.arange(0, BLOCK), total)
