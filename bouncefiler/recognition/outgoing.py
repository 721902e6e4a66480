"""What a message that the user has sent tells, from a few of its header fields as they stand.

This runs for every message of the folders of sent mail, so it takes the fields apart by hand: it splits and translates,
and has no regular expression that could go over the same octets twice. Nothing in here raises, whatever the octets.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from bouncefiler.recognition import message_id

MAX_CONTACTS = 500
"""Addresses of one message that are remembered; the others are counted only. Providers allow about as many."""

MAX_ADDRESS = 254
"""RFC 5321, 4.5.3.1.3, without its <>."""

MAX_SIGNATURES = 2

_DAY = 86_400

Habit = tuple[str, str]
"""What a value is of ("from", "id-domain", "id-shape", "selector"), and the value."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message in a folder of sent mail."""

    key: bytes
    """What it is remembered by: that of its Message-ID, else one made of its date and addresses."""
    sent_at: int
    """Seconds since 1970."""
    recipients: int
    """Different addresses in To, Cc and Bcc."""
    mailing: bool
    """Whether it says that it went to many (List-Id, List-Unsubscribe, Precedence)."""
    contacts: tuple[bytes, ...]
    """Keys of the first MAX_CONTACTS of these addresses."""
    habits: tuple[Habit, ...]


def read(fields: bytes, stored_at: datetime | None) -> Outgoing:
    """Read these header fields of a message that was put into its folder at `stored_at`."""
    values = _values(fields)
    addresses = dict.fromkeys(_addresses(values, (b"to", b"cc", b"bcc")))
    id_ = message_id.normal(_text(b"".join(values.get(b"message-id", ()))))
    return Outgoing(
        message_id.key_of(id_) or _makeshift_key(values, stored_at),
        _sent_at(b"".join(values.get(b"date", ())), stored_at),
        len(addresses),
        b"list-id" in values or b"list-unsubscribe" in values or _is_bulk(values.get(b"precedence", ())),
        tuple(map(contact_key, islice(addresses, MAX_CONTACTS))),
        tuple(_habits(values, id_)),
    )


def contact_key(address: bytes) -> bytes:
    """Return what an address (in lower case) is remembered by: eight octets of its SHA-256."""
    return hashlib.sha256(address).digest()[:8]


def _values(fields: bytes) -> Mapping[bytes, list[bytes]]:
    """Take the fields apart (RFC 5322, 2.2): values by lower-case name, unfolded."""
    found: dict[bytes, list[bytes]] = {}
    unfolded = fields.replace(b"\r", b"").replace(b"\n ", b" ").replace(b"\n\t", b" ")
    for line in unfolded.split(b"\n"):
        name, _, value = line.partition(b":")
        found.setdefault(name.strip().lower(), []).append(value)
    return found


_SEPARATORS = bytes(32 if octet <= 32 or octet in b'<>,;:()[]\\"\x7f' else octet for octet in range(256))


def _addresses(values: Mapping[bytes, list[bytes]], names: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the addresses in these fields, in lower case. Those in quotes are names of people, not addresses."""
    for name in names:
        for value in values.get(name, ()):
            bare = value
            if b'"' in value:
                bare = b" ".join(value.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
            for word in bare.lower().translate(_SEPARATORS).split():
                left, at, right = word.partition(b"@")
                if at and left and right and len(word) <= MAX_ADDRESS:
                    yield word


def _text(value: bytes) -> str:
    return value[: message_id.MAX_CHARS].decode("utf-8", "replace").strip()


def _makeshift_key(values: Mapping[bytes, list[bytes]], stored_at: datetime | None) -> bytes:
    """Return a key made of the fields that are read of every message, whichever else are. No Message-ID has a NUL."""
    known = b"\0".join(value for name in (b"date", b"from", b"to", b"cc") for value in values.get(name, ()))
    seen = b"\0%d\0%b" % (stored_at.timestamp() if stored_at else 0, known)
    return hashlib.sha256(seen).digest()[:8]


def _is_bulk(precedence: Iterable[bytes]) -> bool:
    return any(value.strip().lower() in {b"bulk", b"list"} for value in precedence)


_DATE = re.compile(
    rb"(\d{1,2})[ -]+([A-Za-z]{3})[A-Za-z]{0,6}[ -]+(\d{4})[ ]+(\d{1,2}):(\d\d)(?::(\d\d))?(?:[ ]*([+-])(\d\d)(\d\d))?"
)
_MONTHS = {name: number for number, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}


def _sent_at(date: bytes, stored_at: datetime | None) -> int:
    """Return when it was sent: its Date, which survives when a folder is moved to another server, if it can be true."""
    stored = int(stored_at.timestamp()) if stored_at else None
    said = _seconds(date)
    if said is None or said < 0 or (stored is not None and said > stored + _DAY):
        return stored or 0
    return said


def _seconds(date: bytes) -> int | None:
    """Read a date (RFC 5322, 3.3) as seconds since 1970; None when it is none."""
    found = _DATE.search(date[:100])
    month = _MONTHS.get(found[2].lower()) if found else None
    if found is None or month is None or not 1970 <= int(found[3]) < 3000:
        return None
    day, _, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups(b"0")
    east = int(zone_hours) * 3_600 + int(zone_minutes) * 60
    try:
        there = datetime(int(year), month, int(day), int(hour), int(minute), min(59, int(second)), tzinfo=UTC)
    except ValueError:
        return None
    return int(there.timestamp()) - (-east if sign == b"-" else east)


def _habits(values: Mapping[bytes, list[bytes]], id_: str) -> Iterator[Habit]:
    sender = next(_addresses(values, (b"from",)), b"").decode("utf-8", "replace").lower()
    found = [("from", sender), ("id-domain", message_id.domain_of(id_))]
    if id_:
        found.append(("id-shape", message_id.shape_of(id_)))
    found.extend(("selector", _key_name(signature)) for signature in values.get(b"dkim-signature", ())[:MAX_SIGNATURES])
    for what, value in found:
        if value and len(value) <= MAX_ADDRESS and value.isprintable() and "\ufffd" not in value:
            yield what, value


def _key_name(signature: bytes) -> str:
    """Return the name of a signature's key in the DNS (RFC 6376, 3.6.2.1); empty when it names none."""
    tags = dict(tag.split(b"=", 1) for tag in signature[:2_000].split(b";") if b"=" in tag)
    named = {name.strip(): b"".join(value.split()).decode("utf-8", "replace").lower() for name, value in tags.items()}
    selector, domain = named.get(b"s"), named.get(b"d")
    return f"{selector}._domainkey.{domain}" if selector and domain else ""
