"""Incidents: a wave of bounces is one incident, however many messages it has.

`assess` looks at when bounces came and at the incident so far, and says what has become of it and what is worth
telling. It may be called every few minutes or once a week: what it finds depends on the bounces' own times.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from bouncefiler.backscatter.volume import (
    BASE_DAYS,
    HISTORY,
    Count,
    History,
    Usual,
    WatchPolicy,
    bounces,
    count,
    incomplete_beta,
    next_after,
    surge,
    usual_at,
)

ESCALATION = 4
"""It is worth telling again when there are so many times more than the user was told."""

ESCALATION_PAUSE = timedelta(minutes=30)
"""… but no more often than this: a flood grows faster than anybody reads."""

LONGEST_REMINDER = timedelta(days=7)
"""Reminders come after twice the time that the one before took, up to this."""

REOPENS = timedelta(days=7)
"""A wave that comes back within this is the same incident."""

UNLIKE = 1e-3
"""A lull is the end when a wave as it was would have so small a chance of it."""

CLOCK_SLACK = timedelta(days=1)
"""Bounces dated so far ahead of our clock are believed: then it is our clock that is slow."""

_DAY = 86_400
_STEP = _DAY // 4
_LULLS = (2 * _STEP, 4 * _STEP, 8 * _STEP)
_PAUSES = (_STEP // 3, _STEP, 2 * _STEP)


class Diagnosis(StrEnum):
    """What is going on, from harmless to bad."""

    OWN_MAILING = "own-mailing"
    BACKSCATTER = "backscatter"
    COMPROMISED = "compromised"


class Notice(StrEnum):
    """What there is to tell about an incident."""

    OPENED = "opened"
    ESCALATED = "escalated"
    REMINDER = "reminder"
    CLOSED = "closed"
    SETTLED = "settled"
    """It has gone on for so long that it is now what is usual: closed without having ended."""
    REOPENED = "reopened"


@dataclass(frozen=True, slots=True)
class Incident:
    """A wave of bounces, from when it was noticed until it has ebbed away. All times are aware."""

    diagnosis: Diagnosis
    opened: datetime
    last_seen: datetime
    """INTERNALDATE of its newest bounce."""
    count: int
    """Bounces in the 24 hours before it was last looked at."""
    usual: float | None
    """Bounces a day that were usual before it; None when the account is too new to tell."""
    total: int
    """Bounces since it began."""
    peak: int
    """The highest `count` so far."""
    notified: datetime | None = None
    notified_count: int = 0
    """The highest `count` that the user was told."""
    closed: datetime | None = None
    id: int = 0
    """0 until it is stored."""
    began: datetime | None = None
    """INTERNALDATE of its first bounce; after it was reopened, of the first one since."""
    earlier: int = 0
    """Bounces that it had before it was reopened; `total` includes them."""


@dataclass(frozen=True, slots=True)
class Background:
    """What else is known, besides when bounces came.

    `known_since`: since when the account has been watched; from then on, or from the first bounce on, a day without
    bounces was a quiet one. None is the first bounce, with which a mailbox that had no bounces at all is not known to
    be a quiet one. `diagnosis`: what the bounces themselves give evidence of.
    """

    known_since: datetime | None = None
    diagnosis: Diagnosis = Diagnosis.BACKSCATTER


@dataclass(frozen=True, slots=True)
class Step:
    """What has become of the incident, and what is worth telling about it; no incident, nothing to tell."""

    incident: Incident | None = None
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class _View:
    """What one look is about: bounces up to and including `end`."""

    history: History
    now: datetime
    end: int
    known_since: int
    policy: WatchPolicy
    diagnosis: Diagnosis

    @property
    def moment(self) -> datetime:
        return self.at(self.end)

    def at(self, seconds: int) -> datetime:
        return datetime.fromtimestamp(seconds, self.now.tzinfo)

    def seen(self, incident: Incident, before: int) -> datetime:
        """Return when the newest bounce came up to a moment; as before, if there are none any more."""
        newest = self.history.last(-math.inf, before + 1)
        return incident.last_seen if newest is None else self.at(newest)

    def bounces(self, start: float, end: float) -> int:
        return bounces(self.history.after(start), start, end)

    def count(self, start: float, end: float) -> Count:
        return count(self.history.after(start), start, end)

    def usual(self, before: int) -> Usual:
        return usual_at(self.history, before, self.known_since)

    def beyond_threshold(self, start: int, end: int) -> bool:
        return self.policy.threshold is not None and self.bounces(start, end) >= self.policy.threshold


def assess(
    history: History,
    now: datetime,
    policy: WatchPolicy,
    open_incident: Incident | None = None,
    last_incident: Incident | None = None,
    background: Background | None = None,
) -> Step:
    """Say what has become of the incident at `now`, which is aware.

    `history`: when bounces came whose original the user is not known to have sent, by INTERNALDATE, for the last
    `volume.HISTORY` at least. `last_incident`: the latest one; a wave that comes back within a week is part of it. At
    most one incident is open, and asking twice gives nothing new the second time.
    """
    view = _view(history, now, policy, background or Background())
    if open_incident is None:
        return _look_out(view, last_incident)
    ended = _look_for_end(view, open_incident)
    if ended is None:
        return _go_on(view, open_incident)
    again = _look_out(view, ended.incident)
    return again if again.incident else ended


def _view(history: History, now: datetime, policy: WatchPolicy, background: Background) -> _View:
    seconds = math.floor(now.timestamp())
    ahead = history.last(seconds + 1, seconds + CLOCK_SLACK.total_seconds() + 1)
    end = seconds if ahead is None else ahead
    known_since = end
    if background.known_since:
        known_since = min(known_since, math.ceil(background.known_since.timestamp()))
    first = history.first(-math.inf, known_since)
    horizon = seconds - math.floor(HISTORY.total_seconds())
    return _View(history, now, end, max(known_since if first is None else first, horizon), policy, background.diagnosis)


def _look_out(view: _View, last: Incident | None) -> Step:
    """Nothing is open: has something begun, or come back?"""
    closed = math.floor(last.closed.timestamp()) if last and last.closed else None
    # Closed in the future: by a clock that was fast. What came since can't be told, so everything counts.
    after = closed if closed is not None and closed <= view.end else None
    began = _beginning(view, after)
    if began is None:
        return Step()
    usual = view.usual(began).per_day
    new = Incident(view.diagnosis, view.moment, view.moment, 0, usual, 0, 0, view.moment, began=view.at(began))
    if last is None or closed is None or view.end - closed > REOPENS.total_seconds():
        opened = _measured(view, new)
        return Step(replace(opened, notified_count=opened.count), (Notice.OPENED,))
    joined = replace(new, opened=last.opened, id=last.id, peak=last.peak, earlier=last.total)
    reopened = _measured(view, replace(joined, diagnosis=_worse(last.diagnosis, view.diagnosis)))
    return Step(replace(reopened, notified_count=reopened.count), (Notice.REOPENED,))


def _beginning(view: _View, after: int | None) -> int | None:
    """Return when that began which is alarming now; None when nothing is."""
    began = surge(view.history, view.end, view.known_since, after)
    if began is not None:
        return began
    day_ago = max(view.end - _DAY, after or 0)
    blocked = view.diagnosis is Diagnosis.COMPROMISED and view.bounces(day_ago, view.end) > 0
    if blocked or view.beyond_threshold(day_ago, view.end):
        return next_after(view.history, day_ago)
    return None


def _measured(view: _View, incident: Incident) -> Incident:
    counted = view.bounces(view.end - _DAY, view.end)
    return replace(
        incident,
        last_seen=view.seen(incident, view.end),
        count=counted,
        total=incident.earlier + view.bounces(_began(incident) - 1, view.end),
        peak=max(incident.peak, counted),
    )


def _began(incident: Incident) -> int:
    return math.floor((incident.began or incident.opened).timestamp())


def _worse(one: Diagnosis, other: Diagnosis) -> Diagnosis:
    return max(one, other, key=list(Diagnosis).index)


def _go_on(view: _View, before: Incident) -> Step:
    """Say what is new about an incident that goes on."""
    now = replace(_measured(view, before), diagnosis=_worse(before.diagnosis, view.diagnosis))
    if now.diagnosis is not before.diagnosis or _escalates(view, now):
        notice = Notice.ESCALATED
    elif _needs_reminder(view, now):
        notice = Notice.REMINDER
    else:
        return Step(now)
    told = replace(now, notified=view.moment, notified_count=max(now.count, now.notified_count))
    return Step(told, (notice,))


def _escalates(view: _View, incident: Incident) -> bool:
    grown = incident.count >= ESCALATION * max(incident.notified_count, 1)
    return grown and not timedelta(0) <= view.moment - _notified(incident) < ESCALATION_PAUSE


def _needs_reminder(view: _View, incident: Incident) -> bool:
    notified, began = _notified(incident), _began(incident)
    pause = max(view.policy.renotify, min(notified - view.at(began), LONGEST_REMINDER))
    if view.moment - notified < pause:
        return False
    if view.beyond_threshold(view.end - _DAY, view.end):
        return True
    base = view.usual(began)
    if any(_paused(view, began, view.end, base, span) for span in _PAUSES):
        return False
    since = max(math.floor(notified.timestamp()), view.end - _DAY)
    return not base.ordinary(view.count(since, view.end), (view.end - since) / _DAY)


def _notified(incident: Incident) -> datetime:
    return incident.notified or incident.opened


def _look_for_end(view: _View, incident: Incident) -> Step | None:
    """Look, every six hours since it began, whether it was over; the first time that it was is when it closed."""
    began = _began(incident)
    base = view.usual(began)
    for end in _occasions(view, incident):
        lull = _lull(view, incident, end, base)
        if lull:
            return Step(_closed(view, incident, end, lull), (Notice.CLOSED,))
        if end - began >= BASE_DAYS * _DAY and _lull(view, incident, end, view.usual(end)):
            settled = _closed(view, incident, end, 0)
            return Step(replace(settled, usual=view.usual(end).per_day), (Notice.SETTLED,))
    return None


def _occasions(view: _View, incident: Incident) -> Iterator[int]:
    """Yield the moments to look at: not the ones before the last notice, which have been looked at."""
    began = _began(incident)
    told = math.floor(_notified(incident).timestamp())
    first = max(3, (told - began) // _STEP + 1)
    yield from range(began + first * _STEP, view.end + 1, _STEP)


def _lull(view: _View, incident: Incident, end: int, base: Usual) -> int:
    """Return for how long before `end` it has been quiet, in seconds; 0 when it is not over.

    Over means: as usual for two times six hours, and for so long that a wave as it was would have shown itself. Two
    days as usual since the last notice are always the end.
    """
    halves = ((end - 2 * _STEP, end - _STEP), (end - _STEP, end))
    if not all(base.ordinary(view.count(*half), _STEP / _DAY) for half in halves):
        return 0
    if view.beyond_threshold(end - _DAY, end):
        return 0
    for lull in _LULLS[:-1]:
        if _paused(view, _began(incident), end, base, lull):
            return lull
    last = _LULLS[-1]
    if end - last < _notified(incident).timestamp():
        return 0
    return last if base.ordinary(view.count(end - last, end), last / _DAY) else 0


def _paused(view: _View, began: int, end: int, base: Usual, span: int) -> bool:
    """Whether the last `span` seconds were as usual, and quieter than a wave that goes on as it was would be.

    Of a wave at one rate each spell falls into the last part of the time with that part's share, so the number there
    is binomial.
    """
    lull, before = view.count(end - span, end), end - span - began
    if before < span / 2 or not base.ordinary(lull, span / _DAY):
        return False
    wave = view.count(began - 1, end - span)
    return incomplete_beta(before / (before + span), wave.spells, lull.spells + 1) < UNLIKE


def _closed(view: _View, incident: Incident, end: int, lull: int) -> Incident:
    """Close the incident at `end`; what came in the lull no longer belongs to it."""
    began = _began(incident)
    counted = view.bounces(end - _DAY, end)
    days = (view.bounces(day - _DAY, day) for day in range(began + _STEP, end, _STEP))
    return replace(
        incident,
        last_seen=view.seen(incident, end - lull),
        count=counted,
        total=incident.earlier + view.bounces(began - 1, end - lull),
        peak=max(incident.peak, counted, *days),
        closed=view.at(end),
        notified=view.moment,
    )
