"""Accounts with a past, as values and as state files: an empty one, a quiet year, a flood."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from bouncefiler.backscatter.advice import Alert, Level
from bouncefiler.backscatter.incident import Diagnosis, Incident, Notice
from bouncefiler.backscatter.provenance import Attribution, Provenance, Reason
from bouncefiler.edge.store import Store, open_store
from bouncefiler.filing.plan import Arrival, Judged, MessageRef, Method, Move, MoveBatch
from bouncefiler.recognition.identity import Fingerprint
from bouncefiler.recognition.verdict import Cause, Kind, Recipient, Verdict
from bouncefiler.report.chronicle import Chronicle, DayTotal, Look
from bouncefiler.sweep import FolderState, Moved, Report

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

QUIET = Chronicle(
    account="home",
    address="ana@garden.example",
    folder="Bounces",
    language="en",
    now=NOON,
    watched_since=NOON - 300 * DAY,
    look=Look(NOON - HOUR),
    at_work=None,
    since=date(2026, 1, 31),
    daily=(),
    incidents=(),
    told=(),
    waves=(),
    filed=(),
    filed_day=0,
    filed_week=0,
    dead=(),
    dead_count=0,
    undelivered=(),
)

FORGED = Attribution(Provenance.FORGED, Reason.NOTHING)
UNKNOWN = Attribution(Provenance.UNKNOWN, Reason.NOTHING)

WAVE = Incident(
    Diagnosis.BACKSCATTER,
    opened=NOON - 2 * DAY,
    last_seen=NOON - HOUR,
    count=347,
    usual=0.3,
    total=20_000,
    peak=19_000,
    notified=NOON - 2 * DAY,
    notified_count=347,
    id=1,
    began=NOON - 2 * DAY - HOUR,
)


def total(
    days_ago: int, count: int, cause: Cause = Cause.USER_UNKNOWN, provenance: Provenance = Provenance.UNKNOWN
) -> DayTotal:
    return DayTotal(NOON.date() - timedelta(days=days_ago), Kind.FAILED, cause, provenance, count)


def fingerprint(number: int) -> Fingerprint:
    return Fingerprint(sha256(str(number).encode()).hexdigest()[:32])


def bounce(number: int, address: str, at: datetime, cause: Cause = Cause.USER_UNKNOWN) -> Judged:
    arrival = Arrival(MessageRef("INBOX", 9, number), fingerprint(number), at, size=1_000)
    return Judged(arrival, Verdict(Kind.FAILED, cause, (Recipient(address, cause=cause),)), "Undelivered")


def file(store: Store, bounces: Iterable[Judged], now: datetime, to: str = "Bounces", command: str = "clean") -> None:
    """Write down a run that moved these."""
    batch = MoveBatch("INBOX", 9, to, tuple(Move(item, Kind.FAILED, by_rule=False) for item in bounces))
    store.begin_run(command, now)
    store.intend(batch, FolderState(to, 77, 500, 3), Method.MOVE)
    store.settle_moved(batch, Moved(77, {uid: 500 + uid for uid in batch.uids}))
    store.end_run(now, Report(scanned=len(batch.uids), moved=len(batch.uids)))
    store.looked(now)


def quiet_year(path: Path, now: datetime = NOON) -> None:
    """Two bounces a month, each filed the day it came."""
    causes = (Cause.USER_UNKNOWN, Cause.MAILBOX_FULL, Cause.CONTENT_REJECTED, Cause.UNREACHABLE)
    with open_store(path, holder="test") as store:
        for number in range(24):
            at = now - timedelta(days=15 * (24 - number) - 10)
            file(store, [bounce(number + 1, f"friend{number % 5}@example.net", at, causes[number % 4])], at + HOUR)
        store.looked(now - HOUR)


def flood(path: Path, now: datetime = NOON, size: int = 20_000) -> None:
    """A quiet year that ends with a forged wave of this size."""
    quiet_year(path, now)
    causes = (Cause.USER_UNKNOWN, Cause.USER_UNKNOWN, Cause.CONTENT_REJECTED, Cause.AUTH_FAILED, Cause.MAILBOX_FULL)
    start = now - timedelta(hours=40)
    wave = [
        bounce(1_000 + n, f"stranger{n}@example.org", start + n * timedelta(hours=39) / size, causes[n % 5])
        for n in range(size)
    ]
    incident = replace(WAVE, began=start, opened=start + HOUR, last_seen=now - HOUR, count=size // 2, total=size, id=0)
    incident = replace(incident, peak=size // 2 + 7, notified=start + HOUR)
    opened = Alert("opened 1", Level.WARNING, "Is somebody sending mail in your name?", "Look.")
    with open_store(path, holder="test") as store:
        file(store, wave, now - HOUR, command="run")
        waiting = store.pending(now, limit=size)
        store.attribute(((each, FORGED if n % 3 else UNKNOWN, True) for n, each in enumerate(waiting)), now)
        kept = store.record(
            replace(incident, count=31, total=31, peak=31), [("inbox", opened)], start + HOUR, [Notice.OPENED]
        )
        store.record(
            replace(kept, count=incident.count, total=size, peak=incident.peak),
            [],
            start + 4 * HOUR,
            [Notice.ESCALATED],
        )
        store.alert_failed(1, now + HOUR, "mail.example.org: INBOX is over quota")
