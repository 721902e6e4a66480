"""Which address of a free text is the one that failed, where no layout says so."""

from __future__ import annotations

import re
from collections.abc import Iterable

ADDRESS = re.compile(
    r"(?:[A-Za-z0-9!#$%&'+^_`{|}~.?-]{1,64}|\"[^\"\n@]{1,64}\")@(?:[A-Za-z0-9_-]{1,63}\.){1,8}[A-Za-z0-9-]{2,63}(?![A-Za-z0-9_-])"
)
"""An address in free text (RFC 5321, 4.1.2, without the rarer forms)."""

# From the surest to the vaguest. Each names the failed address by where it stands, not by words.
_SHAPES = tuple(
    re.compile(shape, re.MULTILINE | re.IGNORECASE)
    for shape in (
        rf"^[ \t>*-]{{0,20}}<({ADDRESS.pattern})>[ \t]{{0,5}}:",  # <a@b.example>: said of it
        rf"^[ \t]{{0,20}}(?:original-|final-)?recipient(?: address)?[ \t]{{0,5}}:[^\n]{{0,20}}?({ADDRESS.pattern})",
        rf"rcpt to:? {{0,3}}<({ADDRESS.pattern})>",
        rf"^[ \t>*-]{{0,20}}[\"'<\[(]?({ADDRESS.pattern})[\"'>\])]?[ \t]{{0,5}}(?::|\.\.\.|-[ \t]|\[)",
        rf"^[ \t>*•-]{{0,20}}[\"'<\[(]?(?:smtp:|mailto:)?({ADDRESS.pattern})[\"'>\])]?[ \t]{{0,9}}$",
        rf"[45]\d\d[ -][^\n]{{0,60}}?<({ADDRESS.pattern})>",
        rf"<({ADDRESS.pattern})>",
        rf"({ADDRESS.pattern})",
    )
)
_OFFICES = re.compile(
    r"\A(?:postmaster|mailer-daemon|abuse|support|help(?:desk)?|hostmaster|webmaster|admin(?:istrator)?|noreply|no-reply)@",
    re.IGNORECASE,
)
_AREA = 8_000


def addresses_near_failure(text: str, bystanders: frozenset[str]) -> tuple[str, ...]:
    """Return the addresses that `text` calls failed, by the surest shape that occurs; none of the bystanders."""
    area = text[:_AREA]
    if "@" not in area:
        return ()
    offices: tuple[str, ...] = ()
    for shape in _SHAPES:
        found = tuple(address for address in clean(shape.findall(area)) if address.lower() not in bystanders)
        persons = tuple(address for address in found if not _OFFICES.match(address))
        if persons:
            return persons if shape is not _SHAPES[-1] else persons[:1]
        offices = offices or (found if shape is not _SHAPES[-1] else ())
    return offices


def clean(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return each address once, without the dots and dashes that a sentence puts round it."""
    return tuple(dict.fromkeys(address.strip(".-'\"") for address in addresses))[:100]
