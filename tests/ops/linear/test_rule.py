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


WINS, LOSES = turns(1.3, 1.4, 1.2), turns(0.9, 0.8, 0.9)
FASTER, SLOWER = Timings(WINS, WINS), Timings(LOSES, LOSES)


class Machine:
    """A machine whose self-test gives these timings for the three sizes."""

    def __init__(self, short, middle, large):
        sizes = (rule.SHORT_SNIPPETS, rule.MIN_SNIPPETS, rule.LARGE_SNIPPETS)
        self.timings = dict(zip(sizes, (short, middle, large), strict=True))
        self.asked = 0

    def measure(self, snippets):
        self.asked += 1
        return self.timings[snippets]


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Return a function that starts a new process, as it were, on a machine that nobody knows."""
    monkeypatch.setenv("LADNET_CACHE", str(tmp_path))
    monkeypatch.setattr(rule, "_known", False)
    monkeypatch.setattr(rule, "_setting", "on")

    def start(short, middle=None, large=None):
        middle = middle or short
        here = Machine(short, middle, large or middle)
        monkeypatch.setattr(selftest, "measure", here.measure)
        monkeypatch.setattr(rule, "_measured", {})
        return here

    return start


def stored(folder):
    return sorted((folder / "linear").glob("*.json"))


def least_pays():
    """Return whether a batch of the least size that is measured is native in training."""
    return rule.serves(rule.SHORT_SNIPPETS, True)


# ---- What decides -------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("timings", "least", "asked"),
    [
        ((FASTER, FASTER, FASTER), rule.SHORT_SNIPPETS, 1),
        ((FASTER, SLOWER, SLOWER), rule.SHORT_SNIPPETS, 1),  # what wins serves all that is larger
        ((SLOWER, FASTER, SLOWER), rule.MIN_SNIPPETS, 2),
        ((SLOWER, SLOWER, FASTER), rule.LARGE_SNIPPETS, 3),
        ((SLOWER, SLOWER, SLOWER), None, 3),
    ],
)
def test_an_unknown_machine_follows_what_was_measured(machine, timings, least, asked, training):
    here = machine(*timings)
    factors = (1, 8, 100)
    sizes = [rule.SHORT_SNIPPETS, *(factor * rule.MIN_SNIPPETS for factor in factors)]
    for _ in range(2):
        for size in [size + more for size in sizes for more in (-1, 0)]:
            assert rule.serves(size, training) == (least is not None and size >= least)
    assert here.asked == asked


def test_scoring_and_training_are_judged_each_by_its_own(machine):
    here = machine(Timings(WINS, LOSES), Timings(LOSES, WINS))
    assert rule.serves(rule.SHORT_SNIPPETS, False)
    assert not rule.serves(rule.SHORT_SNIPPETS, True)
    assert here.asked == 1
    assert rule.serves(rule.MIN_SNIPPETS, True)
    assert rule.serves(rule.MIN_SNIPPETS, False)
    assert here.asked == 2


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_a_call_is_training_if_anything_is_differentiated(monkeypatch, grad, requires_grad):
    monkeypatch.setattr(api, "_choice", "auto")
    asked = []
    monkeypatch.setattr(rule, "serves", lambda *given: asked.append(given) or False)
    tensors = torch.ones(2, 3, 4), torch.ones(1, requires_grad=requires_grad), torch.ones(1)
    with torch.set_grad_enabled(grad):
        assert not api.serves("auto", *tensors)
    assert asked == [(6, grad and requires_grad)]


def test_small_batches_are_pytorchs_and_measure_nothing(machine):
    here = machine(FASTER)
    assert not rule.serves(rule.SHORT_SNIPPETS - 1, True)
    assert here.asked == 0


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("short", [FASTER, SLOWER])
def test_a_known_machine_measures_small_batches_alone(machine, monkeypatch, short, training):
    here = machine(short, SLOWER)
    monkeypatch.setattr(rule, "_known", True)
    assert rule.serves(rule.MIN_SNIPPETS, training)
    assert rule.how_to_repeat() is None
    assert here.asked == 0
    assert not rule.serves(rule.SHORT_SNIPPETS - 1, training)
    assert here.asked == 0
    for snippets in (rule.SHORT_SNIPPETS, rule.MIN_SNIPPETS - 1):
        assert rule.serves(snippets, training) == (short is FASTER)
    line = rule.reason()
    least = rule.SHORT_SNIPPETS if short is FASTER else rule.MIN_SNIPPETS
    assert line.startswith(f"native from {least} snippets per batch on forward, ")
    assert f"from {rule.MIN_SNIPPETS} on it is known to be faster here" in line
    assert here.asked == 1
    assert len(rule.how_to_repeat().split()) == 2


@pytest.mark.parametrize("known", [False, True])
def test_bit_exact_runs_follow_what_is_known(machine, monkeypatch, known):
    here = machine(SLOWER if known else FASTER)
    monkeypatch.setattr(rule, "_known", known)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert rule.serves(rule.MIN_SNIPPETS, True) == known
    assert not rule.serves(rule.MIN_SNIPPETS - 1, False)
    assert here.asked == 0
    assert "use_deterministic_algorithms is on" in rule.reason()
    assert ("known to be faster here" in rule.reason()) == known


def test_the_self_test_can_be_switched_off(machine, monkeypatch):
    here = machine(FASTER)
    monkeypatch.setattr(rule, "_setting", "off")
    assert not least_pays()
    assert "LADNET_SELF_TEST=off" in rule.reason()
    assert rule.how_to_repeat() is None
    assert here.asked == 0


def test_a_machine_without_the_compiled_module_measures_nothing(machine, monkeypatch):
    here = machine(FASTER)
    monkeypatch.setattr(rule._native, "cpu_problem", "it was not built")
    assert not least_pays()
    assert "it was not built" in rule.reason()
    assert here.asked == 0


def test_a_bad_setting_is_named():
    with pytest.raises(ValueError, match=r"LADNET_SELF_TEST must be one of on, off; got 'maybe'"):
        rule._check_setting("maybe")


def test_each_number_of_threads_is_measured_once(machine, monkeypatch, tmp_path):
    here = machine(FASTER)
    for threads in (1, 3, 1, 3, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert least_pays()
    assert here.asked == 2
    assert [path.name.split("-")[0] for path in stored(tmp_path)] == ["1", "3"]


def test_threads_that_ask_at_once_measure_once(machine):
    here = machine(FASTER)
    asking = [threading.Thread(target=least_pays) for _ in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert here.asked == 1


# ---- What is kept -------------------------------------------------------------------------------


def test_the_next_process_decides_as_the_first_did(machine, tmp_path):
    machine(FASTER)
    assert least_pays()
    later = machine(SLOWER)  # a busy moment must not change the bits of a program
    assert least_pays()
    assert later.asked == 0
    assert len(stored(tmp_path)) == 1


def test_doctor_says_what_was_measured_and_what_repeats_it(machine, monkeypatch, tmp_path):
    machine(SLOWER, Timings(WINS, LOSES), Timings(LOSES, WINS))
    assert rule.how_to_repeat() is None
    line = rule.reason()
    small, large = rule.MIN_SNIPPETS, rule.LARGE_SNIPPETS
    assert line.startswith(
        f"native from {small} snippets per batch on forward, native from {large} snippets per "
        "batch on in training"
    )
    assert f"{rule.SHORT_SNIPPETS} snippets: 0.90 forward, 0.90 forward and backward; " in line
    assert f"{small} snippets: 1.30 forward, 0.90 forward and backward; " in line
    assert f"{large} snippets: 0.90 forward, 1.30 forward and backward " in line
    assert "LADNET_LINEAR=" in line
    assert str(tmp_path) not in line  # a line that is published with benchmarks
    again = rule.how_to_repeat()
    assert sorted(again.split()) == sorted(["rm", *map(str, stored(tmp_path))])
    monkeypatch.setattr(api, "_choice", "auto")
    assert f"    to measure that again: {again}" in doctor.report().splitlines()
    for path in stored(tmp_path):
        path.unlink()
    machine(SLOWER)
    assert rule.reason().startswith("PyTorch forward, PyTorch in training: ")
    assert "LADNET_LINEAR=native" in rule.reason()


@pytest.mark.parametrize(
    "change",
    ["processor", "cores", "torch", "torch_instruction_set", "ladnet_fast", "instruction_set"],
)
def test_another_machine_or_version_has_a_measurement_of_its_own(machine, monkeypatch, change):
    machine(FASTER)
    assert least_pays()
    original = remembered.circumstances
    monkeypatch.setattr(
        remembered, "circumstances", lambda *given: original(*given) | {change: "another"}
    )
    here = machine(SLOWER)
    assert not least_pays()
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
    assert least_pays()
    (path,) = stored(tmp_path)
    path.write_text(_damaged(path.read_text(), how), errors="surrogateescape")
    here = machine(SLOWER)
    with caplog.at_level(logging.WARNING, "ladnet_fast"):
        assert not least_pays()
    assert here.asked == 1
    assert f"{path} can't be read" in caplog.text
    assert not machine(FASTER).asked
    assert not least_pays()  # the new file


def test_a_cache_that_cant_be_written_to_is_said_once_and_no_error(
    machine, monkeypatch, tmp_path, caplog
):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("LADNET_CACHE", str(blocked))
    here = machine(FASTER)
    with caplog.at_level(logging.WARNING, "ladnet_fast"):
        assert least_pays()
        assert least_pays()
    assert here.asked == 1
    assert caplog.text.count("can't be kept") == 1
    assert rule.how_to_repeat() is None


def test_a_full_disk_costs_no_second_measurement(machine, monkeypatch, caplog):
    def refuse(path, text):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(remembered, "atomic_write_text", refuse)
    here = machine(FASTER)
    assert least_pays()
    assert here.asked == 1
    assert "No space left on device" in caplog.text


def test_a_process_that_another_one_keeps_waiting_measures_for_itself(
    machine, monkeypatch, tmp_path, caplog
):
    monkeypatch.setattr(remembered, "_PATIENCE", 0.0)
    here = machine(FASTER)
    (tmp_path / "linear" / ".ladnet").mkdir(parents=True)
    with FileLock(tmp_path / "linear" / ".ladnet" / "measuring.lock"):
        assert least_pays()
    assert here.asked == 1
    assert not stored(tmp_path)
    assert "another process has been measuring" in caplog.text


def test_a_process_that_waited_takes_what_the_other_one_measured(machine, monkeypatch, tmp_path):
    machine(FASTER)
    assert least_pays()
    (path,) = stored(tmp_path)
    text = path.read_text()
    path.unlink()
    here = machine(SLOWER)
    original = remembered.folder_lock

    def lock(*given, **options):
        path.write_text(text)  # by the process that held the lock until now
        return original(*given, **options)

    monkeypatch.setattr(remembered, "folder_lock", lock)
    assert least_pays()
    assert here.asked == 0


# ---- torch.compile ------------------------------------------------------------------------------


@pytest.mark.parametrize("timings", [FASTER, SLOWER], ids=["faster", "slower"])
def test_a_graph_takes_the_verdict_for_a_constant(machine, timings):
    torch._dynamo.reset()  # of the other verdict's graph
    here = machine(timings)

    def chosen(x):
        return x + 1 if least_pays() else x - 1

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
    assert [turn[0] for turn in turns] == pytest.approx([0.001, 0.002, *[0.003] * 2])
    assert [turn[1] for turn in turns] == pytest.approx([0.004, 0.008, *[0.012] * 2])


def test_more_turns_are_taken_while_they_disagree_but_not_for_ever():
    wavering = [0.001, 0.002] * 50
    assert len(timed([0.001], wavering, Clock())) == selftest.MOST_TURNS
    slow = [1.0, 2.0] * 50
    assert len(timed([1.0], slow, Clock())) == selftest.LEAST_TURNS


@pytest.mark.parametrize(
    ("speedups", "wins"),
    [
        ((1.2,) * 5, True),
        ((1.09,) * 5, False),  # inside the margin
        ((1.2, 1.2, 1.2, 0.5, 0.5), False),  # PyTorch's best time is better
        ((1.2, 1.2, 9.0, 1.2, 1.2), True),  # one disturbed turn
        ((1.2, 1.0, 1.0, 1.0, 1.2), False),  # in the median
    ],
)
def test_native_wins_by_the_margin_in_the_median_and_between_the_best(speedups, wins):
    assert selftest.native_wins(turns(*speedups)) == wins


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
    for sides in (forward, training):
        found = []
        for side in sides:
            torch.manual_seed(3)
            found.append(side())
        for ours, theirs in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
