"""Far tiles copied by descriptors: the bits of the plain kernel, and the tensors that have some."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ladnet_fast.kernels.locality_attention import plan
from ladnet_fast.kernels.locality_attention.descriptors import describable

from .tools import SMALL, forward_pass, inputs_of

# The interpreter computes with numpy, which warns where a NaN arises.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

DESCRIBED = dataclasses.replace(SMALL, descriptors=True)
#: Bags of full tiles alone, of one row and of none, and tiles that would reach into the next bag;
#: and into how many parts the keys are split.
BAGS = {
    "dense": ({}, 2),
    "padded": ({"lengths": torch.tensor([70, 0, 1, 64])}, 1),
    "packed": ({"cu_seqlens": torch.tensor([0, 0, 1, 34, 34, 110])}, 2),
}


@pytest.fixture
def described(monkeypatch):
    """The tensors that got a descriptor, in order."""
    found = []
    describe = plan.describe
    monkeypatch.setattr(plan, "describe", lambda x, *sizes: found.append(x) or describe(x, *sizes))
    return found


@pytest.mark.parametrize("layout", BAGS)
@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
def test_results_are_the_bits_of_the_plain_kernel(described, prior, layout):
    bags, splits = BAGS[layout]
    B, T = {"dense": (1, 70), "padded": (4, 70), "packed": (1, 110)}[layout]
    # d = 24: columns beyond it come from the descriptor, rows beyond a bag never do.
    inputs = inputs_of(B, 1, T, 24, torch.float16)
    if layout == "padded":
        padding = torch.arange(T) >= bags["lengths"][:, None]
        inputs[:3] = [x.masked_fill(padding[:, None, :, None], torch.nan) for x in inputs[:3]]
    expected = forward_pass(*inputs, prior=prior, splits=splits, **bags)
    assert not described
    got = forward_pass(*inputs, prior=prior, splits=splits, config=DESCRIBED, **bags)
    assert [x.data_ptr() for x in described] == [x.data_ptr() for x in inputs[1:3]]
    for a, e in zip(got, expected, strict=True):
        assert a is e is None or torch.equal(a, e)


def test_slices_of_a_joint_projection_have_descriptors(described):
    joint = torch.randn(1, 33, 3, 2, 16)
    q, k, v = (joint[:, :, i].transpose(1, 2) for i in range(3))
    *_, w, b = inputs_of(1, 2, 33, 16, torch.float32)
    got = forward_pass(q, k, v, w, b, config=DESCRIBED)
    assert len(described) == 2
    for a, e in zip(got, forward_pass(q, k, v, w, b), strict=True):
        assert torch.equal(a, e)


def test_a_nan_in_the_next_bag_stays_there(described):
    inputs = inputs_of(1, 1, 80, 16, torch.float32)
    for x in inputs[1:3]:
        x[:, :, 40:] = torch.nan
    bags = {"cu_seqlens": torch.tensor([0, 40, 80])}
    out, lse, _ = forward_pass(*inputs, config=DESCRIBED, **bags)
    assert described
    assert out[:, :, :40].isfinite().all()
    assert lse[:, :, :40].isfinite().all()
    assert not out[:, :, 40:].isfinite().any()


def tensors_without_descriptors():
    x = torch.randn(2, 2, 65, 16)
    joined = torch.randn(2, 2, 65 * 18)
    return {
        "an address off 16 bytes": torch.randn(2 * 2 * 65 * 16 + 1)[1:].view(x.shape),
        "rows off 16 bytes": joined.view(2, 2, 65, 18)[..., :16],
        "heads that are expanded": x[:, :1].expand(x.shape),
        "rows that overlap": joined[..., : 65 * 4 + 12].unfold(2, 16, 4)[:, :, :65],
    }


@pytest.mark.parametrize("name", tensors_without_descriptors())
def test_a_tensor_without_a_descriptor_is_refused(name):
    x = tensors_without_descriptors()[name]
    assert x.shape == (2, 2, 65, 16)
    assert not describable(x)
    q, k, v, w, b = inputs_of(2, 2, 65, 16, torch.float32)
    for inputs in ((q, x, v), (q, k, x)):
        with pytest.raises(ValueError, match="address and strides must be multiples of 16"):
            forward_pass(*inputs, w, b, config=DESCRIBED)


def test_axes_with_one_entry_and_empty_tensors():
    # Strides of such an axis mean nothing; a descriptor of nothing cannot be made.
    assert describable(torch.randn(7, 16)[None, None].as_strided((1, 1, 7, 16), (3, 5, 16, 1)))
    assert describable(torch.randn(2, 2, 1, 20))
    assert not describable(torch.empty(0, 2, 5, 16))
    assert not describable(torch.empty(2, 2, 0, 16))
