"""Which message is it? A fingerprint stays the same when the message is moved, copied or renumbered."""

from __future__ import annotations

import hashlib
from typing import NewType

Fingerprint = NewType("Fingerprint", str)

MAX_HEADER_OCTETS = 65_536
"""A fingerprint looks no further than this into a header block."""


def header_block(raw: bytes) -> bytes | None:
    """Return the part before the first blank line; None when `raw` ends before it and may have been cut there."""
    end = raw.find(b"\r\n\r\n")
    earlier = raw.find(b"\n\n", 0, None if end < 0 else end)
    if earlier >= 0 or end >= 0:
        return raw[: earlier if earlier >= 0 else end]
    return raw[:MAX_HEADER_OCTETS] if len(raw) >= MAX_HEADER_OCTETS else None


def fingerprint_of(header_block: bytes) -> Fingerprint:
    """Return the identity of the message with this header block (up to, not including, the blank line).

    Line ends do not count: servers store LF or CRLF. The Received lines make it unique to one delivery.
    """
    normal = header_block[:MAX_HEADER_OCTETS].replace(b"\r\n", b"\n").rstrip(b"\r\n")
    return Fingerprint(hashlib.sha256(normal).hexdigest()[:32])
