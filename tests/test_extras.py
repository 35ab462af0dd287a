"""A missing package is named together with the extra that brings it."""

from __future__ import annotations

import shlex
import sys
from importlib import metadata

import pytest

from ladnet_fast._extras import MissingExtraError, import_extra, require_extra, requirement


def test_an_installed_package_is_returned():
    assert import_extra("json.decoder", extra="tools", purpose="test").JSONDecoder


def test_a_missing_package_names_its_extra_and_purpose():
    with pytest.raises(
        MissingExtraError,
        match=r"absent_package is needed to plot .*pip install 'ladnet-fast\[tools\]'",
    ):
        import_extra("absent_package.part", extra="tools", purpose="plot")


def test_what_is_asked_for_is_found_without_an_import(monkeypatch):
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    require_extra("wave", extra="tools", purpose="test")
    assert "wave" not in sys.modules


@pytest.mark.parametrize("blocked", [False, True])
def test_what_is_absent_is_named_as_an_import_names_it(blocked, monkeypatch):
    if blocked:
        monkeypatch.setitem(sys.modules, "absent_package", None)
    errors = []
    for ask in (import_extra, require_extra):
        with pytest.raises(MissingExtraError) as caught:
            ask("absent_package", extra="tools", purpose="plot")
        errors.append((str(caught.value), caught.value.name))
    assert errors[0] == errors[1]


def test_an_error_inside_an_installed_package_is_not_blamed_on_the_extra(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import another_absent_package")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="another_absent_package") as caught:
        import_extra("broken_package", extra="tools", purpose="plot")
    assert not isinstance(caught.value, MissingExtraError)


@pytest.mark.parametrize(
    ("top", "extra", "name"),
    [
        ("yaml", "tools", "pyyaml"),
        ("sklearn", "tools", "scikit-learn"),
        ("av", "video", "av"),
        ("h5py", "tools", "h5py"),
    ],
)
def test_the_remedy_names_the_package_as_pip_knows_it(top: str, extra: str, name: str) -> None:
    """It works before this package is on any index, too."""
    (wanted,) = shlex.split(requirement(top, extra))
    assert wanted.lower().startswith(f"{name}>=")
    assert name in (line.split(">")[0].lower() for line in metadata.requires("ladnet-fast") or [])
