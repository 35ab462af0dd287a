"""The compiled CPU kernels as a backend of the linear layers.

`chain.Chain` is where tensors become pointers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ... import _native
from .chain import Chain, empty_rows

if TYPE_CHECKING:
    from .schema import Projections, ResidualMLP

#: Layers that one chain may have.
MAX_LAYERS = 16
#: The backward pass cuts a batch into partitions of this many snippets or more, up to
#: `chain.PARTITIONS` of them (csrc/cpu/linear_backward.cpp). With fewer partitions than
#: processors some processors would be idle, which PyTorch's products would use: hence
#: `pays` and `least_snippets` depend on the number of processors.
PARTITION_SNIPPETS = 128
MAX_PROCESSORS = 16


def why_not(*tensors: Tensor) -> list[str]:
    """Return every reason why this backend cannot serve these tensors; none if it can."""
    reasons = []
    if _native.cpu_problem is not None:
        reasons.append(_native.cpu_problem)
    for x in tensors:
        if x.device.type != "cpu":
            reasons.append(f"a tensor is on {x.device}; the native kernels need CPU tensors")
            break
    for x in tensors:
        if x.dtype != torch.float32:
            reasons.append(f"a tensor is {x.dtype}; the native linear layers take float32")
            break
    if torch.is_autocast_enabled("cpu"):
        reasons.append("autocast is on; the native linear layers take float32")
    return reasons


def pays() -> bool:
    """Whether the kernels are known to beat PyTorch's products on this machine.

    A rule rather than a timing, so that a program gives the same bits in every run: AMD processors
    with AVX-512, where PyTorch's BLAS, if it is MKL, does not use what the processor has, up to
    `MAX_PROCESSORS` of them. Elsewhere PyTorch serves, because nothing was measured there.
    """
    return (
        _native.cpu is not None
        and torch.backends.mkl.is_available()
        and _native.cpu.processor_vendor() == "amd"
        and _native.cpu.instruction_set() == "avx512"
        and (os.cpu_count() or 1) <= MAX_PROCESSORS
    )


def least_snippets() -> int:
    """Return the number of snippets per batch from which on `pays` holds.

    Below 1,024, packing the weights and summing the partitions may cost more than the faster
    products save, which is measured (`rule`). More processors need more partitions. The processors
    are counted and not the threads that are set, on which the bits of a result must not depend.
    """
    return max(1024, PARTITION_SNIPPETS * min(os.cpu_count() or 1, MAX_PROCESSORS))


def projections_forward(call: Projections) -> list[Tensor]:
    """Return ``x @ W.T + b`` (B, T, outputs) for every weight; rows of padding are 0."""
    outputs = [empty_rows(call.x, w.shape[0]) for w in call.weights]
    _projections(call).forward(outputs)
    return outputs


def projections_backward(
    grads: Sequence[Tensor], call: Projections, need_input: bool, need_parameters: bool
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Return the gradients of x, weights and biases; empty where they are not needed."""
    x = call.x
    chain = _projections(call)
    grad_x = empty_rows(x, x.shape[2]) if need_input else x.new_empty(0)
    parameters = chain.backward(grads, grad_x, x.new_empty(0), need_parameters)
    return grad_x, parameters.weights, parameters.biases


def residual_mlp_forward(call: ResidualMLP, training: bool) -> tuple[Tensor, list[Tensor]]:
    """Return the features and, when ``training``, what each GELU was applied to.

    Rows of padding are 0 in all of them.
    """
    x, weights = call.x, call.weights
    pres = [empty_rows(x, w.shape[0]) for w in weights[1:-1]] if training else []
    chain = _residual_mlp(call, pres)
    features = empty_rows(x, weights[-1].shape[0])
    chain.forward([features])
    return features, pres


def residual_mlp_backward(
    grad: Tensor,
    call: ResidualMLP,
    pres: Sequence[Tensor],
    need_input: bool,
    need_residual: bool,
    need_parameters: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor], list[Tensor]]:
    """Return the gradients of x, residual, norm weight and bias, weights and biases.

    Empty where they are not needed. ``pres`` is what `residual_mlp_forward` returned beside
    the features.
    """
    x = call.x
    chain = _residual_mlp(call, pres)
    grad_x = empty_rows(x, x.shape[2]) if need_input else x.new_empty(0)
    grad_residual = empty_rows(x, call.residual.shape[2]) if need_residual else x.new_empty(0)
    parameters = chain.backward([grad], grad_x, grad_residual, need_parameters)
    return (
        grad_x,
        grad_residual,
        *parameters.norm,
        parameters.weights,
        parameters.biases,
    )


def _projections(call: Projections) -> Chain:
    chain = Chain(call.x, call.lengths)
    chain.add(call.weights, call.biases)
    return chain


def _residual_mlp(call: ResidualMLP, pres: Sequence[Tensor]) -> Chain:
    weights, biases, keeps = call.weights, call.biases, call.keeps
    if not 2 <= len(weights) <= MAX_LAYERS:
        raise ValueError(
            f"weights must hold the output projection and from 1 to {MAX_LAYERS - 1} layers of the "
            f"MLP; got {len(weights)} weights"
        )
    if len(biases) != len(weights):
        raise ValueError(f"biases must match the {len(weights)} weights; got {len(biases)}")
    if len(keeps) not in (0, len(weights) - 1):
        raise ValueError(
            f"keeps must be empty or hold one mask per layer of the MLP, {len(weights) - 1}; "
            f"got {len(keeps)}"
        )
    if len(pres) not in (0, len(weights) - 2):
        raise ValueError(f"pres must be empty or hold {len(weights) - 2} tensors; got {len(pres)}")
    chain = Chain(call.x, call.lengths)
    norm = (call.residual, call.norm_weight, call.norm_bias, float(call.eps))
    chain.add(weights[:1], biases[:1], norm=norm)
    for i, (w, b) in enumerate(zip(weights[1:], biases[1:], strict=True)):
        last = i == len(weights) - 2
        chain.add(
            [w],
            [b],
            gelu=not last,
            pre=pres[i] if pres and not last else None,
            keep=keeps[i] if keeps else None,
            keep_scale=call.keep_scale,
        )
    return chain
