"""The compiled CPU module, or the reason why it is absent."""

from __future__ import annotations

from types import ModuleType

#: The module ``ladnet_fast._cpu``, or None.
cpu: ModuleType | None = None
#: Why :data:`cpu` is None; None if it is not.
cpu_problem: str | None = None

try:
    from . import _cpu  # type: ignore[attr-defined]
except ImportError as error:
    cpu_problem = (
        f"the compiled module ladnet_fast._cpu cannot be loaded ({error}); reinstall with "
        f"LADNET_BUILD=cpu in the environment to build it or to see why that fails"
    )
else:
    # Asked for here so that a LADNET_CPU that this processor cannot serve is an error at once.
    _cpu.instruction_set()
    cpu = _cpu
