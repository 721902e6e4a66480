"""Text that may be hostile, made fit for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

MARKS_IN_A_ROW = 3
"""More combining marks than this on one letter are no language, but they do hide the lines above and below."""


def clean_text(text: str, width: int = 200) -> str:
    """Return `text` as one harmless line of at most `width` cells, cut with "…".

    Gone are C0, C1, ESC and DEL (CWE-150), bidi and zero-width controls, lone surrogates, private and unassigned
    characters; white space of any kind becomes one blank. Letters of every script stay.
    """
    head = text[: 8 * width]
    if not (head.isascii() and head.isprintable()):
        head = "".join(_visible(head))
    line = " ".join(head.split())
    return cut(line if len(text) <= 8 * width else f"{line}…", width)


def clean_lines(text: str, width: int = 400) -> str:
    """Return text of our own that has several lines, such as an error's, each line clean and indented as it was."""
    lines = text.split("\n")
    return "\n".join(" " * min(8, len(line) - len(line.lstrip(" "))) + clean_text(line, width) for line in lines)


def _visible(text: str) -> Iterator[str]:
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.combining(char) else 0
        if (char.isprintable() and marks <= MARKS_IN_A_ROW) or char.isspace():
            yield char


def cells(text: str) -> int:
    """Return how many columns of a terminal clean text takes: East Asian wide characters take two."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def _cells_of(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) == "Mn":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Return clean text in at most `width` cells, with "…" in the place of what had to go."""
    if cells(text) <= width:
        return text
    room = width - 1
    for index, char in enumerate(text):
        room -= _cells_of(char)
        if room < 0:
            return f"{text[:index].rstrip()}…"
    return text
