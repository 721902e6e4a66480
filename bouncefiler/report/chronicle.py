"""What is told of one account, and whether all is well with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from bouncefiler.backscatter.incident import Diagnosis, Incident, Notice
from bouncefiler.backscatter.provenance import Provenance
from bouncefiler.backscatter.volume import Wave
from bouncefiler.recognition.verdict import Cause, Kind

T = TypeVar("T")

MAX_DEAD, MAX_STRANGERS = 200, 30
"""So many dead addresses are told of that the owner wrote to, and so many others; `export` has them all.

A forged wave leaves thousands that nobody here has ever written to.
"""

STALE = timedelta(days=2)
"""When nobody has looked into the mailbox for so long, nobody would notice a wave either."""


class Group(StrEnum):
    """Causes that come to the same for somebody who wants to know why mail came back."""

    ADDRESS = "address"
    FULL = "full"
    REFUSED = "refused"
    TECHNICAL = "technical"
    UNKNOWN = "unknown"


GROUPS: Mapping[Cause, Group] = {
    Cause.USER_UNKNOWN: Group.ADDRESS,
    Cause.MAILBOX_DISABLED: Group.ADDRESS,
    Cause.DOMAIN_UNKNOWN: Group.ADDRESS,
    Cause.MOVED: Group.ADDRESS,
    Cause.MAILBOX_FULL: Group.FULL,
    Cause.MESSAGE_TOO_BIG: Group.FULL,
    Cause.SENDER_BLOCKED: Group.REFUSED,
    Cause.AUTH_FAILED: Group.REFUSED,
    Cause.CONTENT_REJECTED: Group.REFUSED,
    Cause.POLICY: Group.REFUSED,
    Cause.RELAY_DENIED: Group.REFUSED,
    Cause.RATE_LIMITED: Group.REFUSED,
    Cause.UNREACHABLE: Group.TECHNICAL,
    Cause.LOOP: Group.TECHNICAL,
    Cause.PROTOCOL_ERROR: Group.TECHNICAL,
    Cause.UNKNOWN: Group.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class DayTotal:
    """How many bounces of one sort came on one day (UTC)."""

    day: date
    kind: Kind
    cause: Cause
    provenance: Provenance
    count: int


@dataclass(frozen=True, slots=True)
class DeadAddress:
    """An address that mail cannot be delivered to, by its last failure. Untrusted: it stems from strangers' mail."""

    address: str
    cause: Cause
    first: datetime
    last: datetime
    count: int
    provenance: Provenance
    """GENUINE when it is known that the owner has written to it, else UNKNOWN."""

    @property
    def sent_by_you(self) -> bool:
        """Whether it is known that the owner has written to it."""
        return self.provenance is Provenance.GENUINE


@dataclass(frozen=True, slots=True)
class Filed:
    """How many messages were moved to a folder and not put back since; `last` is when the latest run began that did."""

    folder: str
    count: int
    last: datetime


@dataclass(frozen=True, slots=True)
class Undelivered:
    """An alert that could not be delivered so far; it is tried again at `due`."""

    channel: str
    subject: str
    why: str
    attempts: int
    due: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """What was told of an incident, and when."""

    incident: int
    at: datetime
    notice: Notice
    diagnosis: Diagnosis
    count: int
    total: int


@dataclass(frozen=True, slots=True)
class Look:
    """When the mailbox was last looked into; and, if that has not worked since, what is in the way."""

    at: datetime | None = None
    trouble: str = ""
    trouble_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class AtWork:
    """Which bouncefiler holds the account now; `pid` is None when it does not say."""

    command: str
    pid: int | None
    since: datetime


@dataclass(frozen=True, slots=True)
class Chronicle:
    """All that status and report tell of one account. All times are aware."""

    account: str
    address: str
    folder: str
    """Where bounces are filed."""
    language: str
    now: datetime
    watched_since: datetime | None
    look: Look
    at_work: AtWork | None
    since: date
    """The first day of `daily`."""
    daily: tuple[DayTotal, ...]
    incidents: tuple[Incident, ...]
    """The newest first."""
    told: tuple[Told, ...]
    """The oldest first."""
    waves: tuple[Wave, ...]
    """Waves that were over before anybody watched, the oldest first."""
    filed: tuple[Filed, ...]
    filed_day: int
    """Filed by the runs of the last 24 hours."""
    filed_week: int
    """Filed by the runs of the last seven days."""
    dead: tuple[DeadAddress, ...]
    """The latest: up to MAX_DEAD that the owner wrote to, then up to MAX_STRANGERS others."""
    dead_count: int
    """How many there are in all."""
    undelivered: tuple[Undelivered, ...]

    @property
    def until(self) -> date:
        """The last day that is told of: today (UTC)."""
        return self.now.date()

    @property
    def open_incidents(self) -> tuple[Incident, ...]:
        """Those that have not ended."""
        return tuple(incident for incident in self.incidents if incident.closed is None)

    def failed(self) -> Iterator[DayTotal]:
        """Yield the totals of failed deliveries, without the delay warnings; one from the future came today."""
        for total in self.daily:
            if total.kind is Kind.FAILED:
                yield replace(total, day=min(total.day, self.until))

    def by(self, what: Callable[[DayTotal], T]) -> Counter[T]:
        """Count the failed deliveries by something."""
        counted: Counter[T] = Counter()
        for total in self.failed():
            counted[what(total)] += total.count
        return counted

    def days(self) -> tuple[date, ...]:
        """Return every day from `since` to `until`."""
        return tuple(self.since + timedelta(days=n) for n in range((self.until - self.since).days + 1))


class State(StrEnum):
    """How things are, from worst to best: the first that holds is said first."""

    COMPROMISED = "compromised"
    TROUBLE = "trouble"
    """The mailbox could not be looked into the last time."""
    BACKSCATTER = "backscatter"
    STALE = "stale"
    """Nobody has looked for long."""
    UNDELIVERED = "undelivered"
    NEW = "new"
    """Nobody has looked yet."""
    OWN_MAILING = "own-mailing"
    WELL = "well"


def states(told: Chronicle) -> tuple[State, ...]:
    """Say how things are, the worst first; never empty, and WELL stands alone."""
    diagnoses = {incident.diagnosis for incident in told.open_incidents}
    holds = {
        State.COMPROMISED: Diagnosis.COMPROMISED in diagnoses,
        State.TROUBLE: bool(told.look.trouble),
        State.BACKSCATTER: Diagnosis.BACKSCATTER in diagnoses,
        State.STALE: told.look.at is not None and told.now - told.look.at > STALE and not told.look.trouble,
        State.UNDELIVERED: bool(told.undelivered),
        State.NEW: told.look.at is None and not told.look.trouble,
        State.OWN_MAILING: Diagnosis.OWN_MAILING in diagnoses,
    }
    return tuple(state for state in State if holds.get(state)) or (State.WELL,)
