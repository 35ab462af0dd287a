"""I3D computed by OpenVINO, on CPUs: float32, bfloat16 or int8.

The network is that of `ladnet_fast.video.i3d`, with its batch normalisation folded, converted once
and kept in the cache folder; scaling of the pixels is part of it. int8 is quantised by NNCF after
training, with snippets of the user's own videos, and kept beside the features that it makes.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..._choices import PRECISIONS
from ..._extras import import_extra, require_extra
from ..._files import STATE, cache_folder, temporary_folder
from ..._locks import folder_lock
from ..._records import DamagedFileError, digest_of, recorded, verify
from ..._tensors import tensors_digest
from ..errors import VideoError
from ..frames import SHORT_SIDE
from ..i3d import CROP_SIZE, FEATURE_DIM, I3D, SNIPPET_FRAMES
from ..weights import MEMBER_SHA256
from .protocol import Clips, Extractor, Preparation, Rows

KIND = "network"
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
#: Clips that are computed side by side, each by its share of the threads: these wait less for one
#: another than if all worked on one clip. On a busy machine 1.2 times faster in fp32, 1.5 in int8.
_STREAMS = 2
#: Snippets that int8 is calibrated on.
CALIBRATION = 20
QUANTISED = "i3d-int8.xml"


class OpenVinoI3D:
    """I3D by OpenVINO; see `ladnet_fast.video.extractors.Extractor`.

    Parameters
    ----------
    precision : str
        ``"fp32"``, ``"bf16"`` or ``"int8"``.
    load_torch : callable
        Returns the network in float32 on the CPU; asked only where the cache lacks it.
    weights : str
        Tells networks apart.
    cache_dir : path-like or None
        See `ladnet_fast._files.cache_folder`.
    """

    name, device = "i3d", "cpu"
    width = FEATURE_DIM
    frames_per_snippet = SNIPPET_FRAMES
    preparation = Preparation(SHORT_SIDE, CROP_SIZE)

    def __init__(
        self,
        precision: str,
        load_torch: Callable[[], I3D],
        *,
        weights: str = MEMBER_SHA256,
        cache_dir: Path | None = None,
    ) -> None:
        self._ov = import_extra(
            "openvino", extra="openvino", purpose="compute features with the engine openvino"
        )
        if precision == "int8":
            require_extra("nncf", extra="openvino", purpose="quantise the network to int8")
        self.precision, self._load_torch, self._weights = precision, load_torch, weights
        self._cache_dir = cache_dir
        self._folder: Path | None = None
        self._videos: list[Path] = []
        self._requests: list[Any] = []

    @property
    def settings(self) -> Mapping[str, Any]:
        """Network, precision and engine; for int8 also which quantised network it is."""
        settings = {
            "network": "i3d",
            "weights": self._weights,
            "precision": PRECISIONS[self.precision],
            "engine": "openvino",
        }
        if self.precision == "int8" and self._folder is not None:
            settings["quantised"] = _digest(self._quantised) if _is_whole(self._quantised) else ""
        return settings

    def place(self, folder: Path, videos: Sequence[Path]) -> None:
        """Remember where the quantised network lies or will lie, and what to calibrate it on."""
        self._folder, self._videos = folder, list(videos)

    def load(self) -> None:
        """Convert (or quantise) and compile the network, once."""
        if self._requests:
            return
        if self.precision == "int8":
            with folder_lock(self._quantised.parent.parent, "quantising", wait=-1):
                if not _is_whole(self._quantised):
                    self._quantise()
            network = self._read(self._quantised)
        else:
            network = self._converted()
        streams = min(_STREAMS, torch.get_num_threads())
        options = {
            "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        compiled = self._ov.Core().compile_model(network, "CPU", options)
        self._requests = [compiled.create_infer_request() for _ in range(streams)]

    def __call__(self, clips: Clips) -> Rows:
        """Map (N, 16, 224, 224, 3) uint8 to (N, 1024) float32."""
        self.load()
        parts = np.array_split(np.ascontiguousarray(clips), min(len(clips), len(self._requests)))
        running = list(zip(self._requests, parts, strict=False))
        for request, part in running:
            request.start_async([part], share_inputs=True)
        for request, _ in running:
            request.wait()
        # Copies: the next call writes there again.
        return np.concatenate([np.array(request.results[0], np.float32) for request, _ in running])

    @property
    def _quantised(self) -> Path:
        if self._folder is None:
            raise ValueError(
                "int8 is calibrated on your videos and kept beside their features: give it to "
                "extract_to_files, or call place(folder, videos) first"
            )
        return self._folder / STATE / QUANTISED

    def _converted(self) -> Any:
        """Return the network in float32, from the cache or from PyTorch."""
        model = self._load_torch()
        # Named by what is in it, so that no other network can be taken for it.
        identity = {"kind": type(model).__name__, "openvino": self._ov.__version__, "form": "2"}
        name = f"i3d-{tensors_digest(model.state_dict(), identity)[:32]}.xml"
        path = cache_folder(self._cache_dir) / "openvino" / name
        if _is_whole(path):
            return self._read(path)
        example = torch.zeros(2, 3, SNIPPET_FRAMES, CROP_SIZE, CROP_SIZE)
        clips = torch.export.Dim("clips", min=1, max=4096)
        with torch.no_grad():
            program = torch.export.export(model, (example,), dynamic_shapes=({0: clips},))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the converter about PyTorch's own classes
            network = self._ov.convert_model(program)
        network.reshape([-1, *example.shape[1:]])
        _simplify_pools(network)
        network = self._with_pixels(network)
        path.parent.mkdir(parents=True, exist_ok=True)
        _save(self._ov, network, path)
        return network

    def _with_pixels(self, network: Any) -> Any:
        """Let the network read (N, T, H, W, 3) uint8, and scale it to [-1, 1] itself."""
        preprocess = import_extra("openvino.preprocess", extra="openvino", purpose="read pixels")
        steps = preprocess.PrePostProcessor(network)
        pixels = steps.input(0)
        pixels.tensor().set_element_type(self._ov.Type.u8).set_layout(self._ov.Layout("NDHWC"))
        pixels.model().set_layout(self._ov.Layout("NCDHW"))
        pixels.preprocess().convert_element_type(self._ov.Type.f32).mean(127.5).scale(127.5)
        return steps.build()

    def _quantise(self) -> None:
        nncf = import_extra("nncf", extra="openvino", purpose="quantise the network to int8")
        ranges = import_extra(
            "nncf.quantization.range_estimator", extra="openvino", purpose="quantise to int8"
        )
        snippets = first_snippets(self, self._videos, CALIBRATION)
        nncf.set_log_level(logging.ERROR)
        # NNCF's correction of biases, on by default, triples the error (docs/own-videos.md).
        options = nncf.AdvancedQuantizationParameters(
            disable_bias_correction=True,
            activations_range_estimator_params=ranges.RangeEstimatorParametersSet.MINMAX,
        )
        with redirect_stdout(sys.stderr):  # NNCF's bars; standard output is the command's own
            network = nncf.quantize(
                self._converted(),
                nncf.Dataset(snippets),
                subset_size=len(snippets),
                advanced_parameters=options,
            )
        _save(self._ov, network, self._quantised)

    def _read(self, path: Path) -> Any:
        return self._ov.Core().read_model(path)


def first_snippets(extractor: Extractor, videos: Sequence[Path], wanted: int) -> list[Clips]:
    """Return the first snippets of as many videos as there are, centre crop, each (1, 16, H, W, 3).

    Every video gives as many as it needs to for all to be ``wanted``, the earlier ones more where
    that doesn't divide; a video that can't be read gives none, since its turn comes.

    Raises
    ------
    VideoError
        If no video gives a single one.
    """
    from ..features import centre_snippets

    found: list[Clips] = []
    left = len(videos)
    for video in videos:
        share = -(-(wanted - len(found)) // left)
        left -= 1
        if share <= 0:
            break
        try:
            found += centre_snippets(video, extractor, share)
        except VideoError:
            continue  # extraction names it when its turn comes
    if not found:
        raise VideoError(
            f"int8 is calibrated on your own videos, but none of {len(videos)} gives a snippet of "
            f"{SNIPPET_FRAMES} frames; see --precision fp32 for what is wrong with each"
        )
    return found


def _simplify_pools(network: Any) -> None:
    """Let pools have no second result, the places of the maxima, which PyTorch's export wants.

    With it OpenVINO 2026.4 computes pools of an int8 network, and the layers behind them, in float:
    a fifth of the network's time.
    """
    opset = import_extra("openvino.opset1", extra="openvino", purpose="convert pools")
    for pool in network.get_ordered_ops():
        if pool.get_type_name() != "MaxPool" or len(pool.outputs()) == 1:
            continue
        given = pool.get_attributes()
        simple = opset.max_pool(
            pool.input_value(0), given["strides"], given["pads_begin"], given["pads_end"],
            given["kernel"], given["rounding_type"].removesuffix("_torch"), given["auto_pad"],
        )  # fmt: skip
        same_size = simple.get_output_partial_shape(0) == pool.get_output_partial_shape(0)
        is_plain = set(given["dilations"]) == {1} and not pool.output(1).get_target_inputs()
        if same_size and is_plain:  # where the sizes are equal, PyTorch's rounding is plain
            simple.set_friendly_name(pool.get_friendly_name())
            pool.output(0).replace(simple.output(0))


def _save(ov: Any, network: Any, path: Path) -> None:
    """Write ``path`` (.xml) and the weights beside it (.bin), both with records."""
    with ExitStack() as stack:
        xml = stack.enter_context(recorded(path, {"kind": KIND}))
        weights = stack.enter_context(recorded(path.with_suffix(".bin"), {"kind": KIND}))
        scratch = stack.enter_context(temporary_folder(path.parent))
        written = scratch / path.name  # OpenVINO looks at suffixes, and writes both itself
        ov.save_model(network, str(written), compress_to_fp16=False)
        written.replace(xml)
        written.with_suffix(".bin").replace(weights)


def _is_whole(path: Path) -> bool:
    """Tell whether both files are there as they were written."""
    try:
        return all(
            file.is_file() and verify(file) is not None for file in (path, path.with_suffix(".bin"))
        )
    except DamagedFileError:
        return False


def _digest(path: Path) -> str:
    both = digest_of(path) + digest_of(path.with_suffix(".bin"))
    return hashlib.sha256(both.encode()).hexdigest()
