"""Words that stand near each other, in whatever order: what people say of one thing in a hundred ways.

"the mailbox of the recipient is full", "recipient's mailbox: full", "full mailbox": one of each list, in one sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_CHARS = 60
"""So far apart may the words be; farther, and they speak of different things."""

_SENTENCE_END = re.compile(r"[.!?;](?=\s|$)|[。！？；]")
_NAMES = re.compile(r"<[^<>]{1,254}>|\S{1,254}@\S{1,254}|\bhttps?://\S{1,254}")
"""Addresses and links: their words are names and say nothing."""

_EAST_ASIA = "\u2e80"
"""From here on, scripts are written without blanks: words begin anywhere."""


class Near:
    """Lists of how words begin; those with `_` at their end are whole words. All of it folded."""

    __slots__ = ("_lists", "_others", "_patterns", "first")

    def __init__(self, lists: Iterable[tuple[str, ...]]) -> None:
        self._lists = tuple(lists)
        self.first, *self._others = [tuple([stem.rstrip("_") for stem in stems]) for stems in self._lists]
        """Texts of which one is in whatever fits."""
        self._patterns: tuple[re.Pattern[str], ...] = ()
        """Compiled when they are first needed: most mail needs few of them."""

    def find(self, folded: str) -> str | None:
        """Return a piece of one sentence in which something of each list stands near the others, or None."""
        for stems in self._others:  # loops, and not any(): asked more often than anything else here is done
            for stem in stems:
                if stem in folded:
                    break
            else:
                return None
        self._patterns = self._patterns or tuple(map(_beginnings, self._lists))
        for sentence in _SENTENCE_END.split(_NAMES.sub("", folded)):
            if found := self._within(sentence):
                return found
        return None

    def _within(self, sentence: str) -> str | None:
        words = sorted(
            (*match.span(), place) for place, each in enumerate(self._patterns) for match in each.finditer(sentence)
        )
        latest: dict[int, tuple[int, int]] = {}
        for start, end, place in words:
            latest[place] = (start, end)
            begun, first_end = min(latest.values())
            if len(latest) == len(self._patterns) and start - first_end <= MAX_CHARS:
                return sentence[begun:end]
        return None


def _beginnings(stems: Iterable[str]) -> re.Pattern[str]:
    """Return an expression for words that begin so, but for those in the name of a host."""
    anywhere = [re.escape(stem) for stem in stems if stem[0] >= _EAST_ASIA]
    whole = [re.escape(stem[:-1]) + r"(?!\w)" for stem in stems if stem[0] < _EAST_ASIA and stem.endswith("_")]
    begun = [re.escape(stem) for stem in stems if stem[0] < _EAST_ASIA and not stem.endswith("_")]
    words = rf"(?<![\w.@])(?:{'|'.join((*whole, *begun))})(?!\w{{0,30}}[.@]\w)" if whole or begun else ""
    return re.compile("|".join(filter(None, (words, *anywhere))))
