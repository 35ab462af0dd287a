"""This tree against another revision: real processes, and a small repository of its own."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import cli, compare, registry
from benchmarks.measure import Plan

ONE_ROUND = Plan(seconds=0, min_rounds=1, close_rounds=1, max_rounds=1, sample_seconds=0)
HERE = compare.Tree(compare.ROOT, compare.ROOT)
CASE = registry.find("attention_forward/additive/B1-H1-T200-d128/float32")


def _git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A package of two revisions; its number is what tells them apart."""
    root = tmp_path / "repository"
    (root / "ladnet_fast").mkdir(parents=True)
    setup = "from setuptools import setup; setup(name='ladnet_fast', packages=['ladnet_fast'])"
    (root / "setup.py").write_text(setup)
    _git(root, "init", "-q")
    for number in (1, 2):
        (root / "ladnet_fast" / "__init__.py").write_text(f"NUMBER = {number}\n")
        _git(root, "add", ".")
        _git(root, "commit", "-q", "-m", str(number))
    monkeypatch.setattr(compare, "ROOT", root)
    monkeypatch.setattr(compare, "CACHE", root / "build" / "compare")
    return root


def test_a_revision_is_installed_apart_from_this_tree_and_once(repository):
    tree = compare.install("HEAD~1")
    assert (tree.package / "ladnet_fast" / "__init__.py").read_text() == "NUMBER = 1\n"
    assert (tree.sources / "setup.py").is_file()
    assert (repository / "ladnet_fast" / "__init__.py").read_text() == "NUMBER = 2\n"
    (tree.package / "seen").touch()
    assert compare.install("HEAD~1") == tree
    assert (tree.package / "seen").exists()
    assert [path.name for path in compare.CACHE.iterdir()] == [tree.package.parent.name]


def test_a_revision_that_git_does_not_know_or_that_does_not_build_is_an_error(repository):
    with pytest.raises(compare.CompareError, match="nowhere"):
        compare.install("nowhere")
    (repository / "setup.py").write_text("raise SystemExit('this one does not build')")
    _git(repository, "commit", "-q", "-a", "-m", "broken")
    with pytest.raises(compare.CompareError, match="this one does not build"):
        compare.install("HEAD")
    assert list(compare.CACHE.iterdir()) == []


def test_both_trees_are_timed_side_by_side():
    found = list(compare.compare(HERE, CASE, plan=ONE_ROUND, threads=1, sides=("native", "sdpa")))
    assert [(entry.case, entry.side) for entry in found] == [
        (CASE.key, "native"),
        (CASE.key, "sdpa"),
    ]
    for entry in found:
        assert entry.before > 0
        assert entry.now > 0
        assert entry.times_faster["p50"] == pytest.approx(entry.before / entry.now)


def test_a_side_that_is_not_of_the_case_is_named():
    [line] = compare.compare(HERE, CASE, plan=ONE_ROUND, threads=1, sides=("sdpa_mask",))
    assert line == (
        f"{CASE.key}, sdpa_mask: before: it is not a side of this case; "
        "now: it is not a side of this case"
    )


def test_a_tree_whose_package_is_not_the_one_that_is_imported_is_refused(tmp_path):
    empty = compare.Tree(tmp_path, compare.ROOT)
    with pytest.raises(compare.CompareError, match=f"{tmp_path} was to be measured"):
        list(compare.compare(empty, CASE, plan=ONE_ROUND, threads=1))


def test_a_tree_that_cannot_run_is_refused(tmp_path):
    (tmp_path / "ladnet_fast").mkdir()
    (tmp_path / "ladnet_fast" / "__init__.py").write_text("raise SystemExit(7)\n")
    broken = compare.Tree(tmp_path, compare.ROOT)
    with pytest.raises(compare.CompareError, match="ended with status 7"):
        list(compare.compare(broken, CASE, plan=ONE_ROUND, threads=1))


@pytest.mark.parametrize(("ratio", "code"), [(0.98, 0), (0.96, 1)])
def test_the_command_fails_where_a_side_is_slower_than_allowed(monkeypatch, ratio, code):
    ratios = {"p20": ratio, "p50": ratio, "p80": ratio, "count": 3}
    answer = compare.Comparison(CASE.key, "native", ratio, 1.0, ratios)
    monkeypatch.setattr(compare, "install", lambda revision: HERE)
    monkeypatch.setattr(
        compare,
        "compare",
        lambda tree, case, **options: [dataclasses.replace(answer, case=case.key)],
    )
    result = CliRunner().invoke(cli.app, ["compare", "HEAD", CASE.key, "--slower", "3"])
    assert result.exit_code == code, result.output
    assert f"| {CASE.key} | native | {ratio * 1e3:.4g} | 1000 | {ratio:.3f} |" in result.output
    assert ("slower than allowed" in result.output) == bool(code)
