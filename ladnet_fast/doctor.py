"""What is installed and built, which implementations each operator has here, and why not others."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from importlib import metadata

import torch

from . import _native
from ._extras import extras
from ._version import __version__
from .ops import _impl, linear
from .ops.ddl_loss import schema as ddl_loss
from .ops.linear import schema as linear_layers
from .ops.locality_attention import schema as locality_attention
from .ops.residual_norm import schema as residual_norm
from .ops.score_head import schema as score_head

_CORE = ("numpy", "safetensors")
_OPS = {
    "locality_attention": (locality_attention.BACKENDS, lambda x: (x[None], x[None], x[None])),
    "ddl_loss": (ddl_loss.BACKENDS, lambda x: (x[..., 0], x)),
    "score_head": (
        score_head.BACKENDS,
        lambda x: (x, x.new_empty(1, x.shape[-1], 7), x.new_empty(1)),
    ),
    "residual_norm": (residual_norm.BACKENDS, lambda x: (x, x, x[0, 0], x[0, 0])),
    "linear": (linear_layers.BACKENDS, lambda x: (x,)),
}


def report() -> str:
    """Return the report as plain text, no line of which needs a terminal's width."""
    sections = [_versions(), _hardware(), _built(), _operators(), _extractors()]
    return "\n\n".join("\n".join(lines) for lines in sections)


def _versions() -> list[str]:
    lines = [
        f"ladnet_fast {__version__}",
        f"  python {platform.python_version()} on {platform.platform()}",
        f"  torch {torch.__version__}",
        *(f"  {name} {_version(name) or 'missing'}" for name in _CORE),
    ]
    for extra, names in extras().items():
        missing = [name for name in names if _version(name) is None]
        if missing:
            remedy = f"pip install 'ladnet-fast[{extra}]'"
            lines.append(f"  extra {extra}: {', '.join(missing)} missing; {remedy}")
        else:
            found = ", ".join(f"{name} {_version(name)}" for name in names)
            lines.append(f"  extra {extra}: {found}")
    return lines


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _hardware() -> list[str]:
    lines = [
        "hardware",
        f"  CPU: {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, "
        f"{os.cpu_count()} cores, {torch.get_num_threads()} threads used by torch",
    ]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            major, minor = torch.cuda.get_device_capability(index)
            lines.append(f"  GPU {index}: {torch.cuda.get_device_name(index)}, sm_{major}{minor}")
    elif torch.version.cuda is None:
        lines.append("  GPU: none used, this torch is built without CUDA")
    else:
        lines.append(f"  GPU: torch is built for CUDA {torch.version.cuda} but sees no device")
    return lines


#: How attention on the CPU multiplies bf16 (LADNET_BF16), in words.
_BF16 = {
    "widen": "widened to float32",
    "pairs": "in pairs (AVX512_BF16)",
    "tiles": "in tiles (AMX)",
}


def _built() -> list[str]:
    lines = ["compiled modules"]
    if _native.cpu is None:
        lines.append(f"  _cpu: no: {_native.cpu_problem}")
    else:
        lines.append(
            f"  _cpu: yes, instruction set {_native.cpu.instruction_set()}, "
            f"bf16 {_BF16[_native.cpu.bf16_products()]}"
        )
    if _native.cuda is None:
        lines.append(f"  _cuda: no: {_native.cuda_problem}")
    else:
        devices = _native.cuda.why_no_device() or f"{_native.cuda.device_count()} devices"
        lines.append(f"  _cuda: yes, for {_native.cuda.architectures}; {devices}")
    return lines


def _extractors() -> list[str]:
    from .video.extractors import extractor_names

    return [f"extractors of features: {', '.join(extractor_names())}"]


def _operators() -> list[str]:
    setting = os.environ.get("LADNET_IMPL")
    lines = [f"who serves each operator (LADNET_IMPL is {setting or 'not set'})"]
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for name, (backends, call) in _OPS.items():
        for device in devices:
            lines.append(f"  {name}, float32 on {device}:")
            sample = torch.zeros(1, 2, 128, device=device)
            for impl in _impl.IMPLS[1:]:
                reasons = _reasons(impl, backends, call(sample))
                answer = "yes" if not reasons else "no: " + "; ".join(reasons)
                lines.append(f"    {impl}: {answer}")
    lines.append(f"  linear layers of LANet, float32 on cpu: {linear.who_serves()}")
    again = linear.how_to_repeat()
    if again is not None:
        lines.append(f"    to measure that again: {again}")
    return lines


def _reasons(impl: str, backends: dict, call: tuple[torch.Tensor, ...]) -> list[str]:
    if impl not in backends:
        return ["this version has no such implementation of the operator"]
    why_not: Callable[..., list[str]] = backends[impl].why_not
    return why_not(*call)
