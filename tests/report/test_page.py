"""The page in a real browser: what is shown, what clicks do, and that nothing leaves it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast._printable import printable
from ladnet_fast._times import clock
from ladnet_fast.report import ReportVideo, intervals, page_text, peaks, pictures_of, write_page

from ..names import NASTY_NAMES
from .browser import Page
from .conftest import write_clip

HOSTILE = [
    *NASTY_NAMES,
    "</script><script>document.title = 'taken'</script>",
    "<!--<script>",
    "<img src=x onerror=\"document.title='taken'\">",
    '" onmouseover="document.title=\'taken\'"',
    "{{data}}{{script}}",
    "javascript:document.title='taken'",
    "\u2028line\u2029",
]


def bump(length: int, centre: int, height: float, width: float = 2.0) -> np.ndarray:
    t = np.arange(length)
    return (0.1 + (height - 0.1) * np.exp(-(((t - centre) / width) ** 2))).astype(np.float32)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video that a browser plays, in a folder whose name has to be written otherwise there."""
    folder = tmp_path_factory.mktemp("clips") / "100% #1? é"
    folder.mkdir()
    return write_clip(folder / "a:street.webm", frames=640)


@pytest.fixture(scope="module")
def street(clip: Path) -> ReportVideo:
    """Forty snippets with two peaks, at 10 and 30."""
    scores = np.maximum(bump(40, 10, 0.9), bump(40, 30, 0.7))
    truth = np.zeros(640)
    truth[128:220] = 1
    chosen = peaks(scores)
    pictures = pictures_of(clip, [(at * 16 + 8) / 25 for at in chosen])
    return ReportVideo(
        "street", scores, num_frames=640, fps=25, ground_truth=truth, source=clip,
        pictures=dict(zip(chosen, pictures, strict=True)),
    )  # fmt: skip


def table(tab: Page) -> list[list[str]]:
    return [row.split("\t") for row in tab.texts("#intervals tr")]


def set_threshold(tab: Page, value: float) -> None:
    tab.run(
        f"(() => {{ const s = document.getElementById('threshold'); s.value = {value};"
        "s.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    tab.settle()


def seek_time(tab: Page) -> float:
    tab.wait("document.getElementById('player').readyState >= 1")
    tab.wait("!document.getElementById('player').seeking")
    return float(tab.run("document.getElementById('player').currentTime"))


def x_of(tab: Page, place: float) -> tuple[float, float]:
    """Return where a share of the video's length is on the screen, in the plot."""
    box = tab.box("#plot")
    return box["x"] + 34 + (box["width"] - 48) * place, box["y"] + box["height"] * 0.6


def require_quiet(tab: Page, allowed: tuple[Path, ...]) -> None:
    """Nothing but the page itself, its own data and these videos was asked for; no complaint."""
    left = {url for url in tab.requests if not url.startswith(("data:", "blob:"))}
    assert left <= {path.resolve().as_uri() for path in allowed} | {
        path.resolve().as_uri().replace("a%3Astreet", "a:street") for path in allowed
    }
    assert tab.complaints == []


def test_clicks_seek_and_the_slider_finds_intervals(
    tab: Page, street: ReportVideo, clip: Path, tmp_path: Path
) -> None:
    other = ReportVideo("other", bump(400, 200, 0.95), fps=30)
    path = write_page(tmp_path / "report.html", [street, other])
    tab.open(path)
    # The list, by the highest score.
    assert [text.split("\n")[0] for text in tab.texts("#list button")] == ["other", "street"]
    assert tab.text("#name") == "other"
    assert not tab.run("document.getElementById('stage').offsetHeight")
    tab.click("#list li:nth-child(2) button")
    assert tab.text("#name") == "street"
    assert "0:00:25" in tab.text("#facts")
    assert "at 0:00:06.4, snippet 10" in tab.text("#facts")
    assert tab.run("document.getElementById('truth-key').offsetHeight") > 0

    # The player stands at the peak; clicks on curve, picture and table seek.
    assert seek_time(tab) == pytest.approx(6.4, abs=0.01)
    tab.click_at(*x_of(tab, 30.5 / 40))
    assert seek_time(tab) == pytest.approx(19.2, abs=0.01)
    assert len(tab.texts("#pictures button")) == 2
    tab.click("#pictures button")
    assert seek_time(tab) == pytest.approx(6.4, abs=0.01)
    tab.click("#intervals tr:nth-child(2) button")
    first = intervals(street.scores, 0.5, fps=25)[1].start
    assert seek_time(tab) == pytest.approx(first, abs=0.01)

    # Hovering tells time and score.
    tab.move(*x_of(tab, 20.5 / 40))
    assert tab.text("#tip") == "0:00:12.8, snippet 20, score 0.100"

    # The slider: by keys too.
    set_threshold(tab, 0.8)
    assert tab.text("#count") == "1 interval at 0.800 or more"
    tab.run("document.getElementById('threshold').focus()")
    tab.press("ArrowLeft")
    assert tab.text("#threshold-value") == "0.795"
    set_threshold(tab, 1)
    assert tab.text("#count").startswith("No interval at 1.000 or more; the highest score is 0.9")
    assert table(tab) == []
    require_quiet(tab, (path, clip))


@pytest.mark.parametrize(("shortest", "gap"), [(1, 0), (2, 0), (1, 3), (4, 2)])
def test_the_page_follows_the_rule_of_python(
    tab: Page, tmp_path: Path, shortest: int, gap: int
) -> None:
    rng = np.random.default_rng(shortest * 10 + gap)
    videos = [
        ReportVideo("long", rng.random(300).astype(np.float32), num_frames=4795, fps=23.976),
        ReportVideo("shared", rng.random(32), frames_per_snippet=None, num_frames=1000, fps=25),
        ReportVideo("frames only", rng.random(50)),
        ReportVideo("nothing known", rng.random(20), frames_per_snippet=None),
    ]
    path = write_page(tmp_path / "p.html", videos, min_snippets=shortest, merge_gaps=gap)
    tab.open(path)
    for video in videos:
        tab.run(
            "Array.from(document.querySelectorAll('#list button'))"
            f".find(b => b.title === {json.dumps(video.name)}).click()"
        )
        for threshold in (0.0, 0.355, 0.5, 0.9):
            set_threshold(tab, threshold)
            found = intervals(
                np.asarray(video.scores, np.float32), threshold, min_snippets=shortest,
                merge_gaps=gap, frames_per_snippet=video.frames_per_snippet,
                num_frames=video.num_frames, fps=video.fps,
            )  # fmt: skip
            if video.fps is not None:
                decimals = 0 if video.num_frames / video.fps >= 120 else 1
                expected = [
                    [clock(time, decimals=decimals) for time in (e.start, e.end, e.peak)]
                    for e in found
                ]
            elif found and found[0].first_frame is not None:
                expected = [
                    [str(e.first_frame), str(e.last_frame), str(e.peak_snippet * 16)] for e in found
                ]
            else:
                expected = [
                    [str(e.first_snippet), str(e.last_snippet), str(e.peak_snippet)] for e in found
                ]
            assert [row[:3] for row in table(tab)] == expected, (video.name, threshold)
    require_quiet(tab, (path,))


def test_names_are_text(tab: Page, tmp_path: Path) -> None:
    videos = [ReportVideo(name, [0.5], source=tmp_path / "x") for name in HOSTILE]
    path = write_page(tmp_path / "names.html", videos, title=HOSTILE[-7])
    tab.open(path)
    assert tab.run("Array.from(document.querySelectorAll('#list button'), b => b.title)") == [
        printable(name) for name in HOSTILE
    ]
    for number in range(len(HOSTILE)):
        tab.run(f"document.querySelectorAll('#list button')[{number}].click()")
        assert tab.run("document.getElementById('name').textContent") == printable(HOSTILE[number])
    assert tab.run("document.title") == HOSTILE[-7]
    assert tab.run("document.querySelectorAll('script').length") == 2


def test_a_video_that_the_browser_cannot_play_is_told(tab: Page, tmp_path: Path) -> None:
    videos = [
        ReportVideo("old", bump(10, 5, 0.9), fps=25,
                    source=write_clip(tmp_path / "old.avi", codec="mpeg4")),
        ReportVideo("gone", bump(10, 5, 0.8), fps=25, source=tmp_path / "gone.webm"),
    ]  # fmt: skip
    path = write_page(tmp_path / "p.html", videos)
    tab.open(path)
    for number, file in ((1, "old.avi"), (2, "gone.webm")):
        tab.click(f"#list li:nth-child({number}) button")
        tab.wait("!document.getElementById('trouble').hidden")
        assert f"This browser can't play {file}:" in tab.text("#trouble")
        assert not tab.run("document.getElementById('player').offsetHeight")
        tab.click_at(*x_of(tab, 0.5))  # does no harm


def test_keys_reach_everything(tab: Page, street: ReportVideo, tmp_path: Path) -> None:
    videos = [ReportVideo(f"v{n}", bump(50, 25, 0.95 - n / 100), fps=25) for n in range(30)]
    tab.open(write_page(tmp_path / "p.html", [*videos, street]))
    reached = []
    for _ in range(4):
        tab.press("Tab")
        reached.append(tab.run("document.activeElement.id || document.activeElement.title"))
    assert reached == ["threshold", "filter", "v0", "plot"]
    tab.run("document.querySelector('#list button').focus()")
    tab.press("ArrowDown")
    assert tab.text("#name") == "v1"
    tab.press("End")
    assert tab.text("#name") == "v29"
    tab.press("Home")
    assert tab.run("document.activeElement.title") == "v0"

    tab.run("document.getElementById('plot').focus()")
    plot = "document.getElementById('plot')"
    assert tab.run(f"{plot}.getAttribute('aria-valuetext')") == (
        "0:00:16.0, snippet 25, score 0.950"
    )
    tab.press("ArrowRight")
    tab.press("ArrowRight", shift=True)
    assert tab.run(f"{plot}.getAttribute('aria-valuenow')") == "36"
    assert tab.text("#tip").startswith("0:00:23.0, snippet 36")
    tab.press("+")
    assert tab.run("document.getElementById('pan').offsetHeight") > 0
    tab.press("0")
    assert not tab.run("document.getElementById('pan').offsetHeight")

    tab.run("document.getElementById('filter').focus()")
    for key in "STRE":
        tab.press(key)
    assert [text.split("\n")[0] for text in tab.texts("#list li:not([hidden]) button")] == [
        "street"
    ]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 800, 1280])
def test_every_width_and_both_colours(
    tab: Page, street: ReportVideo, clip: Path, tmp_path: Path, width: int, dark: bool
) -> None:
    long = ReportVideo("a/very/long/folder/" + "name_without_a_break" * 9, bump(9, 4, 0.4), fps=1)
    path = write_page(tmp_path / "p.html", [street, long])
    tab.open(path, width=width, dark=dark)
    for number in (1, 2):
        tab.run(f"document.querySelectorAll('#list button')[{number - 1}].click()")
        tab.settle()
        assert tab.run("document.documentElement.scrollWidth") <= width
    background = tab.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) < 200) == dark
    # The curve is drawn: its own colour is in the plot.
    colours = tab.run(
        "(() => { const c = document.getElementById('plot'); const p = c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data; const s = new Set();"
        "for (let i = 0; i < p.length; i += 4) if (p[i + 3] > 250) s.add(p.slice(i, i + 3).join());"
        "return s.size; })()"
    )
    assert colours > 3
    require_quiet(tab, (path, clip))


def test_hundreds_of_videos_and_hours_of_snippets(tab: Page, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    videos = [ReportVideo(f"v{n}", rng.random(240), fps=30) for n in range(290)]
    day = rng.random(135_000).astype(np.float32) * 0.4
    day[100_000] = 1  # one snippet of a day must not get lost between pixels
    videos.append(ReportVideo("day", day, fps=25))
    path = write_page(tmp_path / "p.html", videos)
    # 69,600 snippets of 290 videos and 135,000 of one: four bytes each, a third more as text.
    assert path.stat().st_size < 1.34 * 4 * 204_600 + 150_000
    tab.open(path)
    assert tab.text("#name") == "day"
    assert table(tab) == [["17:46:40", "17:46:40", "17:46:40", "1.000"]]
    top = tab.run(
        "(() => { const c = document.getElementById('plot'); const w = c.width;"
        "const p = c.getContext('2d').getImageData(0, 24, w, 40).data;"
        "const xs = []; for (let i = 0; i < p.length; i += 4) if (p[i + 3] > 120 && p[i] > 180)"
        "xs.push((i / 4) % w);"
        "return xs.length ? (Math.min(...xs) + Math.max(...xs)) / 2 : null; })()"
    )
    box = tab.box("#plot")
    assert top == pytest.approx(34 + (box["width"] - 48) * 100_000 / 135_000, abs=3)
    require_quiet(tab, (path,))


class TestText:
    """What needs no browser."""

    def test_pictures_keep_to_their_budget(self) -> None:
        picture = bytes(3000)
        videos = [
            ReportVideo(f"v{n}", [0.1 * n, 0.2], pictures={0: picture, 1: picture})
            for n in range(4)
        ]
        data = data_of(page_text(videos, folder=".", picture_bytes=6 * 4000))
        assert [video["name"] for video in data["videos"]] == ["v3", "v0", "v1", "v2"]
        assert [len(video["pictures"]) for video in data["videos"]] == [2, 2, 1, 1]
        assert [at for at, _ in data["videos"][2]["pictures"]] == [0]
        none = data_of(page_text(videos, folder=".", picture_bytes=0))
        assert not any(video["pictures"] for video in none["videos"])

    def test_scores_are_those_given_to_the_bit(self) -> None:
        scores = np.random.default_rng(0).random(77).astype(np.float32)
        (video,) = data_of(page_text([ReportVideo("v", scores)], folder="."))["videos"]
        import base64

        assert base64.b64decode(video["scores"]) == scores.tobytes()

    def test_a_video_is_found_from_where_the_page_lies(self, tmp_path: Path) -> None:
        source = tmp_path / "cams" / "a:b #1?.mp4"
        page = page_text([ReportVideo("v", [1], source=source)], folder=tmp_path / "out" / "deep")
        (video,) = data_of(page)["videos"]
        assert video["url"] == "./../../cams/a%3Ab%20%231%3F.mp4"

    def test_the_policy_allows_no_address(self) -> None:
        text = page_text([ReportVideo("v", [1])], folder=".")
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
        assert policy.startswith("default-src 'none'; ")
        assert not re.findall(r"https?:|\*|unsafe", policy)
        assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?!data:,)[a-z]+:""", text)

    @pytest.mark.parametrize(
        ("videos", "options", "message"),
        [
            ([], {}, "videos is empty"),
            ([ReportVideo("v", [1])], {"threshold": 1.5}, "threshold must be a number from 0 to 1"),
            ([ReportVideo("v", [1, 2], num_frames=900)], {}, "v: 2 snippets of 16 frames cover 32"),
            ([ReportVideo("v", [1], fps=-1)], {}, "v: fps must be greater than 0"),
            ([ReportVideo("v", [np.nan])], {}, "v: scores must be finite"),
            ([ReportVideo("v", [1])], {"min_snippets": 0}, "min_snippets"),
        ],
    )
    def test_what_does_not_fit_is_named(self, videos: list, options: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            page_text(videos, folder=".", **options)


def data_of(text: str) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
