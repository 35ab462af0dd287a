"""Fetching one source archive with the user's own pip, without running anything from it.

pip knows the user's mirrors, proxies, certificates and ``find-links``; a download of our own would
not. But pip asks a source archive for its metadata before it saves it, which runs the archive's
``setup.py`` (and may fetch setuptools to do so). So pip gets a stub in place of setuptools, which
answers for the archive: its code never runs, and nothing else is downloaded.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ladnet_fast.video.errors import WeightsError

_STUB = '''\
"""Answers pip's question for a source archive's name and version."""

import pathlib
import sys

__legacy__ = sys.modules[__name__]  # pip's backend for archives without pyproject.toml


def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = pathlib.Path(folder, "{stem}.dist-info")
    info.mkdir()
    info.joinpath("METADATA").write_text(
        "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n"
    )
    info.joinpath("WHEEL").write_text(
        "Wheel-Version: 1.0\\nGenerator: stub\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    )
    return info.name
'''


def download_source_archive(name: str, version: str, sha256: str, folder: Path) -> Path:
    """Save the source archive of ``name==version`` in ``folder`` and return its path.

    Parameters
    ----------
    name, version : str
        The package, as a requirements file names it.
    sha256 : str
        The archive's hash in hexadecimal. pip accepts no other file.
    folder : Path
        An existing folder; pip's temporary files go there as well.

    Raises
    ------
    WeightsError
        If pip is absent or fails; the message ends with what pip said.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="pip-") as scratch:
        work = Path(scratch)
        requirements = work / "requirements.txt"
        requirements.write_text(f"{name}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
        backend = work / "stub" / "setuptools" / "build_meta.py"
        backend.parent.mkdir(parents=True)
        backend.with_name("__init__.py").touch()
        stem = f"{name.replace('-', '_')}-{version}"
        backend.write_text(_STUB.format(stem=stem, name=name, version=version), encoding="utf-8")
        environment = {
            **os.environ,
            "PIP_USE_PEP517": "1",  # older pips would call setup.py themselves
            "PYTHONPATH": os.pathsep.join(
                [str(work / "stub"), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
            "TMPDIR": scratch,
        }
        command = [sys.executable, "-m", "pip", "download", "--no-input", "--no-deps"]
        command += ["--disable-pip-version-check", "--progress-bar", "off", "--require-hashes"]
        # Of this one package the source, whatever the user's configuration prefers; with the
        # stub importable there is no need of an isolated build environment.
        command += ["--no-binary", name, "--no-build-isolation"]
        command += ["--requirement", str(requirements), "--dest", str(work / "archive")]
        done = subprocess.run(  # noqa: S603 - a list, no shell, and only our own strings in it
            command, env=environment, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode:
            raise WeightsError(_explain(name, version, sha256, done.stdout + done.stderr))
        (archive,) = (work / "archive").iterdir()
        return archive.rename(folder / archive.name)


def _explain(name: str, version: str, sha256: str, output: str) -> str:
    if "No module named pip" in output:
        return (
            f"pip is needed to fetch {name}=={version} and this Python has none ({sys.executable});"
            " install it with: python -m ensurepip"
        )
    said = "\n".join(f"  {line}" for line in output.strip().splitlines()[-12:])
    if "DO NOT MATCH THE HASHES" in output:
        problem = f"pip found {name}=={version} with another content than sha256 {sha256}"
        remedy = "the index or mirror in pip's configuration serves a changed file: use another"
    elif os.strerror(errno.ENOSPC) in output:
        problem = f"the disk was full while pip fetched {name}=={version}"
        remedy = "free about 200 MB there, or name another folder in LADNET_CACHE"
    else:
        problem = f"pip could not fetch {name}=={version}"
        remedy = (
            f"check the network and pip's configuration (pip config list); without a network, get "
            f"{name.replace('-', '_')}-{version}.tar.gz elsewhere and set PIP_FIND_LINKS to its "
            "folder and PIP_NO_INDEX=1"
        )
    return f"{problem}; {remedy}. pip said:\n{said}"
