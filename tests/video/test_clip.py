"""CLIP as an extractor: the embeddings of transformers' own model and processor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ladnet_fast.video.extractors import ExtractorError, make_extractor
from ladnet_fast.video.extractors.protocol import Preparation, is_extractor, remembered
from ladnet_fast.video.frames import cut_crops, resize

transformers = pytest.importorskip("transformers")

PROCESSOR = {
    "crop_size": {"height": 30, "width": 30},
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "image_processor_type": "CLIPImageProcessor",
    "resample": 3,
    "rescale_factor": 1 / 255,
    "size": {"shortest_edge": 32},
}


@pytest.fixture
def save_clip(tmp_path: Path) -> Callable[..., Path]:
    """Save a tiny model with random weights, and its image processor, as a folder."""

    def save(name: str = "clip", *, seed: int = 0, **processor: Any) -> Path:
        torch.manual_seed(seed)
        config = transformers.CLIPVisionConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
            image_size=30, patch_size=10, projection_dim=12,
        )  # fmt: skip
        folder = tmp_path / name
        transformers.CLIPVisionModelWithProjection(config).save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps({**PROCESSOR, **processor}))
        return folder

    return save


def prepared(frames: np.ndarray, extractor: Any) -> np.ndarray:
    """Make frames (T, H, W, 3) ready as extraction does."""
    how = extractor.preparation
    resized = [resize(frame, how.size_of(*frame.shape[:2]), how.filter) for frame in frames]
    return cut_crops(torch.from_numpy(np.stack(resized)), 1, how.crop)[0].numpy()


@pytest.mark.parametrize("size", [(48, 64), (37, 53), (101, 40), (32, 32), (20, 27)], ids=str)
@pytest.mark.parametrize("resample", [2, 3], ids=["bilinear", "bicubic"])
def test_frames_are_prepared_as_the_models_own_processor_does(
    save_clip: Callable[..., Path], size: tuple[int, int], resample: int
) -> None:
    image = pytest.importorskip("PIL.Image")
    folder = save_clip(resample=resample)
    extractor = make_extractor(f"clip:{folder}")
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    # The processor's steps, with Pillow, whose filters its configuration names.
    short, (height, width) = 32, size
    side = min(size)
    target = (int(short * height / side), int(short * width / side))
    # In two steps, since which axis comes first depends on Pillow's version.
    rows_first = image.fromarray(frame).resize((target[1], height), resample)
    expected = np.asarray(rows_first.resize(target[::-1], resample))
    top, left = (target[0] - 30) // 2, (target[1] - 30) // 2
    expected = expected[top : top + 30, left : left + 30]
    got = prepared(frame[None], extractor)[0]
    assert got.shape == (30, 30, 3)
    assert np.abs(got.astype(int) - expected).max() <= 1, "both round to 1 of 255"
    pixels = extractor._processor.pixels(torch.from_numpy(expected.copy()[None]))  # type: ignore[attr-defined]
    mean, std = np.array(PROCESSOR["image_mean"]), np.array(PROCESSOR["image_std"])
    wanted = ((expected / 255 - mean) / std).transpose(2, 0, 1)
    np.testing.assert_allclose(pixels[0].numpy(), wanted, atol=2e-6)


def test_a_frame_goes_through_transformers_processor_to_the_same_pixels(
    save_clip: Callable[..., Path],
) -> None:
    pytest.importorskip("PIL")
    folder = save_clip()
    try:
        processor = transformers.CLIPImageProcessorPil.from_pretrained(folder)
    except (AttributeError, ImportError):  # before transformers 5
        processor = transformers.CLIPImageProcessor.from_pretrained(folder)
    extractor = make_extractor(f"clip:{folder}")
    frame = np.random.default_rng(1).integers(0, 256, (45, 77, 3), dtype=np.uint8)
    theirs = np.asarray(processor(frame, return_tensors="np")["pixel_values"][0])
    ours = extractor._processor.pixels(torch.from_numpy(prepared(frame[None], extractor)))  # type: ignore[attr-defined]
    band = 1.01 / 255 / min(PROCESSOR["image_std"])  # type: ignore[type-var]
    assert np.abs(ours[0].numpy() - theirs).max() <= band


def test_a_row_is_the_mean_embedding_of_sixteen_frames(save_clip: Callable[..., Path]) -> None:
    folder = save_clip()
    extractor = make_extractor(f"clip:{folder}")
    assert is_extractor(extractor)
    assert (extractor.name, extractor.width, extractor.frames_per_snippet) == ("clip", 12, 16)
    clips = np.random.default_rng(0).integers(0, 256, (3, 16, 30, 30, 3), dtype=np.uint8)
    clips.flags.writeable = False
    rows = extractor(clips)
    assert rows.dtype == np.float32
    model = transformers.CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    pixels = extractor._processor.pixels(torch.from_numpy(clips[1].copy()))  # type: ignore[attr-defined]
    with torch.no_grad():
        expected = model(pixel_values=pixels).image_embeds.mean(0)
    np.testing.assert_allclose(rows[1], expected.numpy(), rtol=1e-5, atol=1e-6)
    assert extractor(clips[:1]).shape == (1, 12)


def test_a_whole_clip_gives_its_vision_tower(tmp_path: Path, save_clip: Any) -> None:
    folder = save_clip()
    tower = transformers.CLIPVisionModelWithProjection.from_pretrained(folder)
    config = transformers.CLIPConfig(
        text_config={
            "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 1, "vocab_size": 20, "max_position_embeddings": 5,
        },
        vision_config=tower.config.to_dict(),
        projection_dim=12,
    )  # fmt: skip
    whole = transformers.CLIPModel(config)
    whole.vision_model.load_state_dict(tower.vision_model.state_dict())
    whole.visual_projection.load_state_dict(tower.visual_projection.state_dict())
    whole.save_pretrained(tmp_path / "whole")
    (tmp_path / "whole" / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    clips = np.random.default_rng(0).integers(0, 256, (1, 16, 30, 30, 3), dtype=np.uint8)
    one, other = (make_extractor(f"clip:{path}") for path in (folder, tmp_path / "whole"))
    np.testing.assert_array_equal(one(clips), other(clips))


def test_settings_tell_models_precisions_and_pixels_apart(save_clip: Callable[..., Path]) -> None:
    specs = [
        (save_clip("a"), "fp32"),
        (save_clip("a copy"), "fp32"),
        (save_clip("b", seed=1), "fp32"),
        (save_clip("c", image_mean=[0, 0, 0]), "fp32"),
        (save_clip("d"), "bf16"),
    ]
    told = [remembered(make_extractor(f"clip:{path}", precision=p)) for path, p in specs]
    assert told[0] == told[1]
    assert all(told[0] != other for other in told[2:])
    assert told[0]["network"] == "clip"
    assert (told[0]["short_side"], told[0]["crop"]) == (32, 30)
    assert (told[0]["filter"], told[0]["long_side"]) == ("bicubic", "down")
    json.dumps(told)


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        ({"size": {"height": 32, "width": 32}}, "size = "),
        ({"do_center_crop": False}, "do_center_crop = False"),
        ({"resample": 0}, "resample = 0"),
        ({"crop_size": 40}, "crop_size = 40 beyond size = 32"),
    ],
    ids=["squeezed", "no crop", "nearest", "crop too large"],
)
def test_a_processor_that_does_something_else_is_named(
    save_clip: Callable[..., Path], processor: dict[str, Any], message: str
) -> None:
    with pytest.raises(ExtractorError, match=message):
        make_extractor(f"clip:{save_clip(**processor)}")


def test_models_that_are_none_are_named(save_clip: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ExtractorError, match=r"needs a model: clip:FOLDER"):
        make_extractor("clip")
    folder = save_clip()
    for given in ({"engine": "openvino"}, {"precision": "int8"}):
        with pytest.raises(ExtractorError, match=r"must be .* for the extractor clip; got"):
            make_extractor(f"clip:{folder}", **given)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ExtractorError, match=r"preprocessor_config\.json does not exist"):
        make_extractor(f"clip:{folder}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExtractorError, match=r"config\.json does not exist"):
        make_extractor(f"clip:{tmp_path / 'empty'}")
    other = save_clip("other")
    (other / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ExtractorError, match="a model of the type 'bert'"):
        make_extractor(f"clip:{other}")


def test_missing_and_pickled_weights_are_refused(save_clip: Callable[..., Path]) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_clip()
    weights = folder / "model.safetensors"
    state = load_file(weights)
    absent = next(name for name in state if "projection" in name)
    save_file({k: v for k, v in state.items() if k != absent}, weights, {"format": "pt"})
    with pytest.raises(ExtractorError, match=r"lacks 1 weights .*visual_projection"):
        make_extractor(f"clip:{folder}").load()
    weights.unlink()
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(ExtractorError, match="can't be loaded"):
        make_extractor(f"clip:{folder}").load()


def test_i3ds_preparation_goes_without_saying() -> None:
    from ladnet_fast.video.frames import short_side_size

    assert Preparation(256, 224) == (256, 224, "bilinear", "nearest")
    for size in ((360, 640), (333, 517), (64, 64)):
        assert Preparation(256, 224).size_of(*size) == short_side_size(*size)


def test_a_video_is_extracted_and_remembers_its_model(
    save_clip: Callable[..., Path], tmp_path: Path
) -> None:
    av = pytest.importorskip("av")
    from ladnet_fast.data import read_manifest
    from ladnet_fast.engine.trained_on import training_origin
    from ladnet_fast.video import extract_to_files, read_frames

    path = tmp_path / "clip.mkv"
    pictures = np.random.default_rng(0).integers(0, 256, (20, 60, 90, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 90, 60, "bgr0"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    extractor = make_extractor(f"clip:{save_clip()}")
    extract_to_files([path], tmp_path / "features", model=extractor)
    videos = read_manifest(tmp_path / "features" / "videos.csv")
    rows = np.load(videos[0].features[0].path)
    frames = prepared(np.stack(list(read_frames(path)))[:16], extractor)
    np.testing.assert_allclose(rows, extractor(frames[None]), rtol=1e-5, atol=1e-6)
    origin = training_origin(videos)
    assert {key: origin[key] for key in remembered(extractor)} == remembered(extractor)
