"""Which of many rules may fit a text: asked of thousands of literals at once, so that rows cost next to nothing.

Each literal is filed under one of its words, the one that fewest others have, and that word under its first three
letters. Of a text only the words are looked at, each of which remembers what it leads to: the same few thousand
words come in all bounces. Only literals whose word occurs are looked for, and only rules of literals that occur are
asked.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import chain
from typing import Protocol

_PIECE = 3

_REMEMBERED = 4_096
"""Words of which an index remembers what they lead to, or that they lead nowhere."""

_MAX_REMEMBERED_CHARS = 24

_FEW = 24
"""So many literals are sooner looked for one by one than a text is cut into words."""

_TELLING = re.compile(f"[a-zA-Z0-9\x80-\U0010ffff]{{{_PIECE},}}")
"""Words that a literal can be filed under, cut as `words_of` does it."""

_DULL = 1 << 30
"""How many literals a mere number is taken to be in: none is filed under it."""

_BREAKS = {code: " " for code in range(128) if not chr(code).isalnum()}


class Indexed(Protocol):
    """What can be indexed."""

    @property
    def needles(self) -> tuple[str, tuple[str, ...]] | None:
        """A field and the folded literals of which at least one must be in it; None when there is no such condition.

        Without literals: the field must not be empty.
        """


class Texts(Protocol):
    """What a message says in each field."""

    def text(self, name: str, /) -> str:
        """Return the value of a field; empty when the message has none."""

    def folded(self, name: str, /) -> str:
        """Return the value of a field as it is compared."""

    def words(self, name: str, /) -> frozenset[str]:
        """Return all words of that."""


class Index:
    """Literals by field, fields that must be there, and the items that ask for neither."""

    __slots__ = ("_literals", "_present", "always", "fields")

    def __init__(self, items: Iterable[Indexed]) -> None:
        self.always: list[int] = []
        """The numbers of those that ask for neither."""
        self._present: dict[str, list[int]] = defaultdict(list)
        by_field: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for number, item in enumerate(items):
            match item.needles:
                case None:
                    self.always.append(number)
                case field, ():
                    self._present[field].append(number)
                case field, literals:
                    by_field[field].extend((literal, number) for literal in literals)
        self._literals = {field: Literals(pairs) for field, pairs in by_field.items()}
        self.fields = tuple(dict.fromkeys((*self._present, *self._literals)))
        """Those by which items are found."""

    def candidates(self, texts: Texts) -> list[int]:
        """Return, ascending, the numbers of the items that may fit."""
        found = set(self.always)
        for field in self.fields:
            found.update(self.asking(field, texts))
        return sorted(found)

    def asking(self, field: str, texts: Texts) -> Iterable[int]:
        """Return the numbers of those that may fit as far as this field goes, and that are found by no other."""
        present = self._present[field] if field in self._present and texts.text(field) else ()
        literals = self._literals.get(field)
        if literals is None or not (text := texts.folded(field)):
            return present
        return {*present, *(literals.hits(text) if literals.few else literals.hits(text, texts.words(field)))}


class Literals:
    """Folded texts, each with the number of who asks for it."""

    __slots__ = ("_by_piece", "_dull", "_leads_to", "_plain_wordless", "_wordless", "few")

    def __init__(self, asked: Iterable[tuple[str, int]]) -> None:
        pairs = tuple(asked)
        self.few = len(pairs) <= _FEW
        """Whether words are of no use for finding them."""
        words = {text: () if self.few else _TELLING.findall(text) for text, _ in pairs}
        common = Counter(chain.from_iterable(words.values()))
        for word in filter(str.isdigit, common):
            common[word] = _DULL
        by_word: dict[str, list[tuple[str, int]]] = defaultdict(list)
        wordless = []
        for literal, number in pairs:
            rarest = min(words[literal], key=common.__getitem__, default="")
            if not rarest or common[rarest] == _DULL:
                wordless.append((literal, number))
            else:
                by_word[rarest].append((literal, number))
        self._wordless = tuple(wordless)
        self._plain_wordless = tuple(pair for pair in wordless if pair[0].isascii())
        by_piece: dict[str, list[tuple[str, tuple[tuple[str, int], ...]]]] = defaultdict(list)
        for word, group in by_word.items():
            by_piece[word[:_PIECE]].append((word, tuple(group)))
        self._by_piece = {piece: tuple(group) for piece, group in by_piece.items()}
        self._dull: set[str] = set()
        self._leads_to: dict[str, tuple[tuple[str, int], ...]] = {}

    def hits(self, text: str, words: frozenset[str] = frozenset()) -> list[int]:
        """Return the numbers whose literal is in `text`, which consists of these words."""
        found = []
        for literal, number in self._plain_wordless if text.isascii() else self._wordless:
            if literal in text:
                found.append(number)
        known = self._leads_to
        for word in words - self._dull:
            for literal, number in known.get(word) or self._looked_up(word):
                if literal in text:
                    found.append(number)
        return found

    def _looked_up(self, word: str) -> tuple[tuple[str, int], ...]:
        """Return the literals that may be where this word is."""
        if word.isdigit() and len(word) > _PIECE:
            return ()
        pieces = self._by_piece.keys() & _pieces_of(word)
        leads_to = tuple(
            pair for piece in pieces for inner, group in self._by_piece[piece] if inner in word for pair in group
        )
        # Others, such as queue ids, are seldom seen again
        if len(word) <= _PIECE or (len(word) <= _MAX_REMEMBERED_CHARS and word.isalpha()):
            self._remember(word, leads_to)
        return leads_to

    def _remember(self, word: str, leads_to: tuple[tuple[str, int], ...]) -> None:
        if leads_to:
            if len(self._leads_to) >= _REMEMBERED:
                self._leads_to.clear()
            self._leads_to[word] = leads_to
        else:
            if len(self._dull) >= _REMEMBERED:
                self._dull.clear()
            self._dull.add(word)


def words_of(text: str) -> frozenset[str]:
    """Cut a folded text at all ASCII characters that are neither letters nor digits."""
    return frozenset(_split(text))


def _split(text: str) -> list[str]:
    return text.translate(_BREAKS).split()


def _pieces_of(word: str) -> frozenset[str]:
    return frozenset([word[at : at + _PIECE] for at in range(len(word) - _PIECE + 1)])
