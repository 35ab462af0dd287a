"""Names and messages as text that a terminal or a picture shows as it was typed."""

from __future__ import annotations

import unicodedata

# Control characters, halves of surrogate pairs (bytes of a file name that are no UTF-8), line and
# paragraph separators.
_HIDDEN = frozenset(("Cc", "Cs", "Zl", "Zp"))
# They reverse what follows them, so that a name can look like another one.
_REVERSING = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str, *, keep: str = "") -> str:
    r"""Return ``text`` with escapes (``\n``, ``\x1b``, ``\udcff``) for what can't be shown.

    Everything else stays, in any script. Characters in ``keep`` stay too, such as the line breaks
    of a message.
    """
    return "".join(
        char
        if char in keep or not (unicodedata.category(char) in _HIDDEN or char in _REVERSING)
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )
