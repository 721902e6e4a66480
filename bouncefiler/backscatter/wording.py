"""The texts for people, one file a language in `words/`: English, and Portuguese of Brazil; and numbers in them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date as Date  # noqa: N812 - `date` is what it does here
from functools import cache
from importlib import resources
from typing import Any

RARE = 0.1
"""Fewer a day than this are hardly ever one."""


def words(language: str, about: str = "") -> Mapping[str, Any]:
    """Return the texts about something in this language ("pt_BR", "en", …): Portuguese, else English."""
    return texts(__package__, language, about)


def texts(package: str, language: str, about: str = "") -> Mapping[str, Any]:
    """Return the texts that a package has in `words/`, in this language."""
    spoken = spoken_in(language)
    return _read(package, f"{about}.{spoken}.toml" if about else f"{spoken}.toml")


def spoken_in(language: str) -> str:
    """Return which of the languages that there are is written for readers of this one: "pt" or "en"."""
    return "pt" if language.lower().startswith("pt") else "en"


def date(moment: Date, words: Mapping[str, Any]) -> str:
    """Write a day, or the day of a moment, as "1 March 2026" or "1 de março de 2026"."""
    month = words["months"][moment.month - 1]
    return str(words["date"]).format(day=moment.day, month=month, year=moment.year)


def usual(rate: float | None, words: Mapping[str, Any]) -> str:
    """Say how many bounces a day are usual; None is not known."""
    usual = words["usual"]
    if rate is None:
        return str(usual["unknown"])
    return str(usual["rare"] if rate < RARE else usual["rate"]).format(n=number(rate, words))


def bounces(count: int, words: Mapping[str, Any]) -> str:
    """Write "1 bounce", "1,234 bounces"."""
    one, many = words["bounces"]
    return str(one if count == 1 else many).format(n=number(count, words))


def number(number: float, words: Mapping[str, Any]) -> str:
    """Write 1234 as "1,234" or "1.234", and 0.31 as "0.3" or "0,3", as the language does."""
    text = f"{number:,.0f}" if number >= 10 or round(number, 1) == int(number) else f"{number:,.1f}"
    return text.translate(str.maketrans({",": words["thousands"], ".": words["decimal_point"]}))


@cache
def _read(package: str, file: str) -> Mapping[str, Any]:
    return tomllib.loads(resources.files(package).joinpath("words", file).read_text("utf-8"))
