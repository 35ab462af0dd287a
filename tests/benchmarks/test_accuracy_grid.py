"""Grids and data sets of the accuracy benchmark: what is read, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import benchmarks.accuracy
from benchmarks.accuracy import datasets, grid
from ladnet_fast.data import DataError

from .accuracy_data import PER_SNIPPET, write_set

GRIDS = sorted((Path(benchmarks.accuracy.__file__).parent / "grids").glob("*.yaml"))


def written(tmp_path, text):
    path = tmp_path / "grid.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_grid_that_is_shipped_can_be_read(path):
    assert grid.read_grid(path).configurations


def test_the_grid_without_a_file_is_sound():
    for name in grid.DEFAULT.configurations:
        grid.DEFAULT.setup(name, "any")


def test_a_configuration_wins_over_its_data_set_and_that_over_all(tmp_path):
    path = written(
        tmp_path,
        "baseline: a\ncommon: {training: {epochs: 3, lr: 1e-3}}\n"
        "datasets: {small: {training: {epochs: 2}}}\n"
        "configurations: {a: {}, b: {training: {epochs: 1}, trial: {push_weight: 1}}}\n",
    )
    found = grid.read_grid(path)
    epochs = {
        (name, dataset): found.setup(name, dataset).config.training.epochs
        for name in "ab"
        for dataset in ("small", "other")
    }
    assert epochs == {
        ("a", "small"): 2,
        ("a", "other"): 3,
        ("b", "small"): 1,
        ("b", "other"): 1,
    }
    assert found.setup("a", "small").config.training.lr == 1e-3
    assert found.setup("b", "small").trial.push_weight == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("baseline: a\nconfiguration: {a: {}}", "unknown key configuration.*did you mean conf"),
        ("baseline: a\nconfigurations: {a: {losses: {}}}", "configurations.a.losses.*loss"),
        ("baseline: a\nconfigurations: {a: {loss: {detatch: score}}}", "loss.detatch.*detach"),
        ("baseline: a\nconfigurations: {a: {trial: {push: 1}}}", "trial.push.*push_weight"),
        ("baseline: a\nconfigurations: {a: {trial: {push_weight: -1}}}", "at least 0; got -1"),
        ("baseline: a\nconfigurations: {a: {trial: {method: svm}}}", "trial.method must be one"),
        ("baseline: a\nconfigurations: {a: {loss: {detach: both}}}", "loss.detach must be one of"),
        ("baseline: a\nconfigurations: {a: {loss: {eps: 0}}}", "configurations.a: loss.eps"),
        ("baseline: a\nconfigurations: {a: {training: {seed: 1}}}", "--seeds"),
        ("baseline: a\nconfigurations: {a: {training: {device: cpu}}}", "not followed.*epochs"),
        ("baseline: a\nconfigurations: {a: {training: {epoch: 1}}}", "training.epoch is unknown"),
        (
            "baseline: a\nconfigurations: {a: {model: 3}}",
            "configurations.a.model must be a mapping",
        ),
        ("baseline: b\nconfigurations: {a: {}}", "baseline b"),
        ("baseline: a\nconfigurations: {}", "configurations is empty"),
        ("baseline: a\nconfigurations: {a/b: {}, a: {}}", "'a/b' is no name for files"),
        ("baseline: a\ncommon: {x: 1}\nconfigurations: {a: {}}", "common.x"),
        (
            "baseline: a\ndatasets: {d: {training: {epochs: 99}}}\nconfigurations: {a: {}}",
            "configurations.a with datasets.d: training.t_max",
        ),
        ("[]", "the grid must be a mapping"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_bad_grid_is_refused_with_its_file_and_place(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(grid.GridError, match=f"(?s)grid.yaml.*{message}"):
        grid.read_grid(path)


def test_a_grid_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.yaml"):
        grid.read_grid(tmp_path / "none.yaml")


def test_truth_by_snippet_counts_the_frames(tmp_path):
    dataset = datasets.load(str(write_set(tmp_path / "tiny")))
    assert dataset.name == "tiny"
    assert len(dataset.parts) == 1
    assert len(dataset.tested) == len(dataset.truth.labels) == 8
    total = dataset.truth.anomalous + dataset.truth.normal
    assert (total == PER_SNIPPET).all()
    frames = [np.load(v.frame_labels) for v in dataset.tested if v.label]
    assert dataset.truth.anomalous.sum() == sum(f.sum() for f in frames)


def test_folds_test_every_video_once(tmp_path):
    dataset = datasets.load(f"other={write_set(tmp_path / 'tiny', folds=3)}")
    assert dataset.name == "other"
    assert len(dataset.parts) == 3
    assert sorted(v.name for v in dataset.tested) == sorted(f"v{i}" for i in range(20))
    for part in dataset.parts:
        assert not {v.name for v in part.train} & {v.name for v in part.test}


def test_the_digest_follows_the_content_and_not_the_place(tmp_path):
    first, second = (datasets.load(str(write_set(tmp_path / name))) for name in "ab")
    assert first.digest == second.digest
    assert datasets.load(str(write_set(tmp_path / "c", seed=1))).digest != first.digest


@pytest.mark.parametrize(
    ("options", "edit", "message"),
    [
        ({"truth": False}, None, "'v13' is anomalous and has no truth.*frame_labels"),
        ({"labels": (0,)}, None, "all 12 videos to train on have label 0"),
        ({"labels": (1,)}, None, "all 12 videos to train on have label 1"),
        ({}, (",test,", ",,"), "no video has split 'test'"),
        ({}, (",train,", ",val,"), "no video has split 'train'.*test, val"),
        ({"test": 0}, (",train,", ",,"), "fill the column split"),
        ({"folds": 1}, None, "at least two folds"),
        ({}, (",1,4,", ",,4,"), "label is not known"),
    ],
)
def test_a_set_that_can_not_be_judged_is_refused_by_name(tmp_path, options, edit, message):
    manifest = write_set(tmp_path / "tiny", **options)
    if edit:
        manifest.write_text(manifest.read_text().replace(*edit))
    with pytest.raises(DataError, match=message):
        datasets.load(str(manifest))


def test_test_videos_without_an_anomalous_one_are_refused(tmp_path):
    manifest = write_set(tmp_path / "tiny")
    kept = [
        line
        for line in manifest.read_text().splitlines()
        if not (",1,4" in line and "test" in line)
    ]
    manifest.write_text("\n".join(kept) + "\n")
    with pytest.raises(DataError, match="no frame of the 4 test videos is anomalous"):
        datasets.load(str(manifest))


def test_options_of_a_loss_that_is_off_are_not_part_of_a_setup():
    plain = grid.make_grid(
        {
            "baseline": "off",
            "configurations": {
                "off": {"loss": {"ddl": False}},
                "also-off": {"loss": {"ranking_weight": 0, "alignment_weight": 0, "eps": 0.1}},
                "margin": {"loss": {"ddl": False, "margin": 0.7, "detach": "feature"}},
                "on": {"loss": {"ranking_weight": 0, "alignment_weight": 1, "eps": 0.1}},
                "on-other-eps": {"loss": {"ranking_weight": 0, "alignment_weight": 1}},
            },
        }
    )
    found = {name: plain.setup(name, "any").as_dict() for name in plain.configurations}
    assert found["off"] == found["also-off"] == found["margin"]
    assert found["on"] != found["on-other-eps"] != found["off"]
    assert found["on"]["loss"]["eps"] == 0.1
    assert "margin" not in found["on"]["loss"]


@pytest.mark.parametrize(
    ("model", "sigmas"),
    [({}, [1, 2]), ({"num_heads": 2}, [1]), ({"prior_form": "exp_abs"}, [1]), ({}, [0])],
)
def test_widths_that_do_not_fit_the_heads_are_refused(model, sigmas):
    content = {"model": model, "trial": {"sigmas": sigmas}}
    with pytest.raises(grid.GridError, match=r"configurations.a: trial.sigmas"):
        grid.make_grid({"baseline": "a", "configurations": {"a": content}})


def test_the_demos_held_out_bags_are_its_test(tmp_path):
    manifest = write_set(tmp_path / "demo")
    expected = datasets.load(str(manifest))
    manifest.write_text(manifest.read_text().replace(",test,", ",held-out,"))
    found = datasets.load(str(manifest))
    assert [v.name for v in found.tested] == [v.name for v in expected.tested]


def test_held_out_videos_beside_test_videos_are_not_tested(tmp_path):
    manifest = write_set(tmp_path / "tiny")
    lines = manifest.read_text().splitlines()
    lines[-1] = lines[-1].replace(",test,", ",held-out,")
    manifest.write_text("\n".join(lines) + "\n")
    assert len(datasets.load(str(manifest)).tested) == 7
