"""Which part of the videos a process does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import Result

from ladnet_fast._launchers import LauncherError, launched_position
from ladnet_fast._locks import folder_lock
from ladnet_fast._outputs import OutputError
from ladnet_fast.cli._shards import Shard, chosen_shard, own_device
from ladnet_fast.engine import write_run_info
from ladnet_fast.engine.run_info import LOCK, check_run_info

Run = Callable[..., Result]
VARIABLES = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    *("PMI_SIZE", "PMI_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
)


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("videos", [0, 1, 5, 36])
def test_each_video_is_in_exactly_one_part(count: int, videos: int) -> None:
    names = [f"cams/v{n} \udcff" for n in range(videos)]
    parts = [Shard(index, count).names(reversed(names)) for index in range(count)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    sizes = {len(part) for part in parts}
    assert max(sizes) - min(sizes) <= 1
    assert parts[0] == Shard(0, count).names(names)  # whatever the order


def test_neighbours_do_not_come_to_one_part() -> None:
    names = [f"cam{n:02d}-{time}" for n in range(50) for time in ("day", "night")]
    days = sum(name.endswith("day") for name in Shard(0, 2).names(names))
    assert 15 < days < 35


@pytest.mark.parametrize(
    ("text", "shard"), [("1/1", Shard()), ("1/4", Shard(0, 4)), (" 4/4 ", Shard(3, 4))]
)
def test_parts_are_counted_from_one(text: str, shard: Shard) -> None:
    assert chosen_shard(text) == shard
    assert str(shard) == text.strip()


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4", "1/4/2", "", "1.0/2"])
def test_another_shard_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="I from 1 to N, such as 1/4"):
        chosen_shard(text)


@pytest.mark.parametrize(
    ("size", "rank"),
    [
        ("WORLD_SIZE", "RANK"),
        ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
        ("PMI_SIZE", "PMI_RANK"),
        ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
    ],
)
def test_a_launcher_is_followed(monkeypatch: pytest.MonkeyPatch, size: str, rank: str) -> None:
    assert launched_position() == (0, 1)
    monkeypatch.setenv(size, "4")
    monkeypatch.setenv(rank, "2")
    assert chosen_shard(None) == Shard(2, 4)
    assert chosen_shard("3/5") == Shard(10, 20)  # jobs of an array, each with four processes
    for wrong in ("4", "-1", "x", ""):
        monkeypatch.setenv(rank, wrong)
        with pytest.raises(LauncherError, match=rank):
            launched_position()


def test_parts_of_parts_are_all() -> None:
    seen = [((i - 1) * 3 + rank, 12) for i in (1, 2, 3, 4) for rank in range(3)]
    assert sorted(seen) == [(n, 12) for n in range(12)]


def test_a_processor_is_no_graphics_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device("cpu") == "cpu"
    assert own_device("cuda:3") == "cuda:3"
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert own_device("cuda") == "cuda:1"


def test_parts_of_a_list_add_up_and_the_report_comes_last(
    run: Run, manifest: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "s"
    call = ("score", manifest, "--model", trained, "--out", out, "--device", "cpu", "--no-plots")
    refused = run(*call, "--report", "--shard", "1/3")
    assert refused.exit_code == 2
    assert "need all videos" in refused.stderr
    assert not out.exists()
    for number in (3, 1, 2):
        result = run(*call, "--shard", f"{number}/3")
        assert result.exit_code == 0, result.output
        size = 2 if number == 3 else 3
        assert f"part {number}/3: {size} of 8 videos: {size} done, 0 were there" in result.output
    assert len(list(out.glob("*.npy"))) == 8
    last = run(*call, "--report", "--intervals", "csv")
    assert last.exit_code == 0, last.output
    assert "8 of 8 videos were there" in last.output
    assert (out / "report.html").is_file()


def test_more_processes_than_videos_is_no_error(
    run: Run, manifest: Path, trained: Path, tmp_path: Path
) -> None:
    call = ("score", manifest, "--model", trained, "--out", tmp_path / "s", "--no-plots")
    results = [run(*call, "--shard", f"{n}/11") for n in (1, 11)]
    assert [result.exit_code for result in results] == [0, 0]
    assert "part 11/11: 0 of 8 videos: 0 done" in results[1].output
    assert len(np.load(next((tmp_path / "s").glob("*.npy")))) == 10


def test_a_run_json_that_another_process_is_writing_is_waited_for(tmp_path: Path) -> None:
    write_run_info(tmp_path, command=["one"])
    path = tmp_path / "run.json"
    whole = path.read_bytes()
    with ThreadPoolExecutor(1) as pool:
        with folder_lock(tmp_path, LOCK):
            path.write_text("{}")  # as its record doesn't know it: between two writes
            checking = pool.submit(check_run_info, tmp_path, [])
            with pytest.raises(TimeoutError):
                checking.result(0.2)
            path.write_bytes(whole)
        checking.result(60)
    path.write_text("{}")
    with pytest.raises(OutputError, match="did not write it, or somebody has changed it since"):
        check_run_info(tmp_path, [])
