"""CLIP's vision tower as an extractor: the user's model, through transformers.

A row is the mean of the image embeddings of a snippet's 16 frames (``image_embeds`` of the
projected tower, not normalised). Frames are prepared as the model's own image processor says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..._choices import PRECISIONS
from ..._extras import import_extra
from ..._tensors import tensors_digest
from ..._values import shown
from .protocol import Clips, Extractor, Preparation, Rows
from .registry import ExtractorError

#: Pillow's numbers of the filters, as image processors have them.
_FILTERS: Mapping[int, Literal["bilinear", "bicubic"]] = {2: "bilinear", 3: "bicubic"}
_PROCESSOR, _CONFIG = "preprocessor_config.json", "config.json"


def clip(
    what: str | None = None,
    *,
    device: str | torch.device | None = None,
    engine: str = "torch",
    precision: str = "fp32",
) -> Extractor:
    """Make the extractor of a CLIP model.

    Parameters
    ----------
    what : str
        A folder, as ``save_pretrained`` writes it, or a name on the Hugging Face hub such as
        ``openai/clip-vit-base-patch16``. Only safetensors weights are read, and no code of the
        model's.
    device : str, torch.device or None
        None: the first GPU that CUDA offers, else the CPU.
    engine : str
        ``"torch"`` or ``"auto"``.
    precision : str
        ``"fp32"`` or ``"bf16"``.

    Raises
    ------
    ExtractorError
        If an argument is not allowed, or the model is not a CLIP with a vision tower.
    ladnet_fast._extras.MissingExtraError
        If transformers is not installed (extra "clip").
    """
    if not what:
        raise ExtractorError(
            "the extractor clip needs a model: clip:FOLDER, or clip:NAME of the Hugging Face hub, "
            "for example clip:openai/clip-vit-base-patch16"
        )
    if engine not in ("torch", "auto"):
        raise ExtractorError(
            f"engine must be torch or auto for the extractor clip; got {shown(engine)}"
        )
    if precision not in ("fp32", "bf16"):
        raise ExtractorError(
            f"precision must be fp32 or bf16 for the extractor clip; got {shown(precision)}"
        )
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return ClipExtractor(what, torch.device(device), getattr(torch, PRECISIONS[precision]))


class ClipExtractor:
    """A vision tower with its projection; see `clip`.

    Parameters
    ----------
    what : str
        Folder or name.
    device : torch.device
        Where it computes.
    dtype : torch.dtype
        Of the weights.
    """

    name = "clip"
    frames_per_snippet = 16

    def __init__(self, what: str, device: torch.device, dtype: torch.dtype) -> None:
        self.what, self.device, self._dtype = what, str(device), dtype
        config = self._read(_CONFIG)
        if config.get("model_type") not in ("clip", "clip_vision_model"):
            raise ExtractorError(
                f"clip:{what} is a model of the type {config.get('model_type')!r}; the extractor "
                "clip reads the types clip and clip_vision_model"
            )
        vision = config.get("vision_config", config)
        self.width = int(vision.get("projection_dim", config.get("projection_dim", 512)))
        self._processor = _Processor(self._read(_PROCESSOR), f"clip:{what}")
        self.preparation = self._processor.preparation
        self._model: Any = None

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """What models that give different features differ in."""
        self.load()
        return {
            "network": "clip",
            "weights": tensors_digest(self._model.state_dict(), {"kind": "clip"}),
            "precision": str(self._dtype).partition(".")[2],
            "pixels": self._processor.digest,
        }

    def load(self) -> None:
        """Read the weights, from safetensors files only."""
        if self._model is not None:
            return
        transformers = self._transformers()
        try:
            model, info = transformers.CLIPVisionModelWithProjection.from_pretrained(
                self.what,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                dtype=torch.float32,
            )
        except OSError as error:
            raise ExtractorError(f"clip:{self.what} can't be loaded: {error}") from error
        absent = sorted(info["missing_keys"])
        if absent:
            raise ExtractorError(
                f"clip:{self.what} lacks {len(absent)} weights of a vision tower with projection, "
                f"such as {absent[0]}; they would be random numbers. Give the whole CLIP model"
            )
        self._model = model.to(device=self.device, dtype=self._dtype).eval()

    def __call__(self, clips: Clips) -> Rows:
        """Map (N, 16, H, W, 3) uint8 to (N, width) float32."""
        self.load()
        snippets, frames = clips.shape[:2]
        # A copy: clips may be read-only, which tensors can't be.
        flat = torch.from_numpy(np.array(clips)).flatten(0, 1).to(self.device)
        with torch.inference_mode():
            pixels = self._processor.pixels(flat).to(self._dtype)
            embeddings = self._model(pixel_values=pixels).image_embeds.float()
            return embeddings.unflatten(0, (snippets, frames)).mean(1).cpu().numpy()

    def _transformers(self) -> Any:
        return import_extra("transformers", extra="clip", purpose="compute CLIP features")

    def _read(self, name: str) -> dict[str, Any]:
        """Read a JSON file of the model, from its folder or the hub."""
        folder = Path(self.what)
        if folder.is_dir():
            path = folder / name
        else:
            utils = import_extra("transformers.utils", extra="clip", purpose="find CLIP models")
            try:
                path = Path(utils.cached_file(self.what, name))
            except OSError as error:
                raise ExtractorError(
                    f"clip:{self.what} is neither a folder nor a model of the hub: {error}"
                ) from error
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ExtractorError(
                f"clip:{self.what}: {path} does not exist; a folder needs {_CONFIG}, {_PROCESSOR} "
                "and model.safetensors, as save_pretrained of model and image processor write them"
            ) from None
        except ValueError as error:
            raise ExtractorError(f"{path} is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise ExtractorError(
                f"{path}: the content must be a JSON object; got {type(content).__name__}"
            )
        return content


class _Processor:
    """What an image processor's configuration says, executed on frames that are resized already.

    Parameters
    ----------
    config : mapping
        Of ``preprocessor_config.json``.
    owner : str
        Named in messages.
    """

    def __init__(self, config: Mapping[str, Any], owner: str) -> None:
        short: Any = config.get("size", 224)
        crop: Any = config.get("crop_size", 224)
        if isinstance(short, Mapping):
            short = short.get("shortest_edge") if set(short) == {"shortest_edge"} else None
        if isinstance(crop, Mapping):
            crop = crop.get("height") if crop.get("height") == crop.get("width") else None
        problems = [
            f"{name} = {config.get(name)!r}"
            for name, good in (
                ("size", isinstance(short, int)),
                ("crop_size", isinstance(crop, int)),
                ("resample", config.get("resample", 3) in _FILTERS),
                *((f"do_{step}", config.get(f"do_{step}", True) is True) for step in _STEPS),
            )
            if not good
        ]
        if not problems and crop > short:
            problems = [f"crop_size = {crop} beyond size = {short}"]
        if problems:
            raise ExtractorError(
                f"{owner}: its image processor has {', '.join(problems)}; the extractor clip "
                "resizes the short side (bilinear or bicubic), cuts the centre square, scales and "
                "normalises"
            )
        self.preparation = Preparation(
            short,
            crop,
            _FILTERS[config.get("resample", 3)],
            "down",
        )
        self._scale = float(config.get("rescale_factor", 1 / 255))
        self._mean = [float(x) for x in config.get("image_mean", _MEAN)]
        self._std = [float(x) for x in config.get("image_std", _STD)]
        text = json.dumps([self._scale, self._mean, self._std])
        self.digest = hashlib.sha256(text.encode()).hexdigest()[:16]

    def pixels(self, frames: Tensor) -> Tensor:
        """Map (N, H, W, 3) uint8 to (N, 3, H, W) float32: scaled, mean 0 and deviation 1."""
        mean, std = (torch.tensor(x, device=frames.device) for x in (self._mean, self._std))
        scaled = frames.to(torch.float32) * self._scale
        return ((scaled - mean) / std).permute(0, 3, 1, 2).contiguous()


_STEPS = ("resize", "center_crop", "rescale", "normalize")
# Values of OpenAI's models, for configurations that leave them out; transformers uses them too.
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
