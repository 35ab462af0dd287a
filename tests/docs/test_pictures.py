"""The pictures of the pages are those that docs/method/draw.py draws, and say what is true."""

from __future__ import annotations

import math
from types import ModuleType
from xml.etree import ElementTree

import pytest

from ladnet_fast import LANet

from .markdown import ROOT

_FOLDER = ROOT / "docs" / "method"


@pytest.fixture(scope="module")
def draw() -> ModuleType:
    module = ModuleType("draw")
    module.__file__ = str(_FOLDER / "draw.py")
    exec((_FOLDER / "draw.py").read_text(encoding="utf-8"), vars(module))
    return module


@pytest.mark.parametrize("name", ["row-tile.svg", "far-loop.svg", "band.svg"])
def test_a_picture_is_what_its_script_draws(name: str, draw: ModuleType) -> None:
    drawn = draw.PICTURES[name]()
    ElementTree.fromstring(drawn)  # well formed
    assert (_FOLDER / name).read_text(encoding="utf-8") == drawn, "run: python docs/method/draw.py"


def test_the_folder_has_no_other_pictures(draw: ModuleType) -> None:
    assert {path.name for path in _FOLDER.glob("*.svg")} == set(draw.PICTURES)


def test_the_band_is_drawn_for_the_default_prior_and_the_kernels_cut(draw: ModuleType) -> None:
    sigma = LANet(feature_dim=4).attention.prior.sigma
    assert pytest.approx(float(sigma), rel=1e-6) == draw.SIGMA
    source = (ROOT / "kernels/locality_attention/band.py").read_text(encoding="utf-8")
    assert f"CUT = tl.constexpr({draw.CUT:.1f})" in source
    radius = math.isqrt(int(draw.CUT * 2 * draw.SIGMA))
    assert radius**2 / (2 * draw.SIGMA) <= draw.CUT < (radius + 1) ** 2 / (2 * draw.SIGMA)
    assert f"R = {radius}" in (_FOLDER / "band.svg").read_text(encoding="utf-8")
