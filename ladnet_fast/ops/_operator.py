"""Operators of torch.library that a plain call on the CPU reaches without the dispatcher.

``torch.compile``, ``torch.export``, ``torch.func``, fake tensors and dispatch modes need an
operator that they can see: one opaque node with a schema, a fake and a registered gradient. An
eager call on ordinary CPU tensors needs none of that and would pay for it: where bags are short,
dispatching to Python and back costs more than the kernel, and the first call imports PyTorch's
compiler. So such a call runs the same function directly, and its gradient as a
`torch.autograd.Function`.

A parameter may be a NamedTuple of arguments that belong together and have been checked together.
In the operator's schema its fields stand one after the other. A plain call hands it over as it is;
where the library calls, from a graph or from anywhere, its class makes it anew with ``checked``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_type_hints

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

_PLAIN_VALUES = frozenset((type(None), bool, int, float, str))


def operator(name: str) -> Callable[[Callable[..., Any]], Operator]:
    """Return a decorator that makes a function the operator ``name``, ``"ladnet_fast::..."``.

    The function's annotations give the schema. It must not change its arguments, nor return one.
    """
    return lambda function: Operator(name, function)


class Operator:
    """A function as an operator of torch.library; see `operator`.

    Parameters
    ----------
    name : str
        Namespace and name.
    function : callable
        Takes tensors, lists of tensors, numbers and strings, by position.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._function = function
        hints = get_type_hints(function)
        self._result = hints.pop("return")
        # For each parameter its type, and the names of the fields if it is a NamedTuple.
        self._parameters = [(kind, getattr(kind, "_fields", None)) for kind in hints.values()]
        self._one_tuple = len(hints) == 1 and self._parameters[0][1] is not None
        flat: dict[str, Any] = {}
        for parameter, kind in hints.items():
            flat |= get_type_hints(kind) if hasattr(kind, "_fields") else {parameter: kind}
        self._signature = inspect.Signature(
            [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=kind)
             for n, kind in flat.items()],
            return_annotation=self._result,
        )  # fmt: skip
        entry = self._taking_fields(function, lambda kind, fields: kind.checked(*fields))
        self._definition = torch.library.custom_op(name, entry, mutates_args=())
        namespace, _, short = name.partition("::")
        self._overload = getattr(getattr(torch.ops, namespace), short).default
        self._differentiable: Callable[..., Any] | None = None
        self.__doc__ = function.__doc__

    def _taking_fields(
        self, function: Callable[..., Any], make: Callable[..., Any]
    ) -> Callable[..., Any]:
        """Return ``function`` with the operator's own parameters; ``make`` joins fields."""

        def entry(*flat: Any) -> Any:
            left = iter(flat)
            arguments = [
                next(left) if fields is None else make(kind, [next(left) for _ in fields])
                for kind, fields in self._parameters
            ]
            return function(*arguments)

        entry.__signature__ = self._signature  # type: ignore[attr-defined]
        return entry

    def register_fake(self, fake: Callable[..., Any]) -> Callable[..., Any]:
        """Say what shapes and dtypes the results have, as `torch.library.register_fake`."""
        entry = self._taking_fields(fake, lambda kind, fields: kind(*fields))
        self._definition.register_fake(entry)
        return fake

    def register_autograd(
        self,
        backward: Callable[..., Any],
        *,
        setup_context: Callable[..., Any] | None = None,
    ) -> None:
        """Say what the gradient is, as `torch.library.register_autograd`.

        Both functions see the fields of a NamedTuple one by one, as the schema has them. Without
        ``setup_context`` the operator is a gradient itself, and ``backward`` refuses.
        """
        self._definition.register_autograd(backward, setup_context=setup_context)
        if setup_context is not None:
            self._differentiable = _differentiable(self._function, backward, setup_context)

    def __call__(self, *arguments: Any) -> Any:
        """Call the operator."""
        flat = arguments[0] if self._one_tuple else _spread(arguments)
        if torch.compiler.is_compiling():
            return self._overload(*flat)
        need = _need_gradient(flat)
        if need is None or is_observed():
            return self._overload(*flat)
        if not (need and torch.is_grad_enabled()):
            return self._function(*arguments)
        if self._differentiable is None:
            return self._overload(*flat)
        return self._differentiable(arguments, flat)


def _spread(arguments: tuple[Any, ...]) -> list[Any]:
    """Return the arguments with the fields of NamedTuples one by one."""
    flat: list[Any] = []
    for argument in arguments:
        if isinstance(argument, tuple):
            flat.extend(argument)  # += is not known to torch.compile of torch 2.11
        else:
            flat.append(argument)
    return flat


def _need_gradient(arguments: Iterable[Any]) -> bool | None:
    """Whether any tensor requires a gradient; None if any is not an ordinary tensor on the CPU."""
    need = False
    for argument in arguments:
        kind = type(argument)
        if kind is Tensor or kind is Parameter:
            if not argument.is_cpu:
                return None
            need = need or argument.requires_grad
        elif kind is list:
            inner = _need_gradient(argument)
            if inner is None:
                return None
            need = need or inner
        elif kind not in _PLAIN_VALUES and isinstance(argument, Tensor):
            return None
    return need


def is_plain_call(*arguments: Any) -> bool:
    """Whether all tensors are ordinary ones on the CPU and nothing has to see the call."""
    return _need_gradient(arguments) is not None and not is_observed()


def is_observed() -> bool:
    """Whether anything but autograd has to see the call: a dispatch mode, a transform, a tracer."""
    return (
        torch._C._len_torch_dispatch_stack() > 0
        or torch._C._are_functorch_transforms_active()
        or torch._C._get_tracing_state() is not None
        or forward_ad._current_level >= 0
    )


def _differentiable(
    function: Callable[..., Any],
    backward: Callable[..., Any],
    setup_context: Callable[..., Any],
) -> Callable[[tuple[Any, ...], Sequence[Any]], Any]:
    """Return ``function`` with its gradient for autograd.

    It is called with the function's arguments, and with the same where fields stand one by one,
    which autograd sees.
    """

    class Plain(torch.autograd.Function):
        """For arguments and results without lists."""

        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            output = function(*inputs[-1])
            setup_context(ctx, inputs[:-1], output)
            return output

        @staticmethod
        def backward(ctx: Any, *grads: Tensor | None) -> Any:
            return (*backward(ctx, *grads), None)

    class Nested(torch.autograd.Function):
        """For any; autograd sees the tensors of lists one by one."""

        @staticmethod
        def forward(ctx: Any, call: _Call, *flat: Any) -> tuple[Tensor, ...]:
            output = function(*call.arguments)
            context = _Context(ctx, call.form)
            setup_context(context, call.inputs, output)
            ctx.kept = context.without_autograd()
            results, call.results = _flat(output if isinstance(output, tuple) else [output])
            call.is_tuple, ctx.results = isinstance(output, tuple), call.results
            return tuple(results)

        @staticmethod
        def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
            given = backward(_Context.again(ctx, ctx.kept), *_nested(grads, ctx.results))
            return (None, *_flat(given)[0])

    def call(arguments: tuple[Any, ...], inputs: Sequence[Any]) -> Any:
        if list not in map(type, inputs):
            return Plain.apply(*inputs, arguments)
        flat, form = _flat(inputs)
        about = _Call(arguments, inputs, form)
        nested = _nested(Nested.apply(about, *flat), about.results)
        return tuple(nested) if about.is_tuple else nested[0]

    return call


# ---- Lists of tensors --------------------------------------------------------------------------

#: For each value the length of its list; None where it is no list.
_Form = list["int | None"]


def _flat(values: Iterable[Any]) -> tuple[list[Any], _Form]:
    """Return lists in their places one after the other, and the form that restores them."""
    flat: list[Any] = []
    form: _Form = []
    for value in values:
        if isinstance(value, list):
            flat += value
            form.append(len(value))
        else:
            flat.append(value)
            form.append(None)
    return flat, form


def _nested(flat: Iterable[Any], form: _Form) -> list[Any]:
    """Undo `_flat`."""
    left = iter(flat)
    return [next(left) if size is None else [next(left) for _ in range(size)] for size in form]


class _Call:
    """The arguments of one call, and the form of what it returned."""

    def __init__(self, arguments: tuple[Any, ...], inputs: Sequence[Any], form: _Form) -> None:
        self.arguments = arguments
        self.inputs = inputs
        self.form = form
        self.results: _Form = []
        self.is_tuple = False


class _Context:
    """Autograd's context as the registered functions know it: lists of tensors are lists.

    Autograd's own context keeps the attributes, not this object: they would keep each other alive.
    """

    def __init__(self, ctx: Any, form: _Form) -> None:
        self._ctx = ctx
        self._form = form

    @classmethod
    def again(cls, ctx: Any, kept: dict[str, Any]) -> _Context:
        """Return the context with the attributes that it had."""
        context = cls(ctx, kept["_form"])
        vars(context).update(kept)
        return context

    def without_autograd(self) -> dict[str, Any]:
        """Return what has been set here."""
        return {name: value for name, value in vars(self).items() if name != "_ctx"}

    @property
    def needs_input_grad(self) -> list[Any]:
        return _nested(self._ctx.needs_input_grad[1:], self._form)

    @property
    def saved_tensors(self) -> Any:
        return self._ctx.saved_tensors

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        self._ctx.save_for_backward(*tensors)

    def set_materialize_grads(self, value: bool) -> None:
        self._ctx.set_materialize_grads(value)
