"""The texts for people, one file a language in `words/`: English, and Portuguese of Brazil."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any


def words(language: str, about: str = "") -> Mapping[str, Any]:
    """Return the texts about something in this language ("pt_BR", "en", …): Portuguese, else English."""
    spoken = "pt" if language.lower().startswith("pt") else "en"
    return _read(f"{about}.{spoken}.toml" if about else f"{spoken}.toml")


@cache
def _read(file: str) -> Mapping[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("words", file).read_text("utf-8"))
