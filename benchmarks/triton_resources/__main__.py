"""``python -m benchmarks.triton_resources``."""

from ladnet_fast._extras import import_extra

import_extra("typer", extra="tools", purpose="run the benchmarks")

from .cli import app  # noqa: E402 - only after the extra is known to be there

app(prog_name="python -m benchmarks.triton_resources")
