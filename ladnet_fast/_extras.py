"""Optional dependencies: an import whose error names the extra that brings the package."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import sys
from importlib import metadata
from types import ModuleType

#: Modules whose package has another name.
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "pyyaml"}
#: Extras that no user of the package needs.
_DEVELOPERS = ("dev", "docs")


class MissingExtraError(ImportError):
    """A package that only an extra of ladnet-fast installs is absent."""


def import_extra(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import ``module``, or say which extra brings it.

    Parameters
    ----------
    module : str
        Dotted name of the module, e.g. ``"sklearn.metrics"``.
    extra : str
        The extra of this project that installs it, e.g. ``"tools"`` or ``"video"``.
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
        raise _missing(top, extra, purpose, error.name) from error


def require_extra(package: str, *, extra: str, purpose: str) -> None:
    """Raise what `import_extra` raises where ``package`` is not installed; import nothing.

    For packages that are slow to import and may not be needed after all.
    """
    try:
        found = importlib.util.find_spec(package) is not None
    except ValueError:  # imported without a specification, or kept from being imported
        found = sys.modules[package] is not None
    if not found:
        raise _missing(package, extra, purpose, package)


def _missing(top: str, extra: str, purpose: str, name: str) -> MissingExtraError:
    return MissingExtraError(
        f"{top} is needed to {purpose} and is not installed; install it with: "
        f"pip install {requirement(top, extra)} (all of this kind: pip install "
        f"'ladnet-fast[{extra}]', or in a clone pip install '.[{extra}]')",
        name=name,
    )


def requirement(top: str, extra: str) -> str:
    """Return what pip installs for the module ``top``, in quotes, as this package requires it."""
    name = _DISTRIBUTIONS.get(top, top)
    for required, wanted in extras().get(extra, {}).items():
        if required == name:
            return shlex.quote(wanted)
    return name


def extras() -> dict[str, dict[str, str]]:
    """Return what each extra for users installs: names and requirements, as pip knows them.

    From the metadata of the installed package; empty where it is not installed.
    """
    found: dict[str, dict[str, str]] = {}
    try:
        required = metadata.requires("ladnet-fast") or []
    except metadata.PackageNotFoundError:
        return found
    for line in required:
        wanted, _, marker = line.partition(";")
        name = re.split(r"[^A-Za-z0-9._-]", wanted, maxsplit=1)[0].lower()
        for extra in re.findall(r"""extra\s*==\s*['"]([^'"]+)""", marker):
            if extra not in _DEVELOPERS:
                found.setdefault(extra, {})[name] = wanted.strip()
    return found
