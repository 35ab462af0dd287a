"""Which axis of a feature file holds the crops: one rule, whoever asks."""

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladnet_fast.data import (
    BagDataset,
    DataError,
    FeatureSource,
    Video,
    count_crops,
    feature_shape,
    feature_width,
    iter_crops,
    load_features,
    num_snippets,
    read_list,
    read_manifest,
    write_manifest,
)
from ladnet_fast.data.axes import CROP_COUNTS, crop_axis

ORDERS = ("snippets,crops", "crops,snippets")


def _crops(array: np.ndarray, axes: str) -> list[np.ndarray]:
    return list(array if axes == "crops,snippets" else array.swapaxes(0, 1))


def _assert_read_as(video: Video, axes: str) -> None:
    """Every function that reads a video takes the same axis for the crops."""
    expected = _crops(np.load(video.features[0].path), axes)
    assert count_crops(video) == len(expected)
    assert num_snippets(video) == len(expected[0])
    assert feature_width(video) == expected[0].shape[1]
    assert feature_shape(video.features[0], axes=video.axes) == (
        len(expected[0]), len(expected), expected[0].shape[1],
    )  # fmt: skip
    for crop, got in zip(expected, iter_crops(video), strict=True):
        np.testing.assert_array_equal(got.features, crop)
    bags = BagDataset([video], sampling="none")
    for crop, bag in zip(expected, bags, strict=True):
        np.testing.assert_array_equal(bag.features, crop)


@pytest.mark.parametrize("length", [2, 3, 7, 11, 30])
@pytest.mark.parametrize("crops", CROP_COUNTS)
@pytest.mark.parametrize("axes", ORDERS)
def test_one_axis_of_1_5_or_10_is_the_crops(make_video, length, crops, axes):
    shape = (length, crops, 4) if axes == "snippets,crops" else (crops, length, 4)
    _assert_read_as(make_video(shapes=(shape,)), axes)


def test_one_snippet_of_one_crop_needs_no_word(make_video):
    _assert_read_as(make_video(shapes=((1, 1, 4),)), "snippets,crops")


@pytest.mark.parametrize("shape", [(10, 10, 4), (5, 10, 4), (1, 5, 4), (10, 1, 4), (7, 3, 4)])
@pytest.mark.parametrize("axes", ORDERS)
def test_a_stated_order_decides_what_the_shape_does_not(make_video, shape, axes):
    _assert_read_as(make_video(shapes=(shape,), axes=axes), axes)


@pytest.mark.parametrize("shape", [(10, 10, 4), (5, 10, 4), (1, 5, 4), (10, 1, 4), (7, 3, 4)])
@pytest.mark.parametrize(
    "read", [count_crops, num_snippets, feature_width, lambda v: list(iter_crops(v)),
             lambda v: BagDataset([v]), lambda v: load_features(v.features[0])]
)  # fmt: skip
def test_a_shape_that_does_not_tell_is_never_guessed(make_video, shape, read):
    with pytest.raises(DataError) as error:
        read(make_video(shapes=(shape,)))
    message = str(error.value)
    a, b, _ = shape
    for part in (
        "v__0.npy", str(shape),
        f"(T, crops, D), {a} snippets in {b} crops", f"(crops, T, D), {b} snippets in {a} crops",
        "axes='snippets,crops' or axes='crops,snippets'", "manifest's column axes",
    ):  # fmt: skip
        assert part in message


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([None, *ORDERS]))
def test_the_axis_of_crops_is_certain_or_stated(a, b, axes):
    candidates = {0: a in CROP_COUNTS, 1: b in CROP_COUNTS}
    try:
        axis = crop_axis((a, b, 4), axes, "x.npy")
    except DataError:
        stated = None if axes is None else 1 - ORDERS.index(axes)
        assert (
            candidates[0] == candidates[1]
            if stated is None
            else candidates[1 - stated] and not candidates[stated]
        )
        return
    if axes is not None:
        assert axis == 1 - ORDERS.index(axes)
    elif (a, b) != (1, 1):
        assert candidates[axis]
        assert not candidates[1 - axis]


def test_one_crop_of_any_axis_order_may_be_a_file_of_many_and_a_query(make_video, save):
    query = FeatureSource(save("q.npy", (1, 10, 3)))
    video = make_video(shapes=((1, 10, 4), (10, 1, 4)), query=query)
    assert num_snippets(video) == 10
    crops = list(iter_crops(video))
    assert [crop.features.shape for crop in crops] == [(10, 4)] * 2
    np.testing.assert_array_equal(crops[0].query, np.load(query.path)[0])
    np.testing.assert_array_equal(crops[1].features, np.load(video.features[1].path)[:, 0])


def test_a_query_of_several_crops_is_refused(make_video, save):
    video = make_video(query=FeatureSource(save("q.npy", (5, 10, 3))))
    for read in (num_snippets, lambda v: list(iter_crops(v)), lambda v: BagDataset([v])):
        with pytest.raises(DataError, match=r"q\.npy: shape \(5, 10, 3\) .*v has a query"):
            read(video)


def test_ten_crop_lists_state_their_order_and_contradict_others(tmp_path, save):
    for name, shape in (("Abuse001", (10, 10, 4)), ("Abuse002", (30, 10, 4)),
                        ("Abuse003", (10, 30, 4))):  # fmt: skip
        save(f"{name}_i3d.npy", shape)
    listing = tmp_path / "x.list"
    listing.write_text("Abuse001_i3d.npy\nAbuse002_i3d.npy\nAbuse003_i3d.npy\n")
    videos = read_list(listing, "ten-crop")
    _assert_read_as(videos[0], "snippets,crops")
    _assert_read_as(videos[1], "snippets,crops")
    with pytest.raises(
        DataError,
        match=r"Abuse003_i3d\.npy: shape \(10, 30, 4\) is stated to be \(T, crops, D\), which "
        r"would be 30 crops of 10 snippets.*looks like \(crops, T, D\).*axes='crops,snippets'",
    ):
        num_snippets(videos[2])
    _assert_read_as(read_list(listing, "ten-crop", axes="crops,snippets")[2], "crops,snippets")


def test_a_manifest_states_the_order_of_each_video(tmp_path, make_video):
    videos = [
        make_video("a", ((10, 5, 4),), axes="crops,snippets"),
        make_video("b", ((10, 5, 4),), axes="snippets,crops"),
        make_video("c", ((30, 5, 4),)),
    ]
    path = tmp_path / "videos.csv"
    write_manifest(path, videos)
    assert read_manifest(path) == videos
    assert '"crops,snippets"' in path.read_text()
    write_manifest(path, videos[2:])
    assert "axes" not in path.read_text()


@pytest.mark.parametrize("axes", ["crops", "snippets, crops", ""])
def test_an_unknown_order_is_refused(tmp_path, make_video, save, axes):
    allowed = "axes must be snippets,crops or crops,snippets.*got"
    with pytest.raises(ValueError, match=allowed):
        make_video(axes=axes)
    for read in (load_features, feature_shape):
        with pytest.raises(ValueError, match=allowed):
            read(save("x.npy"), axes=axes)
    (tmp_path / "x.list").write_text("Abuse001.npy\n")
    with pytest.raises(ValueError, match=allowed):
        read_list(tmp_path / "x.list", "ucf-i3d", axes=axes, check_files=False)
    if axes:
        path = tmp_path / "videos.csv"
        path.write_text(f'video,features,label,axes\na,a.npy,1,"{axes}"\n')
        with pytest.raises(DataError, match=f"line 2: a: {allowed}"):
            read_manifest(path, check_files=False)


@pytest.mark.parametrize(
    ("shape", "kept"),
    [((1, 7, 10, 4), (7, 10, 4)), ((7, 1, 1, 4), (7, 4)), ((1, 1, 10, 7, 4), (10, 7, 4))],
)
def test_axes_of_length_one_are_taken_out_by_the_command_of_the_message(save, shape, kept):
    path = save("it's $x.npy", shape)
    before = np.load(path)
    with pytest.raises(DataError, match="which leaves") as error:
        load_features(path)
    assert str(kept) in str(error.value)
    command = str(error.value).splitlines()[1]
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    subprocess.run(["bash", "-c", command], check=True, env=environment)
    np.testing.assert_array_equal(np.load(path), before.reshape(kept))
    assert shlex.split(command)[0] == "python"


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 2, 3, 4, 5)])
def test_more_axes_than_crops_and_snippets_have_no_remedy(save, shape):
    with pytest.raises(DataError, match="is neither") as error:
        load_features(save("x.npy", shape))
    assert "python" not in str(error.value)
