"""Making the I3D extractor from the names of a device, an engine and a precision."""

from __future__ import annotations

import importlib.util

import torch

from ..._choices import ENGINES, PRECISIONS
from ..._values import shown
from .i3d import I3DExtractor
from .protocol import Extractor
from .registry import ExtractorError


def i3d(
    what: str | None = None,
    *,
    device: str | torch.device | None = None,
    engine: str = "torch",
    precision: str = "fp32",
) -> Extractor:
    """Make I3D with the published weights, which are loaded when they are needed.

    Parameters
    ----------
    what : None
        There is one network only.
    device : str, torch.device or None
        None: the first GPU that CUDA offers, else the CPU.
    engine : str
        ``"torch"``; ``"compile"``: the same network by torch.compile; ``"openvino"``, on CPUs;
        ``"auto"``: OpenVINO on a CPU where it is installed, else PyTorch.
    precision : str
        ``"fp32"``, ``"bf16"``, ``"fp16"`` (not with OpenVINO), or, with OpenVINO, ``"int8"``.

    Raises
    ------
    ExtractorError
        If an argument is not allowed, or the engine can't do what is asked for.
    ladnet_fast._extras.MissingExtraError
        If OpenVINO is asked for and is not installed.
    """
    from .. import extraction

    if what is not None:
        raise ExtractorError(f"extractor must be i3d, without a colon; got {shown(f'i3d:{what}')}")
    if precision not in PRECISIONS:
        allowed = ", ".join(PRECISIONS)
        raise ExtractorError(f"precision must be one of {allowed}; got {shown(precision)}")
    chosen = chosen_engine(engine, device, precision)
    if chosen == "openvino":
        from .openvino import OpenVinoI3D

        return OpenVinoI3D(precision, lambda: extraction._pretrained(torch.float32, "cpu"))
    dtype = getattr(torch, PRECISIONS[precision])
    return I3DExtractor(
        lambda: extraction._pretrained(dtype, device), dtype, compiled=chosen == "compile"
    )


def chosen_engine(engine: str, device: str | torch.device | None, precision: str) -> str:
    """Return which engine computes, never ``"auto"``; raise ExtractorError for what can't be."""
    if engine not in ENGINES:
        raise ExtractorError(f"engine must be one of {', '.join(ENGINES)}; got {shown(engine)}")
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    on_cpu = torch.device(device).type == "cpu"
    if engine == "openvino" and not on_cpu:
        raise ExtractorError(
            f"engine openvino computes on CPUs, and the device is {device}; choose --device cpu, "
            "or --engine torch"
        )
    if engine == "auto":
        there = importlib.util.find_spec("openvino") is not None
        served = on_cpu and precision != "fp16" and (there or precision == "int8")
        engine = "openvino" if served else "torch"
    if engine != "openvino" and precision == "int8":
        raise ExtractorError(
            f"precision int8 needs --engine openvino on a CPU; with --engine {engine} there are "
            "fp32, bf16 and fp16"
        )
    if engine == "openvino" and precision == "fp16":
        raise ExtractorError(
            "precision fp16 needs --engine torch or --engine compile; with --engine openvino there "
            "are fp32, bf16 and int8"
        )
    return engine
