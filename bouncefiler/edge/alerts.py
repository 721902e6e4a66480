"""Delivers alerts: to the log, and as a message into the user's own INBOX, which needs no SMTP and cannot bounce.

An alert waits in an outbox until it has been delivered. A channel that fails is tried again, ever more rarely, and
never keeps anything else from its turn.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Protocol

from bouncefiler.backscatter.advice import Alert, Level

FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=6)

log = logging.getLogger("bouncefiler.alert")

NOBODY = "bouncefiler@bouncefiler.invalid"
"""Whom an alert comes from when the login name is no address: `.invalid` is nobody's (RFC 2606, 2)."""

_LOG_LEVELS = {Level.INFO: logging.INFO, Level.WARNING: logging.WARNING, Level.CRITICAL: logging.CRITICAL}

Channel = Callable[[Alert], None]
"""Delivers one alert; raises when it could not."""


class DueAlert(Protocol):
    """An alert that is waiting in the outbox."""

    @property
    def id(self) -> int:
        """What the outbox knows it by."""

    @property
    def channel(self) -> str:
        """The name of the channel that is to take it."""

    @property
    def alert(self) -> Alert:
        """What there is to say."""

    @property
    def attempts(self) -> int:
        """How often it has been tried in vain."""


class Outbox(Protocol):
    """Where alerts wait; what it is told survives a crash."""

    def alerts_due(self, now: datetime) -> Sequence[DueAlert]:
        """Return the alerts that are to be delivered, or tried again, now; oldest first."""

    def alert_sent(self, id_: int, now: datetime) -> None:
        """Note that this one has been delivered."""

    def alert_failed(self, id_: int, retry_at: datetime, why: str) -> None:
        """Note that it has not, and when to try again."""


def deliver(outbox: Outbox, channels: Mapping[str, Channel], now: datetime) -> None:
    """Deliver what is due, at least once each. A channel's failure is logged and tried again later, never raised.

    A channel that has failed is not tried again in this call, so that one that must time out does so once. Raises
    StoreBroken when the outbox can't be read or written.
    """
    failed: set[str] = set()
    for due in outbox.alerts_due(now):
        if due.channel in failed:
            continue
        why = _try(channels, due)
        if why is None:
            outbox.alert_sent(due.id, now)
            continue
        failed.add(due.channel)
        log.warning("an alert could not be delivered through %s, and will be tried again: %s", due.channel, why)
        outbox.alert_failed(due.id, now + _pause(due.attempts), why)


def _try(channels: Mapping[str, Channel], due: DueAlert) -> str | None:
    """Deliver the alert; return why that could not be done, on one line, None when it was."""
    if due.channel not in channels:  # the configuration may have changed since the alert was put into the outbox
        return f"there is no channel {due.channel!r} any more"
    try:
        channels[due.channel](due.alert)
    except Exception as exc:  # noqa: BLE001 - an alert that a channel stumbles over must not keep all others from their turn
        return " ".join(f"{exc}".split()) or type(exc).__name__
    return None


def _pause(attempts: int) -> timedelta:
    return min(LONGEST_RETRY, FIRST_RETRY * float(2 ** min(attempts, 16)))


def to_log(alert: Alert) -> None:
    """Write the alert's subject as one line of the log, at its level."""
    log.log(_LOG_LEVELS[alert.level], "%s", alert.subject)


def as_message(alert: Alert, address: str, now: datetime) -> bytes:
    """Write the alert as a message (RFC 5322) from the user to the user, for APPEND.

    It says that nobody should answer it (RFC 3834, 5). The same alert has the same Message-ID, so that whoever sees it
    twice can tell.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = Address("bouncefiler", addr_spec=address if _is_plain(address) else NOBODY)
    message["To"] = address if _is_plain(address) else "undisclosed-recipients:;"
    message["Subject"] = alert.subject
    message["Date"] = now
    message["Message-ID"] = (
        f"<{hashlib.sha256(f'{address} {alert.key}'.encode()).hexdigest()[:32]}@bouncefiler.invalid>"
    )
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message["X-Bouncefiler-Alert"] = alert.level.value
    if alert.level is not Level.INFO:
        message["Importance"] = "high"
    message.set_content(alert.body, cte="quoted-printable")
    return message.as_bytes()


def _is_plain(address: str) -> bool:
    """Whether this login name is an address that may stand in a header as it is."""
    local, at, domain = address.rpartition("@")
    return (
        bool(local and at and domain)
        and address.isascii()
        and address.isprintable()
        and not set(address) & set(' "<>(),;:\\')
    )
