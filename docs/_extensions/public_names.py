"""References that lead to no page by themselves: names of the top level, and internals.

``ladnet_fast.LANet`` leads to the page of ``ladnet_fast.nn``. What exists and has no page is shown
as code, without a link. What does not exist stays a warning.
"""

from __future__ import annotations

from pkgutil import resolve_name

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import ladnet_fast


def _homes() -> dict[str, str]:
    """Return the page's module for each class that the top level offers."""
    homes = {}
    for package in ("nn", "losses", "functional"):
        module = getattr(ladnet_fast, package)
        for name in set(module.__all__) & set(ladnet_fast.__all__):
            homes[f"ladnet_fast.{name}"] = f"ladnet_fast.{package}.{name}"
    return homes


def _resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, words: nodes.Element
) -> nodes.Node | None:
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    for name, home in _homes().items():
        if target == name or target.startswith(f"{name}."):
            return env.domains["py"].resolve_xref(
                env,
                node["refdoc"],
                app.builder,
                node["reftype"],
                home + target.removeprefix(name),
                node,
                words,
            )
    return words if _exists(target) else None


def _exists(target: str) -> bool:
    """Whether the package has a module, or something in a module, of that name."""
    if not target.startswith("ladnet_fast."):
        return False
    try:
        resolve_name(target)
    except (ImportError, AttributeError):
        return False
    return True


def setup(app: Sphinx) -> dict[str, bool]:
    """Look where a name lives when it is not found where it is named."""
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
