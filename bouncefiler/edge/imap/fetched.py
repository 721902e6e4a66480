"""What a FETCH response tells of a message (RFC 3501, 7.4.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from bouncefiler.edge.imap.wire import STRUCTURE, Garbled

_FETCH = re.compile(rb"\* \d+ FETCH (?=\()", re.IGNORECASE).match
_PIECE = re.compile(rb'(\()|(\))|"((?:[^"\\]|\\.)*)"|([^ ()"\r\n]+)', re.DOTALL).finditer
_TOKEN = re.compile(
    rb' *(?:(\()|(\))|"((?:[^"\\]|\\.)*)"(?=[ )\r])|(~?\{\d+\}\r\n)|(\r\n)|(BODY\[[^\]]*\](?:<\d+>)?|[^ ()\r\n]+))',
    re.IGNORECASE | re.DOTALL,
).match
_OPEN, _CLOSE, _QUOTED, _LITERAL_NEXT, _END, _ATOM = range(1, 7)
_INTERNALDATE = re.compile(rb"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)").fullmatch
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_MONTHS = b"jan feb mar apr may jun jul aug sep oct nov dec".split()


@dataclass(frozen=True, slots=True)
class Fetched:
    """One FETCH response; what it did not bring is None. `section` is the name of the body item, in upper case."""

    uid: int | None
    received_at: datetime | None
    size: int | None
    flags: tuple[bytes, ...] | None
    section: bytes
    body: bytes | None
    parts: tuple[str, ...] | None = None
    """Media types of the parts of a multipart, as BODY tells them."""


def parsed(parts: list[bytes]) -> Fetched | None:
    """Parse a response; None when it is no FETCH response."""
    if not _FETCH(parts[0]):
        return None
    if STRUCTURE(parts[0]):
        return _structured(parts)
    found = _attributes(parts)
    flags, date = found.get(b"FLAGS"), found.get(b"INTERNALDATE")
    section = next((name for name in found if name.startswith(b"BODY[")), b"")
    return Fetched(
        _number(found.get(b"UID")),
        internaldate(date) if date else None,
        _number(found.get(b"RFC822.SIZE")),
        None if flags is None else tuple(flags.split()),
        section,
        found.get(section),
    )


def _structured(parts: list[bytes]) -> Fetched:
    """Read of a response to FETCH (UID BODY) the types of a multipart's parts (RFC 3501, 7.4.2)."""
    texts = (part.rpartition(b"{")[0] if part.endswith(b"}\r\n") else part for part in parts[::2])
    depth, uid, name = 0, None, b""
    types: list[str] = []
    words: list[bytes] = []
    for piece in _PIECE(b'""'.join(texts), parts[0].index(b"(")):
        kind, value = piece.lastindex, piece[piece.lastindex or 0]
        if kind == _OPEN:
            depth += 1
            if depth == 3:  # FETCH ( BODY ( part (
                words = []
            elif depth == 4 and not words:
                words = [b"multipart"]  # a part that begins with a part
        elif kind == _CLOSE:
            if depth == 3:
                types.append(b"/".join(words[:2]).decode("ascii", "replace").lower())
            depth -= 1
        elif depth == 3 and len(words) < 2:
            words.append(value)
        elif depth == 2 and not types:
            break  # not a multipart
        elif depth == 1:
            uid, name = _number(value) if name == b"UID" else uid, value.upper()
    return Fetched(uid, None, None, None, b"", None, None if depth else tuple(types))


def _attributes(parts: list[bytes]) -> dict[bytes, bytes | None]:
    """Return what the response says, by upper-case name (RFC 3501, 9: msg-att); a list as its words."""
    found: dict[bytes, bytes | None] = {}
    name: bytes | None = None
    words: list[bytes] = []
    depth = 0
    for kind, value in _tokens(parts):
        if kind == _OPEN:
            depth, words = depth + 1, words if depth > 1 else []
        elif kind == _CLOSE:
            depth -= 1
            if depth == 1 and name is not None:
                found[name], name = b" ".join(words), None
        elif depth > 1:
            words.append(value)
        elif name is None:
            name = value.upper()
        else:
            found[name], name = None if kind == _ATOM and value.upper() == b"NIL" else value, None
    return found


def _tokens(parts: list[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield each token of a FETCH response with its kind, a group of _TOKEN."""
    start = _FETCH(parts[0])
    at = start.end() if start else 0
    for index in range(0, len(parts), 2):
        text = parts[index]
        while at < len(text):
            token = _TOKEN(text, at)
            if token is None:
                raise Garbled(f"a FETCH response that cannot be read: {text[at : at + 40]!r}")
            at, kind = token.end(), token.lastindex or _END
            if kind == _QUOTED:
                yield kind, _ESCAPED.sub(rb"\1", token[kind])
            elif kind != _END:
                yield kind, parts[index + 1] if kind == _LITERAL_NEXT else token[kind]
        at = 0


def _number(value: bytes | None) -> int | None:
    return int(value) if value is not None and value.isdigit() and len(value) <= 20 else None


def internaldate(value: bytes) -> datetime | None:
    """Read a date-time (RFC 3501, 9), such as ` 1-Mar-2026 12:00:00 +0100`; None when it is none."""
    found = _INTERNALDATE(value)
    if not found:
        return None
    day, month, year, hour, minute, second, *zone = found.groups()
    try:
        number = _MONTHS.index(month.lower()) + 1
        return datetime(int(year), number, int(day), int(hour), int(minute), int(second), tzinfo=_zone(*zone))
    except ValueError:
        return None


@lru_cache(maxsize=256)
def _zone(sign: bytes, hours: bytes, minutes: bytes) -> timezone:
    """Return the zone; there are few in a mailbox. Raises ValueError."""
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if sign == b"-" else offset) if offset else UTC
