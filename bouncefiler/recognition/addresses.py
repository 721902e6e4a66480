"""Which address of a free text is the one that failed, where no layout says so."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

_LETTERS = "A-Za-z0-9\u00c0-\u024f\u0370-\u052f"
"""Letters of scripts that put blanks between words; Han and the like would glue the sentence to the address."""
ADDRESS = re.compile(
    rf"(?:[{_LETTERS}!#$%&'+^_`{{|}}~.?-]{{1,64}}|\"[^\"\n@]{{1,64}}\")@"
    rf"(?:[{_LETTERS}_-]{{1,63}}\.){{1,8}}[{_LETTERS}-]{{2,63}}(?![{_LETTERS}_-])"
)
"""An address in free text (RFC 5321, 4.1.2; RFC 6531, 3.3; without the rarer forms)."""

_SHAPES = (
    ("<", rf"^[ \t>*-]{{0,20}}<({ADDRESS.pattern})>[ \t]{{0,5}}:"),  # <a@b.example>: said of it
    (
        "rec",
        rf"^[ \t]{{0,20}}(?:original-|final-)?recipient(?: address)?[ \t]{{0,5}}:[^\n]{{0,20}}?({ADDRESS.pattern})",
    ),
    ("<", rf"rcpt to:? {{0,3}}<({ADDRESS.pattern})>"),
    ("@", rf"^[ \t>*-]{{0,20}}[\"'<\[(]?({ADDRESS.pattern})[\"'>\])]?[ \t]{{0,5}}(?::|\.\.\.|-[ \t]|\[)"),
    ("@", rf"^[ \t>*•-]{{0,20}}[\"'<\[(]?(?:smtp:|mailto:)?({ADDRESS.pattern})[\"'>\])]?[ \t]{{0,9}}$"),
    ("<", rf"[45]\d\d[ -][^\n]{{0,60}}?<({ADDRESS.pattern})>"),
    ("to:", rf"^[ \t>*-]{{0,20}}to:[^\n]{{0,60}}?({ADDRESS.pattern})"),  # a field of the returned message
    ("<", rf"<({ADDRESS.pattern})>"),
    ("@", rf"({ADDRESS.pattern})"),
)
"""From the surest to the vaguest, each behind what is in any text that it occurs in: they are dear to compile.

Each names the failed address by where it stands, not by words.
"""
_NO_ADDRESS = re.compile(
    r"^[ \t>*-]{0,20}(?:message-id|references|in-reply-to)[ \t]{0,5}:[^\n]{0,998}", re.MULTILINE | re.IGNORECASE
).sub
"""Fields that name messages by what looks like an address (RFC 5322, 3.6.4)."""

_OFFICES = re.compile(
    r"\A(?:postmaster|mailer-daemon|abuse|support|help(?:desk)?|hostmaster|webmaster|admin(?:istrator)?|noreply|no-reply)@",
    re.IGNORECASE,
)
_AREA = 8_000
_VAGUE = 2
"""So many at the end any address has: of those, only what the returned message was addressed to, if one of them was."""


@cache
def _compiled(shape: str) -> re.Pattern[str]:
    return re.compile(shape, re.MULTILINE | re.IGNORECASE)


def addresses_near_failure(text: str, bystanders: frozenset[str], addressed: frozenset[str]) -> tuple[str, ...]:
    """Return the addresses that `text` calls failed, by the surest shape that occurs; none of the bystanders.

    `addressed` is to whom the returned message was addressed, as far as known.
    """
    area = _NO_ADDRESS("", text[:_AREA])
    if "@" not in area:
        return ()
    offices: tuple[str, ...] = ()
    guess: tuple[str, ...] = ()
    lower = area.lower()
    vague = [shape for _, shape in _SHAPES[-_VAGUE:]]
    for sign, shape in _SHAPES:
        if sign not in lower:
            continue
        found = tuple(address for address in clean(_compiled(shape).findall(area)) if address.lower() not in bystanders)
        persons = tuple(address for address in found if not _OFFICES.match(address))
        if persons and shape not in vague:
            return persons
        if known := tuple(address for address in persons if address.lower() in addressed):
            return known
        last = shape is vague[-1]
        guess = guess or (persons[:1] if last else persons)
        offices = offices or (() if last else found)
    return guess or offices


def clean(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return each address once, without the dots and dashes that a sentence puts round it."""
    plain = (address.strip(".-'") if '"@' in address else address.strip(".-'\"") for address in addresses)
    return tuple(dict.fromkeys(plain))[:100]
