"""Timing, the order of steps, and the report of a GPU, without one."""

from __future__ import annotations

import copy
import dataclasses
import json
import math

import pytest
import torch

from benchmarks import peers, registry
from benchmarks.ceilings import Ceiling
from benchmarks.gpu import clock, device, report, run, speed, table
from benchmarks.gpu.ceilings import COPY, measure_ceilings, product_name
from benchmarks.gpu.outcome import Outcome, release
from benchmarks.gpu.sizes import FULL, QUICK, TINY
from benchmarks.vocabulary import Case, Cost, Op, Side

from .conftest import attention, canned

CPU = torch.device("cpu")


def still(call, repeats):
    call()
    return 1e-3


# ---- Timing --------------------------------------------------------------------------------------


class FakeEvent:
    """Counts like a device that takes a millisecond for everything that is queued."""

    now = 0

    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        FakeEvent.now += 1
        self.at = FakeEvent.now

    def elapsed_time(self, end):
        return float(end.at - self.at)


def test_the_clock_reads_events_around_each_call_and_waits_once(monkeypatch):
    order = []
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: order.append("wait"))
    properties = type("Properties", (), {"L2_cache_size": 2**20})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    timer = clock.cuda_clock(CPU)
    assert timer(lambda: order.append("call"), 3) == pytest.approx(1e-3)
    assert order == ["call"] * 3 + ["wait"]


def test_the_cpu_keeps_its_clock():
    from benchmarks.measure import cpu_clock

    assert clock.clock_for(CPU) is cpu_clock


def test_ceilings_are_products_in_every_dtype_and_a_copy():
    found = {entry.name: entry for entry in measure_ceilings(CPU, TINY, still)}
    assert found[COPY].value == pytest.approx(2 * TINY.copy_bytes / 1e-3 / 1e9)
    fp32 = found[product_name("float32")]
    assert fp32.value == pytest.approx(2 * TINY.matrix**3 / 1e-3 / 1e9)
    assert {name for name in found if "product" in name} == {
        product_name(name) for name in ("bfloat16", "float16", "float32", "float64")
    }


def slow_device(rate):
    return [Ceiling(product_name("float64"), "GFLOP/s", rate, "")]


def test_a_check_that_would_take_minutes_is_left_out_with_its_reason():
    case = next(c for c in table.cases() if c.shape.get("T") == 131_072 and "d" in c.shape)
    assert speed.check_seconds(case, slow_device(50_000.0)) < QUICK.check_seconds
    assert speed.check_seconds(case, slow_device(500.0)) > FULL.check_seconds
    rows = list(speed.time_case(case, CPU, FULL, still, slow_device(500.0)))
    assert [row.side for row in rows] == list(case.sides)
    assert {row.status for row in rows} == {"unavailable"}
    assert "float64 check would take about" in rows[0].reason
    assert speed.check_seconds(case, []) == 0


NO_MEMORY = torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")


def throw(error):
    raise error


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (NO_MEMORY, "unavailable", "the float64 check does not fit this device's memory"),
        (RuntimeError("no kernel\nfor it"), "error", "RuntimeError: no kernel"),
    ],
)
def test_a_check_that_fails_to_run_costs_one_case(error, status, reason):
    op = Op(
        "op", "Op", lambda case, device: torch.ones(3), lambda *_: throw(error),
        lambda case: Cost(), (Side("triton", lambda x, check: dict, own=True),), tiny={"T": 3},
    )  # fmt: skip
    (row,) = speed.time_case(Case(op, {"T": 3}, ("triton",)), CPU, TINY, still, [])
    assert (row.status, row.reason) == (status, reason)


def test_inputs_that_do_not_fit_are_nobodys_fault():
    op = Op(
        "op", "Op", lambda case, device: throw(NO_MEMORY), lambda *_: {}, lambda case: Cost(),
        (Side("triton", lambda x, check: dict, own=True),), tiny={"T": 3},
    )  # fmt: skip
    (row,) = speed.time_case(Case(op, {"T": 3}, ("triton",)), CPU, TINY, still, [])
    assert (row.status, row.reason) == (
        "unavailable", "the input does not fit this device's memory"
    )  # fmt: skip


# ---- Device --------------------------------------------------------------------------------------


def test_nvidia_smi_is_read_by_name():
    state = device.parse_state("570.1, 1980 MHz, 1980 MHz, 2619 MHz, 700.00 W, 41\n")
    assert state["driver_version"] == "570.1"
    assert state["temperature.gpu"] == "41"


@pytest.fixture
def fake_gpu(monkeypatch, tmp_path):
    """A GPU that torch and nvidia-smi describe; returns the folder of the latter."""
    properties = type("Properties", (), {
        "name": "Test GPU 3000", "major": 9, "minor": 0, "total_memory": 2**36,
        "multi_processor_count": 132,
    })  # fmt: skip
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda place: properties)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    return tmp_path


def nvidia_smi(folder, script):
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_a_gpu_is_described_with_its_clocks(fake_gpu):
    nvidia_smi(fake_gpu, 'test "$3" = --id=7 && echo "570.1, 1 MHz, 2 MHz, 3 MHz, 700 W, 41"')
    described = device.describe(torch.device("cuda", 1))
    assert (described["processor"], described["instruction_set"]) == ("Test GPU 3000", "sm_90")
    assert described["state"]["clocks.max.sm"] == "2 MHz"
    assert described["environment"]["CUDA_VISIBLE_DEVICES"] == "5,7"


@pytest.mark.parametrize(
    ("script", "said"), [(None, "is not there"), ("echo no driver >&2; exit 9", "no driver")]
)
def test_a_gpu_without_nvidia_smi_is_described_all_the_same(fake_gpu, script, said):
    if script is not None:
        nvidia_smi(fake_gpu, script)
    assert device.describe(torch.device("cuda", 0))["state"] == {"nvidia-smi": said}


def test_the_device_has_a_file_name():
    described = {"processor": "NVIDIA H100 80GB HBM3", "instruction_set": "sm_90"}
    assert device.slug(described) == "gpu-nvidia-h100-80gb-hbm3-sm90"


# ---- Steps and report ----------------------------------------------------------------------------


BUILT = [Outcome("compile", "kernels", "ok", "all")]


@pytest.fixture(scope="module")
def whole_run():
    """A run of every step on the CPU; the checks, which have tests of their own, are canned."""
    cases = table.tiny(("ddl_forward/", "score_head_forward/"))
    with pytest.MonkeyPatch.context() as patch:
        for step in run._CHECKS:
            patch.setitem(run._CHECKS, step, checks("a", "b", step=step))
        patch.setattr(run, "clock_for", lambda device: still)
        patch.setattr(run.compiling, "outcomes", lambda *_: iter(BUILT))
        before = [Outcome("build", "_cuda", "ok", "for sm_90")]
        return run.run(
            CPU, TINY, cases, run.STEPS, "python -m benchmarks.gpu", lambda line: None,
            before=before,
        )  # fmt: skip


@pytest.fixture
def found(whole_run):
    return copy.deepcopy(whole_run)


def test_a_run_holds_every_step(found):
    assert {check["step"] for check in found["checks"]} == set(run.STEPS) - {"ceilings", "speed"}
    assert [part["part"] for part in found["parts"]] == list(run.STEPS)
    assert len(found["ceilings"]) == 5
    assert {row["op"] for row in found["measurements"]} == {"ddl_forward", "score_head_forward"}
    assert run.failures(found) == []
    eager = [row for row in found["measurements"] if row["side"] == "eager"]
    assert {row["status"] for row in eager} == {"ok"}


def test_only_the_steps_that_are_asked_for(monkeypatch):
    monkeypatch.setattr(run, "clock_for", lambda device: still)
    monkeypatch.setitem(run._CHECKS, "graphs", checks("a", step="graphs"))
    found = run.run(CPU, TINY, [], ("graphs",), "command", lambda line: None)
    assert found["ceilings"] == found["measurements"] == []
    assert {check["step"] for check in found["checks"]} == {"graphs"}


def test_checks_are_told_the_device_the_sizes_and_the_time(monkeypatch):
    asked = []

    def note(device, sizes, left):
        asked.append((device, sizes, left))
        return iter(())

    monkeypatch.setitem(run._CHECKS, "memory", note)
    monkeypatch.setattr(run, "describe", lambda place: device.describe(CPU))
    run.run(torch.device("cuda", 3), QUICK, [], ("memory",), "command", lambda line: None)
    assert asked == [(torch.device("cuda", 3), "quick", math.inf)]


class FakeDevice:
    """A device that fails for good at the given wait, or when told so, as CUDA does."""

    def __init__(self, monkeypatch, waits=None):
        self.left = waits
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.cuda, "synchronize", self.wait)
        monkeypatch.setattr(torch.cuda, "empty_cache", self.wait)

    def wait(self, device=None):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA")


def checks(*names, step="correctness"):
    """A step whose checks pass."""
    return lambda device, sizes, left: (Outcome(step, name, "ok", "fine") for name in names)


DOUBLING = Op(
    "ddl_forward", "Doubling", lambda case, device: torch.ones(3),
    lambda x, target, dtype: {"out": x.to(dtype) * 2}, lambda case: Cost(),
    (
        Side("eager", lambda x, check: lambda: {"out": x * 2}),
        Side("triton", lambda x, check: lambda: {"out": x * 2}, own=True),
    ),
    tiny={"T": 3},
)  # fmt: skip
CASES = [Case(DOUBLING, {"T": T}, ("eager", "triton")) for T in (3, 4)]


def test_a_device_that_fails_costs_what_comes_after_it_and_no_more(monkeypatch, tmp_path):
    # Given back once after the ceilings and once after the first case, where the device fails.
    waits = FakeDevice(monkeypatch)
    monkeypatch.setattr(run, "measure_ceilings", lambda *_: [])
    monkeypatch.setattr(run, "clock_for", lambda device: still)
    monkeypatch.setitem(run._CHECKS, "correctness", checks("a", "b"))
    calls = []

    def failing_at_the_second():
        calls.append(1)
        waits.left = 0 if len(calls) == 2 else None
        release()

    monkeypatch.setattr(run, "release", failing_at_the_second)
    found = run.run(CPU, TINY, CASES, ("correctness", "speed"), "command", lambda line: None)
    error = "RuntimeError: CUDA error: an illegal memory access was encountered"
    where = f"{CASES[0].key}: {error}"
    assert [(c["name"], c["status"]) for c in found["checks"]] == [("a", "ok"), ("b", "ok")]
    assert [(row["shape"]["T"], row["status"]) for row in found["measurements"]] == [
        (3, "ok"), (3, "ok"), (4, "unavailable"), (4, "unavailable"),
    ]  # fmt: skip
    assert found["measurements"][-1]["reason"] == f"the device failed in {where}"
    assert f"the device failed in {where}" in run.failures(found)
    page = report.write(tmp_path, found)[0].read_text()
    assert f"**This report is incomplete: the device failed in {where}.**" in page


def test_checks_are_not_made_on_a_device_that_failed_before_them(monkeypatch):
    monkeypatch.setattr(run, "release", lambda: throw(RuntimeError("CUDA error")))
    monkeypatch.setattr(run, "measure_ceilings", lambda *_: [])
    monkeypatch.setitem(run._CHECKS, "memory", lambda *_: throw(AssertionError("was asked")))
    found = run.run(CPU, TINY, [], ("ceilings", "memory"), "command", lambda line: None)
    (check,) = found["checks"]
    assert (check["name"], check["status"]) == ("what is left of it", "unavailable")
    assert check["detail"] == "the device failed in ceilings: RuntimeError: CUDA error"
    assert run.failures(found) == ["the device failed in ceilings: RuntimeError: CUDA error"]


def test_who_breaks_the_device_is_blamed_and_the_others_are_not(monkeypatch):
    device_ = FakeDevice(monkeypatch)

    def breaks():
        device_.left = 0
        raise RuntimeError("CUDA error: no such address")

    eager, triton = DOUBLING.sides
    sides = (eager, Side("breaks", lambda x, check: breaks), triton)
    case = Case(dataclasses.replace(DOUBLING, sides=sides), {"T": 3}, ("eager", "breaks", "triton"))
    rows = {row.side: row for row in speed.time_case(case, CPU, TINY, still, [])}
    assert (rows["breaks"].status, rows["triton"].status) == ("error", "unavailable")
    assert rows["triton"].reason == rows["eager"].reason == "the device failed in breaks"


def test_a_step_whose_process_ended_costs_that_step(monkeypatch):
    def broken(device, sizes, left):
        yield Outcome("correctness", "a", "ok", "fine")
        yield Outcome("correctness", "what is left of it", "failed", "pytest ended with -11: ...")

    monkeypatch.setitem(run._CHECKS, "correctness", broken)
    monkeypatch.setitem(run._CHECKS, "memory", checks("b", step="memory"))
    found = run.run(CPU, TINY, [], ("correctness", "memory"), "command", lambda line: None)
    assert [(c["step"], c["status"]) for c in found["checks"]] == [
        ("correctness", "ok"),
        ("correctness", "failed"),
        ("memory", "ok"),
    ]
    assert run.failures(found) == ["correctness: what is left of it: pytest ended with -11: ..."]
    assert found["incomplete"] == ""


def test_a_run_that_is_broken_off_has_saved_what_it_had(monkeypatch, tmp_path):
    saved = []

    def save(found, whole):
        saved.append((len(found["checks"]), whole))
        (report.write if whole else report.write_data)(tmp_path, found)

    def interrupted(device, sizes, left):
        yield Outcome("graphs", "c", "ok", "fine")
        raise KeyboardInterrupt

    monkeypatch.setitem(run._CHECKS, "correctness", checks("a", "b"))
    monkeypatch.setitem(run._CHECKS, "graphs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.run(
            CPU, TINY, [], ("correctness", "determinism", "graphs"), "command",
            lambda line: None, save,
        )  # fmt: skip
    assert saved == [(1, False), (2, False), (2, True), (3, False), (3, True)]
    (data,) = tmp_path.glob("*.json")
    assert [c["name"] for c in json.loads(data.read_text())["checks"]] == ["a", "b", "c"]
    (page,) = tmp_path.glob("*.md")
    assert (
        "**This report is incomplete: the run was broken off, or has not ended yet, in the part "
        "graphs, before determinism.**"
    ) in page.read_text()


def test_a_whole_run_is_not_called_incomplete(found, tmp_path):
    assert "incomplete" not in report.write(tmp_path, found)[0].read_text()


def test_failed_checks_and_wrong_kernels_make_a_failure(found):
    found["checks"].append(
        {"step": "graphs", "name": "ddl", "status": "failed", "detail": "bits differ"}
    )
    shape = {"B": 1, "T": 2, "C": 3, "K": 4}
    found["measurements"] += [
        canned("score_head_forward", "triton", shape, own=True, status="wrong", reason="off"),
        canned("score_head_forward", "eager", shape, status="error", reason="no memory"),
        canned("score_head_forward", "triton", shape, own=True, status="unavailable", reason="-"),
    ]
    assert run.failures(found) == [
        "graphs: ddl: bits differ",
        "score_head_forward, triton: wrong: off",
    ]


def test_the_report_is_four_kinds_of_files(found, tmp_path):
    times = {T: (T / 4096) ** 2 for T in (4096, 8192)}
    for T, seconds in times.items():
        common = {"dtype": "bfloat16", "seconds": seconds}
        found["measurements"] += [
            canned("attention_forward", "triton", attention(T), own=True,
                   faster={"sdpa_flash": 0.9, "triton_no_prior": 0.99}, **common),
            canned("attention_forward", "triton_no_prior", attention(T), own=True,
                   faster={"triton": 1.01}, **common),
            canned("attention_forward", "sdpa_flash", attention(T), **common),
        ]  # fmt: skip
    page, data, table_, *plots = report.write(tmp_path, found)
    assert json.loads(data.read_text())["checks"] == found["checks"]
    assert "sdpa_flash" in table_.read_text()
    assert [plot.suffix for plot in plots] == [".svg"]
    text = page.read_text()
    for wanted in (
        "the tiny run",
        "times mean nothing",
        "## Checks",
        "compute-sanitizer",
        "attention_forward, additive, B 1, H 1, T 4096, d 128, bfloat16 | 1.010",
        "SDPA flash, no prior",
        f"]({plots[0].parent.name}/{plots[0].name})",
        "## Without figures",
    ):
        assert wanted in text


def test_rates_are_held_against_what_the_device_reached():
    ceilings = [
        {"name": product_name("bfloat16"), "unit": "GFLOP/s", "value": 10.0, "how": ""},
        {"name": COPY, "unit": "GB/s", "value": 8.0, "how": ""},
    ]
    row = canned("attention_forward", "triton", attention(64), seconds=0.5, dtype="bfloat16")
    assert "20.0 %" in report.rates_table([row], ceilings)  # 1e9 operations in half a second
    row |= {"flops": None, "bytes": 1e9}
    assert "25.0 %" in report.rates_table([row], ceilings)
    assert "| - |" in report.rates_table([row], [])
    assert report.rates_table([{**row, "seconds": None}], ceilings) == ""


@pytest.mark.parametrize("reach", [0, 100, 128, 200])
def test_the_flex_band_has_every_block_that_the_prior_reaches(reach):
    T = 600
    mask = peers.flex_band_mask(T, reach, CPU)
    i = torch.arange(T)
    blocks = ((i[:, None] - i).abs() <= reach).nonzero() // 128
    kept = mask.to_dense()[0, 0]
    assert bool((kept[blocks[:, 0], blocks[:, 1]] == 1).all())
    assert kept.sum() < kept.numel()


@pytest.mark.parametrize(("variant", "peer"), [("additive", "flex_band"), ("logit", "flex")])
def test_flex_attention_computes_our_formula(variant, peer):
    from benchmarks import runner

    op = next(op for op in registry.all_ops() if op.name == "attention_forward")
    shape = {"B": 1, "H": 2, "T": 300, "d": 16}
    (row,) = runner.run_case(
        Case(op, shape, (peer,), variant=variant), plan=TINY.plan, clock=still, memory=False
    )
    assert (row.status, row.reason) == ("ok", "")
