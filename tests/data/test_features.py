import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast.data import (
    DataError,
    FeatureSource,
    Video,
    count_crops,
    feature_shape,
    iter_crops,
    load_features,
    num_snippets,
)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", "int16", "uint8"])
def test_any_real_dtype_is_cast_to_contiguous_float32(save, dtype):
    path = save("x.npy", array=np.asfortranarray(np.arange(12).reshape(3, 4).astype(dtype)))
    features = load_features(path)
    assert features.dtype == np.float32
    assert features.flags.c_contiguous
    np.testing.assert_array_equal(features, np.arange(12).reshape(3, 4))


@pytest.mark.parametrize("crop", [0, 3, 9])
def test_second_axis_holds_the_crops(save, crop):
    path = save("x_i3d.npy", (7, 10, 6))
    np.testing.assert_array_equal(load_features(path, crop=crop), np.load(path)[:, crop])


@pytest.mark.parametrize(("shape", "crop"), [((7, 10, 6), 10), ((7, 6), 1), ((7, 6), -1)])
def test_crop_out_of_range_is_refused(save, shape, crop):
    with pytest.raises(ValueError, match=rf"crop must be in 0\.\.\d; got {crop}"):
        load_features(save("x.npy", shape), crop=crop)


@pytest.mark.parametrize("separator", [" ", "\t", ","])
def test_text_rows_are_read(tmp_path, rng, separator):
    rows = rng.normal(size=(32, 50)).astype(np.float32)
    path = tmp_path / "Abuse001_x264.txt"
    np.savetxt(path, rows, delimiter=separator, fmt="%.9g")
    np.testing.assert_array_equal(load_features(path), rows)
    assert feature_shape(path) == (32, 50)


def test_hdf5_data_set_is_read_by_key(tmp_path, rng):
    h5py = pytest.importorskip("h5py")
    rows = rng.normal(size=(6, 4))
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["Abuse001_x264"] = rows
        file["ten"] = np.stack([rows, rows + 1, rows, rows, rows], axis=1)
    np.testing.assert_array_equal(
        load_features(f"{tmp_path}/all.h5::Abuse001_x264"), rows.astype(np.float32)
    )
    np.testing.assert_array_equal(
        load_features(f"{tmp_path}/all.h5::ten", crop=1), (rows + 1).astype(np.float32)
    )


def test_object_array_is_refused_with_a_conversion_that_works(save, rng):
    rows = [rng.normal(size=(10, 4)) for _ in range(3)]
    array = np.empty(3, dtype=object)
    array[:] = rows
    path = save("it's x.npy", array=array)
    with pytest.raises(DataError, match=r"(?s)object array.*np\.save") as error:
        load_features(path)
    command = shlex.split(str(error.value).splitlines()[1])
    subprocess.run([sys.executable, *command[1:]], check=True)
    assert feature_shape(path) == (3, 10, 4)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _cut_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _html(path: Path) -> None:
    path.write_text("<html>Quota exceeded</html>")


@pytest.mark.parametrize("damage", [_truncate, _cut_header, _empty, _html])
def test_corrupt_npy_is_named(save, damage):
    path = save("broken.npy")
    damage(path)
    with pytest.raises(DataError, match=r"broken\.npy is not a complete .npy file"):
        load_features(path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(4), r"shape \(4,\) is neither \(T, D\)"),
        (np.zeros((2, 3, 4, 5)), r"shape \(2, 3, 4, 5\) is neither"),
        (np.zeros((0, 4)), r"shape \(0, 4\) is neither"),
        (np.zeros((4, 0)), r"shape \(4, 0\) is neither"),
        (np.array(1.0), r"shape \(\) is neither"),
        (np.zeros((2, 3), dtype=complex), "dtype complex128"),
        (np.array([["a", "b"]]), "dtype <U1"),
        (np.zeros((2, 3), dtype=bool), "dtype bool"),
    ],
)
def test_unusable_array_is_named(save, array, message):
    with pytest.raises(DataError, match=rf"x\.npy: .*{message}"):
        load_features(save("x.npy", array=array))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_value_that_is_not_finite_as_float32_names_file_and_row(save, value):
    array = np.zeros((6, 3))
    array[4, 1] = array[5, 0] = value
    with pytest.raises(DataError, match=r"x\.npy: row 4, column 1 is .*2 of 6 rows"):
        load_features(save("x.npy", array=array))


def test_value_that_is_not_finite_names_the_crop(save):
    array = np.zeros((6, 5, 2), dtype=np.float32)
    array[2, 1, 1] = np.nan
    path = save("x.npy", array=array)
    assert load_features(path, crop=0).shape == (6, 2)
    with pytest.raises(DataError, match=r"x\.npy \(crop 1\): row 2, column 1"):
        load_features(path, crop=1)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("absent.npy", None, FileNotFoundError, r"absent\.npy does not exist"),
        ("absent.h5::k", None, FileNotFoundError, r"absent\.h5 does not exist"),
        ("x.pkl", b"", DataError, r"read from \.npy, \.txt .* not from '\.pkl'"),
        ("x.txt", b"1 2\n3 four\n", DataError, r"x\.txt is not a table of numbers"),
        ("x.txt", b"1 2\n3\n", DataError, r"x\.txt is not a table of numbers"),
        ("x.txt", b"", DataError, r"x\.txt: shape \(0, \d\) is neither"),
        ("x.txt", b"# nothing\n", DataError, r"x\.txt: shape \(0, \d\) is neither"),
        ("x.h5::k", b"text", DataError, r"x\.h5 is not a readable HDF5 file"),
        ("x.h5", b"text", DataError, r"say which data set"),
        ("x.npy::k", b"", DataError, r"only HDF5 files have keys"),
    ],
)
def test_unreadable_source_is_named(tmp_path, name, content, error, message):
    if content is not None:
        (tmp_path / name.partition("::")[0]).write_bytes(content)
    with pytest.raises(error, match=message):
        load_features(f"{tmp_path}/{name}")


def test_absent_hdf5_key_lists_some_that_exist(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for key in "abcd":
            file[key] = np.zeros((2, 2))
        file.create_group("group")
    for key in ("e", "group"):
        with pytest.raises(
            DataError, match=rf"no data set '{key}'; it has 5 keys: a, b, c, \.\.\."
        ):
            load_features(f"{tmp_path}/all.h5::{key}")


@pytest.mark.parametrize("text", ["", "::key", "x.h5::"])
def test_malformed_source_is_refused(text):
    with pytest.raises(ValueError, match="feature source must be"):
        FeatureSource.parse(text)


def test_source_and_text_convert_both_ways():
    for text in ("dir/x.npy", "all.h5::Bad.Boys__#1"):
        assert str(FeatureSource.parse(text)) == text
    assert FeatureSource.parse("x.npy", Path("/base")).path == Path("/base/x.npy")
    assert FeatureSource.parse("/abs/x.npy", Path("/base")).path == Path("/abs/x.npy")


@pytest.mark.parametrize("shapes", [((5, 4),), ((5, 4),) * 3, ((7, 10, 4),), ((10, 7, 4),)])
def test_every_crop_is_yielded_in_order(make_video, shapes):
    video = make_video(shapes=shapes)
    crops = list(iter_crops(video))
    if len(shapes[0]) == 3:
        expected = list(np.load(video.features[0].path))
        if shapes[0][1] == 10:
            expected = list(np.load(video.features[0].path).swapaxes(0, 1))
    else:
        expected = [np.load(source.path) for source in video.features]
    assert len(crops) == len(expected) == count_crops(video)
    for crop, array in zip(crops, expected, strict=True):
        np.testing.assert_array_equal(crop.features, array)
        assert crop.query is None
    assert num_snippets(video) == (7 if len(shapes[0]) == 3 else 5)


@pytest.mark.parametrize("other", [(6, 4), (5, 3)])
def test_crops_that_differ_in_shape_are_named(make_video, other):
    video = make_video(shapes=((5, 4), (5, 4), other))
    with pytest.raises(DataError, match=r"v: crop 2 \(.*v__2\.npy\) has shape .* crop 0"):
        list(iter_crops(video))


def test_two_files_of_many_crops_each_are_refused(make_video):
    with pytest.raises(DataError, match="one file per crop"):
        list(iter_crops(make_video(shapes=((5, 10, 4),) * 2)))


@pytest.mark.parametrize(("length", "query_length"), [(5, 5), (5, 4), (5, 6)])
def test_longer_of_features_and_query_loses_its_last_row(make_video, save, length, query_length):
    query = save("v__vggish.npy", (query_length, 3))
    video = make_video(shapes=((length, 4),) * 2, query=FeatureSource(query))
    common = min(length, query_length)
    for source, crop in zip(video.features, iter_crops(video), strict=True):
        np.testing.assert_array_equal(crop.features, np.load(source.path)[:common])
        np.testing.assert_array_equal(crop.query, np.load(query)[:common])
    assert num_snippets(video) == common


@pytest.mark.parametrize("read", [lambda video: list(iter_crops(video)), num_snippets])
def test_query_off_by_more_than_one_names_both_files_and_lengths(make_video, save, read):
    query = FeatureSource(save("v__vggish.npy", (7, 3)))
    with pytest.raises(
        DataError, match=r"v__0\.npy has 5 snippets, but its query .*vggish.* has 7"
    ):
        read(make_video(query=query))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "name of a video"),
        ({"features": ()}, "at least one file"),
        ({"label": 2}, "label must be 0"),
        ({"num_frames": 0}, "num_frames must be at least 1"),
        ({"frames_per_snippet": 0}, "frames_per_snippet must be at least 1"),
        ({"label": 0, "classes": ("Abuse",)}, "classes must be empty"),
    ],
)
def test_video_refuses_impossible_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Video(**{"name": "v", "features": (FeatureSource(Path("x")),), "label": 1, **fields})
