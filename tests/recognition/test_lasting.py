"""What lasts is made, and left, without a search for cycles."""

from __future__ import annotations

import gc

import pytest

from bouncefiler.recognition.lasting import lasting


def test_cycles_are_not_looked_for_while_it_is_made_nor_in_it() -> None:
    """Everything made later is looked through again."""
    searching = []

    def make() -> list[list[int]]:
        searching.append(gc.isenabled())
        return [[1], [2]]

    made = lasting(make)()
    later = [[3]]

    assert (made, searching) == ([[1], [2]], [False])
    assert gc.isenabled()
    watched = set(map(id, gc.get_objects()))
    assert id(later) in watched
    assert not watched & {id(made), *map(id, made)}


def test_the_search_goes_on_when_it_cannot_be_made() -> None:
    """The error is the caller's to tell."""

    def broken() -> None:
        raise ValueError("no table")

    with pytest.raises(ValueError, match="no table"):
        lasting(broken)()
    assert gc.isenabled()
