"""Who serves the linear layers: what is known, what was measured, and that it stays decided.

No test times anything: clocks and timings are made up.
"""

from __future__ import annotations

import itertools
import json
import logging
import threading

import pytest
import torch
from filelock import FileLock

from ladnet_fast import doctor
from ladnet_fast.ops.linear import api, remembered, rule, selftest
from ladnet_fast.ops.linear.selftest import Timings


def turns(*speedups):
    """Return turns in which the native layers take a second and PyTorch's so many."""
    return tuple((1.0, s) for s in speedups)


FASTER = Timings(turns(1.3, 1.4, 1.2), turns(1.2, 1.3, 1.25))
SLOWER = Timings(turns(0.9, 0.8, 0.9), turns(0.7, 0.8, 0.9))


class Machine:
    """A machine whose self-test gives ``timings``; counts how often it is asked."""

    def __init__(self, timings):
        self.timings = timings
        self.asked = 0

    def measure(self, snippets):
        assert snippets == rule.MIN_SNIPPETS
        self.asked += 1
        return self.timings


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Return a function that starts a new process, as it were, on a machine that nobody knows."""
    monkeypatch.setenv("LADNET_CACHE", str(tmp_path))
    monkeypatch.setattr(rule, "_known", False)
    monkeypatch.setattr(rule, "_setting", "on")

    def start(timings):
        here = Machine(timings)
        monkeypatch.setattr(selftest, "measure", here.measure)
        monkeypatch.setattr(rule, "_measured", {})
        return here

    return start


def stored(folder):
    return sorted((folder / "linear").glob("*.json"))


# ---- What decides -------------------------------------------------------------------------------


@pytest.mark.parametrize("timings", [FASTER, SLOWER], ids=["faster", "slower"])
def test_an_unknown_machine_follows_what_was_measured(machine, timings):
    here = machine(timings)
    assert rule.serves(rule.MIN_SNIPPETS) == (timings is FASTER)
    assert rule.serves(10**6) == (timings is FASTER)
    assert here.asked == 1


def test_small_batches_are_pytorchs_and_measure_nothing(machine):
    here = machine(FASTER)
    assert not rule.serves(rule.MIN_SNIPPETS - 1)
    assert here.asked == 0


def test_a_known_machine_measures_nothing(machine, monkeypatch):
    here = machine(SLOWER)
    monkeypatch.setattr(rule, "_known", True)
    assert rule.serves(rule.MIN_SNIPPETS)
    assert "known to be faster" in rule.reason()
    assert rule.how_to_repeat() is None
    assert here.asked == 0


@pytest.mark.parametrize("known", [False, True])
def test_bit_exact_runs_follow_what_is_known(machine, monkeypatch, known):
    here = machine(Timings(SLOWER.forward, SLOWER.training) if known else FASTER)
    monkeypatch.setattr(rule, "_known", known)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert rule.serves(rule.MIN_SNIPPETS) == known
    assert here.asked == 0
    if not known:
        assert "use_deterministic_algorithms is on" in rule.reason()


def test_the_self_test_can_be_switched_off(machine, monkeypatch):
    here = machine(FASTER)
    monkeypatch.setattr(rule, "_setting", "off")
    assert not rule.serves(rule.MIN_SNIPPETS)
    assert "LADNET_SELF_TEST=off" in rule.reason()
    assert rule.how_to_repeat() is None
    assert here.asked == 0


def test_a_machine_without_the_compiled_module_measures_nothing(machine, monkeypatch):
    here = machine(FASTER)
    monkeypatch.setattr(rule._native, "cpu_problem", "it was not built")
    assert not rule.serves(rule.MIN_SNIPPETS)
    assert "it was not built" in rule.reason()
    assert here.asked == 0


def test_a_bad_setting_is_named():
    with pytest.raises(ValueError, match=r"LADNET_SELF_TEST must be one of on, off; got 'maybe'"):
        rule._check_setting("maybe")


def test_each_number_of_threads_is_measured_once(machine, monkeypatch, tmp_path):
    here = machine(FASTER)
    for threads in (1, 3, 1, 3, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert rule.serves(rule.MIN_SNIPPETS)
    assert here.asked == 2
    assert [path.name.split("-")[0] for path in stored(tmp_path)] == ["1", "3"]


def test_threads_that_ask_at_once_measure_once(machine):
    here = machine(FASTER)
    asking = [threading.Thread(target=rule.pays) for _ in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert here.asked == 1


# ---- What is kept -------------------------------------------------------------------------------


def test_the_next_process_decides_as_the_first_did(machine, tmp_path):
    machine(FASTER)
    assert rule.pays()
    later = machine(SLOWER)  # a busy moment must not change the bits of a program
    assert rule.pays()
    assert later.asked == 0
    assert len(stored(tmp_path)) == 1


def test_doctor_says_what_was_measured_and_what_repeats_it(machine, monkeypatch, tmp_path):
    machine(FASTER)
    line = rule.reason()
    assert line.startswith("native from ")
    assert "1.30 times as fast forward and 1.25 times as fast forward and backward" in line
    assert "LADNET_LINEAR=torch" in line
    assert str(tmp_path) not in line  # a line that is published with benchmarks
    (path,) = stored(tmp_path)
    assert rule.how_to_repeat() == f"rm {path}"
    monkeypatch.setattr(api, "_choice", "auto")
    assert f"    to measure that again: rm {path}" in doctor.report().splitlines()
    path.unlink()
    machine(SLOWER)
    assert rule.reason().startswith("PyTorch: ")
    assert "LADNET_LINEAR=native" in rule.reason()


@pytest.mark.parametrize(
    "change",
    ["processor", "cores", "torch", "torch_instruction_set", "ladnet_fast", "instruction_set"],
)
def test_another_machine_or_version_has_a_measurement_of_its_own(machine, monkeypatch, change):
    machine(FASTER)
    assert rule.pays()
    original = remembered.circumstances
    monkeypatch.setattr(
        remembered, "circumstances", lambda *given: original(*given) | {change: "another"}
    )
    here = machine(SLOWER)
    assert not rule.pays()
    assert here.asked == 1


def _damaged(content, how):
    if how == "cut":
        return content[: len(content) // 2]
    if how == "empty":
        return ""
    if how == "not text":
        return "\udcff\udcfe"
    if how == "a list":
        return "[]"
    given = json.loads(content)
    if how == "another format":
        given["format"] = "ladnet_fast.linear.0"
    elif how == "of another machine":
        given["measured_with"]["processor"] = "another"
    elif how == "no turns":
        given["seconds"]["forward"] = []
    elif how == "a turn of one":
        given["seconds"]["training"] = [[1.0]]
    else:
        given["seconds"]["training"][0][1] = {"zero": 0, "nan": float("nan"), "text": "x"}[how]
    return json.dumps(given)


@pytest.mark.parametrize(
    "how",
    ["cut", "empty", "not text", "a list", "another format", "of another machine", "no turns",
     "a turn of one", "zero", "nan", "text"],
)  # fmt: skip
def test_a_damaged_file_is_measured_again_and_replaced(machine, tmp_path, caplog, how):
    machine(FASTER)
    assert rule.pays()
    (path,) = stored(tmp_path)
    path.write_text(_damaged(path.read_text(), how), errors="surrogateescape")
    here = machine(SLOWER)
    with caplog.at_level(logging.WARNING, "ladnet_fast"):
        assert not rule.pays()
    assert here.asked == 1
    assert f"{path} can't be read" in caplog.text
    assert not machine(FASTER).asked
    assert not rule.pays()  # the new file


def test_a_cache_that_cant_be_written_to_is_said_once_and_no_error(
    machine, monkeypatch, tmp_path, caplog
):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("LADNET_CACHE", str(blocked))
    here = machine(FASTER)
    with caplog.at_level(logging.WARNING, "ladnet_fast"):
        assert rule.pays()
        assert rule.pays()
    assert here.asked == 1
    assert caplog.text.count("can't be kept") == 1
    assert rule.how_to_repeat() is None


def test_a_full_disk_costs_no_second_measurement(machine, monkeypatch, caplog):
    def refuse(path, text):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(remembered, "atomic_write_text", refuse)
    here = machine(FASTER)
    assert rule.pays()
    assert here.asked == 1
    assert "No space left on device" in caplog.text


def test_a_process_that_another_one_keeps_waiting_measures_for_itself(
    machine, monkeypatch, tmp_path, caplog
):
    monkeypatch.setattr(remembered, "_PATIENCE", 0.0)
    here = machine(FASTER)
    (tmp_path / "linear" / ".ladnet").mkdir(parents=True)
    with FileLock(tmp_path / "linear" / ".ladnet" / "measuring.lock"):
        assert rule.pays()
    assert here.asked == 1
    assert not stored(tmp_path)
    assert "another process has been measuring" in caplog.text


def test_a_process_that_waited_takes_what_the_other_one_measured(machine, monkeypatch, tmp_path):
    machine(FASTER)
    assert rule.pays()
    (path,) = stored(tmp_path)
    text = path.read_text()
    path.unlink()
    here = machine(SLOWER)
    original = remembered.folder_lock

    def lock(*given, **options):
        path.write_text(text)  # by the process that held the lock until now
        return original(*given, **options)

    monkeypatch.setattr(remembered, "folder_lock", lock)
    assert rule.pays()
    assert here.asked == 0


# ---- torch.compile ------------------------------------------------------------------------------


@pytest.mark.parametrize("timings", [FASTER, SLOWER], ids=["faster", "slower"])
def test_a_graph_takes_the_verdict_for_a_constant(machine, timings):
    torch._dynamo.reset()  # of the other verdict's graph
    here = machine(timings)

    def chosen(x):
        return x + 1 if rule.serves(rule.MIN_SNIPPETS) else x - 1

    compiled = torch.compile(chosen, fullgraph=True, backend="eager")
    assert float(compiled(torch.zeros(()))) == (1 if timings is FASTER else -1)
    assert here.asked == 1


# ---- The self-test itself -----------------------------------------------------------------------


class Clock:
    """Time that passes only when a side is called."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def side(self, seconds):
        given = itertools.chain(seconds, itertools.repeat(seconds[-1]))

        def call():
            self.now += next(given)

        return call


def timed(native, other, clock):
    """Measure one pass whose sides take these seconds, call by call; the first is no turn."""
    pair = clock.side(native), clock.side(other)
    idle = clock.side([1e-3]), clock.side([1e-3])
    return selftest.measure(8, sides=lambda snippets: (idle, pair), clock=clock).training


def test_both_sides_are_timed_in_turns_whoever_begins():
    turns = timed([9.0, 0.001, 0.002, 0.003], [9.0, 0.004, 0.008, 0.012], Clock())
    assert [turn[0] for turn in turns] == pytest.approx([0.001, 0.002, *[0.003] * 3])
    assert [turn[1] for turn in turns] == pytest.approx([0.004, 0.008, *[0.012] * 3])


def test_more_turns_are_taken_while_they_disagree_but_not_for_ever():
    wavering = [0.001, 0.002] * 50
    assert len(timed([0.001], wavering, Clock())) == selftest.MOST_TURNS
    slow = [1.0, 2.0] * 50
    assert len(timed([1.0], slow, Clock())) == selftest.LEAST_TURNS


@pytest.mark.parametrize(
    ("forward", "training", "wins"),
    [
        ((1.2,) * 5, (1.2,) * 5, True),
        ((1.09,) * 5, (1.5,) * 5, False),  # inside the margin
        ((1.5,) * 5, (1.09,) * 5, False),
        ((1.2, 1.2, 1.2, 0.5, 0.5), (1.2,) * 5, False),  # PyTorch's best time is better
        ((1.2, 1.2, 9.0, 1.2, 1.2), (1.2,) * 5, True),  # one disturbed turn
    ],
)
def test_native_wins_by_the_margin_in_the_median_and_between_the_best(forward, training, wins):
    assert selftest.native_wins(Timings(turns(*forward), turns(*training))) == wins


def test_the_real_self_test_leaves_no_trace_in_torch_and_ignores_the_callers_modes(monkeypatch):
    monkeypatch.setattr(selftest, "MOST_TURNS", 1)
    monkeypatch.setattr(selftest, "LEAST_TURNS", 1)
    state = torch.get_rng_state()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = selftest.measure(8)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(t > 0 for part in (found.forward, found.training) for turn in part for t in turn)


def test_both_sides_of_the_self_test_compute_the_same():
    forward, training = selftest._sides(8)
    for native, other in (forward, training):
        for ours, theirs in zip(native(), other(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
