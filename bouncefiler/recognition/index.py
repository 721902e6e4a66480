"""Which of many rules may fit a text: asked of thousands of literals at once, so that rows cost next to nothing.

Each literal is filed under one of its four-letter pieces, the one that fewest others have. A text is cut into all its
pieces; only literals of pieces that occur are looked for, and only rules of literals that occur are asked.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Protocol

_PIECE = 4


class Indexed(Protocol):
    """What can be indexed."""

    @property
    def needles(self) -> tuple[str, tuple[str, ...]] | None:
        """A field and the folded literals of which at least one must be in it; None when there is no such condition."""


class Texts(Protocol):
    """What a message says in each field, folded."""

    def folded(self, name: str, /) -> str:
        """Return the value of a field as it is compared."""

    def pieces(self, name: str, /) -> frozenset[str]:
        """Return all pieces of that."""


class Index(dict[str, "_Literals"]):
    """Literals by field, and the items that have none."""

    def __init__(self, items: Iterable[Indexed]) -> None:
        self._always: list[int] = []
        by_field: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for number, item in enumerate(items):
            if item.needles is None:
                self._always.append(number)
            else:
                field, literals = item.needles
                by_field[field].extend((literal, number) for literal in literals)
        super().__init__({field: _Literals(pairs) for field, pairs in by_field.items()})

    def candidates(self, texts: Texts) -> list[int]:
        """Return, ascending, the numbers of the items that may fit."""
        found = set(self._always)
        for field, literals in self.items():
            if text := texts.folded(field):
                found.update(literals.hits(text, texts.pieces(field)))
        return sorted(found)


class _Literals:
    __slots__ = ("_by_piece", "_short")

    def __init__(self, pairs: list[tuple[str, int]]) -> None:
        self._short = tuple(pair for pair in pairs if len(pair[0]) < _PIECE)
        long = [pair for pair in pairs if len(pair[0]) >= _PIECE]
        common = Counter(piece for literal, _ in long for piece in pieces_of(literal))
        filed: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for literal, number in long:
            filed[min(pieces_of(literal), key=lambda piece: (common[piece], piece))].append((literal, number))
        self._by_piece = {piece: tuple(group) for piece, group in filed.items()}

    def hits(self, text: str, pieces: frozenset[str]) -> list[int]:
        """Return the numbers whose literal is in `text`."""
        found = [number for literal, number in self._short if literal in text]
        by_piece = self._by_piece
        for piece in by_piece.keys() & pieces:
            for literal, number in by_piece[piece]:
                if literal in text:
                    found.append(number)
        return found


def pieces_of(text: str) -> frozenset[str]:
    """Cut a text into its overlapping pieces."""
    return frozenset([text[at : at + _PIECE] for at in range(len(text) - _PIECE + 1)])
