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
from bouncefiler.errors import BouncefilerError

FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=6)

log = logging.getLogger("bouncefiler.alert")

_LOG_LEVELS = {Level.INFO: logging.INFO, Level.WARNING: logging.WARNING, Level.CRITICAL: logging.CRITICAL}

Channel = Callable[[Alert], None]
"""Delivers one alert; raises BouncefilerError when it could not."""


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
    """Deliver what is due, at least once each. A channel's failure is logged and tried again later, never raised."""
    for due in outbox.alerts_due(now):
        try:
            _channel(channels, due.channel)(due.alert)
        except BouncefilerError as exc:
            why = str(exc).splitlines()[0]
            log.warning("an alert could not be delivered through %s, and will be tried again: %s", due.channel, why)
            outbox.alert_failed(due.id, now + _pause(due.attempts), why)
        else:
            outbox.alert_sent(due.id, now)


def _channel(channels: Mapping[str, Channel], name: str) -> Channel:
    # The configuration may have changed since the alert was put into the outbox.
    if name not in channels:
        raise BouncefilerError(f"there is no channel {name!r} any more")
    return channels[name]


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
    message["From"] = Address("bouncefiler", addr_spec=address) if _is_plain(address) else "bouncefiler <>"
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
