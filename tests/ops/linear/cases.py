"""Inputs that the tests of the linear layers share, and what is off by too much."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from ladnet_fast.ops.linear import definition
from ladnet_fast.ops.linear.schema import ResidualMLP
from tests import budget

#: (B, T, inputs, outputs of the layers): odd sizes, widths of 1, a tile and one more, the paper's.
SIZES = {
    "one row": (1, 1, 5, (3,)),
    "width one": (2, 7, 1, (1, 1)),
    "seven rows": (1, 7, 17, (9, 4, 2)),
    "odd": (3, 43, 79, (33, 5)),
    "a tile and one": (1, 97, 33, (65, 32)),
    "long": (1, 1100, 16, (24, 8)),
    "paper": (1, 129, 1024, (512, 128)),
}
LENGTHS = {"odd": [43, 0, 7], "width one": [1, 7]}


@dataclass
class Layers:
    """The tensors of a residual MLP, in float32, and a gradient of its output."""

    x: Tensor
    residual: Tensor
    norm_weight: Tensor
    norm_bias: Tensor
    weights: list[Tensor]
    biases: list[Tensor]
    keeps: list[Tensor] = field(default_factory=list)

    @property
    def leaves(self) -> list[Tensor]:
        norm = [self.norm_weight, self.norm_bias]
        return [self.x, self.residual, *norm, *self.weights, *self.biases]

    def call(self, lengths: Tensor | None = None, keep_scale: float = 1.25) -> ResidualMLP:
        """Return the operator's argument."""
        return ResidualMLP.checked(
            self.x, self.residual, self.norm_weight, self.norm_bias, self.weights, self.biases,
            self.keeps, keep_scale, 1e-5, lengths,
        )  # fmt: skip

    def like(self, leaves: list[Tensor]) -> Layers:
        n = len(self.weights)
        return Layers(*leaves[:4], leaves[4 : 4 + n], leaves[4 + n :], self.keeps)


def random_layers(B: int, T: int, width: int, dims: tuple[int, ...], dropout: bool) -> Layers:
    """Draw the layers of a residual MLP behind `hidden` = width // 2 + 1 units of attention."""
    hidden = width // 2 + 1
    sizes = [hidden, width, *dims]
    return Layers(
        torch.randn(B, T, hidden),
        torch.randn(B, T, width),
        torch.randn(width),
        torch.randn(width),
        [torch.randn(n, k) / k**0.5 for k, n in pairwise(sizes)],
        [torch.randn(n) for n in sizes[1:]],
        [torch.rand(B, T, n) < 0.8 for n in dims] if dropout else [],
    )


def reference_results(
    layers: Layers, grad: Tensor, lengths: Tensor | None, dtype: torch.dtype
) -> list[Tensor]:
    """Return output and gradients of the plain PyTorch layers, computed in ``dtype``."""
    leaves = [x.detach().to(dtype).requires_grad_() for x in layers.leaves]
    cast = layers.like(leaves)
    out = definition.residual_mlp(
        cast.x, cast.residual, cast.norm_weight, cast.norm_bias, cast.weights, cast.biases,
        cast.keeps, 1.25, 1e-5, lengths,
    )  # fmt: skip
    return [out.detach(), *torch.autograd.grad(out, leaves, grad.to(dtype))]


def assert_within_budget(
    got: list[Tensor], plain: list[Tensor], exact: list[Tensor], names: list[str]
) -> None:
    """Check results in float32 against PyTorch's and float64, see `tests.budget`."""
    found, reference, truth = (
        dict(zip(names, results, strict=True)) for results in (got, plain, exact)
    )
    budget.assert_within(found, truth, reference, budget.linear_sizes(truth))
