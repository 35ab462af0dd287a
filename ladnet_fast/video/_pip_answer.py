"""Answers pip's questions for a source archive. A script: ``_pip_runner.py`` starts it.

    python -I -S _pip_answer.py NAME VERSION PYTHON SCRIPT HOOK FOLDER

The last four are what pip would have started: its script that calls a hook of the archive's build
backend (PEP 517), with its arguments in FOLDER/input.json and the result in FOLDER/output.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    """Answer a hook that asks what is known; end with an error for any other."""
    name, version, *command = sys.argv[1:]
    hook, folder = command[-2:] if len(command) == 4 else ("", "")
    if hook == "get_requires_for_build_wheel":
        result: object = []
    elif hook == "prepare_metadata_for_build_wheel":
        asked = json.loads(Path(folder, "input.json").read_text(encoding="utf-8"))
        info = f"{name.replace('-', '_')}-{version}.dist-info"
        _write_metadata(Path(asked["kwargs"]["metadata_directory"], info), name, version)
        result = info
    else:
        sys.exit(f"only the archive's name and version are known; pip wanted to run {command}")
    output = json.dumps({"unsupported": False, "return_val": result})
    Path(folder, "output.json").write_text(output, encoding="utf-8")


def _write_metadata(info: Path, name: str, version: str) -> None:
    info.mkdir()
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    info.joinpath("METADATA").write_text(text, encoding="utf-8")
    text = "Wheel-Version: 1.0\nGenerator: stub\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    info.joinpath("WHEEL").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
