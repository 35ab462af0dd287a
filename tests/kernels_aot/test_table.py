"""docs/triton-resources.json against the kernels, and the rules that its rows have to keep."""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

from ladnet_fast.kernels.locality_attention.configs import Config

from benchmarks.triton_resources import report, table
from benchmarks.triton_resources.resources import Resources
from benchmarks.triton_resources.table import COMMAND, Row
from benchmarks.triton_resources.toolchain import Build
from benchmarks.triton_resources.variants import Variant, shipped

SHIPPED = {variant.name: variant for variant in shipped()}


@pytest.fixture(scope="module")
def rows() -> table.Rows:
    return table.read()


def test_there_is_a_row_for_each_shipped_variant_and_no_other(rows):
    differing = set(rows) ^ set(SHIPPED)
    assert not differing, f"run: {COMMAND}"
    assert list(rows) == list(SHIPPED)


def test_no_row_is_older_than_its_kernel_or_than_the_compiler(rows):
    stale = [n for n, r in rows.items() if r.fingerprint != SHIPPED[n].build().fingerprint]
    assert not stale, f"{len(stale)} rows, {stale[0]} among them, are out of date; run: {COMMAND}"


def test_every_row_keeps_the_rules(rows):
    found = {n: p for n, row in rows.items() if (p := table.problems(SHIPPED[n], row))}
    assert not found


def test_the_page_says_what_the_table_says(rows):
    written = report.PAGE.read_text(encoding="utf-8")
    assert written == report.render({SHIPPED[n]: row for n, row in rows.items()}), f"run: {COMMAND}"


VARIANT = Variant("forward", "additive", 90, "bf16", 128, Config(128, 128, 64, 8, 2))
CLEAN = Row(
    "fingerprint",
    "intermediate",
    Resources(
        registers=255,
        spills=0,
        shared_bytes=163_840,
        tensor_cores="wgmma",
        products=16,
        async_copies=16,
        far_loop=517,
        local_bytes=0,
    ),
    far_loop_without_prior=517,
)


def changed(row: Row, **fields: object) -> Row:
    return dataclasses.replace(row, resources=dataclasses.replace(row.resources, **fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"spills": 2}, "2 instructions spill registers"),
        ({"local_bytes": 8}, "8 bytes of local memory"),
        ({"shared_bytes": 227 * 1024 + 1}, "232449 bytes of shared memory, of 232448"),
        ({"tensor_cores": "mma.sync"}, "tensor cores by mma.sync, not wgmma"),
        ({"tensor_cores": "mma.sync+wgmma"}, "tensor cores by mma.sync\\+wgmma, not wgmma"),
        ({"tensor_cores": ""}, "tensor cores by none, not wgmma"),
        ({"async_copies": 0}, "no asynchronous copies"),
        ({"far_loop": 528}, "a far loop of 1.021 times that without a prior; 1.02 allowed"),
    ],
)
def test_what_forbids_shipping(fields, message):
    assert table.problems(VARIANT, CLEAN) == []
    (problem,) = table.problems(VARIANT, changed(CLEAN, **fields))
    assert problem.startswith(message.replace("\\", ""))


def test_logit_may_be_a_little_longer_and_none_not_at_all():
    logit = dataclasses.replace(VARIANT, mode="logit")
    assert table.problems(logit, changed(CLEAN, far_loop=553)) == []
    assert table.problems(logit, changed(CLEAN, far_loop=554))
    assert table.problems(dataclasses.replace(VARIANT, mode="none"), changed(CLEAN, far_loop=518))


def test_ieee_has_no_tensor_cores_and_preprocess_without_a_prior_no_products():
    ieee = dataclasses.replace(VARIANT, precision="fp32")
    assert table.problems(ieee, changed(CLEAN, tensor_cores="")) == []
    plain = dataclasses.replace(VARIANT, kernel="preprocess", mode="none")
    counts = {"tensor_cores": "", "products": 0, "async_copies": 0, "far_loop": 0}
    row = dataclasses.replace(changed(CLEAN, **counts), far_loop_without_prior=0)
    assert table.problems(plain, row) == []


def test_only_what_has_changed_is_compiled(monkeypatch):
    def compile_never(self: Build) -> None:
        raise AssertionError("compiled")

    monkeypatch.setattr(Build, "compile", compile_never)
    build = VARIANT.build()
    same = dataclasses.replace(
        CLEAN, fingerprint=build.fingerprint, intermediate=build.intermediate_hash()
    )
    moved = dataclasses.replace(same, fingerprint="of another comment")
    none = VARIANT.without_prior()
    known = {VARIANT.name: same, none.name: CLEAN}
    assert table.refresh([VARIANT], known, print) == {VARIANT.name: same}
    other = VARIANT.without_prior().build()
    known = {
        VARIANT.name: moved,
        none.name: dataclasses.replace(CLEAN, fingerprint=other.fingerprint),
    }
    assert table.refresh([VARIANT], known, print) == {VARIANT.name: same}
    with pytest.raises(AssertionError, match="compiled"):
        table.refresh([VARIANT], {VARIANT.name: CLEAN}, print)


def test_a_fingerprint_knows_all_that_the_code_depends_on():
    variants = [
        VARIANT,
        VARIANT.without_prior(),
        dataclasses.replace(VARIANT, mode="inference"),
        dataclasses.replace(VARIANT, architecture=100),
        dataclasses.replace(VARIANT, precision="fp16"),
        dataclasses.replace(VARIANT, head_size=64),
        dataclasses.replace(VARIANT, config=Config(128, 128, 64, 8, 3)),
        dataclasses.replace(VARIANT, config=Config(128, 128, 64, 4, 2)),
        dataclasses.replace(VARIANT, config=Config(128, 128, 32, 8, 2)),
    ]
    assert len({v.build().fingerprint for v in variants}) == len(variants)
    assert len({v.build().intermediate_hash() for v in variants}) == len(variants)
    assert VARIANT.build().fingerprint == VARIANT.build().fingerprint


def test_writing_and_reading(tmp_path):
    path = tmp_path / "table.json"
    table.write({"a": CLEAN, "b": changed(CLEAN, spills=1)}, path)
    assert table.read(path) == {"a": CLEAN, "b": changed(CLEAN, spills=1)}
    for text in ("", "[]", '{"schema": 0, "rows": {}}', '{"schema": 1, "rows": {"a": {}}}'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="delete it and run"):
            table.read(path)
