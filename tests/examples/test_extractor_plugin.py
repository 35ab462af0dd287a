"""The example of a plug-in, installed as pip would, is found by its name and extracts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ladnet_fast.data import load_features, read_manifest
from ladnet_fast.video.extractors import extractor_names, make_extractor

PLUGIN = Path(__file__).resolve().parents[2] / "examples" / "extractor_plugin"
av = pytest.importorskip("av")
tomllib = pytest.importorskip("tomllib", reason="since Python 3.11")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the package and its metadata, as its pyproject.toml says, on the path."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    site = tmp_path / "site"
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = ["[ladnet_fast.extractors]"]
    points = project["entry-points"]["ladnet_fast.extractors"]
    lines += [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (site / "colours.py").write_text((PLUGIN / "colours.py").read_text())
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(__import__("sys").modules, "colours", raising=False)


@pytest.mark.usefixtures("installed")
def test_it_is_found_and_extracts(tmp_path: Path) -> None:
    from ladnet_fast.video import extract_to_files

    assert "colours" in extractor_names()
    with av.open(str(tmp_path / "red.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 80, "bgr0"
        picture = np.zeros((80, 96, 3), np.uint8)
        picture[..., 0] = 255
        for _ in range(33):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    extractor = make_extractor("colours:4")
    extract_to_files([tmp_path / "red.mkv"], tmp_path / "features", model=extractor)
    (video,) = read_manifest(tmp_path / "features" / "videos.csv")
    rows = load_features(video.features[0])
    np.testing.assert_allclose(rows, [[0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0]] * 2)


@pytest.mark.usefixtures("installed")
def test_it_says_what_it_takes() -> None:
    for what in ("0", "many"):
        with pytest.raises(ValueError, match="1 to 256 bins"):
            make_extractor(f"colours:{what}")
    with pytest.raises(ValueError, match="leave both out"):
        make_extractor("colours", precision="bf16")
