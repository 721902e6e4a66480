"""Enhanced status codes (RFC 3463), such as 5.1.1, reply codes (RFC 5321, 4.2), such as 550, and both in free text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

_STATUS = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})")

# Neither part of an address 192.0.2.5.1, a version 4.5.2-rc1 or v5.1.2, a date 5.10.2026, nor of a name 5.1.1.example.
# The digit comes first and then what may not stand before it: a set is looked for faster than a place.
_STATUS_IN_TEXT = re.compile(
    r"([245])(?<![\w./][245])(?<!\D-[245])\.([0-9]{1,2}|7[0-9]{2})\.([0-9]{1,3})(?![\w-]|\.\w|:\d)"
)

# RFC 5321, 4.2: three digits, then a blank, a hyphen or an enhanced status. Also "SMTP error 550", "(550)", "#550".
_REPLY_AT_START = re.compile(r"\s{0,9}(?:smtp\s{0,9};\s{0,9})?([245][0-5][0-9])(?=[ \t:-]|$)")
_REPLY_IN_TEXT = re.compile(
    r"([45](?:(?<=[\s:;\"'<\[(#>=][45])|(?<=^[45]))[0-5][0-9])"
    r"(?:[- ]#?[245]\.[0-9]{1,3}\.[0-9]{1,3}\b|(?:[ -]+|: ?)(?:[<\"'(A-Za-z#\[*]|[\u0080-\uffff])|[ ]?[)\]\"]|$)",
    re.MULTILINE,
)
_NOT_A_REPLY = re.compile(
    r"\d+ (?:kb|mb|gb|bytes?|days?|hours?|minutes?|seconds?|messages?|times?|octets?|ms|am|pm|kib|mib|[+-]\d{4})\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, order=True)
class EnhancedStatus:
    """An RFC 3463 status; class 2 is success, 4 a persistent transient failure, 5 a permanent one."""

    class_: int
    subject: int
    detail: int

    @property
    def permanent(self) -> bool:
        """Whether the reporting server has given up for good (RFC 3463, 2)."""
        return self.class_ == 5

    @classmethod
    def parse(cls, text: str) -> EnhancedStatus | None:
        """Return the status that `text` is, or None when it is none."""
        match = _STATUS.fullmatch(text.strip())
        return cls(int(match[1]), int(match[2]), int(match[3])) if match else None

    def __str__(self) -> str:
        return f"{self.class_}.{self.subject}.{self.detail}"


@lru_cache(1_024)
def _status(class_: str, subject: str, detail: str) -> EnhancedStatus:
    """Return the status of these digits: the same few come in all mail."""
    return EnhancedStatus(int(class_), int(subject), int(detail))


def statuses_in(text: str) -> list[EnhancedStatus]:
    """Return the statuses in free text, first to last; not addresses, versions or dates."""
    return [_status(*digits) for digits in _STATUS_IN_TEXT.findall(text)]


def status_in(text: str) -> EnhancedStatus | None:
    """Return the first status in free text."""
    match = _STATUS_IN_TEXT.search(text)
    return _status(*match.groups()) if match else None


def reply_codes_in(text: str) -> Iterator[tuple[int, int]]:
    """Yield (reply code, where it stands) for what follows the grammar of SMTP replies in free text."""
    for match in _REPLY_IN_TEXT.finditer(text):
        if not _NOT_A_REPLY.match(text, match.start(1)):
            yield int(match[1]), match.start(1)


def reply_code_in(text: str) -> int | None:
    """Return the reply code that `text` begins with, else the first negative one within it, else None."""
    if match := _REPLY_AT_START.match(text):
        return int(match[1])
    return next((code for code, _ in reply_codes_in(text)), None)
