"""A browser for the tests of the page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .browser import Page, browser, find_browser


@pytest.fixture(scope="session")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The tab of a real browser, without a window; one for all tests."""
    program = find_browser()
    if program is None or os.name != "posix":
        reason = (
            "no Chromium or Chrome is on PATH (Debian: apt-get install chromium; or name it in "
            "LADNET_BROWSER), and the page is tested in a real one"
        )
        if os.environ.get("CI") or os.environ.get("LADNET_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    with browser(program, tmp_path_factory.mktemp("profile")) as page:
        yield page


def write_clip(path: Path, frames: int = 150, codec: str = "libvpx") -> Path:
    """Write a video at 25 frames per second whose picture gets brighter from frame to frame."""
    av = pytest.importorskip("av")
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 72, "yuv420p"
        if codec == "libvpx":
            stream.options = {"deadline": "realtime", "cpu-used": "8"}
        for i in range(frames):
            image = np.full((72, 128, 3), 40 + i % 200, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path
