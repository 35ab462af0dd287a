"""``python -m benchmarks``."""

from ladnet_fast._extras import import_extra

for _module in ("typer", "jinja2", "matplotlib"):
    import_extra(_module, extra="tools", purpose="run the benchmarks")

from .accuracy.cli import accuracy, accuracy_report, accuracy_speed, hockey  # noqa: E402
from .camera import camera  # noqa: E402
from .cli import app  # noqa: E402 - only after the extras are known to be there
from .front_page import front_page  # noqa: E402
from .i3d import i3d  # noqa: E402
from .pack import pack  # noqa: E402

app.command()(accuracy)
app.command()(accuracy_report)
app.command()(accuracy_speed)
app.command()(hockey)
app.command()(i3d)
app.command()(camera)
app.command()(pack)
app.command()(front_page)
app(prog_name="python -m benchmarks")
