"""Message-IDs (RFC 5322, 3.6.4): when two are the same, and what kind one is of.

`normal` takes a field's value as it is; the others take what that returns.
"""

from __future__ import annotations

import hashlib
import re

MAX_CHARS = 1_000
"""Characters of a field that are looked at; RFC 5322, 2.1.1 allows a line of 998."""

MAX_SHAPE = 40

_BRACKETED = re.compile(r"<([^<>]+)>")
_RUN = re.compile(r"[A-Za-z0-9]+")
_HEX = re.compile(r"[0-9A-Fa-f]{4,}")


def normal(text: str) -> str:
    """Return the Message-ID of a field's value as it is compared: without <> and blanks, its domain in lower case.

    The first one, when there are several; empty when there is none.
    """
    cut = text[:MAX_CHARS]
    found = _BRACKETED.search(cut)
    left, at, right = "".join((found[1] if found else cut.strip("<> \t\r\n")).split()).rpartition("@")
    return left + at + right.lower()


def key_of(plain: str) -> bytes | None:
    """Return what a Message-ID is remembered by, eight octets of its SHA-256; None when there is none."""
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).digest()[:8] if plain else None


def domain_of(plain: str) -> str:
    """Return the right side; empty when there is none."""
    left, _, right = plain.rpartition("@")
    return right if left else ""


def shape_of(plain: str) -> str:
    """Return what the left side looks like: each run of letters as "a", of digits as "9", of both as "x".

    Four hex digits or more are an "h", even if they happen to be all letters or all digits: the groups of a UUID are
    to look the same each time.
    """
    left, _, right = plain.rpartition("@")
    return _RUN.sub(_class_of, left or right)[:MAX_SHAPE]


def _class_of(run: re.Match[str]) -> str:
    text = run[0]
    if _HEX.fullmatch(text):
        return "h"
    if text.isdigit():
        return "9"
    return "a" if text.isalpha() else "x"
