"""Words that several documents share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Protocol

from bouncefiler.backscatter import wording as languages
from bouncefiler.recognition.verdict import Cause


class Wording(Protocol):
    """Who knows the words for causes: a Rulebook."""

    def label(self, cause: Cause, language: str) -> str:
        """Return what people call this cause."""

    def advice(self, cause: Cause, language: str) -> str:
        """Return what the sender can do about it."""


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one language: for causes, and what documents say (`words/`)."""

    wording: Wording
    language: str = "en"

    @property
    def texts(self) -> Mapping[str, Any]:
        """The texts of `words/`, in this language."""
        return languages.texts(__package__, self.language)

    def head(self, name: str) -> str:
        """Return the title of a column."""
        return str(self.texts["head"][name])

    def say(self, section: str, name: str, **values: str) -> str:
        """Return a text with its names filled in."""
        return str(self.texts[section][name]).format(**values)

    def count(self, section: str, name: str, number: int, **values: str) -> str:
        """Return the text for one or that for many, with the number as {n}."""
        one, many = self.texts[section][name]
        return str(one if number == 1 else many).format(n=self.number(number), **values)

    def messages(self, number: int) -> str:
        """Write "1 message", "1,200 messages"."""
        one, many = self.texts["messages"]
        return str(one if number == 1 else many).format(n=self.number(number))

    def number(self, number: int) -> str:
        """Write a number as the language does."""
        return languages.number(number, self.texts)

    def delayed(self, label: str) -> str:
        """Say that a delivery is late for this reason."""
        return str(self.texts["delayed"]).format(cause=label)

    def why(self, reason: str) -> str:
        """Say in this language why planning leaves a message; what is unknown, such as a rule's name, stays as it is.

        In the table, {} stands for the name of a folder.
        """
        table = self.texts["why"]
        if reason in table:
            return str(table[reason])
        for known, text in table.items():
            if "{}" in known and (found := re.fullmatch(re.escape(known).replace(r"\{\}", "(.*)"), reason)):
                return str(text).format(*found.groups())
        return reason

    def label(self, cause: Cause | None) -> str:
        """Return what people call this cause; "-" for none."""
        return self.wording.label(cause, self.language) if cause else "-"

    def advice(self, cause: Cause) -> str:
        """Return what the sender can do about it."""
        return self.wording.advice(cause, self.language)


def at_minute(moment: datetime, zone: tzinfo | None) -> str:
    """Write a moment in this time zone, to the minute; None is the machine's."""
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"
