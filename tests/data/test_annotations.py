import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladnet_fast.data import (
    DataError,
    Interval,
    intervals_to_frames,
    read_annotations,
    read_num_frames,
)

XD = "Bad.Boys.1995__#00-26-51_00-27-53_label_B1-B2-0"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("line", "name", "intervals"),
    [
        (
            "Abuse028_x264.mp4  Abuse  165  240  -1  -1  ",
            "Abuse028_x264",
            [(165, 240, "Abuse")],
        ),
        (
            "Arson011_x264  Arson  150  420  680  1267",
            "Arson011_x264",
            [(150, 420, "Arson"), (680, 1267, "Arson")],
        ),
        ("Normal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1", "Normal_Videos_003_x264", []),
        (f"{XD} 160 211 300 350", XD, [(160, 211, None), (300, 350, None)]),
        (f"{XD} B1 160 211 B2 300 350", XD, [(160, 211, "B1"), (300, 350, "B2")]),
        (f"{XD}.mp4 0 0", XD, [(0, 0, None)]),
        (
            "Arson/Arson022_x264.mp4 8640 Arson 3500 4000 -1 -1",
            "Arson022_x264",
            [(3500, 4000, "Arson")],
        ),
        ("Arson022_x264 8640 Arson 3500 8640", "Arson022_x264", [(3500, 8640, "Arson")]),
        ("Abuse/Abuse028_x264.mp4 Abuse 165 240 -1 -1", "Abuse028_x264", [(165, 240, "Abuse")]),
        ("Abuse\\Abuse028_x264.MP4 Abuse 165 240", "Abuse028_x264", [(165, 240, "Abuse")]),
        ("./a/b.c/Abuse028_x264 165 240", "Abuse028_x264", [(165, 240, None)]),
        ("my cam 1.mp4 100 200", "my cam 1", [(100, 200, None)]),
        (
            "my cam 1 2.avi 900 Falling 100 200 300 400",
            "my cam 1 2",
            [(100, 200, "Falling"), (300, 400, "Falling")],
        ),
        ("cams 3/my cam 7.mkv  Normal  -1  -1", "my cam 7", []),
        ("Some Film__#00-01-02.mp4 12 60", "Some Film__#00-01-02", [(12, 60, None)]),
        (
            "Some Film__#1_label_B1-B2-0 B1 12 60 B2 70 80",
            "Some Film__#1_label_B1-B2-0",
            [(12, 60, "B1"), (70, 80, "B2")],
        ),
        ("my Abuse028_x264 Abuse 165 240", "my Abuse028_x264", [(165, 240, "Abuse")]),
        ("cam1 Falling 10 20", "cam1", [(10, 20, "Falling")]),
        ("07 10 20", "07", [(10, 20, None)]),
        ("cam.mp4", "cam", []),
    ],
)
def test_every_format_is_read(tmp_path, newline, line, name, intervals):
    path = tmp_path / "annotations.txt"
    path.write_bytes(f"{line}{newline}{newline}other 1 2{newline}".encode())
    assert read_annotations(path) == {
        name: tuple(Interval(*entry) for entry in intervals),
        "other": (Interval(1, 2, None),),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a 1 2\n\na.mp4 3 4\n", "line 3: a second line for video 'a'"),
        ("a 1 2 3\n", "line 1: frame 3 has no partner"),
        ("a B1 1 B2 3 4\n", "line 1: frame 1 has no partner"),
        ("a 5 4\n", "line 1: 5 4 is not an interval"),
        ("a -1 4\n", "line 1: -1 4 is not an interval"),
        ("a 1.5 4\n", "line 1: '1.5' is neither a frame's number nor a class"),
        ("x/a.mp4 1 2\ny/a.avi 3 4\n", "line 2: a second line for video 'a' after line 1; names c"),
        ("a 1 2\nx\\a 3 4\n", "line 2: a second line for video 'a'"),
        ("my big cam 100 200\n", "line 1: can't tell where the name ends.*'my cam 1.mp4 100 200'"),
        ("my cam 1 100 200\n", "line 1: frame 200 has no partner.*needs its suffix"),
        ("cam 1 100 200\n", "line 1: frame 200 has no partner.*needs its suffix"),
        ("my cam.mp4 Road Accidents 100 200\n", "line 1: .*a class is one word"),
        ("a.mp4 8640 3500 4000\n", "line 1: frame 4000 has no partner.*number of frames stands b"),
        ("a.mp4 500 Arson 400 501\n", "line 1: interval 400 501 ends after the 500 frames"),
        ("a 1 B2 3 4\n", "line 1: interval 3 4 ends after the 1 frames"),
        ("a.mp4 0 Arson 1 2\n", "line 1: the number of frames must be at least 1; got 0"),
        ("x/.mp4 1 2\n", "line 1: the name of a video must not be empty; got 'x/.mp4'"),
    ],
)
def test_bad_line_is_named(tmp_path, text, message):
    path = tmp_path / "annotations.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_annotations(path)


def test_absent_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="annotation file"):
        read_annotations(tmp_path / "gone.txt")


@pytest.mark.parametrize(
    ("boundaries", "start", "end", "anomalous"),
    [
        ("[s,e)", 2, 5, [2, 3, 4]),
        ("[s,e]", 2, 5, [2, 3, 4, 5]),
        ("[s-1,e)", 2, 5, [1, 2, 3, 4]),
        ("[s,e)", 3, 3, []),
        ("[s,e]", 3, 3, [3]),
        ("[s-1,e)", 3, 3, [2]),
        ("[s-1,e)", 0, 2, [0, 1]),
        ("[s,e)", 0, 8, list(range(8))),
        ("[s,e]", 0, 7, list(range(8))),
        ("[s-1,e)", 1, 8, list(range(8))),
    ],
)
def test_each_convention_marks_its_frames(boundaries, start, end, anomalous):
    frames = intervals_to_frames([Interval(start, end, None)], 8, boundaries=boundaries)
    assert frames.dtype == np.uint8
    assert np.flatnonzero(frames).tolist() == anomalous
    assert len(frames) == 8


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20)), max_size=4),
    st.sampled_from(["[s,e)", "[s,e]", "[s-1,e)"]),
)
def test_intervals_unite(pairs, boundaries):
    intervals = [Interval(start, start + length, None) for start, length in pairs]
    united = intervals_to_frames(intervals, 64, boundaries=boundaries)
    single = [intervals_to_frames([i], 64, boundaries=boundaries) for i in intervals]
    np.testing.assert_array_equal(united, np.any([np.zeros(64), *single], axis=0))


def test_one_class_can_be_picked():
    intervals = [Interval(0, 2, "B1"), Interval(4, 6, "B2")]
    frames = intervals_to_frames(intervals, 6, boundaries="[s,e)", class_name="B2")
    assert np.flatnonzero(frames).tolist() == [4, 5]


@pytest.mark.parametrize(("slack", "end", "fits"), [(0, 8, True), (0, 9, False), (3, 11, True)])
def test_interval_may_exceed_the_frames_by_the_slack_only(slack, end, fits):
    def convert():
        return intervals_to_frames([Interval(6, end, None)], 8, boundaries="[s,e)", slack=slack)

    if fits:
        assert np.flatnonzero(convert()).tolist() == [6, 7]
    else:
        with pytest.raises(ValueError, match="6 9 ends at frame 9, but there are 8 frames"):
            convert()


@pytest.mark.parametrize("boundaries", [None, "(s,e)", ""])
def test_unknown_convention_is_refused(boundaries):
    with pytest.raises(ValueError, match=r"boundaries must be one of \[s,e\), \[s,e\], \[s-1,e\)"):
        intervals_to_frames([], 8, boundaries=boundaries)


@pytest.mark.parametrize(
    ("line", "name", "frames"),
    [
        ("Abuse028_x264 1412", "Abuse028_x264", 1412),
        ("Abuse/Abuse028_x264.mp4 1412", "Abuse028_x264", 1412),
        ("my cam 1.mp4 1412", "my cam 1", 1412),
        ("my cam 1412", "my cam", 1412),
        ("07 1412", "07", 1412),
        ("Arson/Arson022_x264.mp4 8640 Arson 3500 4000 -1 -1", "Arson022_x264", 8640),
        ("Normal_Videos_003_x264.mp4 2820 Normal -1 -1 -1 -1", "Normal_Videos_003_x264", 2820),
    ],
)
def test_numbers_of_frames_come_from_lists_and_annotations(tmp_path, line, name, frames):
    path = tmp_path / "frames.txt"
    path.write_text(f"{line}\r\nother.mp4 7\n")
    assert read_num_frames(path) == {name: frames, "other": 7}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Abuse028_x264.mp4 Abuse 165 240\n", "line 1: .*gives no number of frames"),
        ("Abuse028_x264.mp4 165 240\n", "line 1: .*gives no number of frames"),
        ("cam Abuse 165 240\n", "line 1: .*gives no number of frames"),
        ("my cam 1 1412\n", "line 1: .*needs its suffix"),
        ("cam\n", "line 1: .*gives no number of frames"),
        ("cam 0\n", "line 1: .*gives no number of frames"),
        ("cam -1\n", "line 1: .*gives no number of frames"),
        ("cam 1.5\n", "line 1: .*gives no number of frames"),
        ("a/cam 5\nb/cam.mp4 6\n", "line 2: a second line for video 'cam'"),
    ],
)
def test_a_line_without_a_number_of_frames_is_named(tmp_path, text, message):
    path = tmp_path / "frames.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_num_frames(path)
