"""An index leaves out only what could not have fitted."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.recognition.index import Index
from bouncefiler.recognition.rule import plain_runs
from bouncefiler.recognition.text import fold

TEXTS = st.text(alphabet="abcé .-_12退信\n", max_size=60).map(fold)
MANY: list[tuple[str, ...]] = [(f"never {letter}x",) for letter in "abcdefghijklmnopqrstuvwxyz"]
LITERALS = st.text(alphabet="abcé .-_12退信", min_size=1, max_size=9).map(fold).filter(bool)


@dataclass(frozen=True)
class Item:
    """Something that asks for literals in the field `text`."""

    literals: tuple[str, ...]

    @property
    def needles(self) -> tuple[str, tuple[str, ...]]:
        """See index.Indexed."""
        return "text", self.literals


@dataclass(frozen=True)
class Text:
    """A message with one field."""

    value: str

    def text(self, _name: str) -> str:
        """See index.Texts."""
        return self.value

    def folded(self, _name: str) -> str:
        """See index.Texts."""
        return self.value


@given(
    st.lists(st.lists(LITERALS, min_size=1, max_size=3).map(tuple), max_size=12),
    st.lists(TEXTS, min_size=1, max_size=5),
)
def test_candidates_are_those_of_which_a_literal_occurs(rows: list[tuple[str, ...]], texts: list[str]) -> None:
    """Few rows or many, and also when it is asked again about what it remembers."""
    few, many = Index(Item(row) for row in rows), Index(Item(row) for row in (*rows, *MANY))

    for text in (*texts, *texts):
        expected = [number for number, row in enumerate(rows) if any(literal in text for literal in row)]
        assert few.candidates(Text(text)) == expected
        assert many.candidates(Text(text)) == expected


def test_a_row_that_asks_for_a_field_is_passed_over_where_it_is_empty() -> None:
    """As is one that asks for literals."""
    index = Index([Item(()), Item(("abc",))])

    assert index.candidates(Text("")) == []
    assert index.candidates(Text("abc")) == [0, 1]
    assert index.candidates(Text("other")) == [0]


@pytest.mark.parametrize(
    ("pattern", "runs"),
    [
        (r"mailer[-_. ]?daemon", ("mailer",)),
        (r"^\W{0,9}post_?master\W?@", ("master",)),
        (r"abcd(?:efgh|ijkl)mnop qrs", ("mnop qrs",)),
        (r"Deliv?e?ry of recipients? failed", ("ry of recipient",)),
        (r"one of these|That  Other", ("one of these", "that other")),
        (r"long enough|no", ()),
        (r"[\]abcd]efgh", ("efgh",)),
        (r"\(abcd\)\bnice\b", ("(abcd)",)),
        (r"delivered to: <", ("delivered to:",)),
        (r"ab\.?cdef\.gh\\.", ("cdef.gh",)),
        (r"abcde{0,3}", ("abcd",)),
        (r"abcde*?", ("abcd",)),
        (r"(?:not|looked|at)", ()),
        (r"\s{0,9}$", ()),
    ],
)
def test_what_a_regular_expression_cannot_do_without(pattern: str, runs: tuple[str, ...]) -> None:
    """Told at a glance, or not at all."""

    assert plain_runs(pattern) == runs


PATTERN = r"[ab]bcd? e fghij{1,2}[.]k(?:l|m)|A quite  Other.+\d"


@given(st.from_regex(re.compile(PATTERN), fullmatch=True))
def test_whatever_matches_has_one_of_the_runs(text: str) -> None:
    """Folded, as it is when it is looked for."""
    runs = plain_runs(PATTERN)

    assert runs == ("e fghi", "a quite other")
    assert any(run in fold(text) for run in runs)


def test_a_text_that_begins_as_another_is_not_taken_for_it() -> None:
    """What is remembered of one stretch of a text holds for that alone, however long it is."""
    index = Index([Item(("the end",)), *map(Item, MANY)])
    alike = "as much as there was to say " * 4

    assert index.candidates(Text(f"{alike}and no more")) == []
    assert index.candidates(Text(f"{alike}the end")) == [0]
    assert index.candidates(Text(f"{alike * 9}the end")) == [0]
    assert index.candidates(Text(f"{alike}and <no> more")) == []
