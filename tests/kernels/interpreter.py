"""Less work for Triton's interpreter, with the same results.

At each launch it replaces the functions of ``triton.language``, and once more at each call of a
device function, where nothing is left to replace. Again and again it looks for the same dtypes,
describes and checks the same shapes, and asks which of both two operands have in common. And it
computes whether integers overflow, several times the work of adding them, and drops the answer:
only with ``debug``, which is off, would it be read. Together that is most of the time of the tests
in this folder.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import triton.language as tl
from triton.language import core
from triton.language.semantic import TritonSemantic
from triton.runtime import interpreter

_SHAPES: dict[tuple[Any, ...], Any] = {}  # each is there once
#: What a tensor has of its type's sizes, by their identity; they come first, and stay.
_OF_SIZES: dict[int, tuple[Any, Any, Any]] = {}


def speed_up() -> None:
    """Have each launch replace functions once, and remember what is asked again and again."""
    interpreter._patch_lang = _once_a_launch(interpreter._patch_lang)
    interpreter._get_np_dtype = _remembered(interpreter._get_np_dtype)
    options = interpreter.interpreter_builder.options
    assert not options.debug
    interpreter.interpreter_builder.options = dataclasses.replace(options, sanitize_overflow=False)
    core.block_type.__init__ = _remembered_shapes(core.block_type.__init__)
    core.tensor.__init__ = _begin_tensor
    core._unwrap_if_constexpr = _plain_first(core._unwrap_if_constexpr)
    TritonSemantic.binary_op_type_checking_impl = _remembered_types(
        TritonSemantic.binary_op_type_checking_impl
    )


def _once_a_launch(patch: Callable[[Any], Any]) -> Callable[[Any], Any]:
    patched: list[object] = []  # the modules, while a launch is going on

    def once(function: Any) -> Any:
        named = [x for x in function.__globals__.values() if x is tl or x is tl.core]
        if patched and all(module in patched for module in named):
            return interpreter._LangPatchScope()  # nothing was replaced, nothing is put back
        outermost = not patched
        scope = patch(function)
        patched.extend(named)
        if outermost:
            put_back = scope.restore

            def restore() -> None:
                put_back()
                patched.clear()

            scope.restore = restore
        return scope

    return once


def _remembered(find: Callable[[tl.dtype], np.dtype]) -> Callable[[tl.dtype], np.dtype]:
    known: dict[str, np.dtype] = {}

    def remembered(dtype: tl.dtype) -> np.dtype:
        scalar = dtype.scalar  # of a block, its elements'
        if scalar.name not in known:
            known[scalar.name] = find(scalar)
        return known[scalar.name]

    return remembered


def _remembered_shapes(begin: Callable[..., None]) -> Callable[..., None]:
    """Return how a type of blocks is made; those of one shape and element share what they have."""
    known: dict[tuple[Any, ...], tuple[Any, int, str]] = {}

    def remembered(self: Any, element_ty: tl.dtype, shape: Any) -> None:
        sizes = (s.value if isinstance(s, core.constexpr) else s for s in shape)
        key = (element_ty.name, *sizes)
        found = known.get(key)
        if found is None:
            begin(self, element_ty, shape)
            self.shape = _SHAPES.setdefault(key[1:], self.shape)
            known[key] = (self.shape, self.numel, self.name)
        else:
            self.element_ty = element_ty
            self.shape, self.numel, self.name = found

    return remembered


def _begin_tensor(self: Any, handle: Any, type: tl.dtype) -> None:
    """Begin a tensor, whose shape is that of all others of these sizes."""
    self.handle, self.type, self.dtype = handle, type, type.scalar
    sizes = type.shape if type.is_block() else ()
    found = _OF_SIZES.get(id(sizes))
    if found is None:
        numel = core.constexpr(math.prod(sizes))
        shape = core.tuple([core.constexpr(size) for size in sizes])
        found = _OF_SIZES[id(sizes)] = (sizes, numel, shape)
    _, self.numel, self.shape = found


_PLAIN = (int, float, bool, str, type(None))


def _plain_first(unwrap: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def unwrapped(value: Any) -> Any:
        kind = value.__class__
        if kind is core.tensor or kind in _PLAIN:
            return value
        return value.value if kind is core.constexpr else unwrap(value)

    return unwrapped


def _remembered_types(convert: Callable[..., Any]) -> Callable[..., Any]:
    """Return what brings two operands to one type and shape: which ones is asked for once."""
    known: dict[tuple[Any, ...], tuple[Any, Any]] = {}  # the types; of a number, what it becomes

    def converted(self: Any, lhs: Any, rhs: Any, *allowed: bool, **options: bool) -> Any:
        key = (*_kind(lhs), *_kind(rhs), allowed, *options.items())
        found = known.get(key)
        if found is None:
            both = convert(self, lhs, rhs, *allowed, **options)
            if {lhs.__class__, rhs.__class__} <= {core.tensor, int, float, bool}:
                pairs = zip((lhs, rhs), both, strict=True)
                known[key] = tuple(b.type if a.__class__ is core.tensor else b for a, b in pairs)
            return both
        return _become(self, lhs, found[0]), _become(self, rhs, found[1])

    return converted


def _kind(operand: Any) -> tuple[Any, Any]:
    if operand.__class__ is core.tensor:
        return operand.dtype.name, id(operand.shape)
    return operand.__class__, operand


def _become(self: Any, operand: Any, wanted: Any) -> Any:
    """Return an operand as a type; where it was a number, ``wanted`` is the tensor."""
    if operand.__class__ is not core.tensor:
        return wanted
    if operand.dtype is not wanted.scalar:
        operand = self.cast(operand, wanted.scalar)
    now = operand.type
    if wanted.is_block() and not (now.is_block() and now.shape is wanted.shape):
        sizes = tuple(wanted.shape)
        data = np.broadcast_to(operand.handle.data, sizes)
        return core.tensor(interpreter.TensorHandle(data, operand.handle.dtype.scalar), wanted)
    return operand
