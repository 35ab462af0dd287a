"""Which implementation computes a call.

The argument ``impl`` of the call or module decides; if it is ``"auto"``, `use_impl` does,
then the environment variable ``LADNET_IMPL``. A named implementation never falls back: where it
cannot serve, the error lists every reason. ``"auto"`` takes the fastest one that can serve and logs
each reason why a faster one cannot, once. Where the reference costs much more than a kernel would,
on GPUs and on devices that have no kernels, it warns, once.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar

import torch

IMPLS = ("auto", "reference", "native", "triton", "cuda")

logger = logging.getLogger("ladnet_fast")
_logged: set[str] = set()
_warned: set[str] = set()
#: Type of device -> implementations that "auto" tries there, the fastest first. ROCm's GPUs are of
#: the type "cuda", too.
_CPU = torch.device("cpu")
_FASTEST = {"cpu": ("native",), "cuda": ("triton", "cuda")}

#: Operators whose reference needs memory that no kernel does, and how much.
_COSTS = {
    "locality_attention": "memory that grows with the square of the number of snippets (10,000 of "
    "them: 400 MB per bag and head, several times over)",
}

_Function = TypeVar("_Function", bound=Callable[..., Any])
WhyNot = Callable[..., list[str]]


class ImplUnavailableError(RuntimeError):
    """The implementation that was asked for cannot serve this call; the message says why."""


def check_impl(name: str, *, argument: str = "impl") -> str:
    """Return ``name`` if it is one of `IMPLS`, else raise ``ValueError``."""
    if not isinstance(name, str) or name not in IMPLS:
        raise ValueError(f"{argument} must be one of {', '.join(IMPLS)}; got {name!r}")
    return name


# A module variable rather than a ContextVar: torch.compile guards on it, so that a compiled
# function follows a later change. None: use_impl is not in effect.
_override: str | None = None
_environment: str = check_impl(
    os.environ.get("LADNET_IMPL", "auto") or "auto",
    argument="the environment variable LADNET_IMPL",
)


def setting(op: str, names: Iterable[str], **others: str) -> str:
    """Return what the environment variable ``LADNET_<OP>`` names for one operator, or "auto".

    Parameters
    ----------
    op : str
        The operator, for example "linear" for ``LADNET_LINEAR``.
    names : iterable of str
        Its implementations.
    **others : str
        Other words that are accepted, and the implementations that they stand for.
    """
    variable = f"LADNET_{op.upper()}"
    given = os.environ.get(variable) or "auto"
    name, allowed = others.get(given, given), ("auto", *names)
    if name not in allowed:
        raise ValueError(
            f"the environment variable {variable} must be one of {', '.join(allowed)}; "
            f"got {given!r}"
        )
    return name


class use_impl:  # noqa: N801 - used like torch.no_grad
    """Choose the implementation for all calls in a block whose own ``impl`` is "auto".

    The setting belongs to the process, like ``torch.backends`` flags, not to a thread. Blocks nest;
    ``use_impl("auto")`` inside another block restores automatic choice.

    Parameters
    ----------
    name : str
        ``"auto"``, ``"reference"``, ``"native"``, ``"triton"`` or ``"cuda"``.

    Examples
    --------
    >>> with use_impl("reference"):
    ...     out = net(x)
    """

    def __init__(self, name: str) -> None:
        self.name = check_impl(name, argument="use_impl's argument")
        self._outer: list[str | None] = []

    def __enter__(self) -> use_impl:
        global _override
        self._outer.append(_override)
        _override = self.name
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        global _override
        _override = self._outer.pop()


def requested(impl: str) -> str:
    """Apply the order call > ``use_impl`` > ``LADNET_IMPL``; may still return ``"auto"``."""
    if not isinstance(impl, str) or impl != "auto":  # an array answers != with an array
        return check_impl(impl)
    return _environment if _override is None else _override


def is_exporting() -> bool:
    """Whether torch.export is tracing this call.

    The compiler of torch 2.9 answers ``torch.compiler.is_exporting`` with True in every graph that
    it traces; the flag behind it, which newer ones read, is right in all.
    """
    flag = getattr(torch.compiler, "_is_exporting_flag", None)
    return torch.compiler.is_exporting() if flag is None else bool(flag)


def constant_in_graphs(function: _Function) -> _Function:
    """Mark a function whose result a compiled graph may take for a constant.

    As `torch.compiler.assume_constant_result`, but without importing the compiler, which
    takes longer than importing this package.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def choose(
    op: str, impl: str, device: torch.device, backends: Mapping[str, WhyNot], *call: object
) -> str:
    """Return the name of the implementation that serves this call.

    Parameters
    ----------
    op : str
        The operator's name, for messages.
    impl : str
        What the caller asked for.
    device : torch.device
        Where the tensors are; decides the order in which ``"auto"`` tries.
    backends : mapping
        For each implementation of this operator a function that takes ``*call`` and returns the
        reasons why it cannot serve; empty if it can.

    Raises
    ------
    ImplUnavailableError
        If a named implementation cannot serve.
    """
    name = requested(impl)
    if name != "auto":
        if name not in backends:
            available = ", ".join(backends)
            reasons = [f"{op} has no such implementation in this version (it has: {available})"]
        else:
            reasons = backends[name](*call)
        check_serves(op, name, reasons)
        return name
    kind = "cpu" if device == _CPU else device.type  # the first is faster to ask
    refused = {}
    for name in _FASTEST.get(kind, ()):
        if name in backends:
            refused[name] = backends[name](*call)
            if not refused[name]:
                return name
    if not torch.compiler.is_compiling():
        _tell(op, device, [_explain(op, *item) for item in refused.items()])
    return "reference"


def check_serves(op: str, name: str, reasons: list[str]) -> None:
    """Raise `ImplUnavailableError` if there are reasons why an implementation cannot serve."""
    if reasons:
        raise ImplUnavailableError(_explain(op, name, reasons))


def _explain(op: str, name: str, reasons: list[str]) -> str:
    return f"impl={name!r} cannot serve {op}: " + "; ".join(reasons)


def _tell(op: str, device: torch.device, refused: list[str]) -> None:
    """Say, once, that the reference serves, why, and what that costs.

    Parameters
    ----------
    op : str
        The operator.
    device : torch.device
        Where the tensors are.
    refused : list of str
        Of each implementation that "auto" tried there, why it cannot serve.
    """
    for why in refused:
        _log_once(f"{op} falls back to the reference: {why}")
    gpu = device.type == "cuda"
    if gpu and op in _COSTS and refused:
        why = "; ".join(refused)
        _warn_once(
            f"{op}: {why}",
            f"PyTorch's operators compute {op} on the GPU, since {why}. They take {_COSTS[op]}. "
            "Change what is named there, or score long videos on the CPU: net.cpu(). "
            'impl="reference" says that this is meant',
        )
    # Of ROCm's devices, which are called "cuda", Triton may serve some.
    elif gpu and torch.version.hip is not None and any("'triton'" in why for why in refused):
        _warn_of_device("ROCm")
    elif device.type not in (*_FASTEST, "meta"):
        _warn_of_device(device.type)


def _warn_of_device(kind: str) -> None:
    _warn_once(
        kind,
        f"ladnet_fast has no kernels for {kind} devices: PyTorch's operators compute the reference "
        f"there. Its results are the same; attention takes {_COSTS['locality_attention']}. Long "
        'videos are scored in less on the CPU: net.cpu(). impl="reference" says that this is meant',
    )


def _warn_once(key: str, message: str) -> None:
    if key not in _warned:
        _warned.add(key)
        warnings.warn(message, stacklevel=2)


def _log_once(message: str) -> None:
    if message not in _logged:
        _logged.add(message)
        logger.info(message)
