"""Domain names, and what the DNS says of them.

Who asks the DNS is `edge.dns`; here is only what is asked and answered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

MAX_NAME = 253
"""Characters of a name in text, without the last dot (RFC 1035, 2.3.4: 255 octets on the wire)."""

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))+")
"""Labels of a host (RFC 1123, 2.1), or with the underscore of `_dmarc` (RFC 8552); two or more."""


class Status(StrEnum):
    """How a question to the DNS ended."""

    FOUND = "found"
    ABSENT = "absent"
    """There is no such name, or no such record at it: a server has said so."""
    UNKNOWN = "unknown"
    """No answer in time, a server's failure, or nobody was asked. It is no sign that nothing is there."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the DNS says; `values` are there when the status is FOUND, and only then."""

    status: Status
    values: tuple[str, ...] = ()


ABSENT = Answer(Status.ABSENT)
UNKNOWN = Answer(Status.UNKNOWN)


class NameService(Protocol):
    """Who answers questions about names. It never raises, and takes a bounded time for each question.

    A name that `domain_name` does not take is not asked for: it is UNKNOWN.
    """

    def txt(self, name: str) -> Answer:
        """Return the TXT records, the strings of each joined (RFC 7208, 3.3)."""

    def mx(self, name: str) -> Answer:
        """Return the MX records as "10 mail.example.org"; a null MX is "0 ." (RFC 7505)."""

    def addresses(self, name: str) -> Answer:
        """Return the addresses, of IPv4 and of IPv6."""


class Limitable(NameService, Protocol):
    """A name service whose time can be limited."""

    def within(self, seconds: float) -> NameService:
        """Return one that holds up a piece of work for so long at most; after that all that is new is UNKNOWN."""


class Offline:
    """Asks nobody: for those who have switched the DNS off."""

    def within(self, _seconds: float, /) -> Offline:
        """Return itself: it never takes any time."""
        return self

    def txt(self, _name: str, /) -> Answer:
        """Return UNKNOWN."""
        return UNKNOWN

    mx = addresses = txt


def domain_name(text: str) -> str | None:
    """Return a domain's name as it is asked for: lower case, in ASCII (RFC 5890), without the last dot.

    None for what is no such name, or has one label only.
    """
    name = text.strip()[: MAX_NAME + 2].removesuffix(".").lower()
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii").lower()
        except UnicodeError:
            return None
    return name if len(name) <= MAX_NAME and _NAME.fullmatch(name) else None


def aligned(one: str, other: str) -> bool:
    """Whether one name is the other, or under it: as much as is sure without a list of what the public registers at.

    Both as `domain_name` returns them, so that neither is a top-level domain.
    """
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")
