"""How status and report speak: the texts in `words/`, with numbers, dates and causes as the alerts tell them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from typing import Any

from bouncefiler.backscatter import wording
from bouncefiler.recognition.verdict import Cause
from bouncefiler.render import clean_text


@dataclass(frozen=True, slots=True)
class Speech:
    """One language ("pt_BR", "en", …), and the time zone that moments are told in; None is the machine's."""

    language: str
    zone: tzinfo | None = None
    texts: Mapping[str, Any] = field(init=False)
    alerts: Mapping[str, Any] = field(init=False)
    """The words of the alerts."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", wording.texts(__package__, self.language))
        object.__setattr__(self, "alerts", wording.words(self.language))

    @property
    def tag(self) -> str:
        """The language's tag (BCP 47)."""
        return {"pt": "pt-BR"}.get(wording.spoken_in(self.language), "en")

    def number(self, number: float) -> str:
        """Write a number as the language does."""
        return wording.number(number, self.alerts)

    def bounces(self, number: int) -> str:
        """Write "1 bounce", "1,234 bounces"."""
        return wording.bounces(number, self.alerts)

    def usual(self, rate: float | None) -> str:
        """Say how many bounces a day are usual."""
        return wording.usual(rate, self.alerts)

    def counted(self, texts: Mapping[str, Any], name: str, number: int) -> str:
        """Take the text for one or that for many."""
        one, many = texts[name]
        return str(one if number == 1 else many).format(n=self.number(number))

    def day(self, day: date) -> str:
        """Write a day; a moment is taken in the time zone of the reader."""
        return wording.date(day.astimezone(self.zone) if isinstance(day, datetime) else day, self.alerts)

    def short_day(self, day: date) -> str:
        """Write a day without its year."""
        return str(self.texts["day-month"]).format(day=day.day, month=self.alerts["months"][day.month - 1])

    def short_date(self, day: date) -> str:
        """Write a day in little room, for tables."""
        day = day.astimezone(self.zone) if isinstance(day, datetime) else day
        month = self.alerts["months"][day.month - 1]
        return str(self.texts["short-date"]).format(day=day.day, month=month, number=day.month, year=day.year)

    def when(self, moment: datetime) -> str:
        """Write a moment: the day, and the time."""
        return f"{self.day(moment)}, {moment.astimezone(self.zone):%H:%M}"

    def cause(self, cause: Cause) -> str:
        """Say why mail came back."""
        return str(self.alerts["causes"][cause])


def through(channel: str) -> str:
    """Name a channel: "notify:…" is one of several, whose rest says nothing to people."""
    return clean_text(channel.partition(":")[0], 40)
