"""What the demo may replace, and what a killed demo leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ladnet_fast.demo import DemoError, DemoOptions, run_demo
from ladnet_fast.demo.output import CONTENTS, list_contents, replacing, require_replaceable

MARKS = ("report.html",)


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A folder of results of this package."""
    folder = tmp_path / "parent" / "out"
    with replacing(folder, marks=MARKS) as work:
        (work / "plots").mkdir()
        for name in ("report.html", "plots/a.png"):
            (work / name).write_text(name)
    return folder


def _edit(folder: Path) -> None:
    (folder / "report.html").write_text("report.htmL")


def _longer(folder: Path) -> None:
    with (folder / "report.html").open("a") as file:
        file.write("<!-- mine -->")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda folder: (folder / "thesis.tex").touch(), "thesis.tex"),
        (lambda folder: (folder / "plots" / "mine.png").touch(), "plots/mine.png"),
        (lambda folder: (folder / "plots" / "link").symlink_to("/"), "plots/link"),
        (lambda folder: os.mkfifo(folder / "pipe"), "pipe"),
        (_edit, "report.html"),
        (_longer, "report.html"),
    ],
    ids=["file", "nested file", "link", "pipe", "edited", "longer"],
)
def test_a_file_of_the_user_among_the_results_is_kept(
    earlier: Path, change: Callable[[Path], None], name: str
) -> None:
    change(earlier)
    with pytest.raises(DemoError, match=f"did not write, or that were changed since: {name}"):
        require_replaceable(earlier, marks=MARKS)


def test_a_file_that_comes_while_the_new_results_are_made_is_kept(earlier: Path) -> None:
    with pytest.raises(DemoError, match=r"notes\.txt"), replacing(earlier, marks=MARKS):
        (earlier / "notes.txt").write_text("mine")
    assert (earlier / "notes.txt").read_text() == "mine"
    assert (earlier / "report.html").read_text() == "report.html"
    assert list(earlier.parent.iterdir()) == [earlier]


def test_a_copied_folder_is_still_ours(earlier: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(earlier, copy, copy_function=shutil.copyfile)  # with other times
    require_replaceable(copy, marks=MARKS)


def test_what_other_commands_keep_beside_their_files_is_no_obstacle(earlier: Path) -> None:
    (earlier / "plots" / ".ladnet").mkdir()
    (earlier / "plots" / ".ladnet" / "manifest.lock").touch()
    require_replaceable(earlier, marks=MARKS)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"report.html": 1}', '{"report.html": [1, "x"]}'])
def test_a_damaged_list_of_files_is_one_sentence(earlier: Path, text: str) -> None:
    (earlier / CONTENTS).write_text(text)
    with pytest.raises(DemoError, match=r"demo\.json.* is damaged"):
        require_replaceable(earlier, marks=MARKS)


def test_a_demo_without_a_list_of_its_files_is_not_replaced(earlier: Path) -> None:
    (earlier / CONTENTS).unlink()
    with pytest.raises(DemoError, match=r"without .*demo\.json, the list of its files"):
        require_replaceable(earlier, marks=MARKS)


def test_results_go_where_a_link_points(earlier: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(earlier)
    with replacing(link, marks=MARKS) as work:
        (work / "report.html").write_text("new")
    assert link.is_symlink()
    assert (earlier / "report.html").read_text() == "new"


# ---- inputs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["itself", "linked folder", "link in it", "link to it", "dots"])
def test_a_video_in_the_folder_for_results_is_never_deleted(
    videos: list[Path], tmp_path: Path, way: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    named = given = out
    if way == "linked folder":
        named = tmp_path / "other-name"
        named.symlink_to(out)
    elif way == "dots":
        named = tmp_path / "x" / ".." / "out" / "."
        (tmp_path / "x").mkdir()
    inside = out / videos[1].name
    if way == "link in it":
        inside.symlink_to(videos[1])
        videos[1] = inside
    else:
        videos[1] = videos[1].rename(inside)
    if way == "link to it":
        link = tmp_path / "link.mkv"
        link.symlink_to(inside)
        videos[1] = link
    given = out if named == out else named
    before = inside.read_bytes()
    with pytest.raises(DemoError, match=r"the video .* lies in .*another folder with --out"):
        run_demo(given, videos, cache_dir=tmp_path / "cache")
    assert inside.read_bytes() == before


@pytest.mark.parametrize("cache", ["out", "out/cache", "out/../out", "link/cache"])
def test_a_cache_in_the_folder_for_results_is_refused(
    videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for given in ({"cache_dir": cache}, {}):
        monkeypatch.setenv("LADNET_CACHE", cache)
        with pytest.raises(DemoError, match=r"the cache .* lies in .*another folder with --out"):
            run_demo("out", videos, **given)
    assert list((tmp_path / "out").iterdir()) == []


# ---- kills --------------------------------------------------------------------------------------

WAITING = """
import json, sys, time
import numpy as np
from ladnet_fast.demo import DemoOptions, DemoProgress, run_demo

class Zeros:
    identity = "zeros"
    def __call__(self, frames):
        return np.zeros((len(frames) // 16, 6), np.float32)

class Waiting(DemoProgress):
    def training(self, number, total, name):
        print("training", flush=True)
        time.sleep(600)

out, cache, options, *videos = sys.argv[1:]
run_demo(out, videos, options=DemoOptions(**json.loads(options)), extractor=Zeros(),
         cache_dir=cache, progress=Waiting())
"""


def test_what_a_killed_demo_left_is_gone_after_the_next(
    videos: list[Path], tmp_path: Path, make_extractor, tiny: DemoOptions
) -> None:
    parent = tmp_path / "parent"
    tiny = replace(tiny, fades=0, disturbances=0, foreign_disturbances=0)
    arguments = [str(parent / "out"), str(tmp_path / "cache"), json.dumps(asdict(tiny))]
    child = subprocess.Popen(
        [sys.executable, "-c", WAITING, *arguments, *map(str, videos)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    with child:
        assert child.stdout.readline() == "training\n"
        child.kill()
    assert child.returncode == -signal.SIGKILL
    (left,) = parent.iterdir()
    assert left.name.startswith(".ladnet-")
    assert list(left.rglob("*.npy"))
    run_demo(
        parent / "out", videos, options=tiny, extractor=make_extractor(), cache_dir=tmp_path / "c2"
    )
    assert [path.name for path in parent.iterdir()] == ["out"]


BETWEEN = """
import os, signal, sys
from pathlib import Path
from ladnet_fast.demo.output import replacing

renames = []
def rename(self, target, original=Path.rename):
    renames.append(target)
    if len(renames) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, target)
Path.rename = rename

with replacing(Path(sys.argv[1]), marks=("report.html",)) as work:
    (work / "report.html").write_text("new")
"""


@pytest.mark.parametrize(("moment", "found"), [(1, "report.html"), (2, "new")])
def test_a_kill_while_folders_are_exchanged_loses_neither(
    earlier: Path, moment: int, found: str
) -> None:
    """At the first rename the earlier results are in place; at the second one, nothing is."""
    command = [sys.executable, "-c", BETWEEN, str(earlier), str(moment)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert earlier.exists() == (moment == 1)
    with pytest.raises(KeyboardInterrupt), replacing(earlier, marks=MARKS):
        raise KeyboardInterrupt
    assert (earlier / "report.html").read_text() == found
    assert list(earlier.parent.iterdir()) == [earlier]


def test_the_list_names_every_file(earlier: Path) -> None:
    before = (earlier / CONTENTS).read_text()
    assert set(json.loads(before)) == {"report.html", "plots/a.png"}
    list_contents(earlier)
    assert (earlier / CONTENTS).read_text() == before
