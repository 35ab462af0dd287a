"""Operators of torch.library that a plain call on the CPU reaches without the dispatcher.

``torch.compile``, ``torch.export``, ``torch.func``, fake tensors and dispatch modes need an
operator that they can see: one opaque node with a schema, a fake and a registered gradient. An
eager call on ordinary CPU tensors needs none of that and would pay for it: where bags are short,
dispatching to Python and back costs more than the kernel, and the first call imports PyTorch's
compiler. So such a call runs the same function directly, and its gradient as a
`torch.autograd.Function`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

_PLAIN = (Tensor, torch.nn.Parameter)


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
        self._definition = torch.library.custom_op(name, function, mutates_args=())
        namespace, _, short = name.partition("::")
        self._overload = getattr(getattr(torch.ops, namespace), short).default
        self._differentiable: Callable[..., Any] | None = None
        self.__doc__ = function.__doc__

    def register_fake(self, fake: Callable[..., Any]) -> Callable[..., Any]:
        """Say what shapes and dtypes the results have, as `torch.library.register_fake`."""
        self._definition.register_fake(fake)
        return fake

    def register_autograd(
        self,
        backward: Callable[..., Any],
        *,
        setup_context: Callable[..., Any] | None = None,
    ) -> None:
        """Say what the gradient is, as `torch.library.register_autograd`.

        Without ``setup_context`` the operator is a gradient itself, and ``backward`` refuses.
        """
        self._definition.register_autograd(backward, setup_context=setup_context)
        if setup_context is not None:
            self._differentiable = _differentiable(self._function, backward, setup_context)

    def __call__(self, *arguments: Any) -> Any:
        """Call the operator."""
        if torch.compiler.is_compiling():
            return self._overload(*arguments)
        need = _need_gradient(arguments)
        if need is None or _is_observed():
            return self._overload(*arguments)
        if not (need and torch.is_grad_enabled()):
            return self._function(*arguments)
        if self._differentiable is None:
            return self._overload(*arguments)
        return self._differentiable(arguments)


def _need_gradient(arguments: Iterable[Any]) -> bool | None:
    """Whether any tensor requires a gradient; None if any is not an ordinary tensor on the CPU."""
    need = False
    for argument in arguments:
        if isinstance(argument, Tensor):
            if type(argument) not in _PLAIN or not argument.is_cpu:
                return None
            need = need or argument.requires_grad
        elif isinstance(argument, list):
            inner = _need_gradient(argument)
            if inner is None:
                return None
            need = need or inner
    return need


def is_plain_call(*arguments: Any) -> bool:
    """Whether all tensors are ordinary ones on the CPU and nothing has to see the call."""
    return _need_gradient(arguments) is not None and not _is_observed()


def _is_observed() -> bool:
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
) -> Callable[[tuple[Any, ...]], Any]:
    """Return ``function``, called with a tuple of its arguments, with its gradient for autograd."""

    class Plain(torch.autograd.Function):
        """For arguments and results without lists."""

        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:
            output = function(*arguments)
            setup_context(ctx, arguments, output)
            return output

        @staticmethod
        def backward(ctx: Any, *grads: Tensor | None) -> Any:
            return backward(ctx, *grads)

    class Nested(torch.autograd.Function):
        """For any; autograd sees the tensors of lists one by one."""

        @staticmethod
        def forward(ctx: Any, call: _Call, *flat: Any) -> tuple[Tensor, ...]:
            output = function(*call.arguments)
            context = _Context(ctx, call.form)
            setup_context(context, call.arguments, output)
            ctx.kept = context.without_autograd()
            results, call.results = _flat(output if isinstance(output, tuple) else [output])
            call.is_tuple, ctx.results = isinstance(output, tuple), call.results
            return tuple(results)

        @staticmethod
        def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
            given = backward(_Context.again(ctx, ctx.kept), *_nested(grads, ctx.results))
            return (None, *_flat(given)[0])

    def call(arguments: tuple[Any, ...]) -> Any:
        flat, form = _flat(arguments)
        if form.count(None) == len(form):
            return Plain.apply(*arguments)
        about = _Call(arguments, form)
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

    def __init__(self, arguments: tuple[Any, ...], form: _Form) -> None:
        self.arguments = arguments
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
