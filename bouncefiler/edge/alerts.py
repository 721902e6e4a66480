"""Delivers alerts: to the log, and as a message into the user's own INBOX, which needs no SMTP and cannot bounce.

An alert waits in an outbox until it has been delivered. A channel that fails is tried again, ever more rarely, and
never keeps anything else from its turn.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from bouncefiler.backscatter.advice import Alert, Level
from bouncefiler.backscatter.letters import Letter
from bouncefiler.backscatter.outbox import DOSES, Turns, Waiting, take_turns

if TYPE_CHECKING:
    from email.message import EmailMessage

FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=6)

log = logging.getLogger("bouncefiler.alert")

NOBODY = "bouncefiler@bouncefiler.invalid"
"""Whom an alert comes from when the login name is no address: `.invalid` is nobody's (RFC 2606, 2)."""

_LOG_LEVELS = {Level.INFO: logging.INFO, Level.WARNING: logging.WARNING, Level.CRITICAL: logging.CRITICAL}

Channel = Callable[[Alert], None]
"""Delivers one alert; raises when it could not."""


Group = Callable[[], Mapping[str, Channel]]
"""Opens channels that belong together, named "GROUP:…"; raises when it can't be said which there are."""


class WaitingAlert(Protocol):
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
    def due(self) -> datetime:
        """When it is to be tried, or tried again."""

    @property
    def attempts(self) -> int:
        """How often it has been tried in vain."""


class Outbox(Protocol):
    """Where alerts wait; what it is told survives a crash."""

    def alerts_waiting(self) -> Sequence[WaitingAlert]:
        """Return the alerts that are still to be delivered, oldest first."""

    def alerts_sent(self, since: datetime) -> Sequence[tuple[str, datetime]]:
        """Return through which channel, and when, each alert was delivered from `since` on."""

    def alert_sent(self, id_: int, now: datetime, instead_of: Collection[int] = ()) -> None:
        """Note that this one has been delivered, and that those are not to be any more."""

    def alert_failed(self, id_: int, retry_at: datetime, why: str) -> None:
        """Note that it has not, and when to try again."""

    def alerts_given_up(self, ids: Collection[int], now: datetime) -> None:
        """Note that these are not to be delivered any more."""

    def alert_parted(self, id_: int, channels: Collection[str], now: datetime) -> None:
        """Put this alert in once for each of these channels, in its own place."""


def deliver(
    outbox: Outbox,
    channels: Mapping[str, Channel],
    now: datetime,
    groups: Mapping[str, Group] = {},
    *,
    later: Collection[str] = (),
) -> None:
    """Deliver what is due, at least once each. A channel's failure is logged and tried again later, never raised.

    A channel that has failed is not tried again in this call, so that one that must time out does so once. An alert for
    a group is parted first: each of its channels then has its own one, and none gets it again because another failed.
    That is done here and not when the alert is put in, as the group's secret may be out of reach then; and a group is
    only opened when there is something for it. What is for a channel in `later` is left alone. Raises StoreBroken when
    the outbox can't be read or written.
    """
    open_channels = dict(channels)
    for name, group in groups.items():
        open_channels.update(_opened(outbox, name, group, now))
    alerts = {one.id: one for one in outbox.alerts_waiting() if one.channel not in later}
    stranded = [one.id for one in alerts.values() if one.due <= now and one.channel not in open_channels]
    turns = _turns(outbox, [one for one in alerts.values() if one.channel in open_channels], now)
    if stranded or turns.given_up:  # the configuration may have changed since they were put into the outbox
        log.info("%d alerts were given up: nobody takes them any more", len(stranded) + len(turns.given_up))
        outbox.alerts_given_up((*stranded, *turns.given_up), now)
    failed: set[str] = set()
    for turn in turns.now:
        due = alerts[turn.id]
        if due.channel in failed:
            continue
        why = _try(open_channels[due.channel], due.alert)
        if why is None:
            outbox.alert_sent(due.id, now, turn.instead_of)
            continue
        failed.add(due.channel)
        _put_off(outbox, due, now, why)


def _opened(outbox: Outbox, name: str, group: Group, now: datetime) -> Mapping[str, Channel]:
    """Open the channels of a group, if there is something due for it, and part what is for all of them."""
    waiting = outbox.alerts_waiting()
    due = [one for one in waiting if one.channel.partition(":")[0] == name and one.due <= now]
    if not due:
        return {}
    try:
        members = group()
    except Exception as exc:  # noqa: BLE001 - as with a channel
        for one in due:
            _put_off(outbox, one, now, _in_words(exc))
        return {}
    for one in due:
        if one.channel == name:
            outbox.alert_parted(one.id, tuple(members), now)
    return members


def _turns(outbox: Outbox, waiting: Sequence[WaitingAlert], now: datetime) -> Turns:
    sent: dict[str, list[datetime]] = defaultdict(list)
    for channel, at in outbox.alerts_sent(now - max(span for span, _ in DOSES)):
        sent[channel].append(at)
    return take_turns(
        [Waiting(one.id, one.channel, one.alert.key, one.alert.level, one.due) for one in waiting], sent, now
    )


def _try(channel: Channel, alert: Alert) -> str | None:
    """Deliver the alert; return why that could not be done, None when it was."""
    try:
        channel(alert)
    except Exception as exc:  # noqa: BLE001 - an alert that a channel stumbles over must not keep all others from their turn
        return _in_words(exc)
    return None


def _in_words(exc: Exception) -> str:
    """Return what the error says, on one line, or what it is called."""
    return " ".join(f"{exc}".split()) or type(exc).__name__


def _put_off(outbox: Outbox, due: WaitingAlert, now: datetime, why: str) -> None:
    log.warning("an alert could not be delivered through %s, and will be tried again: %s", due.channel, why)
    outbox.alert_failed(due.id, now + _pause(due.attempts), why)


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
    from email.headerregistry import Address  # noqa: PLC0415 - as in _empty

    message = _empty()
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


def as_draft(letter: Letter, address: str, now: datetime) -> bytes:
    """Write the letter as a message that its writer has still to address and to send: to nobody."""
    message = _empty()
    if _is_plain(address):
        message["From"] = address
    message["Subject"] = letter.subject
    message["Date"] = now
    message.set_content(letter.body.lstrip("\n"), cte="quoted-printable")
    return message.as_bytes()


def _empty() -> EmailMessage:
    from email.message import EmailMessage  # noqa: PLC0415 - all of email takes long to load, and most runs alert nobody
    from email.policy import SMTP  # noqa: PLC0415

    return EmailMessage(policy=SMTP)


def _is_plain(address: str) -> bool:
    """Whether this login name is an address that may stand in a header as it is."""
    local, at, domain = address.rpartition("@")
    return (
        bool(local and at and domain)
        and address.isascii()
        and address.isprintable()
        and not set(address) & set(' "<>(),;:\\')
    )
