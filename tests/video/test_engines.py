"""Engines and precisions: what can be asked for, what they compute, and that sets stay unmixed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ladnet_fast._extras import MissingExtraError
from ladnet_fast._records import record_of
from ladnet_fast.video import I3D, extract_to_files, extraction
from ladnet_fast.video.extractors import ExtractorError, I3DExtractor, make_extractor
from ladnet_fast.video.i3d import Unit3d

WriteVideo = Callable[..., Path]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "onnx"}, "engine must be one of torch, compile, openvino, auto; got 'onnx'"),
        ({"precision": "tf32"}, "precision must be one of fp32, bf16, fp16, int8; got 'tf32'"),
        ({"precision": "int8"}, "int8 needs --engine openvino"),
        ({"engine": "compile", "precision": "int8"}, "with --engine compile there are fp32, bf16"),
        ({"engine": "openvino", "precision": "fp16"}, "fp16 needs --engine torch or"),
        ({"engine": "openvino", "device": "cuda"}, "computes on CPUs, and the device is cuda"),
        ({"engine": "auto", "device": "cuda", "precision": "int8"}, "int8 needs --engine openvino"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(options: dict, message: str) -> None:
    with pytest.raises(ExtractorError, match=message):
        make_extractor("i3d", **options)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_without_openvino_its_extra_is_named(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)  # as if it were not installed
    with pytest.raises(MissingExtraError, match=r"pip install .*openvino.*ladnet-fast\[openvino\]"):
        make_extractor("i3d", engine="openvino", precision=precision)


def test_auto_takes_pytorch_where_openvino_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert isinstance(make_extractor("i3d", engine="auto"), I3DExtractor)
    with pytest.raises(MissingExtraError, match="openvino"):
        make_extractor("i3d", engine="auto", precision="int8")


def test_auto_takes_pytorch_for_what_openvino_does_not_have() -> None:
    assert isinstance(make_extractor("i3d", engine="auto", precision="fp16"), I3DExtractor)


def test_features_of_other_videos_of_a_folder_keep_its_precision(
    write_video: WriteVideo,
    grey_frames: Callable[..., np.ndarray],
    pixel_model: I3D,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extraction, "_pretrained", lambda *_: pixel_model)
    one, two = (write_video(tmp_path / f"{name}.mkv", grey_frames(40)) for name in "ab")
    out = tmp_path / "out"
    extract_to_files([one], out, device="cpu")
    with pytest.raises(
        ValueError, match=r"precision 'float32' then, 'bfloat16' now.*--engine torch --precision f"
    ):
        extract_to_files([two], out, model=make_extractor("i3d", precision="bf16"))
    assert not (out / "b.npy").exists()
    extract_to_files([two], out, model=make_extractor("i3d"), crops=5)  # crops may differ
    (replaced,) = extract_to_files(
        [one], out, model=make_extractor("i3d", precision="bf16"), overwrite=True
    )
    record = record_of(replaced.features[0])
    assert record is not None
    assert record.made["settings"]["precision"] == "bfloat16"


@pytest.fixture(scope="module")
def network() -> I3D:
    torch.manual_seed(0)
    return I3D().fold().requires_grad_(False).eval()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("openvino")
    return tmp_path_factory.mktemp("cache")


def layers_in_float(path: Path) -> list[str]:
    """Return which convolutions and pools of a quantised network OpenVINO computes in float."""
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU")
    layers = [layer.get_rt_info() for layer in compiled.get_runtime_model().get_ops()]
    wanted = [rt for rt in layers if rt["layerType"].value in ("Convolution", "Pooling", "MaxPool")]
    assert len(wanted) == 57 + 13
    return [
        rt["originalLayersNames"].value
        for rt in wanted
        if rt["runtimePrecision"].value not in ("i8", "u8")
    ]


class Convolution(torch.nn.Module):
    """A small network with the first layer that callers read the dtype and device from."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_1a = Unit3d(3, 8, kernel=3)
        self.widen = torch.nn.Linear(8, 1024)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.widen(self.conv_1a(clips).mean(dim=(2, 3, 4)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "error"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2), (torch.float16, 2e-3)]
)
def test_the_compiled_network_computes_what_the_network_does(
    dtype: torch.dtype, error: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A last batch of another size too, without compiling again."""
    torch.manual_seed(0)
    model = Convolution().eval().requires_grad_(False)
    clips = np.random.default_rng(0).integers(0, 256, (4, 16, 24, 20, 3), np.uint8)
    expected = I3DExtractor(model.double())(clips)
    compiled = I3DExtractor(model.to(dtype), compiled=True)
    compilations = []
    real = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda *a, **k: (compilations.append(k), real(*a, **k))[1]
    )
    torch._dynamo.reset()
    with torch._dynamo.config.patch(error_on_recompile=True):
        found = np.concatenate([compiled(clips[:3]), compiled(clips[3:])])
    assert compilations == [{"dynamic": False}]
    assert found.dtype == np.float32
    assert np.linalg.norm(found - expected) < error * np.linalg.norm(expected)
    assert compiled.settings["engine"] == "compile"
    assert "engine" not in I3DExtractor(model).settings


class TestOpenVino:
    """The network by OpenVINO, with random weights."""

    @pytest.fixture
    def make(
        self, network: I3D, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., object]:
        monkeypatch.setenv("LADNET_CACHE", str(cache))
        monkeypatch.setattr(extraction, "_pretrained", lambda *_: network)
        return lambda precision: make_extractor("i3d", engine="openvino", precision=precision)

    @pytest.fixture
    def noise(self, write_video: WriteVideo, tmp_path: Path) -> Path:
        frames = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 3), np.uint8)
        smooth = frames.repeat(32, axis=1).repeat(32, axis=2)
        return write_video(tmp_path / "a.mkv", smooth)

    @pytest.mark.slow
    @pytest.mark.parametrize(("precision", "error"), [("fp32", 1e-4), ("bf16", 0.1)])
    def test_its_features_are_those_of_the_network(
        self,
        make: Callable,
        network: I3D,
        noise: Path,
        tmp_path: Path,
        precision: str,
        error: float,
    ) -> None:
        (done,) = extract_to_files([noise], tmp_path / "ov", model=make(precision))
        (torchs,) = extract_to_files([noise], tmp_path / "torch", model=network)
        found, expected = np.load(done.features[0]), np.load(torchs.features[0])
        assert np.linalg.norm(found - expected) < error * np.linalg.norm(expected)
        record = record_of(done.features[0])
        assert record is not None
        assert record.made["settings"]["engine"] == "openvino"
        with pytest.raises(ValueError, match="engine 'openvino' then, 'torch' now"):
            extract_to_files([noise], tmp_path / "ov", model=network)

    @pytest.mark.slow
    @pytest.mark.parametrize("threads", [1, 2])
    def test_clips_that_are_computed_side_by_side_keep_their_order(
        self, make: Callable, threads: int
    ) -> None:
        clips = np.random.default_rng(1).integers(0, 256, (3, 16, 64, 64, 3), np.uint8)
        clips = clips.repeat(4, axis=2).repeat(4, axis=3)[:, :, :224, :224]
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            extractor = make("fp32")
            extractor.load()
        finally:
            torch.set_num_threads(before)
        alone = np.concatenate([extractor(clips[i : i + 1]) for i in range(3)])
        assert len({row.tobytes() for row in alone}) == 3
        for count in (1, 2, 3):
            np.testing.assert_array_equal(extractor(clips[:count]), alone[:count])

    @pytest.mark.slow
    def test_int8_is_calibrated_once_and_kept_beside_the_features(
        self, make: Callable, noise: Path, tmp_path: Path
    ) -> None:
        pytest.importorskip("nncf")
        out, other = tmp_path / "out", noise.with_name("b.mkv")
        other.write_bytes(noise.read_bytes())
        (first,) = extract_to_files([noise], out, model=make("int8"))
        kept = {path.name: path.read_bytes() for path in (out / ".ladnet").glob("i3d-int8.*")}
        assert set(kept) == {"i3d-int8.xml", "i3d-int8.bin"}
        (second,) = extract_to_files([other], out, model=make("int8"))
        np.testing.assert_array_equal(np.load(first.features[0]), np.load(second.features[0]))
        assert layers_in_float(out / ".ladnet" / "i3d-int8.xml") == []
        assert all((out / ".ladnet" / name).read_bytes() == kept[name] for name in kept)
        (again,) = extract_to_files([noise], out, model=make("int8"))
        assert again.reused
        (out / ".ladnet" / "i3d-int8.bin").write_bytes(b"damaged")
        with pytest.raises(ValueError, match="features of one set must not be mixed"):
            extract_to_files([noise], out, model=make("int8"))
