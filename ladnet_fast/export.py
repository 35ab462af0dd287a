"""LANet and I3D in the formats of other programs: ONNX and torch.export.

>>> to_onnx(net, "net.onnx")            # (B, T, feature_dim) -> scores (B, T), features (B, T, C)
>>> to_torch(I3D.from_pretrained(), "i3d.pt2")  # (N, 16, 224, 224, 3) uint8 -> features (N, 1024)

The graph is the plain PyTorch reference unless another implementation is named: it holds no
operator of this package, so nobody needs it to run the file. B, N and T are free in it. Every file
is run and compared with the network before it is moved to its place.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from . import _files
from ._extras import import_extra
from ._version import __version__
from .nn import LANet
from .ops import _impl

if TYPE_CHECKING:
    from .video import I3D

#: Snippets in the bags with which a file is compared with the network, and the bags.
CHECKED_SIZES = ((1, 1), (1, 7), (3, 64), (2, 333))
#: Clips in the batches with which I3D's file is compared.
CHECKED_CLIPS = (1, 2)
#: Largest difference from the network, relative to the largest value of the output. Programs sum in
#: another order: in float32 both networks were off by up to 5e-7.
TOLERANCE = 1e-5

_OPSET = 18
_EXAMPLE = (2, 48)  # free sizes of the example: neither 0 nor 1, which would be fixed in the graph


class ExportError(RuntimeError):
    """What an exported file computes is not what the network computes; nothing was written."""


class _ScoreSnippets(nn.Module):
    """LANet without lengths: every bag of a batch has all T snippets."""

    def __init__(self, net: LANet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, query: Tensor | None = None) -> tuple[Tensor, Tensor]:
        scores, features = self.net(x, query=query)
        return scores, features


class _DescribeFrames(nn.Module):
    """I3D from frames as they are decoded: (N, 16, 224, 224, 3) uint8."""

    def __init__(self, model: I3D) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor) -> Tensor:
        dtype = self.model.conv_1a.conv.weight.dtype
        clips = frames.to(dtype).permute(0, 4, 1, 2, 3) / 127.5 - 1
        described: Tensor = self.model(clips)
        return described


class _Task:
    """A network with the inputs, outputs and free sizes of its graph."""

    def __init__(self, net: nn.Module, impl: str) -> None:
        from .video.i3d import CROP_SIZE, I3D, SNIPPET_FRAMES

        # A copy: the caller's network keeps its mode and its choice of implementation.
        net = copy.deepcopy(net).eval().requires_grad_(False)
        tensor = next(net.parameters())
        self.device, self.dtype = tensor.device, tensor.dtype
        self.module: nn.Module
        self.outputs: tuple[str, ...]
        batch = torch.export.Dim("batch", min=1)
        snippets = torch.export.Dim("snippets", min=1)
        if isinstance(net, LANet):
            net.attention.impl = _impl.check_impl(impl)
            self.module = _ScoreSnippets(net)
            self.widths = {"x": net.feature_dim}
            if net.query_dim is not None:
                self.widths["query"] = net.query_dim
            self.outputs = ("scores", "features")
            self.free = {name: {0: batch, 1: snippets} for name in self.widths}
            self.sizes: Sequence[tuple[int, ...]] = CHECKED_SIZES
            self.shape = lambda name, size: (*size, self.widths[name])
        elif isinstance(net, I3D):
            self.module = _DescribeFrames(net)
            self.widths = {"frames": 3}
            self.outputs = ("features",)
            self.free = {"frames": {0: batch}}
            self.sizes = [(clips,) for clips in CHECKED_CLIPS]
            frame = (SNIPPET_FRAMES, CROP_SIZE, CROP_SIZE, 3)
            self.shape = lambda name, size: (size[0], *frame)
        else:
            raise TypeError(
                f"net must be a ladnet_fast.LANet or a ladnet_fast.video.I3D; got "
                f"{type(net).__name__}"
            )

    def inputs(self, size: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Return inputs of free sizes ``size``, the same in every run."""
        generator = torch.Generator().manual_seed(0)
        made = []
        for name in self.widths:
            shape = self.shape(name, size)
            if name == "frames":
                x = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
            else:
                x = torch.randn(shape, generator=generator).to(self.dtype)
            made.append(x.to(self.device))
        return tuple(made)

    def program(self) -> torch.export.ExportedProgram:
        """Return the graph."""
        return torch.export.export(
            self.module, self.inputs(_EXAMPLE), dynamic_shapes=self.free, strict=False
        )

    def compare(self, run: Callable[[tuple[Tensor, ...]], Sequence[Tensor]], what: str) -> None:
        """Raise unless ``run`` computes what the network computes, at every size."""
        tolerance = max(TOLERANCE, 16 * torch.finfo(self.dtype).eps)
        for size in self.sizes:
            given = self.inputs(size)
            with torch.no_grad():
                expected = _as_tuple(self.module(*given))
            for name, ours, theirs in zip(self.outputs, expected, run(given), strict=True):
                # A difference of NaN fails the comparison below, too.
                scale = max(float(ours.abs().max()), torch.finfo(ours.dtype).tiny)
                worst = float((ours - theirs.to(ours.device)).abs().max()) / scale
                if theirs.shape != ours.shape or not worst <= tolerance:
                    raise ExportError(
                        f"the {what} file's {name} differ from the network's for inputs of "
                        f"{' x '.join(map(str, given[0].shape))}: by {worst:.1e} of the largest "
                        f"value, where {tolerance:.0e} is allowed; nothing was written"
                    )


def to_torch(net: LANet | I3D, path: str | os.PathLike[str], *, impl: str = "reference") -> Path:
    """Write the network as a graph of torch.export, with its weights.

    ``torch.export.load(path).module()`` is a module that takes a batch as the network does:
    ``(x)``, with audio queries ``(x, query)``, for I3D ``(frames)``. It needs torch alone.

    Parameters
    ----------
    net : LANet or I3D
        On any device; it stays as it is. The graph is that of evaluation.
    path : path-like
        The file, by convention ``.pt2``. One that is there is replaced.
    impl : str
        Implementation that the graph uses. Any but ``"reference"`` makes operators of this package
        part of the graph: whoever loads the file must ``import ladnet_fast`` first.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those above.
    ExportError
        If the graph computes something else than the network.
    """
    task = _Task(net, impl)
    program = task.program()
    options = {"ladnet_fast.json": json.dumps(_description(net))}
    with _files.atomic_path(path) as temporary:
        with temporary.open("wb") as file, _quietly():
            torch.export.save(program, file, extra_files=options)
        with temporary.open("rb") as file:
            loaded = torch.export.load(file).module()
        task.compare(lambda given: _as_tuple(loaded(*given)), "torch")
    return Path(path)


def to_onnx(net: LANet | I3D, path: str | os.PathLike[str]) -> Path:
    """Write the network as one ONNX file, with its weights.

    Inputs ``x`` (batch, snippets, feature_dim) and, with audio queries, ``query``; outputs
    ``scores`` (batch, snippets) and ``features`` (batch, snippets, mlp_dims[-1]). For I3D the input
    is ``frames`` (batch, 16, 224, 224, 3), uint8 RGB, and the output ``features`` (batch, 1024).
    Every bag has all its snippets: there are no lengths. Attention takes memory that grows with
    the square of the number of snippets, as everywhere but in this package's own kernels.

    Parameters
    ----------
    net : LANet or I3D
        On any device, in float32; it stays as it is. The graph is that of evaluation.
    path : path-like
        The file, by convention ``.onnx``. One that is there is replaced.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    TypeError, ValueError
        If ``net`` is no such network, or not in float32.
    ladnet_fast._extras.MissingExtraError
        If the packages of the extra "export" are absent.
    ExportError
        If onnxruntime computes something else from the file than the network.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        import_extra(package, extra="export", purpose="write and check ONNX files")
    import onnxruntime

    task = _Task(net, "reference")
    if task.dtype != torch.float32:
        raise ValueError(
            f"net is in {task.dtype}; ONNX files are written in float32: give net.float()"
        )
    task.module.cpu()
    task.device = torch.device("cpu")
    with _quietly():
        program: Any = torch.onnx.export(
            task.program(),
            input_names=list(task.widths),
            output_names=list(task.outputs),
            opset_version=_OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    model = program.model_proto
    _name_sizes(model, task)
    for name, value in _description(net).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = f"ladnet_fast.{name}", json.dumps(value)
    with _files.atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
        session = onnxruntime.InferenceSession(
            temporary.read_bytes(), providers=["CPUExecutionProvider"]
        )

        def run(given: tuple[Tensor, ...]) -> list[Tensor]:
            feed = {name: x.numpy() for name, x in zip(task.widths, given, strict=True)}
            return [torch.from_numpy(x) for x in session.run(list(task.outputs), feed)]

        task.compare(run, "ONNX")
    return Path(path)


#: Names of formats -> what writes them.
FORMATS: dict[str, Callable[..., Path]] = {"onnx": to_onnx, "torch": to_torch}
#: Names of formats -> the suffix that their files have by convention.
SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}


@contextmanager
def _quietly() -> Iterator[None]:
    """Leave out what the exporters say about themselves and about packages that are absent."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _name_sizes(model: Any, task: _Task) -> None:
    """Give the free sizes of an ONNX model the names of `_Task`, not those of symbols."""
    names = {}
    for given in model.graph.input:
        for axis, dim in task.free[given.name].items():
            names[given.type.tensor_type.shape.dim[axis].dim_param] = dim.__name__
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            for symbol, name in names.items():
                # Also inside of expressions, such as s27 + 6.
                if size.dim_param:
                    size.dim_param = re.sub(rf"\b{symbol}\b", name, size.dim_param)


def _as_tuple(value: Any) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


def _description(net: nn.Module) -> dict[str, Any]:
    """Return what the file says about itself: what it holds and which version wrote it."""
    told: dict[str, Any] = {"version": __version__, "network": type(net).__name__}
    if isinstance(net, LANet):
        told["feature_dim"] = net.feature_dim
        told["parameters"] = sum(math.prod(p.shape) for p in net.parameters())
    return told
