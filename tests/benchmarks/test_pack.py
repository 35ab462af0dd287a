"""``python -m benchmarks pack`` reads the same bags from the files and from the pack."""

from __future__ import annotations

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from benchmarks.pack import pack
from ladnet_fast.data import read_manifest, write_pack

app = typer.Typer()
app.command()(pack)


@pytest.mark.parametrize("options", [[], ["--cold"]], ids=str)
def test_files_and_pack_are_timed_and_compared(tmp_path, options):
    rows = ["video,features,label"]
    for index in range(4):
        np.save(tmp_path / f"v{index}.npy", np.ones((5 + index, 6), np.float32))
        rows.append(f"v{index},v{index}.npy,{index % 2}")
    manifest, folder = tmp_path / "videos.csv", tmp_path / "packed"
    manifest.write_text("\n".join(rows))
    write_pack(read_manifest(manifest), folder)
    finished = CliRunner().invoke(app, [str(manifest), str(folder), *options])
    assert finished.exit_code == 0, finished.output
    assert finished.output.startswith("4 bags of")
    assert all(word in finished.output for word in ("files: ", "pack: ", "ratio: "))
