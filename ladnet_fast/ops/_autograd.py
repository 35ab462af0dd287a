"""What the operators' registrations with autograd share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn


def no_second_derivative(name: str, remedy: str) -> Callable[..., NoReturn]:
    """Return the gradient of a backward operator: an error that names the remedy.

    Parameters
    ----------
    name : str
        The operator and a verb, the beginning of the message, such as ``"ddl_loss has"``.
    remedy : str
        What has second derivatives, for the message.
    """

    def refuse(ctx: Any, *grads: Any) -> NoReturn:
        raise RuntimeError(
            f"{name} no second derivative; use {remedy}, which autograd differentiates as often as "
            "you like"
        )

    return refuse
