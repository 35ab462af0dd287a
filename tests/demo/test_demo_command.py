from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ladnet_fast.cli.app import app

runner = CliRunner()


@pytest.mark.parametrize(
    ("count", "message"),
    [(2, "videos must be at least 3"), (3, "has 40 frames, but as background")],
)
def test_unsuitable_videos_give_one_message_and_status_1(
    write_video, tmp_path: Path, count: int, message: str
) -> None:
    arguments = ["demo", "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    for index in range(count):
        video = write_video(f"v{index}.mkv", (index, 0, 0), frames=40)
        arguments += ["--video", str(video)]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_help_shows_an_example() -> None:
    result = runner.invoke(app, ["demo", "--help"], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    assert "ladnet-fast demo --video" in result.output
    assert "no benchmark" in result.output
