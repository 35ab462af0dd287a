"""README.md says what is so: its table follows the dispatch, its figures the measurements."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import setuptools.config.pyprojecttoml
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks import results
from benchmarks.front_page import demo_bags, growth, pictures
from ladnet_fast import __version__, _native, ops
from ladnet_fast.ops import _impl, _triton, linear
from ladnet_fast.ops.ddl_loss import cuda

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROSE = " ".join(README.split())

# ---- The table of support ------------------------------------------------------------------------

#: Column of the table -> types of devices that it stands for.
DEVICES = {"CPU": ("cpu",), "NVIDIA GPU from sm_80 on": ("cuda",), "MPS, XPU": ("mps", "xpu")}
DTYPES = {
    "fp32": torch.float32, "fp64": torch.float64, "bf16": torch.bfloat16, "fp16": torch.float16,
}  # fmt: skip


def _attention(x):
    return (x.unsqueeze(0),) * 3  # indexing would ask for the device


def _losses(x):
    scores = x.new_empty(x.shape[:2], dtype=torch.promote_types(x.dtype, torch.float32))
    return (scores, x)


def _head(x):
    return (x, x.new_empty(1, x.shape[-1], 7), x.new_empty(1))


def _norm(x):
    return (x, x, x.new_empty(x.shape[-1]), x.new_empty(x.shape[-1]))


#: Folder of the operator -> its name in the table, and the tensors that choose who serves.
OPERATORS = {
    "locality_attention": ("attention with the prior", _attention),
    "ddl_loss": ("DDL losses", _losses),
    "score_head": ("score head", _head),
    "residual_norm": ("residual and LayerNorm", _norm),
    "linear": ("linear layers", lambda x: (x,)),
}


def _backends(name):
    table = importlib.import_module(f"ladnet_fast.ops.{name}.schema").BACKENDS
    return {impl: module.why_not for impl, module in table.items()}


@pytest.fixture
def everything_built(monkeypatch):
    """A machine that has every compiled module and device: what is left depends on the tensors."""
    monkeypatch.setattr(_native, "cpu_problem", None)
    monkeypatch.setattr(_triton, "INTERPRETED", False)
    monkeypatch.setattr(_triton, "_machine_problem", lambda index: None)
    monkeypatch.setattr(cuda, "_machine_problem", lambda index: None)
    monkeypatch.setattr(linear.rule, "_known", True)
    monkeypatch.setattr(linear.api, "_choice", "auto")
    monkeypatch.setattr(_impl, "_environment", "auto")
    monkeypatch.setattr(_impl, "_warned", {"mps", "xpu"})


def _served(device, choose):
    """Return a cell: who serves which dtypes, in the order in which they come."""
    found: dict[str, list[str]] = {}
    for name, dtype in DTYPES.items():
        with FakeTensorMode():  # tensors of devices that this machine doesn't have
            x = torch.zeros(1, 4096, 128, device=device, dtype=dtype)
            found.setdefault(choose(x), []).append(name)
    if list(found) == ["reference"]:  # what is left where there are no kernels
        return f"`{next(iter(found))}`"
    return ", ".join(f"`{impl}` {' '.join(names)}" for impl, names in found.items())


def _row(title, choose):
    cells = [title]
    for devices in DEVICES.values():
        served = {_served(device, choose) for device in devices}
        assert len(served) == 1, f"{title} differs among {devices}: give them columns of their own"
        cells.append(served.pop())
    return f"| {' | '.join(cells)} |"


def _operator_row(name):
    title, call = OPERATORS[name]
    backends = _backends(name)
    return _row(title, lambda x: _impl.choose(name, "auto", x.device, backends, *call(x)))


@pytest.mark.parametrize("name", OPERATORS)
def test_the_table_says_who_serves_each_device_and_dtype(name, everything_built):
    assert _operator_row(name) in README, f"README.md needs the row\n{_operator_row(name)}"


def test_the_native_linear_layers_serve_by_themselves_on_amd_with_avx512_alone(monkeypatch):
    pays = {}
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for vendor, instructions in itertools.product(
        ("amd", "intel", "other"), ("avx512", "avx2", "baseline")
    ):
        module = SimpleNamespace(
            processor_vendor=lambda vendor=vendor: vendor,
            instruction_set=lambda instructions=instructions: instructions,
        )
        monkeypatch.setattr(_native, "cpu", module)
        pays[vendor, instructions] = linear.native.pays()
    assert [case for case, pay in pays.items() if pay] == [("amd", "avx512")]


def test_the_table_has_every_operator():
    folders = {module.name for module in pkgutil.iter_modules(ops.__path__) if module.ispkg}
    assert folders == {*OPERATORS}
    header = f"| operator | {' | '.join(DEVICES)} |"
    table = README.partition(header)[2].partition("\n\n")[0].strip().splitlines()
    assert len(table) == 1 + len(folders)  # the rule below the header, and a row for each


def test_heads_wider_than_the_readme_says_are_the_references(everything_built):
    widest = int(re.search(r"heads wider than (\d+)", PROSE)[1])
    backends = _backends("locality_attention")
    for device, width in itertools.product(("cpu", "cuda"), (widest, widest + 1)):
        with FakeTensorMode():
            call = _attention(torch.zeros(1, 8, width, device=device))
            chosen = _impl.choose("locality_attention", "auto", call[0].device, backends, *call)
        assert (chosen == "reference") == (width > widest)


# ---- Figures and pictures ------------------------------------------------------------------------


#: A day of video on the machine of the plot.
DAY = growth.FILE.with_name(f"{growth.FILE.stem}-long.json")


def _measured(op, size, value, variant="additive", **shape):
    """Return side -> seconds (the median) or bytes, of one shape of the run that the plot shows."""
    rows = results.read(growth.FILE)["measurements"]
    found = {}
    for row in rows:
        if (row["op"], row["variant"], row["dtype"]) != (op, variant, "float32"):
            continue
        if row["shape"]["T"] == size and shape.items() <= row["shape"].items() and row[value]:
            found[row["side"]] = row[value]["p50"] if value == "seconds" else row[value]
    return found


def test_the_figures_below_the_plot_are_those_of_the_run():
    seconds = _measured(growth.OP, 16_384, "seconds")
    memory = _measured(growth.OP, 16_384, "peak_bytes")
    same = ("compiled", "eager", "sdpa_plus_prior")  # PyTorch's ways to compute the same
    fastest = min((seconds[side], side) for side in same)
    assert fastest[1] == "compiled"
    leanest = min(memory[side] for side in same if side in memory)
    machine = growth.read()["machine"]
    assert machine["threads"] == 2
    assert f"on two threads of an {machine['processor']}" in PROSE
    for sentence in (
        f"16,384 snippets, {16_384 * 16 / 25 / 3600:.1f} hours of video at 25 frames per second, "
        f"take {seconds['native']:.1f} s and {memory['native'] / 1e9:.2f} GB.",
        f"PyTorch takes {fastest[0]:.1f} s at best, with torch.compile, and "
        f"{leanest / 1e9:.1f} GB at least, where that was measured.",
    ):
        assert sentence in PROSE
    [day] = results.read(DAY)["measurements"]
    assert (
        f"the features of 24 hours of video are scored in {day['seconds']['p50']:.0f} s, "
        f"with {day['peak_bytes'] / 1e9:.1f} GB" in PROSE
    )


def test_the_limits_are_those_of_the_run():
    attention = _measured(growth.OP, 200, "seconds", B=1)
    assert attention["native"] > attention["compiled"] > attention["sdpa"]
    step = _measured("training_step", 200, "seconds", variant="default", B=128)
    sentence = (
        "A training step of 128 such bags takes "
        f"{step['native']:.2f} s, with torch.compile {step['compiled']:.2f} s."
    )
    assert sentence in PROSE


def test_the_limits_are_those_of_the_studies():
    study = json.loads(
        (results.FOLDER / "accuracy" / "baselines-hockey.json").read_text(encoding="utf-8")
    )
    auc = {
        row["configuration"]: row["mean"]
        for row in study["rows"]
        if (row["figure"], row["which"]) == ("auc", "last")
    }
    sentence = f"a plain MLP has a frame AUC of {auc['mlp']:.2f}, LA-Net {auc['mil']:.2f}."
    assert sentence in PROSE


def test_the_pictures_are_drawn_from_the_numbers_that_are_kept():
    chosen = demo_bags.read()
    for name, content in (("scores", chosen), ("growth", growth.read())):
        for theme in pictures.THEMES:
            path = pictures.FOLDER / f"{name}-{theme}.svg"
            assert f'"{path.relative_to(ROOT).as_posix()}"' in README
            text = path.read_text(encoding="utf-8")
            assert pictures.source_of(content) in text, (
                f"{path.name} shows other numbers; draw it with: python -m benchmarks front-page"
            )
            assert len(text) < 150_000
    assert f"Of its {chosen['of']} anomalous ones these are the quartiles" in PROSE


# ---- Before a release ----------------------------------------------------------------------------

_LINK = re.compile(r"\]\(([^)]*)\)|(?:src|srcset)=\"([^\"]*)\"")


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """README.md and pyproject.toml as a release has them, and the repository's address there."""
    folder = tmp_path_factory.mktemp("release")
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    address = "https://example.org/someone/some-thing"
    command = [sys.executable, str(ROOT / ".ci" / "addresses"), address, "v1.2.3"]
    subprocess.run(command, cwd=folder, check=True)
    return folder, address


def test_what_pypi_shows_has_no_relative_link(released):
    folder, address = released
    before, after = (
        ["".join(found) for found in _LINK.findall((place / "README.md").read_text("utf-8"))]
        for place in (ROOT, folder)
    )
    assert len(after) == len(before) > 20
    for old, new in zip(before, after, strict=True):
        if old.startswith(("https://", "#")):
            assert new == old
        else:
            kind = "raw" if old.endswith(".svg") else "blob"
            assert new == f"{address}/{kind}/v1.2.3/{old}"
            assert (ROOT / old.partition("#")[0]).exists()


def test_what_pypi_shows_links_to_the_repository(released):
    folder, address = released
    # Read as setuptools reads it, on Pythons without tomllib, too.
    settings = setuptools.config.pyprojecttoml.load_file(folder / "pyproject.toml")
    urls = settings["project"]["urls"]
    assert urls["Source"] == address
    assert {"Documentation", "Issues", "Changelog", "Paper"} <= set(urls)
    assert all(url.startswith(address) for name, url in urls.items() if name != "Paper")


@pytest.mark.parametrize("arguments", [[], ["https://example.org/a/b"], ["OWNER/NAME", "v1"]])
def test_addresses_that_are_none_change_nothing(arguments, tmp_path):
    (tmp_path / "README.md").write_text("[x](y.md)", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "addresses"), *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "usage: .ci/addresses https://" in done.stderr
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "[x](y.md)"


def test_the_version_is_one_everywhere():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", citation, re.M) == [__version__]
    assert re.findall(r"^## \[(\d[^]]*)\]", changes, re.M)[0] == __version__
