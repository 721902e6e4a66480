"""What a DKIM signature (RFC 6376) in a returned message proves: that its domain's own server let the message out.

Who verifies it is `edge.dkim`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from bouncefiler.backscatter.domains import aligned, domain_name


class Outcome(StrEnum):
    """What became of verifying a signature."""

    VALID = "valid"
    """The domain has signed these header fields, whoever returned them."""
    INVALID = "invalid"
    """It does not fit. A forger's, or a genuine one whose header was changed on the way: weak evidence."""
    UNKNOWN = "unknown"
    """It could not be verified: no key to be had, no longer, or none that proves anything."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One signature of a domain that was asked about. Domain and selector are in lower case, in ASCII."""

    domain: str
    """d=: who says that it has signed. A shared provider's proves only that provider."""
    selector: str
    """s=: which of the domain's keys."""
    outcome: Outcome
    why: str = ""
    """What else there is to say, in plain English: why it is unknown, what was changed."""
    signed: tuple[str, ...] = ()
    """The names of the fields that are signed (h=), in lower case."""
    covers_from: bool = False
    """Whether the signature vouches for the From field: there is one, and it is signed. A second one that is not
    signed could be what a forger has put above it; so for the two below."""
    covers_message_id: bool = False
    covers_date: bool = False
    body_intact: bool | None = None
    """Whether the body is as it was signed; None when that cannot be told. Who returns mail often changes it."""


# The d= of a signature (RFC 6376, 3.5), and whatever looks like it; so written that no match takes in the next one.
_D = re.compile(rb"[:;][\x00-\x20]*d[\x00-\x20]*=[\x00-\x20]*([^;:\x00-\x20]{1,260})")


def may_be_signed(header: bytes, domains: Iterable[str]) -> bool:
    """Whether a header block may have a signature of one of these domains, or of one aligned with them. No is sure.

    What comes back of other people's mail is signed by others, if at all, and need not be verified.
    """
    told = {domain_name(found.decode("ascii", "replace")) for found in set(_D.findall(header))}
    wanted = {domain_name(domain) for domain in domains}
    return any(aligned(one, other) for one in told if one for other in wanted if other)
