"""Every block of code of README.md and docs/*.md runs, or says in a comment above it why not:

    <!-- not run: needs a camera -->

What is not run is read all the same: options, modules, imports and names have to exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from ladnet_fast.engine import Config
from ladnet_fast.video import I3D

from ..pixels import Pixels
from . import given, world
from .markdown import PAGES, Block, blocks
from .runner import run_or_read

#: Pages that a command writes, and what their blocks are: what made the figures.
GENERATED = {
    "docs/accuracy.md": "studies of hours",
    "docs/performance.md": "timings of hours",
    "docs/gpu-resources.md": "compiles for every GPU",
}
#: Shortens every training, the only thing that is changed in what a page says.
SHORT = ("training.epochs=2", "training.device=cpu", "model.hidden_dim=8", "model.mlp_dims=[16, 8]")


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    world.make(folder)
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in; and in I3D's place a network whose weights nobody has to fetch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("LADNET_CACHE", str(tmp_path / ".cache"))
    untrained = staticmethod(lambda *_, **__: Pixels().eval())
    monkeypatch.setattr("ladnet_fast.video.extraction._pretrained", untrained)
    monkeypatch.setattr(I3D, "from_pretrained", untrained)
    override = Config.override

    def and_short(config: Config, given: Sequence[str], **sections: Any) -> Config:
        return override(override(config, given, **sections), SHORT)

    monkeypatch.setattr(Config, "override", and_short)
    torch.set_num_threads(1)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_every_block_runs_or_says_why_not(page: str, place: Path, small_world: Path) -> None:
    world.copy(small_world, place, page)
    names = given.names(page)
    for block in blocks(page):
        run_or_read(block, GENERATED.get(page) or block.reason, names, place)


def _blocks(text: str) -> list[Block]:
    return blocks("docs/made-up.md", text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("```sh\npip install .\n```", "say why"),
        ("```sh\nladnet-fast trian x.csv\n```", "trian"),
        ("<!-- not run: x -->\n```sh\nladnet-fast train x.csv --epoch 3\n```", "--epoch"),
        ("<!-- not run: x -->\n```console\n$ ladnet-fast score\n```", "Missing"),
        ("<!-- not run: x -->\n```sh\ntorchrun -m ladnet_fast.cli train\n```", "Missing"),
        ("<!-- not run: x -->\n```sh\nfor i in 1; do ladnet-fast no; done\n```", "No such command"),
        ("<!-- not run: x -->\n```sh\nmake tset\n```", "tset"),
        ("<!-- not run: x -->\n```sh\npip install '.[toolz]'\n```", "toolz"),
        ("<!-- not run: x -->\n```sh\npython -m benchmarks run --quik\n```", "--quik"),
        ("<!-- not run: x -->\n```sh\npytest tests/nowhere\n```", "nowhere"),
        ("<!-- not run: x -->\n```sh\nsomething-else\n```", "something-else"),
        ("<!-- not run: x -->\n```sh\nladnet-fast train 'x\n```", "unexpected EOF"),
        ("    ladnet-fast train x.csv --epoch 3", "--epoch"),
        ("<!-- not run: x -->\n```python\nfrom ladnet_fast import Nothing\n```", "Nothing"),
        ("```json\n{'a': 1}\n```", "no json"),
        ("```yaml\ntraining: {epoch: 1}\n```", "epoch"),
        ("```csv\na,b\n1\n```", "longer or shorter"),
        ("```csv\nvideo,features,lable\na,b,1\n```", "lable"),
        ("```toml\n[a\n```", "no toml"),
        ("```rust\nfn main() {}\n```", "say why"),
        ("<!-- not run: -->\n```sh\npip install .\n```", "say why"),
        ("<!-- not run: far away -->\n\nwords\n\n```sh\npip install .\n```", "say why"),
    ],
)
def test_a_block_that_would_mislead_is_found(text: str, told: str, place: Path) -> None:
    (block,) = _blocks(text)
    with pytest.raises(AssertionError, match=told):
        run_or_read(block, block.reason, {}, place)


def test_python_that_fails_tells_its_line(place: Path) -> None:
    (block,) = _blocks("words\n\n```python\nx = 1\nassert x == 2\n```")
    with pytest.raises(AssertionError) as failure:
        run_or_read(block, None, {}, place)
    assert failure.traceback[-1].lineno + 1 == 5


def test_blocks_of_a_page_share_their_names(place: Path) -> None:
    names: dict[str, object] = {}
    for block in _blocks("```python\nx = 1\n```\n\n```python\ny = x + 1\n```"):
        run_or_read(block, None, names, place)
    assert names["y"] == 2


def test_output_behind_a_prompt_is_no_command(place: Path) -> None:
    (block,) = _blocks("```console\n$ ladnet-fast --version\nladnet-fast 0.0.0\n```")
    run_or_read(block, None, {}, place)
