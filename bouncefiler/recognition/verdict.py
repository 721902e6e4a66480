"""The words of recognition: Kind (what a message is), Cause (why delivery failed), and the Verdict that carries both.

A bounce is a delivery status notification (DSN, RFC 3464) or its like: mail by which a server says that it could
not deliver an earlier message, the original.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bouncefiler.recognition.status import EnhancedStatus


class Kind(StrEnum):
    """What a message is. Only `failed` and `delayed` are bounces."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    FEEDBACK = "feedback"
    AUTOREPLY = "autoreply"
    RECEIPT = "receipt"
    CHALLENGE = "challenge"
    IMITATION = "imitation"
    """Made to look like a bounce, without one sign of a real delivery attempt (phishing)."""
    OTHER = "other"

    @property
    def is_bounce(self) -> bool:
        """Whether this kind reports a delivery that failed or is late."""
        return self in (Kind.FAILED, Kind.DELAYED)


class Cause(StrEnum):
    """Why delivery failed."""

    MAILBOX_FULL = "mailbox-full"
    USER_UNKNOWN = "user-unknown"
    MAILBOX_DISABLED = "mailbox-disabled"
    DOMAIN_UNKNOWN = "domain-unknown"
    SENDER_BLOCKED = "sender-blocked"
    AUTH_FAILED = "auth-failed"
    CONTENT_REJECTED = "content-rejected"
    MESSAGE_TOO_BIG = "message-too-big"
    RELAY_DENIED = "relay-denied"
    RATE_LIMITED = "rate-limited"
    UNREACHABLE = "unreachable"
    POLICY = "policy"
    MOVED = "moved"
    LOOP = "loop"
    PROTOCOL_ERROR = "protocol-error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One fact that the verdict rests on: the row that spoke, the place it looked at, and what stood there."""

    rule: str
    where: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """One address that the bounce is about; the fields are those of RFC 3464, 2.3, empty or None where not said."""

    final_recipient: str
    original_recipient: str | None = None
    action: str | None = None
    status: EnhancedStatus | None = None
    reply_code: int | None = None
    diagnostic_code: str = ""
    remote_mta: str | None = None
    cause: Cause = Cause.UNKNOWN

    def because(self, cause: Cause) -> Recipient:
        """Return the same with its cause."""
        return Recipient(
            self.final_recipient,
            self.original_recipient,
            self.action,
            self.status,
            self.reply_code,
            self.diagnostic_code,
            self.remote_mta,
            cause,
        )


@dataclass(frozen=True, slots=True)
class Original:
    """The returned message, as far as it came back; header values decoded, empty where absent."""

    message_id: str = ""
    from_: str = ""
    to: str = ""
    subject: str = ""
    date: str = ""
    received: tuple[str, ...] = ()
    authentication: tuple[str, ...] = ()
    """Its Authentication-Results (RFC 8601) and Received-SPF (RFC 7208, 9.1) fields, each with its name before it."""
    mailing: bool = False
    """Whether it says itself that it went to many: List-Id, List-Unsubscribe, Precedence: bulk."""
    signed: bytes = b""
    """Its header block as it came back, if there is a DKIM-Signature (RFC 6376) in it; else empty."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a message is and how that is known; `explain` prints exactly this."""

    kind: Kind
    cause: Cause | None = None
    """The cause of the first failed recipient that has one; None unless the message is a bounce."""
    recipients: tuple[Recipient, ...] = ()
    reporting_mta: str | None = None
    null_reverse_path: bool | None = None
    """Whether Return-Path is <>; None when none was recorded (unknown is not "not null")."""
    original: Original | None = None
    format: str | None = None
    """Name of the layout table that matched, None when the DSN part alone said it all."""
    rules: tuple[str, ...] = ()
    """Names of the user's rules that matched, in their order."""
    evidence: tuple[Evidence, ...] = ()
    answers: tuple[str, ...] = ()
    """Message-IDs that the message itself is an answer to (In-Reply-To, References; RFC 5322, 3.6.4)."""
    sent_to: str = ""
    """Address that it was delivered to, where a server has written that down; else the first one of its To field."""
    blocked_at: str = ""
    """The provider who says that the sender's own account there may send no more; empty when none does."""
    incomplete: bool = False
    """True when the bytes were cut short before what could change this verdict: read more and ask again."""
    begun: tuple[str, ...] = ()
    """When only another part of the message could change it: the media types of the parts that have begun, in order.

    If the message has no others, the verdict stands, incomplete or not.
    """
