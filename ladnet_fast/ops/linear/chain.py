"""A chain of linear layers in the form that C++ reads.

`Chain` is the only place where the tensors of linear layers become pointers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ... import _native
from .._memory import check_memory

_NO_ROWS = (0, 0, 0)
# Pointers are computed in bytes as signed 64-bit numbers.
_MAX_BYTES = 2**62
_LARGE_BYTES = 2**23
#: The most partitions of a batch in the backward pass. Each sums the gradients of all parameters in
#: memory of its own, which makes many expensive; two per processor balance the threads well. The
#: processors are counted and not the threads that are set, on which bits must not depend.
PARTITIONS = 2 * min(os.cpu_count() or 1, 8)


class ParameterGrads:
    """Gradients of a chain's parameters; everything empty where none is needed."""

    def __init__(self, x: Tensor, layers: Sequence[_Layer], wanted: bool) -> None:
        self.weights: list[Tensor] = []
        self.biases: list[Tensor] = []
        self.norm = (x.new_empty(0), x.new_empty(0))
        self.pointers: list[tuple[list[int], list[int], int, int]] = []
        for layer in layers:
            weights = [x.new_empty(w.shape if wanted else 0) for w in layer.weights]
            biases = [x.new_empty(w.shape[0] if wanted else 0) for w in layer.weights]
            if layer.norm_width:
                size = layer.norm_width if wanted else 0
                self.norm = (x.new_empty(size), x.new_empty(size))
            self.weights += weights
            self.biases += biases
            if wanted:
                gamma, beta = (t.data_ptr() if layer.norm_width else 0 for t in self.norm)
                self.pointers.append(
                    ([t.data_ptr() for t in weights], [t.data_ptr() for t in biases], gamma, beta)
                )


class _Layer:
    def __init__(self, weights: list[Tensor], norm_width: int, handle: Any) -> None:
        self.weights = weights
        self.norm_width = norm_width
        self.handle = handle


class Chain:
    """Layers in the form that C++ reads, and the tensors whose memory they point to.

    Tensors whose last axis does not have unit stride are copied; any other strides are read as they
    are.

    Raises
    ------
    TypeError, ValueError
        If a device, dtype, shape or value is not what the kernels rely on.
    RuntimeError
        If the compiled module is absent.
    """

    def __init__(self, x: Tensor, lengths: Tensor | None) -> None:
        if _native.cpu is None:
            raise RuntimeError(f"impl='native': {_native.cpu_problem}")
        if x.dim() != 3:
            raise ValueError(f"x must have shape (B, T, inputs); got {tuple(x.shape)}")
        self._cpu = _native.cpu
        self._shape = (x.shape[0], x.shape[1])
        self._width = x.shape[2]
        self._x = self._read("x", x, x.shape[2])
        self._lengths: Tensor | None = None
        if lengths is not None:  # whose values have been checked
            lengths = _expect("lengths", lengths, self._shape[:1], torch.int64)
            self._lengths = lengths.contiguous()
        self._layers: list[_Layer] = []
        self._keep: list[Tensor] = []

    def add(
        self,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        *,
        norm: tuple[Tensor, Tensor, Tensor, float] | None = None,
        gelu: bool = False,
        pre: Tensor | None = None,
        keep: Tensor | None = None,
        keep_scale: float = 1.0,
    ) -> None:
        """Append a layer; several weights act as one of their outputs side by side."""
        if len(weights) != len(biases) or not weights:
            raise ValueError(
                f"weights and biases must be equally many, at least one; got {len(weights)} and "
                f"{len(biases)}"
            )
        described, read = [], []
        for w, b in zip(weights, biases, strict=True):
            if w.dim() != 2 or w.shape[1] != self._width or 0 in w.shape:
                raise ValueError(
                    f"each weight must have shape (outputs, {self._width}) without zeros; "
                    f"got {tuple(w.shape)}"
                )
            w = _readable(_expect("a weight", w, tuple(w.shape), torch.float32))
            b = _expect("a bias", b, (w.shape[0],), torch.float32).contiguous()
            read.append(w)
            self._keep += [w, b]
            described.append((w.data_ptr(), w.stride(0), b.data_ptr(), w.shape[0]))
        width = sum(w.shape[0] for w in read)
        options: dict[str, Any] = {}
        if norm is not None:
            residual, norm_weight, norm_bias, eps = norm
            for name, x in (("norm_weight", norm_weight), ("norm_bias", norm_bias)):
                x = _expect(name, x, (width,), torch.float32).contiguous()
                self._keep.append(x)
                options[name] = x.data_ptr()
            options |= {"residual": self._rows("residual", residual, width), "eps": eps}
        if pre is not None:
            # Written by the forward pass: a copy would be lost.
            if not pre.is_contiguous():
                raise ValueError(f"pre must be contiguous; got strides {pre.stride()}")
            options["pre"] = self._rows("pre", pre, width)
        if keep is not None:
            options["keep"] = self._rows("keep", keep, width, torch.bool)
            options["keep_scale"] = float(keep_scale)
        handle = self._cpu.LinearLayer(inputs=self._width, weights=described, gelu=gelu, **options)
        self._layers.append(_Layer(read, width if norm is not None else 0, handle))
        self._width = width

    def forward(self, outputs: Sequence[Tensor]) -> None:
        """Fill ``outputs``, which `empty_rows` made."""
        self._cpu.linear_forward(
            self._problem(),
            input=_describe(self._x),
            outputs=[(_describe(out), out.shape[2]) for out in outputs],
        )

    def backward(
        self, grads: Sequence[Tensor], grad_x: Tensor, grad_residual: Tensor, wanted: bool
    ) -> ParameterGrads:
        """Fill ``grad_x`` and ``grad_residual`` (if not empty); return those of parameters."""
        widths = [w.shape[0] for w in self._layers[-1].weights]
        parameters = ParameterGrads(self._x, self._layers, wanted)
        self._cpu.linear_backward(
            self._problem(),
            input=_describe(self._x),
            grads=[
                (self._rows("grad", grad, width), width)
                for grad, width in zip(grads, widths, strict=True)
            ],
            grad_input=_describe(grad_x) if grad_x.dim() == 3 else _NO_ROWS,
            grad_residual=_describe(grad_residual) if grad_residual.dim() == 3 else _NO_ROWS,
            parameters=parameters.pointers,
        )
        return parameters

    def _problem(self) -> Any:
        return self._cpu.LinearChain(
            batches=self._shape[0],
            T=self._shape[1],
            lengths=0 if self._lengths is None else self._lengths.data_ptr(),
            threads=torch.get_num_threads(),
            layers=[layer.handle for layer in self._layers],
            partitions=PARTITIONS,
        )

    def _read(self, name: str, x: Tensor, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return _readable(_expect(name, x, (*self._shape, width), dtype))

    def _rows(
        self, name: str, x: Tensor, width: int, dtype: torch.dtype = torch.float32
    ) -> tuple[int, int, int]:
        x = self._read(name, x, width, dtype)
        self._keep.append(x)
        return _describe(x)


def _expect(name: str, x: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    if x.device.type != "cpu" or x.layout != torch.strided:
        raise ValueError(f"{name} must be a dense CPU tensor; got {x.layout} on {x.device}")
    if x.dtype != dtype:
        raise TypeError(f"{name} must be {dtype}; got {x.dtype}")
    if tuple(x.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}; got {tuple(x.shape)}")
    check_memory(name, x)
    return x


def _readable(x: Tensor) -> Tensor:
    # A view that negates on access has another meaning than its memory.
    x = x.resolve_neg()
    if x.shape[-1] > 1 and x.stride(-1) != 1:
        x = x.contiguous()
    reach = sum((n - 1) * s for n, s in zip(x.shape, x.stride(), strict=True) if n > 1) + 1
    if reach * x.element_size() > _MAX_BYTES:
        raise ValueError(
            f"a tensor's rows must lie within 2^62 bytes; got shape {tuple(x.shape)} and strides "
            f"{x.stride()}"
        )
    return x


def empty_rows(like: Tensor, width: int) -> Tensor:
    """Return an uninitialised (B, T, width) tensor, in huge pages where that pays."""
    out = like.new_empty(like.shape[0], like.shape[1], width)
    bytes_ = out.numel() * out.element_size()
    if _native.cpu is not None and bytes_ >= _LARGE_BYTES:
        _native.cpu.prefer_huge_pages(out.data_ptr(), bytes_)
    return out


def _describe(x: Tensor) -> tuple[int, int, int]:
    return (x.data_ptr(), x.stride(0), x.stride(1))
