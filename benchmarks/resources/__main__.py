"""``python -m benchmarks.resources``."""

from ladnet_fast._extras import import_extra

for _module in ("typer", "jinja2"):
    import_extra(_module, extra="tools", purpose="run the benchmarks")

from .cli import app  # noqa: E402 - only after the extras are known to be there

app(prog_name="python -m benchmarks.resources")
