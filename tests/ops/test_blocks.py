"""Memory that is kept for the next large result: never while anybody can still read it."""

from __future__ import annotations

import gc
import mmap

import pytest
import torch

from ladnet_fast.ops import _blocks

pytestmark = pytest.mark.skipif(_blocks._FREE is None, reason="the system has no MADV_FREE")
LARGE = torch.Size((3, 1_500_000))  # of int64: 36 MB


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch):
    monkeypatch.setattr(_blocks, "_kept", None)


def large(shape=LARGE):
    return _blocks.empty(torch.empty(0, dtype=torch.int64), torch.Size(shape))


def test_a_block_is_used_again_after_the_last_tensor_that_shows_it():
    first = large()
    place = first.data_ptr()
    part = first.fill_(7)[1, 5:9]
    detached = first.detach()
    as_array = first.numpy()
    del first
    for holder in ("part", "detached", "as_array"):
        other = large()
        assert other.data_ptr() != place
        other.fill_(0)
        assert part.eq(7).all(), holder
        if holder == "part":
            del detached
        elif holder == "detached":
            del as_array
    del other
    gc.collect()
    _blocks._kept = None
    del part
    assert large().data_ptr() == place


def test_a_gradient_in_a_block_stays_whole_while_a_leaf_has_it():
    leaf = torch.zeros(LARGE, requires_grad=True)

    class Made(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.sum()

        @staticmethod
        def backward(ctx, grad):
            return _blocks.empty(leaf, LARGE).fill_(float(grad))

    Made.apply(leaf).backward()
    place = leaf.grad.data_ptr()
    other = _blocks.empty(leaf, LARGE).fill_(5)
    assert other.data_ptr() != place
    assert leaf.grad.eq(1).all()
    del other
    leaf.grad = None
    gc.collect()
    assert _blocks.empty(leaf, LARGE).data_ptr() == place


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_tensor_is_an_ordinary_one(dtype):
    like = torch.empty(1, dtype=dtype, requires_grad=True)
    x = _blocks.empty(like, torch.Size((5, 64, 40_000)))
    assert (x.dtype, x.shape, x.is_contiguous()) == (dtype, (5, 64, 40_000), True)
    assert not x.requires_grad
    assert not x._is_view()
    assert x.data_ptr() % 64 == 0
    x.copy_(torch.arange(x.numel()).view(x.shape) % 50)
    assert torch.equal(x.flatten()[:50].float(), torch.arange(50.0))


def test_small_results_and_other_systems_have_torchs_memory(monkeypatch):
    monkeypatch.setattr(mmap, "mmap", None)
    assert large((4, 5)).shape == (4, 5)
    monkeypatch.setattr(_blocks, "_FREE", None)
    assert large().shape == LARGE


@pytest.mark.parametrize(("factor", "again"), [(1, True), (0.6, True), (0.4, False), (1.1, False)])
def test_a_block_serves_results_that_need_half_of_it_or_more(factor, again):
    first = large()
    place = first.data_ptr()
    del first
    block = _blocks._kept
    other = large((3, int(1_500_000 * factor)))
    assert _blocks._kept is None
    if again:
        assert other.data_ptr() == place
    del other
    assert (_blocks._kept is block) == again


def test_only_a_large_block_is_lent_to_the_system():
    class Block(bytearray):
        advised = ()

        def madvise(self, advice):
            self.advised = (advice,)

    for size, lent in ((_blocks.LENT_BYTES, True), (_blocks.LENT_BYTES - 1, False)):
        block = Block(size)
        _blocks._give_back(block)
        assert block.advised == ((_blocks._FREE,) if lent else ())
        assert _blocks._kept is block
