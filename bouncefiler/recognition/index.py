"""Which of many rules may fit a text: asked of thousands of literals at once, so that rows cost next to nothing.

A text is cut at characters that hardly any literal has, such as digits and those round addresses: what is between
them is the same in all bounces of a server, and what it leads to is remembered. For what was never seen, each literal
is filed under one of its words, the one that fewest others have, and that word under its first three letters. Only
literals whose word occurs are looked for, and only rules of literals that occur are asked.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, chain, count, repeat
from typing import Protocol

_PIECE = 3

_CUTTING = frozenset('@<>[]{}|\\_=#"0123456789')
"""What stands round and within that by which bounces differ: addresses, ids, dates."""

_CUT = "\n"
"""In no folded text."""

_REMEMBERED = 1_024
"""Segments of a text of which an index remembers what is in them …"""

_MAX_SEEN_CHARS = 500
"""… as long as they are no longer than that."""

_REMEMBERED_WORDS = 4_096
"""Words of which it remembers what they lead to, or that they lead nowhere."""

_MAX_REMEMBERED_CHARS = 24

_FEW = 24
"""So many literals are sooner looked for one by one than a text is cut into words."""

_TELLING = re.compile(rf"[^\x00-/:-@\[-`{{-\x7f]{{{_PIECE},}}")
"""Words that a literal can be filed under: cut at all ASCII characters that are neither letters nor digits."""

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


class Asks:
    """Who asks for which literal: numbered in their order, and in two lists, as a pair for each takes five times that.

    A literal is "" where any value will do.
    """

    __slots__ = ("literals", "who")

    def __init__(self) -> None:
        self.who: list[int] = []
        self.literals: list[str] = []

    def __len__(self) -> int:
        """Return how many there are: the number of the next one."""
        return len(self.who)

    def add(self, who: int, literals: Collection[str]) -> None:
        """Note that somebody asks for these."""
        self.who.extend(repeat(who, len(literals)))
        self.literals.extend(literals)

    def of(self, numbers: Iterable[int]) -> list[tuple[int, str]]:
        """Return who asks, and for which literal, in the order of these numbers."""
        return [(self.who[number], self.literals[number]) for number in numbers]


class Index:
    """Literals by field, fields that must be there, and the items that ask for neither."""

    __slots__ = ("_literals", "_present", "always", "asks", "fields")

    def __init__(self, items: Iterable[Indexed]) -> None:
        self.always: list[int] = []
        """The numbers of those that ask for neither."""
        self.asks = Asks()
        """The numbers of items and the literals that they ask for."""
        self._present: dict[str, list[int]] = defaultdict(list)
        by_field: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for number, item in enumerate(items):
            match item.needles:
                case None:
                    self.always.append(number)
                case field, ():
                    self._present[field].append(len(self.asks))
                    self.asks.add(number, ("",))
                case field, literals:
                    by_field[field].extend(zip(literals, count(len(self.asks)), strict=False))
                    self.asks.add(number, literals)
        self._literals = {field: Literals(pairs) for field, pairs in by_field.items()}
        self.fields = tuple(dict.fromkeys((*self._present, *self._literals)))
        """Those by which items are found."""

    def candidates(self, texts: Texts) -> list[int]:
        """Return, ascending, the numbers of the items that may fit."""
        asks = [ask for field in self.fields for ask in self.asking(field, texts)]
        return sorted({*self.always, *[self.asks.who[ask] for ask in asks]})

    def asking(self, field: str, texts: Texts) -> frozenset[int]:
        """Return which of `asks` this field answers: by them, and by no other field, the items are found."""
        asks = list(self._present[field]) if field in self._present and texts.text(field) else []
        literals = self._literals.get(field)
        if literals is not None and (text := texts.folded(field)):
            asks += literals.hits(text)
        return frozenset(asks)


class Literals:
    """Folded texts, each with the number of who asks for it.

    Those of one word lie side by side, and so do the words that begin alike: of thousands, few are ever looked at.
    """

    __slots__ = (
        "_by_piece",
        "_dull",
        "_first_words",
        "_in_seen",
        "_leads_to",
        "_literals",
        "_numbers",
        "_plain",
        "_segments",
        "_starts",
        "_wordless",
        "_words",
    )

    def __init__(self, asked: Iterable[tuple[str, int]]) -> None:
        self._plain = list(asked)
        filed: list[tuple[str, int]] = []
        self._segments = None
        if len(self._plain) > _FEW:
            cuts = re.escape(_CUT + "".join(sorted(_rare_characters(self._plain))))
            self._plain, filed = _parted(self._plain, re.compile(f"[{cuts}]").search)
            shortest = min([len(literal) for literal, _ in filed], default=0)
            self._segments = re.compile(f"[^{cuts}]{{{shortest},}}").findall if filed else None
        words = [_TELLING.findall(literal) for literal, _ in filed]
        common = Counter(chain.from_iterable(words))
        common.update(dict.fromkeys(filter(str.isdigit, common), _DULL))
        by_word: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for pair, in_it in zip(filed, words, strict=True):
            by_word[in_it[0] if len(in_it) == 1 else min(in_it, key=common.__getitem__, default="")].append(pair)
        wordless = [word for word in by_word if not word or common[word] >= _DULL]
        self._wordless = tuple(chain.from_iterable(map(by_word.pop, wordless)))
        self._words = sorted(by_word)
        groups = [by_word[word] for word in self._words]
        self._starts = array("I", accumulate(map(len, groups), initial=0))
        """By the place of a word, where its literals begin; those of the next one begin where they end."""
        self._literals = [literal for group in groups for literal, _ in group]
        self._numbers = array("I", [number for group in groups for _, number in group])
        alike = Counter(word[:_PIECE] for word in self._words)
        self._by_piece = {piece: number for number, piece in enumerate(alike)}
        self._first_words = array("I", accumulate(alike.values(), initial=0))
        """By the number of a piece, where the words that begin with it begin."""
        self._dull: set[str] = set()
        self._leads_to: dict[str, tuple[tuple[str, int], ...]] = {}
        self._in_seen = lru_cache(_REMEMBERED)(self._in_segment)

    def hits(self, text: str) -> list[int]:
        """Return the numbers whose literal is in `text`, some perhaps twice."""
        found = [number for literal, number in self._plain if literal in text]
        if self._segments is not None:
            for segment in set(self._segments(text)):
                found += self._in_seen(segment) if len(segment) <= _MAX_SEEN_CHARS else self._in_segment(segment)
        return found

    def _in_segment(self, text: str) -> tuple[int, ...]:
        found = [number for literal, number in self._wordless if literal in text]
        known = self._leads_to
        for word in set(_split(text)).difference(self._dull):
            for literal, number in known.get(word) or self._looked_up(word):
                if literal in text:
                    found.append(number)
        return tuple(found)

    def _looked_up(self, word: str) -> tuple[tuple[str, int], ...]:
        """Return the literals that may be where this word is."""
        pieces = self._by_piece.keys() & _pieces_of(word)
        places = [place for piece in pieces for place in self._begin_with(piece) if self._words[place] in word]
        leads_to = tuple(chain.from_iterable(map(self._filed, places)))
        if len(word) <= _MAX_REMEMBERED_CHARS and word.isalpha():  # others, such as queue ids, are seldom seen again
            if leads_to and len(self._leads_to) < _REMEMBERED_WORDS:
                self._leads_to[word] = leads_to
            elif not leads_to and len(self._dull) < _REMEMBERED_WORDS:
                self._dull.add(word)
        return leads_to

    def _begin_with(self, piece: str) -> range:
        """Return the places of the words that begin with this."""
        number = self._by_piece[piece]
        return range(self._first_words[number], self._first_words[number + 1])

    def _filed(self, place: int) -> Iterable[tuple[str, int]]:
        """Return the literals that are filed under the word at this place."""
        its = slice(self._starts[place], self._starts[place + 1])
        return zip(self._literals[its], self._numbers[its], strict=True)


def _rare_characters(pairs: Sequence[tuple[str, int]]) -> frozenset[str]:
    """Return those of _CUTTING that so few literals have that these can be looked for one by one."""
    literals = "\n".join([literal for literal, _ in pairs])
    counts = {character: literals.count(character) for character in _CUTTING}
    rare, so_far = [], 0
    for character in sorted(_CUTTING, key=lambda each: (counts[each], each)):
        so_far += counts[character]
        if so_far > _FEW:
            break
        rare.append(character)
    return frozenset(rare)


def _parted(
    pairs: Iterable[tuple[str, int]], is_cut: Callable[[str], object]
) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Return those whose literal is cut, and those whose literal is not."""
    cut: list[tuple[str, int]] = []
    whole: list[tuple[str, int]] = []
    for pair in pairs:
        (cut if is_cut(pair[0]) else whole).append(pair)
    return cut, whole


def _split(text: str) -> list[str]:
    return text.translate(_BREAKS).split()


def _pieces_of(word: str) -> frozenset[str]:
    return frozenset([word[at : at + _PIECE] for at in range(len(word) - _PIECE + 1)])
