"""Results files, tables, plots and the whole report, from canned measurements."""

from __future__ import annotations

import copy
import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import plots, report, results
from benchmarks.cases.attention import FORWARD, FORWARD_BACKWARD
from benchmarks.ceilings import FMA, FMA_AVX2
from benchmarks.machine import slug

from .conftest import attention, canned


def test_results_come_back_as_they_were_written(run, tmp_path):
    path = results.write(tmp_path, "cpu", run)
    assert results.read(path) == run
    assert results.read_folder(tmp_path) == [run]


def test_the_table_has_a_row_a_side_and_peer_keyed_by_machine(run, tmp_path):
    results.write(tmp_path, "cpu", run)
    with (tmp_path / "cpu.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == sum(max(1, len(row["times_faster"])) for row in run["measurements"])
    first = found[0]
    assert first["processor"] == "Test CPU 3000 (family 1, model 2)"
    assert (first["date"], first["threads"], first["torch"]) == ("2022-07-18", "2", "2.13.0")
    assert (first["shape"], first["times_faster_than"]) == ("B 1, H 1, T 2048, d 128", "sdpa")
    assert float(first["gflop_per_second"]) == pytest.approx(1 / 0.25)
    [absent] = [row for row in found if row["side"] == "triton"]
    assert (absent["status"], absent["reason"]) == ("unavailable", "no GPU here")
    assert absent["seconds_p50"] == ""


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 99}'])
def test_what_is_no_results_file_is_named(text, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"bad\.json"):
        results.read(path)


def test_a_folder_without_results_says_how_to_make_some(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m benchmarks cpu --output"):
        results.read_folder(tmp_path)


def test_the_report_names_commands_bars_figures_and_what_is_missing(run, tmp_path):
    path = report.write_report([run], tmp_path / "performance.md")
    text = path.read_text(encoding="utf-8")
    for expected in (
        "## Test CPU 3000 (family 1, model 2), 2 threads, avx512",
        "    python -m benchmarks run\n\n2022-07-18; cores busy before the run: 0.1\n",
        "| attention forward, fp32, T >= 2048, d 128 | torch SDPA without any prior | "
        "2.52 x (T 2,048) | >= 1.7 | **pass** | >= 2.3, reached |",
        "| B 1, H 1, T 4096, d 128 | 1,000 (1,000-1,000) |",
        "| copy | 30 GB/s | Tensor.copy_ |",
        "| product | not measured | no compiler |",
        "LANet scored 135,000 snippets in 45.0 s; the\nprocess took 3.00 GB",
        "- attention_forward, ladnet_fast (Triton): unavailable: no GPU here",
        "| ladnet_fast | T^2.00 | T^1.00 |",
    ):
        assert expected in text
    assert "{{" not in text
    assert "{%" not in text
    linked = [line for line in text.splitlines() if line.startswith("![")]
    assert len(linked) == 3
    for line in linked:
        ET.parse(tmp_path / line.rpartition("(")[2].rstrip(")"))


def test_a_ratio_under_1_is_bold_and_the_table_says_why(run, tmp_path):
    faster = {"sdpa": 0.994, "eager": 0.996, "native_no_prior": 0.9, "compiled": 1.0}
    row = canned("attention_forward", "native", attention(64), own=True, seconds=1.0, faster=faster)
    run["measurements"] = [
        row,
        *(canned("attention_forward", peer, attention(64), seconds=1.0) for peer in faster),
    ]
    text = report.write_report([run], tmp_path / "performance.md").read_text(encoding="utf-8")
    assert "| **0.99** | 1.00 | **0.90** | 1.00 |" in text
    _, _, below = text.partition("| **0.99** |")
    assert below.split("\n\n")[1] == "Bold: faster than ours."
    assert below.split("\n\n")[2].strip().split("\n") == [
        f"- ladnet_fast, no prior: {FORWARD.behind['native_no_prior']}",
        f"- SDPA, no prior: {FORWARD.behind.get('sdpa', report.NOT_EXPLAINED)}",
    ]


def test_a_table_without_a_ratio_under_1_says_nothing_of_it(run, tmp_path):
    run["measurements"] = [r for r in run["measurements"] if r["op"] == "lanet_forward"]
    text = report.write_report([run], tmp_path / "performance.md").read_text(encoding="utf-8")
    assert "Bold: faster than ours." not in text


def test_every_ratio_under_1_of_the_page_is_explained():
    text = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    assert report.NOT_EXPLAINED not in text


def test_a_report_of_the_same_results_is_the_same(run, tmp_path):
    contents = []
    for name in ("a", "b"):
        folder = tmp_path / name
        report.write_report([copy.deepcopy(run)], folder / "performance.md")
        contents.append({p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()})
    assert contents[0] == contents[1]


def test_plots_of_an_earlier_report_do_not_stay(run, tmp_path):
    path = report.write_report([run], tmp_path / "performance.md")
    folder, name = tmp_path / "performance", slug(run["machine"])
    plot = folder / f"attention_forward-{name}.svg"
    assert plot.is_file()
    run["measurements"] = [r for r in run["measurements"] if r["op"] != "attention_forward"]
    report.write_report([run], path)
    assert not plot.exists()
    assert (folder / f"lanet_forward-{name}.svg").is_file()


def test_two_processors_with_one_instruction_set_keep_a_plot_each(run, tmp_path):
    other = copy.deepcopy(run)
    other["machine"]["processor"] = "Test CPU 4000 (family 1, model 3)"
    path = report.write_report([run, other], tmp_path / "performance.md")
    text = path.read_text(encoding="utf-8")
    plots_shown = [line for line in text.splitlines() if line.startswith("![")]
    assert len(set(plots_shown)) == len(plots_shown) == 6


def test_a_failed_bar_stands_out(rows):
    for row in rows:
        row["times_faster"] = {}
    slow = canned("training_step", "native", {"B": 128}, own=True, faster={"eager": 1.7})
    assert "| 1.7 x (128) | >= 1.8 | **FAIL** | >= 2.5, not reached |" in report.bars_table(
        [slow], "avx512"
    )


def test_a_run_with_half_as_wide_arithmetic_says_whose_bars_it_has(run, tmp_path):
    run["ceilings"] += [
        {"name": name, "unit": "GFLOP/s", "value": 225.0, "how": "fma_peak.c"}
        for name in (FMA, FMA_AVX2)
    ]
    text = report.write_report([run], tmp_path / "performance.md").read_text(encoding="utf-8")
    assert "the bars are those of AVX2" in text
    assert "| >= 1.05 | **pass** |" in text
    assert ">= 1.7 |" not in text


def test_bars_without_a_measurement_can_be_left_out(rows):
    steps = [row for row in rows if row["op"] == "training_step"]
    assert len(report.bars_table(steps, "avx512", measured_only=True).splitlines()) == 3
    assert "not measured" in report.bars_table(steps, "avx512")
    assert report.bars_table([], "avx512", measured_only=True) == ""


def test_runs_of_one_machine_and_instruction_set_are_joined_the_widest_first(run):
    lower = copy.deepcopy(run)
    lower["machine"]["instruction_set"] = "avx2"
    day = {**copy.deepcopy(run), "command": "python -m benchmarks cpu --long", "ceilings": []}
    day["measurements"] = day["measurements"][-2:-1]
    joined = report.merge([lower, day, run])
    assert [entry["machine"]["instruction_set"] for entry in joined] == ["avx512", "avx2"]
    assert [entry["command"] for entry in joined[0]["commands"]] == [
        "python -m benchmarks run",
        "python -m benchmarks cpu --long",
    ]
    assert len(joined[0]["measurements"]) == len(run["measurements"])
    assert joined[0]["ceilings"] == run["ceilings"]


def test_a_side_without_figures_is_listed_once_for_all_shapes():
    absent = [
        canned("attention_forward", "triton", attention(T), status="unavailable", reason="no GPU")
        for T in (200, 512)
    ]
    killed = canned("attention_forward", "eager", attention(9), seconds=1.0, memory_reason="killed")
    assert report.silent([*absent, killed]) == [
        "attention_forward, ladnet_fast (Triton): unavailable: no GPU (2 shapes)",
        "attention_forward, eager, peak memory at B 1, H 1, T 9, d 128: killed",
    ]


def test_tables_without_our_kernels_show_the_peers_alone():
    text = report.speed_table([canned("attention_forward", "sdpa", attention(9), seconds=0.001)])
    assert text.splitlines()[0] == "| Shape | SDPA, no prior (ms) |"
    assert report.speed_table([canned("attention_forward", "native", attention(9))]) == ""
    assert report.memory_table([]) == ""


def test_a_bar_in_a_cell_does_not_end_it():
    assert "a \\| b" in report.markdown(["x", "y"], [["a | b", "1"]])


def test_lines_of_a_plot_are_sorted_by_size(rows):
    forward = [row for row in rows if row["op"] == "attention_forward" and row["side"] == "native"]
    fp32 = [row for row in forward if row["dtype"] == "float32"]
    lines = plots.series(fp32[::-1], "T", "seconds")
    assert list(lines["native"]) == [2048, 4096, 8192, 16384]
    assert plots.series(fp32, "T", "peak_bytes")["native"][2048] == 20480


def test_a_batch_of_another_size_is_no_point_of_a_line(rows):
    batch = canned("attention_forward", "native", {**attention(2048), "B": 128}, seconds=99.0)
    lines = plots.series([rows[0], batch], "T", "seconds")
    assert lines == {"native": {2048: 0.25}}


def test_a_single_point_is_no_plot(rows, tmp_path):
    assert not plots.draw_growth(FORWARD, rows[:1], tmp_path / "x.svg")
    assert not (tmp_path / "x.svg").exists()
    many = [row for row in rows if row["op"] == "attention_forward_backward"]
    assert plots.draw_growth(FORWARD_BACKWARD, many, tmp_path / "x.svg")


def test_every_side_of_the_registry_has_a_name_for_readers():
    from benchmarks.registry import all_ops

    assert {side.name for op in all_ops() for side in op.sides} <= report.SIDES.keys()


def test_results_are_plain_json(run):
    json.dumps(run, allow_nan=False)


@pytest.mark.parametrize("date", ["2022-07-18", "2022-07-19"])
def test_a_case_that_was_measured_again_is_shown_as_it_is_now(run, date):
    case = ("op", "variant", "shape", "dtype")
    first = run["measurements"][0]
    again = [
        {**row, "seconds": None, "status": "error", "reason": "another"}
        for row in run["measurements"]
        if all(row[name] == first[name] for name in case)
    ]
    assert 0 < len(again) < len(run["measurements"])
    part = {**run, "date": date, "command": "a part", "measurements": again[:1]}
    for runs in ([run, part], [part, run]):
        (joined,) = report.merge(runs)
        rows = [row for row in joined["measurements"] if all(row[n] == first[n] for n in case)]
        assert rows == again[:1]
        others = [row for row in run["measurements"] if any(row[n] != first[n] for n in case)]
        assert [row for row in joined["measurements"] if row not in rows] == others
        assert [command["command"] for command in joined["commands"]] == [run["command"], "a part"]


@pytest.mark.parametrize(("busy_cores", "busy"), [(0.1, False), (1.0, True)])
def test_a_busy_machine_is_confessed(run, tmp_path, busy_cores, busy):
    path = report.write_report([{**run, "busy_cores": busy_cores}], tmp_path / "performance.md")
    assert ("The machine was busy" in path.read_text(encoding="utf-8")) is busy


@pytest.mark.parametrize("note", ["", "These are the kernels of that day."])
def test_what_is_to_know_of_figures_stands_beside_their_date(run, tmp_path, note):
    given = {**run, "note": note} if note else run
    path = report.write_report([given], tmp_path / "performance.md")
    line = next(
        line for line in path.read_text(encoding="utf-8").splitlines() if "busy before" in line
    )
    assert line.endswith(f". **{note}**" if note else "run: 0.1")
