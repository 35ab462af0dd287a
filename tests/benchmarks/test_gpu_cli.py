"""The command line of the GPU's benchmarks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import build, cli, device
from benchmarks.gpu import run as gpu_run
from benchmarks.gpu.outcome import Outcome
from benchmarks.gpu.parts import STEPS

ROOT = Path(__file__).parents[2]
#: ``python -m benchmarks.gpu`` with less work for Triton's interpreter.
QUICKER = (
    "import runpy; from tests.kernels.interpreter import speed_up; speed_up();"
    "runpy.run_module('benchmarks.gpu', run_name='__main__', alter_sys=True)"
)
#: A plain checkout on a machine with a GPU has these packages: ours; torch, Triton, numpy and
#: pytest, and what these require. Others are not found.
BARE = """
import importlib.machinery, sys

THERE = {
    "benchmarks", "tests", "ladnet_fast", "numpy", "triton",
    "torch", "torchgen", "functorch", "filelock", "fsspec", "jinja2", "markupsafe", "mpmath",
    "networkx", "sympy", "typing_extensions",
    "pytest", "_pytest", "py", "iniconfig", "packaging", "pluggy", "pygments",
}

find_spec = importlib.machinery.PathFinder.find_spec

def find_known(cls, name, path=None, target=None):
    top = name.partition(".")[0]
    known = top in THERE or top in sys.stdlib_module_names or top.startswith("_sysconfigdata")
    return find_spec(name, path, target) if known else None

importlib.machinery.PathFinder.find_spec = classmethod(find_known)
"""


@pytest.fixture
def invoke(monkeypatch, tmp_path, capsys):
    """The command without a GPU; returns its status and all that it printed."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("TRITON_INTERPRET", "1")

    def call(*arguments):
        try:
            status = cli.main([*arguments, "--output", str(tmp_path)])
        except SystemExit as end:
            status = end.code
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return call


def test_without_a_gpu_it_says_so_in_a_line_and_is_content(invoke, tmp_path):
    said = "No GPU: torch.cuda.is_available() is False, so there is nothing to measure.\n"
    assert invoke() == (0, said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "graphs", "--only", "tea"), "invalid choice: 'tea'"),
        (("--device", "cpu"), "together with --tiny"),
        (("--device", "abacus"), "must be a torch device; got 'abacus'"),
        (("--tiny", "--device", "cpu", "nonsense"), "no case matches nonsense"),
        (("--minutes", "0"), "must be a number of minutes above 0; got '0'"),
        (("--minutes", "soon"), "must be a number of minutes above 0; got 'soon'"),
    ],
)
def test_bad_arguments_are_named(invoke, arguments, message):
    status, said = invoke(*arguments)
    assert status == 2
    assert message in said


@pytest.mark.parametrize(("name", "index"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_a_device_is_chosen_with_and_without_an_index(two_gpus, name, index):
    assert cli._device(name, False) == torch.device("cuda", index)
    assert two_gpus == [index]


def test_without_an_index_the_current_device_stays(two_gpus):
    two_gpus[:] = [1]
    assert cli._device("cuda", False) == torch.device("cuda", 1)


def test_a_device_that_is_not_there_is_answered_with_those_that_are(two_gpus, capsys):
    with pytest.raises(SystemExit):
        cli._device("cuda:99", False)
    assert "one of cuda:0, cuda:1; got 'cuda:99'" in capsys.readouterr().err


def test_checks_without_pytest_say_how_to_get_it(invoke, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, said = invoke("--tiny", "--device", "cpu", "--only", "memory")
    assert status == 2
    assert "memory need pytest, which is not installed; install it with: pip install pytest" in said


@pytest.mark.parametrize(
    ("how", "status"),
    [
        (KeyboardInterrupt, KeyboardInterrupt),
        (signal.SIGTERM, 128 + signal.SIGTERM),
    ],
    ids=["interrupted", "terminated"],
)
def test_a_command_that_is_cut_off_leaves_its_report(invoke, monkeypatch, tmp_path, how, status):
    def cut_off(device, sizes, left):
        yield Outcome("memory", "first", "ok", "what was found before")
        if how is KeyboardInterrupt:
            raise KeyboardInterrupt
        os.kill(os.getpid(), how)

    def graphs(device, sizes, left):
        return (Outcome("graphs", name, "unavailable", "no GPU") for name in ("a", "b"))

    monkeypatch.setitem(gpu_run._CHECKS, "graphs", graphs)
    monkeypatch.setitem(gpu_run._CHECKS, "memory", cut_off)
    arguments = ("--tiny", "--device", "cpu", "--only", "memory", "--only", "graphs")
    if how is KeyboardInterrupt:
        with pytest.raises(status):
            invoke(*arguments)
    else:
        assert invoke(*arguments)[0] == status
    (page,) = tmp_path.glob("*.md")
    assert "**This report is incomplete: the run was broken off" in page.read_text()
    assert "what was found before" in page.read_text()
    (data,) = tmp_path.glob("*.json")
    assert len(json.loads(data.read_text())["checks"]) == 3  # two of graphs, one of memory
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_the_interpreter_has_to_be_asked_for(invoke, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET")
    status, said = invoke("--tiny", "--device", "cpu")
    assert status == 2
    assert "TRITON_INTERPRET=1" in said


def test_the_cases_are_listed_without_a_gpu(invoke):
    status, said = invoke("--list", "score_head_forward/")
    assert status == 0
    assert said.count("score_head_forward/") == len(said.splitlines()) > 1
    assert said.count("\n") < invoke("--list", "--full", "score_head_forward/")[1].count("\n")


@pytest.fixture
def no_work(monkeypatch):
    """Runs that find one check; returns what they were given."""
    given = []

    def run(place, sizes, cases, steps, command, progress, save, *, deadlines, before):
        given.append((sizes.name, steps, command, deadlines.seconds, list(before)))
        check = Outcome("graphs", "ddl_loss", no_work.status, "what was found")
        return {
            "command": command,
            "date": "2022-07-18",
            "size": sizes.name,
            "machine": device.describe(torch.device("cpu")),
            "incomplete": "",
            "device_failed": "",
            "parts": [],
            "ceilings": [],
            "predictions": [],
            "checks": [check.as_dict()],
            "measurements": [],
        }

    no_work = type("NoWork", (), {"given": given, "status": "ok"})
    monkeypatch.setattr(gpu_run, "run", run)
    return no_work


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("failed", 1), ("unavailable", 0)])
def test_a_failed_check_is_the_exit_status(invoke, no_work, tmp_path, status, code):
    no_work.status = status
    found, said = invoke("--tiny", "--device", "cpu", "--only", "graphs")
    assert found == code
    assert ("FAILED: graphs: ddl_loss: what was found" in said) == (code == 1)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".csv", ".md"}


@pytest.mark.parametrize(
    ("arguments", "sizes", "seconds"),
    [
        ((), "quick", 600),
        (("--full",), "full", None),
        (("--full", "--minutes", "40"), "full", 2400),
        (("--minutes", "2.5"), "quick", 150),
    ],
)
def test_a_run_takes_ten_minutes_unless_told_otherwise(
    invoke, no_work, monkeypatch, arguments, sizes, seconds
):
    monkeypatch.setattr(cli, "_device", lambda *_: torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda place: (9, 0))
    monkeypatch.delitem(sys.modules, "ladnet_fast._native")
    built = Outcome("build", build.NAME, "ok", "for sm_90")
    asked = []
    monkeypatch.setattr(build, "build", lambda *given: asked.append(given) or built)
    status, said = invoke(*arguments)
    assert status == 0, said
    ((name, steps, command, limit, before),) = no_work.given
    assert (name, steps, limit, before) == (sizes, STEPS, seconds, [built])
    assert command.startswith("python -m benchmarks.gpu")
    ((architecture, left),) = asked
    assert architecture == 90
    assert left > 0


@pytest.mark.slow
def test_the_whole_command_runs_from_a_bare_checkout(tmp_path):
    pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")
    (tmp_path / "sitecustomize.py").write_text(BARE)
    patterns = ["score_head", "attention_forward/additive", "ddl_forward/"]
    # Repeated calls take minutes in the interpreter; test_gpu_outcomes has them on the reference.
    parts = [part for part in STEPS if part != "determinism"]
    only = [word for part in parts for word in ("--only", part)]
    run = subprocess.run(
        [sys.executable, "-c", QUICKER, "--tiny", "--device", "cpu",
         "--output", str(tmp_path / "report"), *only, *patterns],
        env={
            **os.environ,
            "TRITON_INTERPRET": "1",
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-5000:]
    (path,) = (tmp_path / "report").glob("*.json")
    found = json.loads(path.read_text())
    assert found["incomplete"] == ""
    assert [part["part"] for part in found["parts"]] == parts
    # Our Triton kernels were checked, and then timed beside their peers.
    statuses = {(row["op"], row["side"]): row["status"] for row in found["measurements"]}
    for op in ("attention_forward", "score_head_forward", "score_head_forward_backward"):
        assert statuses[op, "triton"] == "ok"
        assert statuses[op, "eager"] == "ok"
    checked = [c for c in found["checks"] if c["step"] == "correctness"]
    triton = [c for c in checked if c["name"].startswith(("locality", "score"))]
    assert {c["status"] for c in triton} == {"ok"}
    assert len(triton) > 10
    said = {c["step"]: (c["status"], c["detail"]) for c in found["checks"]}
    assert said["compile"][0] == "ok"
    assert said["compile"][1].startswith("2 of 2 calls in ")
    assert said["build"][0] == said["sanitizer"][0] == "unavailable"
    (page,) = (tmp_path / "report").glob("*.md")
    assert "No plots: matplotlib is not installed" in page.read_text()
