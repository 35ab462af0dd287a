"""The pictures of the method page and of "Kernels inside": `python docs/method/draw.py`."""

from __future__ import annotations

import math
from pathlib import Path

_STYLE = """\
<style>
  text { font: 13px sans-serif; fill: #222 }
  .small { font-size: 11px }
  .line { stroke: #222; fill: none }
  .grid { stroke: #bbb; fill: none }
  .far { fill: #9ec5e8 }
  .near { fill: #f6cf9f }
  .owned { fill: none; stroke: #b3261e; stroke-width: 2.5 }
  .curve { fill: none; stroke: #b3261e; stroke-width: 2 }
  .page { fill: #fff }
</style>
<defs>
  <marker id="head" viewBox="0 0 8 8" refX="7" refY="4"
          markerWidth="8" markerHeight="8" orient="auto">
    <path d="M0 0 L8 4 L0 8 z" fill="#222"/>
  </marker>
</defs>
"""

#: Where G is cut in fp32: exp(-24) = 4e-11.
CUT = 24.0
#: The default of LANet: w = 1 / (2 sigma).
SIGMA = 8.0


class Drawing:
    """Lines, boxes and words, collected as SVG."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" aria-label="{title}">\n'
            f"<title>{title}</title>\n{_STYLE}"
            f'<rect class="page" width="{width}" height="{height}"/>\n'
        ]

    def box(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        """Add a box; ``kind`` is a class of the style sheet."""
        self._parts.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"/>\n'
        )

    def line(self, *points: tuple[float, float], kind: str = "line", arrow: bool = False) -> None:
        """Add a line through points."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        end = ' marker-end="url(#head)"' if arrow else ""
        self._parts.append(f'<polyline class="{kind}" points="{path}"{end}/>\n')

    def text(
        self, x: float, y: float, words: str, *, anchor: str = "start", kind: str = ""
    ) -> None:
        """Add words."""
        self._parts.append(
            f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{words}</text>\n'
        )

    def __str__(self) -> str:
        return "".join(self._parts) + "</svg>\n"


def _matrix(
    drawing: Drawing, x: float, y: float, tile: int, owned: int, near: tuple[int, ...]
) -> None:
    """Draw 12 x 12 tiles with the row tile ``owned`` coloured, near tiles apart from far ones."""
    for column in range(12):
        kind = "near" if column in near else "far"
        drawing.box(x + column * tile, y + owned * tile, tile, tile, kind)
    for i in range(13):
        drawing.line((x + i * tile, y), (x + i * tile, y + 12 * tile), kind="grid")
        drawing.line((x, y + i * tile), (x + 12 * tile, y + i * tile), kind="grid")
    drawing.line((x, y), (x + 12 * tile, y + 12 * tile), kind="grid")
    drawing.box(x, y + owned * tile, 12 * tile, tile, "owned")
    drawing.text(x + 6 * tile, y - 8, "keys, tile after tile", anchor="middle")


def row_tile() -> str:
    """Draw one program's rows: all keys in a plain loop, then the band into the same sums."""
    drawing = Drawing(640, 330, "A row tile of the additive prior")
    _matrix(drawing, 60, 40, 20, 5, ())
    drawing.text(12, 155, "rows m")
    drawing.line((64, 150), (294, 150), arrow=True)
    drawing.text(60, 304, "1. plain loop over all keys: softmax(S) V, then divided by its sum")
    # The same row of tiles again: the band starts and ends at rows, not at the tiles' edges.
    strip, near, end = 360, 360 + 5 * 20 - 26, 360 + 6 * 20 + 26
    drawing.box(near, 140, end - near, 20, "near")
    for i in range(13):
        drawing.line((strip + 20 * i, 140), (strip + 20 * i, 160), kind="grid")
    drawing.box(strip, 140, 240, 20, "owned")
    drawing.line((near, 172), (end, 172), arrow=True)
    drawing.text(near, 130, "m - R", anchor="middle", kind="small")
    drawing.text(end + 6, 130, "last row + R", anchor="middle", kind="small")
    drawing.text((near + end) / 2, 194, "G V added over the band", anchor="middle")
    drawing.text(60, 322, "2. short loop over the band alone: G V into the same accumulator")
    return str(drawing)


def far_loop() -> str:
    """Draw the logit prior: far tiles on both sides are plain, near ones add G to the logits."""
    drawing = Drawing(640, 330, "The far loops of the logit prior")
    _matrix(drawing, 60, 40, 20, 5, (4, 5, 6))
    drawing.text(12, 155, "rows m")
    words = (
        ("far", "far tiles", "plain attention: left ones, then right ones"),
        ("near", "near tiles", "G is added to the logits before the exponential"),
    )
    for i, (kind, name, what) in enumerate(words):
        drawing.box(320, 110 + 40 * i, 22, 22, kind)
        drawing.text(350, 120 + 40 * i, name)
        drawing.text(350, 134 + 40 * i, what, kind="small")
    drawing.text(320, 210, "The near tiles are those that hold")
    drawing.text(320, 228, "a pair of rows with |i - j| ≤ R.")
    drawing.text(60, 304, "Three loops, no branch inside any of them. The ragged last tile")
    drawing.text(60, 322, "is masked, as near tiles are, and ends their loop.")
    return str(drawing)


def band() -> str:
    """Draw G over the distance, to scale, and where it is cut."""
    w = 1 / (2 * SIGMA)
    radius = math.isqrt(int(CUT / w))
    drawing = Drawing(640, 300, "The band of the prior")
    left, bottom, step, height = 60, 240, 10.0, 190.0
    middle = left + 26 * step
    drawing.box(middle - radius * step, bottom - height, 2 * radius * step, height, "near")
    drawing.line((left, bottom), (left + 52 * step, bottom))
    drawing.line((middle, bottom), (middle, bottom - height), kind="grid")
    points = [
        (middle + d / 4 * step, bottom - height * math.exp(-w * (d / 4) ** 2))
        for d in range(-104, 105)
    ]
    drawing.line(*((round(x, 2), round(y, 2)) for x, y in points), kind="curve")
    for d in (-radius, 0, radius):
        drawing.line((middle + d * step, bottom), (middle + d * step, bottom + 6))
        words = {0: "i = j"}.get(d, f"{'-' if d < 0 else ''}R = {'-' if d < 0 else ''}{radius}")
        drawing.text(middle + d * step, bottom + 22, words, anchor="middle")
    drawing.text(middle + 34, bottom - height + 16, "G = exp(-|w (i - j)² + b|)")
    drawing.text(
        middle + 34, bottom - height + 34, f"sigma = {SIGMA:g}: w = 1/{2 * SIGMA:g}, b = 0"
    )
    words = f"Beyond R the exponent is above {CUT:g} and G under 4e-11: no sum in fp32 notices it."
    drawing.text(left, 288, words)
    return str(drawing)


PICTURES = {"row-tile.svg": row_tile, "far-loop.svg": far_loop, "band.svg": band}


def main() -> None:
    """Write the pictures beside this file."""
    for name, draw in PICTURES.items():
        Path(__file__).with_name(name).write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
