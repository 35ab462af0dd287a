from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ladnet_fast.video import I3D
from ladnet_fast.video.i3d import Unit3d


@pytest.fixture(scope="module")
def model() -> I3D:
    """I3D in float64 with random weights and statistics that keep activations near 1."""
    torch.manual_seed(0)
    network = I3D().double().eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, Unit3d):
            fan_in = module.conv.weight[0].numel()
            module.conv.weight.normal_(0, (2 / fan_in) ** 0.5)
            module.norm.bias.normal_(0, 0.3)
            module.norm.mean.normal_(0, 0.3)
            module.norm.var.uniform_(0.3, 1.5)
    return network


def expected_features(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """I3D written out from the paper's figure and TensorFlow's formula, on the state dict alone."""

    def padding(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> list[int]:
        widths: list[int] = []
        for n, k, s in reversed(list(zip(x.shape[2:], kernel, stride, strict=True))):
            total = max(((n + s - 1) // s - 1) * s + k - n, 0)
            widths += [total // 2, total - total // 2]
        return widths

    def unit(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.conv.weight"]
        x = F.pad(x, padding(x, tuple(weight.shape[2:]), (stride,) * 3))
        x = F.conv3d(x, weight, stride=stride)
        mean, var, bias = (
            state[f"{name}.norm.{key}"].view(-1, 1, 1, 1) for key in ("mean", "var", "bias")
        )
        return ((x - mean) / (var + 1e-3).sqrt() + bias).clamp(min=0)

    def pool(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        x = F.pad(x, padding(x, kernel, stride), value=float("-inf"))
        for axis, (k, s) in enumerate(zip(kernel, stride, strict=True), start=2):
            x = x.unfold(axis, k, s).amax(-1)
        return x

    def mixed(x: Tensor, name: str) -> Tensor:
        return torch.cat(
            [
                unit(x, f"{name}.branch0"),
                unit(unit(x, f"{name}.branch1.0"), f"{name}.branch1.1"),
                unit(unit(x, f"{name}.branch2.0"), f"{name}.branch2.1"),
                unit(pool(x, (3, 3, 3), (1, 1, 1)), f"{name}.branch3.1"),
            ],
            dim=1,
        )

    x = pool(unit(x, "conv_1a", stride=2), (1, 3, 3), (1, 2, 2))
    x = pool(unit(unit(x, "conv_2b"), "conv_2c"), (1, 3, 3), (1, 2, 2))
    x = pool(mixed(mixed(x, "mixed_3b"), "mixed_3c"), (3, 3, 3), (2, 2, 2))
    for block in "bcdef":
        x = mixed(x, f"mixed_4{block}")
    x = pool(x, (2, 2, 2), (2, 2, 2))
    return mixed(mixed(x, "mixed_5b"), "mixed_5c").mean((2, 3, 4))


@pytest.mark.parametrize("size", [(16, 32, 32), (7, 33, 41), (1, 8, 8)])
def test_features_are_those_of_the_formula(model: I3D, size: tuple[int, int, int]) -> None:
    clips = torch.rand(2, 3, *size, dtype=torch.float64) * 2 - 1
    features = model(clips)
    assert features.shape == (2, 1024)
    torch.testing.assert_close(
        features, expected_features(model.state_dict(), clips), rtol=1e-10, atol=1e-10
    )


def test_features_tell_a_shift_by_one_pixel(model: I3D) -> None:
    """Guards the test above: were they blind to it, any padding would pass."""
    clips = torch.rand(1, 3, 8, 32, 32, dtype=torch.float64) * 2 - 1
    shifted = F.pad(clips, (1, 0, 1, 0, 1, 0))[:, :, :8, :32, :32]
    difference = (model(clips) - model(shifted)).norm() / model(clips).norm()
    assert difference > 1e-3


def test_folding_keeps_the_features(model: I3D) -> None:
    clips = torch.rand(1, 3, 8, 32, 32, dtype=torch.float64) * 2 - 1
    folded = copy.deepcopy(model).fold()
    assert not any("norm" in name for name in folded.state_dict())
    torch.testing.assert_close(folded(clips), model(clips), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(folded.fold()(clips), model(clips), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-2)])
def test_lower_precision_stays_close(model: I3D, dtype: torch.dtype, tolerance: float) -> None:
    clips = torch.rand(1, 3, 8, 32, 32, dtype=torch.float64) * 2 - 1
    expected = model(clips)
    features = copy.deepcopy(model).fold().to(dtype)(clips.to(dtype))
    assert features.dtype == dtype
    assert (features.double() - expected).abs().max() <= tolerance * expected.abs().max()


def test_memory_layout_of_the_clips_does_not_matter(model: I3D) -> None:
    clips = torch.rand(1, 3, 8, 24, 24, dtype=torch.float64)
    last = clips.to(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(model(last), model(clips), rtol=1e-12, atol=1e-12)


def test_network_has_the_published_size() -> None:
    classifier = 400 * (1024 + 1)  # in the checkpoint, not in the feature network
    numbers = sum(tensor.numel() for tensor in I3D().state_dict().values())
    assert numbers + classifier == 12_704_544


def test_no_clips_give_no_features(model: I3D) -> None:
    assert model(torch.empty(0, 3, 16, 32, 32, dtype=torch.float64)).shape == (0, 1024)


@pytest.mark.parametrize(
    ("clips", "error", "message"),
    [
        (torch.zeros(1, 3, 16, 8, 8, dtype=torch.uint8), TypeError, "model's dtype"),
        (torch.zeros(1, 3, 16, 8, 8), TypeError, "float64; got torch.float32"),
        (torch.zeros(3, 16, 8, 8, dtype=torch.float64), ValueError, r"\(N, 3, T, H, W\)"),
        (torch.zeros(1, 16, 8, 8, 3, dtype=torch.float64), ValueError, r"\(1, 16, 8, 8, 3\)"),
        (torch.zeros(1, 3, 0, 8, 8, dtype=torch.float64), ValueError, r"\(1, 3, 0, 8, 8\)"),
    ],
)
def test_other_clips_are_refused(
    model: I3D, clips: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        model(clips)


def test_other_dtypes_are_refused_before_anything_is_fetched() -> None:
    with pytest.raises(ValueError, match="dtype must be"):
        I3D.from_pretrained(dtype=torch.int8)
