import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast.data import (
    DataError,
    FeatureSource,
    LeftOut,
    Video,
    ground_truth_length,
    load_ground_truth,
    read_frame_labels,
)


def _video(name: str, label: int, **fields: object) -> Video:
    return Video(name, (FeatureSource(Path(f"{name}.npy")),), label, **fields)  # type: ignore[arg-type]


@pytest.fixture
def test_set() -> tuple[list[Video], list[int], list[np.ndarray]]:
    """Three videos of 2, 3 and 1 snippets with their ground truth."""
    videos = [_video("Abuse1", 1), _video("Normal1", 0), _video("Arson1", 1)]
    truth = [np.zeros(16 * t, dtype=np.uint8) for t in (2, 3, 1)]
    truth[0][10:20] = truth[2][:4] = 1
    return videos, [2, 3, 1], truth


def _assert_equal(got, expected):
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == np.uint8
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", ["uint8", "bool", "float64", "int64"])
def test_concatenated_vector_is_cut_in_list_order(tmp_path, test_set, dtype):
    videos, snippets, truth = test_set
    np.save(tmp_path / "gt.npy", np.concatenate(truth).astype(dtype))
    _assert_equal(load_ground_truth(videos, snippets, source=tmp_path / "gt.npy"), truth)


@pytest.mark.parametrize("suffix", [".npy", ".txt"])
def test_each_video_may_have_its_own_file(tmp_path, test_set, suffix):
    videos, snippets, truth = test_set
    own = []
    for video, frames in zip(videos, truth, strict=True):
        path = tmp_path / f"{video.name}{suffix}"
        if suffix == ".npy":
            np.save(path, frames)
        else:
            path.write_text("\r\n".join(map(str, frames)))
        # a normal video needs no file
        own.append(_video(video.name, video.label, frame_labels=path if video.label else None))
    _assert_equal(load_ground_truth(own, snippets), truth)


@pytest.mark.parametrize(
    ("boundaries", "line"),
    [
        ("[s,e)", "Abuse1.mp4  Abuse  10  20  -1  -1\nNormal1.mp4  Normal  -1  -1  -1  -1"),
        ("[s,e]", "Abuse1 10 19"),
        ("[s-1,e)", "Abuse1 Abuse 11 20"),
    ],
)
def test_annotations_are_expanded(tmp_path, test_set, boundaries, line):
    videos, snippets, truth = test_set
    path = tmp_path / "annotations.txt"
    # Arson1's interval begins with frame 0 in every convention and is cut at its 16 frames.
    path.write_text(f"{line}\nArson1 0 20\n")
    truth[2][:] = 1
    _assert_equal(load_ground_truth(videos, snippets, source=path, boundaries=boundaries), truth)


@pytest.mark.parametrize(
    ("fields", "snippets", "rule", "length"),
    [
        ({}, 7, "auto", 112),
        ({"num_frames": 119}, 7, "auto", 119),
        ({"num_frames": 119}, 7, "num_frames", 119),
        ({"num_frames": 119}, 7, "snippets", 112),
        ({"num_frames": 119}, 7, "flow", 112),
        ({"num_frames": 112}, 7, "flow", 96),  # the last pair of frames is incomplete
        ({"num_frames": 113}, 7, "flow", 112),
        ({"num_frames": 50, "frames_per_snippet": 8}, 6, "snippets", 48),
        ({"num_frames": 999, "frames_per_snippet": None}, 32, "auto", 999),
    ],
)
def test_length_follows_the_rule(fields, snippets, rule, length):
    assert ground_truth_length(_video("v", 1, **fields), snippets, length_rule=rule) == length


@pytest.mark.parametrize(
    ("fields", "rule", "message"),
    [
        ({}, "frames", "length_rule must be one of auto, .*got 'frames'"),
        ({}, "num_frames", "v: length_rule 'num_frames' needs the video's num_frames"),
        ({}, "flow", "v: length_rule 'flow' needs the video's num_frames"),
        ({"frames_per_snippet": None}, "auto", "v: its snippets share the frames evenly"),
    ],
)
def test_length_that_cannot_be_told_is_refused(fields, rule, message):
    with pytest.raises(ValueError, match=message):
        ground_truth_length(_video("v", 1, **fields), 4, length_rule=rule)


@pytest.mark.parametrize(
    ("found", "fields", "cause"),
    [
        (64, {"num_frames": 70}, "length_rule='snippets'"),
        (80, {"num_frames": 90}, "length_rule='flow'"),
        (4, {}, "a value for each snippet"),
        (70, {}, "give num_frames in the manifest"),
        (32, {}, "frames_per_snippet is 8"),
        (61, {}, "another video, or to one decoded at another frame rate"),
    ],
)
def test_wrong_length_names_video_lengths_and_likely_cause(tmp_path, found, fields, cause):
    path = tmp_path / "own.npy"
    np.save(path, np.ones(found))
    video = _video("Abuse1", 1, frame_labels=path, **fields)
    expected = fields.get("num_frames", 64)
    with pytest.raises(DataError) as error:
        load_ground_truth([video], [4], length_rule="auto")
    message = str(error.value)
    assert f"Abuse1: ground truth {path} has {found} frames, but {expected} are exp" in message
    assert cause in message


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda gt: gt[:-3], r"first video that can't fit is 'Arson1' \(frames 80 to 96\)"),
        (lambda gt: gt[16:], r"first video that can't fit is 'Normal1' \(frames 32 to 80\)"),
        (lambda gt: np.repeat(gt, 2), "it has 32 frames per snippet"),
        (lambda gt: gt[: len(gt) // 2], "the list names 2 times as many"),
        (lambda gt: np.append(gt, 0), "every video fits up to the last, 'Arson1'"),
        (lambda gt: np.zeros(142_912), "ShanghaiTech's test videos"),
    ],
)
def test_concatenated_vector_of_another_length_is_diagnosed(tmp_path, test_set, change, hint):
    videos, snippets, truth = test_set
    wrong = change(np.concatenate(truth))
    np.save(tmp_path / "gt.npy", wrong)
    with pytest.raises(
        DataError, match=rf"has {len(wrong)} frames, but the 3 videos have 96.*{hint}"
    ):
        load_ground_truth(videos, snippets, source=tmp_path / "gt.npy")


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([0, 2, 1], "'Arson1' is labelled anomalous, but none of its 48 frames are anomalous"),
        ([1, 0, 2], "'Normal1' is labelled normal, but 10 of its 32 frames are anomalous"),
    ],
)
def test_list_in_another_order_is_noticed(tmp_path, test_set, order, message):
    videos, snippets, truth = test_set
    np.save(tmp_path / "gt.npy", np.concatenate(truth))
    shuffled = [videos[i] for i in order]
    with pytest.raises(DataError, match=f"{message}.*another order"):
        load_ground_truth(shuffled, snippets, source=tmp_path / "gt.npy")
    accepted = load_ground_truth(shuffled, snippets, source=tmp_path / "gt.npy", check_labels=False)
    _assert_equal(accepted, truth)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Abuse1 10 20\n", "no line for the anomalous video 'Arson1'; it has 1, such as 'Abuse1'"),
        ("Abuse1 10 20\nArson1 0 33\n", "'Arson1': interval 0 33 .*16 frames; likely cause: feat"),
        ("Abuse1 10 20\nArson1 20 30\n", "'Arson1' is labelled anomalous, but none"),
        ("Abuse1 10 20\nArson1 0 4\nNormal1 5 9", "'Normal1' is labelled normal, but 4 of"),
    ],
)
def test_annotations_that_do_not_fit_are_named(tmp_path, test_set, text, message):
    videos, snippets, _ = test_set
    path = tmp_path / "annotations.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_ground_truth(videos, snippets, source=path, boundaries="[s,e)")


def test_anomalous_video_without_ground_truth_is_refused(test_set):
    videos, snippets, _ = test_set
    with pytest.raises(DataError, match="Abuse1: an anomalous video without ground truth"):
        load_ground_truth(videos, snippets)


@pytest.mark.parametrize(
    ("snippets", "options", "message"),
    [
        ([2, 3], {}, "num_snippets must have an entry for each of 3 videos; got 2"),
        ([2, 0, 1], {}, "num_snippets of 'Normal1' must be at least 1"),
        ([2, 3, 1], {"source": "a.txt"}, r"boundaries must be one of .*got None"),
        ([2, 3, 1], {"source": "gt.npy", "boundaries": "[s,e)"}, "is for annotation files"),
        ([2, 3, 1], {"boundaries": "[s,e)"}, "is for annotation files"),
    ],
)
def test_bad_argument_is_refused(test_set, snippets, options, message):
    with pytest.raises(ValueError, match=message):
        load_ground_truth(test_set[0], snippets, **options)
    with pytest.raises(ValueError, match="videos is empty"):
        load_ground_truth([], [])


@pytest.mark.parametrize("shape", [(6,), (6, 1), (1, 6)])
def test_column_and_row_vectors_are_accepted(save, shape):
    path = save("gt.npy", array=np.array([0, 0, 1, 1, 0, 1]).reshape(shape))
    assert read_frame_labels(path).tolist() == [0, 0, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3)), r"shape \(2, 3\); expected \(F,\)"),
        (np.zeros(0), r"shape \(0,\)"),
        (np.array(1), r"shape \(\)"),
        (np.array([0, 1, 2]), "frame 2 is 2; only 0"),
        (np.array([0, np.nan]), "frame 1 is nan"),
        (np.array(["0", "1"]), "dtype <U1"),
        (np.array([0, 1], dtype=object), "object array"),
    ],
)
def test_bad_frame_labels_are_named(save, array, message):
    with pytest.raises(DataError, match=rf"gt\.npy.*{message}"):
        read_frame_labels(save("gt.npy", array=array))


def test_unreadable_frame_labels_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"ground truth .*gone\.npy"):
        read_frame_labels(tmp_path / "gone.npy")
    (tmp_path / "gt.txt").write_text("0 1 zwei")
    with pytest.raises(DataError, match=r"gt\.txt is neither \.npy nor numbers.*'zwei'"):
        read_frame_labels(tmp_path / "gt.txt")


# Assault006 has 8,096 frames and published features of 505 rows; its annotation ends with 8096.
@pytest.mark.parametrize(
    ("boundaries", "first", "last_end"), [("[s,e)", 1185, 8096), ("[s,e]", 1185, 8096),
                                          ("[s-1,e)", 1184, 8096)]
)  # fmt: skip
@pytest.mark.parametrize("per_snippet", [8, 16, 32])
def test_an_interval_may_end_with_the_video_in_every_convention(
    tmp_path, boundaries, first, last_end, per_snippet
):
    path = tmp_path / "annotations.txt"
    snippets = last_end // per_snippet - 1  # one snippet less than the video has
    video = _video("Assault006_x264", 1, frames_per_snippet=per_snippet)

    def load(end):
        path.write_text(f"Assault006_x264.mp4 Assault 1185 {end} -1 -1\n")
        return load_ground_truth([video], [snippets], source=path, boundaries=boundaries)

    expected = np.zeros(snippets * per_snippet, dtype=np.uint8)
    expected[first:] = 1
    for end in (snippets * per_snippet, last_end - 1, last_end):
        frames = expected.copy()
        if end == snippets * per_snippet and boundaries != "[s,e]":
            frames[end:] = 0
        _assert_equal(load(end), [frames])
    beyond = 1 + per_snippet + (boundaries == "[s,e]")
    with pytest.raises(
        DataError,
        match=rf"'Assault006_x264': interval 1185 {last_end + 1} ends {beyond} frames after the "
        rf"last of {snippets * per_snippet} frames.*Up to {beyond - 1} frames beyond are allowed",
    ):
        load(last_end + 1)


@pytest.mark.parametrize("boundaries", ["[s,e)", "[s,e]", "[s-1,e)"])
def test_rows_that_share_the_frames_evenly_have_annotations_too(tmp_path, boundaries):
    path = tmp_path / "annotations.txt"
    path.write_text("Abuse/v.mp4 990 Abuse 980 990\n")
    video = _video("v", 1, num_frames=990, frames_per_snippet=None)
    (frames,) = load_ground_truth([video], [32], source=path, boundaries=boundaries)
    assert len(frames) == 990
    assert frames.sum() == 10 + (boundaries == "[s-1,e)")


def test_annotations_match_names_without_folder_and_suffix(tmp_path):
    path = tmp_path / "annotations.txt"
    path.write_text("Arson/my cam 1.mp4 64 Arson 10 20\n")
    for name in ("my cam 1", "a/my cam 1", "my cam 1.mp4"):
        (frames,) = load_ground_truth([_video(name, 1)], [4], source=path, boundaries="[s,e)")
        assert np.flatnonzero(frames).tolist() == list(range(10, 20))
    with pytest.raises(DataError, match="both 'a/x' and 'b/x' are 'x'; rename"):
        load_ground_truth(
            [_video("a/x", 0), _video("b/x", 0)], [4, 4], source=path, boundaries="[s,e)"
        )


def test_a_video_of_unknown_label_needs_truth_of_its_own(tmp_path):
    path = tmp_path / "annotations.txt"
    path.write_text("a.mp4 10 20\nb.mp4 -1 -1\n")
    videos = [_video("a", None), _video("b", None)]
    truth = load_ground_truth(videos, [2, 2], source=path, boundaries="[s,e)")
    assert [int(frames.sum()) for frames in truth] == [10, 0]
    with pytest.raises(DataError, match="no line for the video of unknown label 'c'"):
        load_ground_truth([_video("c", None)], [2], source=path, boundaries="[s,e)")
    with pytest.raises(DataError, match="c: neither its label nor its ground truth is known"):
        load_ground_truth([_video("c", None)], [2])


def _missing(index: int, name: str, **fields: object) -> LeftOut:
    return LeftOut(index, _video(name, 1, **fields), (f"{name}.npy",))


@pytest.mark.parametrize("gone", [{0}, {1}, {2}, {0, 1}, {0, 2}, {1, 2}])
def test_videos_that_are_left_out_are_cut_out_of_the_vector(tmp_path, test_set, gone):
    videos, snippets, truth = test_set
    np.save(tmp_path / "gt.npy", np.concatenate(truth))
    left_out = [
        _missing(i, videos[i].name, num_frames=16 * snippets[i]) for i in sorted(gone, reverse=True)
    ]
    kept = [i for i in range(3) if i not in gone]
    got = load_ground_truth(
        [videos[i] for i in kept], [snippets[i] for i in kept], source=tmp_path / "gt.npy",
        left_out=left_out,
    )  # fmt: skip
    _assert_equal(got, [truth[i] for i in kept])


@pytest.mark.parametrize("options", [{}, {"length_rule": "snippets"}])
def test_a_missing_video_of_unknown_length_is_never_cut_out_by_guess(tmp_path, test_set, options):
    videos, snippets, truth = test_set
    np.save(tmp_path / "gt.npy", np.concatenate(truth))
    gone = _missing(1, "Normal1", num_frames=48 if options else None)
    with pytest.raises(
        ValueError, match=r"Normal1: its files are missing.*column num_frames, or give num_frames="
    ):
        load_ground_truth(
            videos[::2], snippets[::2], source=tmp_path / "gt.npy", left_out=[gone], **options
        )


def test_scores_for_each_frame_are_named_as_the_cause(tmp_path, test_set):
    videos, snippets, truth = test_set
    np.save(tmp_path / "gt.npy", np.concatenate(truth))
    frames = [16 * n for n in snippets]
    with pytest.raises(DataError, match="likely cause: the scores have a value for each frame"):
        load_ground_truth(videos, frames, source=tmp_path / "gt.npy", counted="scores")
    np.save(tmp_path / "own.npy", truth[0])
    own = _video("Abuse1", 1, frame_labels=tmp_path / "own.npy")
    with pytest.raises(DataError, match=r"\(32 scores.*the scores have a value.*snippet=1 with a"):
        load_ground_truth([own], [32], counted="scores")
    with pytest.raises(DataError, match=r"\(32 snippets.*it has a value for each snippet"):
        load_ground_truth([own], [32])
    one = dataclasses.replace(own, frames_per_snippet=1)
    _assert_equal(load_ground_truth([one], [32], counted="scores"), [truth[0]])
