"""Optional dependencies: an import whose error names the extra that brings the package."""

from __future__ import annotations

import importlib
from types import ModuleType


class MissingExtraError(ImportError):
    """A package that only an extra of ladnet-fast installs is absent."""


def import_extra(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import ``module``, or say which extra brings it.

    Parameters
    ----------
    module : str
        Dotted name of the module, e.g. ``"sklearn.metrics"``.
    extra : str
        The extra of this project that installs it: ``"tools"`` or ``"video"``.
    purpose : str
        What the caller needs it for; completes "<module> is needed to ...".

    Raises
    ------
    MissingExtraError
        If the package is not installed. A package that is installed but fails to import raises
        its own error, unchanged.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != top:
            raise
        raise MissingExtraError(
            f"{top} is needed to {purpose} and is not installed; "
            f"install it with: pip install 'ladnet-fast[{extra}]'",
            name=error.name,
        ) from error
