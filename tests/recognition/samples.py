"""The mails of tests/mail and what is expected of them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bouncefiler.recognition.classify import classify
from bouncefiler.recognition.message import read
from bouncefiler.recognition.rulebook import Rulebook, load
from bouncefiler.recognition.verdict import Verdict

MAIL = Path(__file__).parents[1] / "mail"
NO_LAYOUT = frozenset({"rfc3464", "generic", "lookalikes", "imitations", "ordinary"})
"""Folders that are not named for a layout."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A mail and the verdict that it must get."""

    name: str
    raw: bytes
    expected: dict[str, Any]

    @property
    def folder(self) -> str:
        """The kind of mail it is."""
        return self.name.partition("/")[0]


def all_samples() -> tuple[Sample, ...]:
    """Read tests/mail."""
    return tuple(
        Sample(
            f"{path.parent.name}/{path.stem}",
            path.read_bytes(),
            tomllib.loads(path.with_suffix(".toml").read_text("utf-8")),
        )
        for path in sorted(MAIL.glob("*/*.eml"))
    )


def verdict_of(raw: bytes, *, cut: bool = False, rulebook: Rulebook | None = None) -> Verdict:
    """Judge a mail by our own tables, or by others."""
    return classify(read(raw, cut=cut), rulebook or load())


def row_names(rulebook: Rulebook) -> Iterator[str]:
    """Yield the names of all rows of all tables."""
    for table in (
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
    ):
        yield from (rule.name for rule in table.rules)
    yield from (rule.name for rule in (*rulebook.statuses.values(), *rulebook.replies.values()))
    yield from set(rulebook.marks.values())
