"""Launches of the attention kernels, compiled as they ship, in the PTX interpreter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ladnet_fast.kernels.launch import Launch
from ladnet_fast.kernels.locality_attention.plan import Choose, plan_backward, plan_forward
from ladnet_fast.ops.locality_attention.layout import empty_lse, empty_output

from ..emulators.ptx_on_cpu.triton_aot import CompiledKernel, compile_for

DTYPES = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "tf32": torch.float32,
    "fp32": torch.float32,
}
#: (w, b) of a head: w < 0, where the prior's argument changes its sign in the band; narrow.
PRIORS = ((-0.02, 0.9), (0.3, -0.1))
_RESULTS = (
    "out", "softmax_out", "lse", "parts", "part_sums", "band_parts",
    "delta", "grad_q", "grad_k", "grad_v", "partials",
)  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """Inputs of both passes; rows of padding are NaN."""

    q: Tensor
    k: Tensor
    v: Tensor
    w: Tensor
    b: Tensor
    grad_out: Tensor
    lengths: Tensor | None
    cu_seqlens: Tensor | None

    @property
    def inputs(self) -> list[Tensor]:
        return [self.q, self.k, self.v, self.w, self.b]

    @property
    def bags(self) -> dict[str, Tensor | None]:
        return {"lengths": self.lengths, "cu_seqlens": self.cu_seqlens}


def problem(precision: str, head_size: int, longest: int, *, heads: int, layout: str) -> Problem:
    """Return bags of ``longest`` rows, of one and of none, "packed" or "padded"; "dense", of two.

    The inputs are slices of one wider tensor, as a fused projection leaves them.
    """
    sizes = [longest, longest] if layout == "dense" else [0, longest, 1]
    batch, T = (1, sum(sizes)) if layout == "packed" else (len(sizes), longest)
    T += 3 * (layout == "padded")
    joint = torch.randn(batch, T, 4, heads, head_size).to(DTYPES[precision])
    if precision == "tf32":
        # As bf16 inputs are numbers of bf16: what is judged is the rounding inside of the kernels.
        joint = (joint.view(torch.int32) & ~0x1FFF).view(torch.float32)
    if layout == "padded":
        for entries, size in zip(joint, sizes, strict=True):
            entries[size:] = torch.nan
    q, k, v, grad_out = (joint[:, :, i].transpose(1, 2) for i in range(4))
    w, b = (torch.tensor(values) for values in zip(*PRIORS[:heads], strict=True))
    lengths = torch.tensor(sizes) if layout == "padded" else None
    cu_seqlens = torch.tensor([0, *sizes]).cumsum(0) if layout == "packed" else None
    return Problem(q, k, v, w, b, grad_out, lengths, cu_seqlens)


def run_both_passes(
    case: Problem,
    *,
    prior: str,
    precision: str,
    choose: Choose,
    assemble: bool = False,
    architecture: int = 80,
    backward_kernel: str = "backward",
) -> tuple[Tensor | None, ...]:
    """Return out, the gradients of q, k, v, w and b, and lse.

    Races between threads of a block and accesses out of bounds raise; with ``assemble``, PTX that
    ptxas refuses, too.
    """
    options = _options(case, prior, precision, choose)
    w, b = (None, None) if prior == "none" else (case.w, case.b)
    qkv = (case.q, case.k, case.v)
    out, lse, softmax_out = _forward_results(case, prior)
    forward = plan_forward(
        *qkv, w, b, *case.bags.values(), out, lse, softmax_out, **options, multiprocessors=1
    )
    _execute(forward, assemble=assemble, architecture=architecture)
    attended = out if softmax_out is None else softmax_out
    grads = [empty_output(case.q) for _ in range(3)]
    backward = plan_backward(
        case.grad_out, *qkv, w, b, attended, lse, *case.bags.values(), *grads,
        need_prior_grad=prior != "none", kernel=backward_kernel, **options,
    )  # fmt: skip
    _execute(backward.launches, assemble=assemble, keep=("lse",), architecture=architecture)
    return (out, *grads, *backward.prior_grads(), lse)


def plan_forward_pass(
    case: Problem,
    *,
    prior: str,
    precision: str,
    choose: Choose,
    training: bool = True,
    kernel: str = "forward",
) -> Launch:
    """Return the launch of the forward pass, its results full of NaN."""
    w, b = (None, None) if prior == "none" else (case.w, case.b)
    out, lse, softmax_out = _forward_results(case, prior)
    launch = plan_forward(
        case.q, case.k, case.v, w, b, *case.bags.values(),
        out, lse, softmax_out if training else None,
        **_options(case, prior, precision, choose), multiprocessors=1, kernel=kernel,
    )[kernel]  # fmt: skip
    _poison(launch, ())
    return launch


def run_split_forward(
    case: Problem, *, prior: str, precision: str, choose: Choose, splits: int
) -> tuple[Tensor, Tensor]:
    """Return out and lse of a forward pass with split keys."""
    w, b = (None, None) if prior == "none" else (case.w, case.b)
    out, lse, softmax_out = _forward_results(case, prior)
    launches = plan_forward(
        case.q, case.k, case.v, w, b, *case.bags.values(), out, lse, softmax_out,
        **_options(case, prior, precision, choose), multiprocessors=1, splits=splits,
    )  # fmt: skip
    _execute(launches, assemble=False)
    return out, lse


def compile_launch(
    launch: Launch, *, assemble: bool = False, architecture: int = 80
) -> CompiledKernel:
    """Compile what a launch would run."""
    return compile_for(
        architecture, launch.kernel, launch.arguments, launch.constexprs,
        num_warps=launch.num_warps, num_stages=launch.num_stages, assemble=assemble,
    )  # fmt: skip


def _forward_results(case: Problem, prior: str) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return tensors for out, lse, and with the additive prior softmax_out."""
    softmax_out = empty_output(case.q) if prior == "additive" else None
    return empty_output(case.q), empty_lse(case.q), softmax_out


def _options(case: Problem, prior: str, precision: str, choose: Choose) -> dict[str, Any]:
    return {
        "prior": prior,
        "scale": case.q.shape[-1] ** -0.5,
        "precision": "tf32" if precision == "tf32" else "ieee",
        "choose": choose,
    }


def _execute(
    launches: dict[str, Launch],
    *,
    assemble: bool,
    keep: tuple[str, ...] = (),
    architecture: int = 80,
) -> None:
    for launch in launches.values():
        _poison(launch, keep)
        keep = (*keep, "delta", "parts", "part_sums", "band_parts")  # of the first kernel only
        kernel = compile_launch(launch, assemble=assemble, architecture=architecture)
        kernel(launch.grid, launch.arguments)


def _poison(launch: Launch, keep: tuple[str, ...]) -> None:
    """Fill the results of a launch with NaN: what it does not write shows."""
    for name in _RESULTS:
        value = launch.arguments.get(name)
        if name not in keep and isinstance(value, Tensor):
            value.fill_(torch.nan)
