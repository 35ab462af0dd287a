"""The forward kernel with specialised warps, as the interpreter runs its source: near tiles first.

What the compilers make of it, and of its sister for sm_90, is in tests/kernels_aot.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ladnet_fast.kernels.locality_attention import plan, specialized

from .tools import BLOCKS, check, check_inputs, forward_pass, inputs_of

# The interpreter computes with numpy, which warns where a NaN arises.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

SPECIALIZED = {
    name: dataclasses.replace(config, whole_keys=True, descriptors=True, specialized="triton")
    for name, config in BLOCKS.items()
    if name != "one far loop"  # which is of the backward pass
}
SMALL = SPECIALIZED["as many queries as keys"]


@pytest.fixture(autouse=True)
def launched(monkeypatch):
    """The test has to be of this kernel: it is launched once at least."""
    grids = []
    kernel = specialized.attention_specialized

    class Noted:
        def __getitem__(self, grid):
            grids.append(grid)
            return kernel[grid]

    monkeypatch.setattr(plan, "attention_specialized", Noted())
    yield grids
    assert grids


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize("T", [1, 31, 32, 33, 65, 129])
def test_every_length_is_within_budget(T, prior):
    check(1, 1, T, 16, torch.float32, prior, config=SMALL)


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
@pytest.mark.parametrize("blocks", SPECIALIZED)
def test_all_blocks_are_within_budget(blocks, prior):
    # Bags as long as no block, one block, blocks with a tail; and of none.
    lengths = torch.tensor([97, 64, 13, 0])
    check(
        4, 1, 97, 24, torch.float16, prior, "narrow", SPECIALIZED[blocks], lengths=lengths
    )  # fmt: skip


@pytest.mark.parametrize("prior", ["additive", "logit"])
@pytest.mark.parametrize(
    ("w", "b"), [(0.0, 0.0), (0.0, -10.0), (1e30, 0.0), (-0.003, 20.0), (0.1, -60.0), (-0.1, 500.0)]
)
def test_a_prior_of_any_sign_and_size_is_within_budget(w, b, prior):
    # Near tiles that are all, none, and rings far from the diagonal.
    inputs = inputs_of(1, 1, 110, 16, torch.float32)
    inputs[3:] = [torch.tensor([x], dtype=torch.float32) for x in (w, b)]
    check_inputs(inputs, prior, SMALL)


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
def test_a_nan_of_padding_or_of_another_bag_stays_there(prior):
    inputs = inputs_of(1, 2, 80, 16, torch.float32)
    if prior == "none":
        inputs[3:] = [None, None]
    for x in inputs[:3]:
        x[:, :, 45:] = torch.nan
    bags = {"cu_seqlens": torch.tensor([0, 0, 45, 80])}
    for x in forward_pass(*inputs, prior=prior, config=SMALL, **bags):
        if x is not None:
            assert x[:, :, :45].isfinite().all()
            assert not x[:, :, 45:].isfinite().any()
    bags = {"lengths": torch.tensor([45])}
    for x in forward_pass(*inputs, prior=prior, config=SMALL, **bags):
        if x is not None:
            assert x[:, :, :45].isfinite().all()
            assert (x[:, :, 45:] == 0).all()


def test_keys_are_never_split():
    inputs = inputs_of(1, 1, 64, 16, torch.float32)
    forward_pass(*inputs, config=SMALL)
    with pytest.raises(ValueError, match="splits must be 1 where warps are specialised; got 2"):
        forward_pass(*inputs, config=SMALL, splits=2)
