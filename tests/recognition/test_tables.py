"""Our own tables are safe to run over hostile mail."""

import re
from collections.abc import Iterator

import pytest

from bouncefiler.recognition.rule import Operator
from bouncefiler.recognition.rulebook import load

_HARMLESS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]")
_UNBOUNDED = re.compile(r"[*+]|\{\d*,\}")


def patterns() -> Iterator[tuple[str, str]]:
    """Yield (row, regular expression) of all tables."""
    rulebook = load()
    tables = (
        rulebook.first_lookalikes,
        rulebook.lookalikes,
        rulebook.imitations,
        rulebook.outer_signs,
        rulebook.text_signs,
        rulebook.outer_layouts,
        rulebook.text_layouts,
        rulebook.hosts,
        rulebook.phrases,
        rulebook.weak_phrases,
    )
    for rule in (rule for table in tables for rule in table.rules):
        for condition in (*rule.when, *rule.unless):
            if condition.operator is Operator.MATCHES:
                yield from ((rule.name, value) for value in condition.values)
    for layout in rulebook.layouts.values():
        if layout.recipient:
            yield layout.rule.name, layout.recipient.source


@pytest.mark.parametrize(("row", "pattern"), list(patterns()))
def test_every_repetition_is_bounded(row: str, pattern: str) -> None:
    """`{0,9}`, not `*`: so that no mail can keep a row busy. And it compiles, which nobody tries beforehand."""
    re.compile(f"(?im){pattern}")
    assert not _UNBOUNDED.search(_HARMLESS.sub("x", pattern)), row
