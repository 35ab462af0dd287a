"""Names that something on the way to the user could take for more than text."""

from __future__ import annotations

NASTY_NAMES = [
    "a[/b]",
    "[bold]x",
    "[/]",
    "[red]a[/red]",
    "[link=https://example.org]x[/link]",
    "a\\[b]",
    "ends in a backslash\\",
    ":smile:",
    "{task.completed}",
    "$x$",
    r"$\frac{$",
    "a_b^c$ and $d",
    "100%",
    "_hidden",
    "<b>&amp;</b>",
    "a--b",
    "日本語 ünï",
    "two\nlines",
    "tab\tand\x1b[31mred",
    "not \udcff UTF-8",
    "gpj.\u202e.exe",
    "x" * 300,
]
