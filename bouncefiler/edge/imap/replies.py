"""What single responses of a server tell, read with care."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from bouncefiler.edge.imap.commands import Reply
from bouncefiler.edge.imap.fetched import Fetched
from bouncefiler.edge.imap.names import listed
from bouncefiler.filing.plan import uid_set
from bouncefiler.sweep import Moved, Reading

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def fetch(uids: Sequence[int], items: bytes) -> bytes:
    """Write the command that fetches these items of these messages."""
    which = f"{uids[0]}:{uids[-1]}" if isinstance(uids, range) else uid_set(uids)
    return b"UID FETCH %s (%s)" % (which.encode(), items)


def reading_of(item: Fetched) -> Reading | None:
    """Return what was fetched of a message; None when the answer is not about one, or has no body."""
    if item.uid is None or item.body is None:
        return None
    deleted = any(flag.upper() == b"\\DELETED" for flag in item.flags or ())
    size = len(item.body) if item.size is None else item.size
    return Reading(item.uid, item.received_at or _LONG_AGO, size, deleted, item.body)


def number_in(reply: Reply, name: bytes) -> int | None:
    """Find a number in STATUS responses and in response codes: "UIDNEXT 5"."""
    found = [
        match
        for line in reply.lines
        if line[:9].upper() == b"* STATUS " or line[:6].upper() == b"* OK ["
        for match in re.findall(rb"[\[( ]%s (\d{1,10})[\]) ]" % name, line.upper())
    ]
    return int(found[-1]) if found else None


def exists_in(reply: Reply) -> int:
    """Return the last number of messages that the server told; 0 when it told none."""
    found = [match[1] for line in reply.lines if (match := re.match(rb"(?i)\* (\d{1,10}) EXISTS", line))]
    return int(found[-1]) if found else 0


def permanent_flags(reply: Reply) -> bytes | None:
    """Return the flags that can be changed for good (RFC 3501, 7.1); None when the server did not say."""
    found = [m[1] for line in reply.lines if (m := re.match(rb"(?i)\* OK \[PERMANENTFLAGS \(([^)]*)\)", line))]
    return found[-1] if found else None


def flags_of(name: str, listing: Reply) -> frozenset[str] | None:
    """Return a folder's flags in lower case; None when it is not listed."""
    found = [flags for listed, flags in listed(listing.lines) if listed == name]
    return frozenset(flag.lower() for flags in found for flag in flags) if found else None


def copyuid(reply: Reply, asked: Sequence[int]) -> Moved:
    """Read COPYUID (RFC 4315, 3), which comes in an untagged OK for MOVE (RFC 6851, 4.3), tagged for COPY.

    Believed only when it makes sense: some servers say UIDVALIDITY 0, others name messages that nobody asked for.
    """
    uids: dict[int, int] = {}
    uidvalidity = 0
    for text in (*(line.decode("ascii", "replace") for line in reply.lines), f"* OK {reply.text}"):
        found = re.match(r"(?i)\* OK \[COPYUID (\d{1,10}) ([\d:,]+) ([\d:,]+)\]", text)
        if not found:
            continue
        source, target = _expanded(found[2], len(asked)), _expanded(found[3], len(asked))
        if not source or len(source) != len(target) or uidvalidity not in {0, int(found[1])}:
            return Moved()
        uidvalidity = int(found[1])
        uids.update(zip(source, target, strict=True))
    honest = uidvalidity and uids.keys() <= set(asked) and len(set(uids.values())) == len(uids)
    return Moved(uidvalidity, uids) if honest else Moved()


def _expanded(text: str, most: int) -> list[int]:
    """Expand a UID set; empty when it is none, or has more than `most` members."""
    uids: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        if not first or (":" in part and not last):
            return []
        low, high = int(first), int(last or first)
        if not 0 < low <= high or high - low >= most - len(uids):
            return []
        uids.extend(range(low, high + 1))
    return uids
