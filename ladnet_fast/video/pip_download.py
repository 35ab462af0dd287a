"""Fetching one source archive with the user's own pip, without running anything from it.

pip knows the user's mirrors, proxies, certificates and ``find-links``; a download of our own would
not. But pip asks a source archive for its metadata before it saves it, which runs code of the
archive (and may fetch setuptools to do so). So pip runs under ``_pip_runner.py``: whatever program
it starts in the archive is replaced by one that answers for it. This depends on no search path: no
folder's name, PYTHONPATH or setting of pip leads back to the archive's code.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

from .._files import sha256_of, temporary_folder
from .errors import WeightsError

_RUNNER = Path(__file__).resolve().with_name("_pip_runner.py")
#: Settings of pip in the environment that would make it do something else.
_NOT_PASSED_ON = (
    "PIP_CHECK_BUILD_DEPENDENCIES",
    "PIP_NO_USE_PEP517",
    "PIP_PYTHON",
    "PIP_REQUIREMENT",
    "PYTHONINSPECT",
)


def download_source_archive(
    name: str, version: str, sha256: str, folder: str | os.PathLike[str]
) -> Path:
    """Save the source archive of ``name==version`` in ``folder`` and return its absolute path.

    Parameters
    ----------
    name, version : str
        The package, as a requirements file names it.
    sha256 : str
        The archive's hash in hexadecimal. pip accepts no other file.
    folder : path-like
        An existing folder; pip's temporary files go there as well.

    Raises
    ------
    WeightsError
        If pip is absent or fails; the message ends with what pip said.
    """
    folder = Path(os.path.abspath(folder))
    with temporary_folder(folder) as scratch:
        requirements = scratch / "requirements.txt"
        requirements.write_text(f"{name}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
        environment = {
            **{key: value for key, value in os.environ.items() if key not in _NOT_PASSED_ON},
            "PIP_USE_PEP517": "1",  # older pips would start setup.py, which has no answer
            "_PIP_RUNNING_IN_SUBPROCESS": "1",  # pip's "python" setting starts no other pip
            "TMPDIR": str(scratch),
        }
        command = [sys.executable, str(_RUNNER), str(scratch), name, version]
        command += ["download", "--no-input", "--no-deps", "--require-hashes"]
        command += ["--disable-pip-version-check", "--progress-bar", "off"]
        # Of this one package the source, whatever the user's configuration prefers; where nothing
        # is built there is no need of an isolated build environment.
        command += ["--no-binary", name, "--no-build-isolation"]
        command += ["--requirement", str(requirements), "--dest", str(scratch / "archive")]
        done = subprocess.run(  # noqa: S603 - a list, no shell, and only our own strings in it
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise WeightsError(_explain(name, version, sha256, done.stdout + done.stderr))
        for archive in sorted((scratch / "archive").iterdir()):
            if sha256_of(archive) == sha256:
                return archive.rename(folder / archive.name)
        raise WeightsError(_explain(name, version, sha256, done.stdout + done.stderr))


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
