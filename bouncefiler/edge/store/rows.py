"""Values of ours as rows of the tables, and back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bouncefiler.backscatter.advice import Alert, Level
from bouncefiler.backscatter.incident import Diagnosis, Incident
from bouncefiler.backscatter.volume import Sighting
from bouncefiler.edge.store.schema import CAUSES, KINDS, OUTCOMES, PROVENANCES
from bouncefiler.filing.plan import JournalEntry, Judged, MessageRef, Method, Move, Settlement
from bouncefiler.filing.undo import FiledMessage, PastRun
from bouncefiler.recognition.identity import Fingerprint
from bouncefiler.recognition.verdict import Cause
from bouncefiler.report.chronicle import DayTotal
from bouncefiler.sweep import Report

Row = tuple[Any, ...]

KEPT = timedelta(days=400)
"""How long a sighting, a settled move, a sent alert or the id of a sent message is kept: a year to compare with, and a
month over."""

MAX_SUBJECT_CHARS = 200

MAX_RECIPIENTS = 3

MAX_RECIPIENT_CHARS = 100

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WaitingAlert:
    """An alert that is to be delivered through `channel`."""

    id: int
    channel: str
    alert: Alert
    due: datetime
    """When it is to be tried, or tried again."""
    attempts: int
    why: str
    """Why the last attempt failed; empty before there was one."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command; `ended` is None while it is at work, and when it was killed."""

    id: int
    command: str
    began: datetime
    ended: datetime | None
    report: Report


def storable(text: str) -> str:
    """Make the text storable: half characters, as damaged mail has them, are not UTF-8."""
    return text.encode("utf-8", "replace").decode()


def seconds_of(moment: datetime) -> float:
    """Return seconds since 1970. Raises ValueError for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone means nothing here")
    return moment.timestamp()


def epoch(moment: datetime) -> int:
    """Return whole seconds since 1970. Raises ValueError for a time without a zone."""
    return int(seconds_of(moment))


def moment_of(seconds: float) -> datetime:
    """Return the aware time of these seconds since 1970."""
    return EPOCH + timedelta(seconds=seconds)  # fromtimestamp would take a senseless number for trouble with the disk


def moment_or_none(seconds: float | None) -> datetime | None:
    """Return the aware time of these seconds since 1970, None for None."""
    return None if seconds is None else moment_of(seconds)


def first_column(row: Row) -> Any:
    """Take the first column of a row."""
    return row[0]


def to_fingerprint(stored: bytes) -> Fingerprint:
    """Read a fingerprint, which is stored as octets."""
    return Fingerprint(stored.hex())


def move_row(move: Move) -> tuple[object, ...]:
    """Return the columns of `move`: uid, fingerprint, size, received_at, kind, cause, subject, recipients, undoes."""
    arrival, verdict = move.judged.arrival, move.judged.verdict
    recipients = [storable(r.final_recipient[:MAX_RECIPIENT_CHARS]) for r in verdict.recipients[:MAX_RECIPIENTS]]
    return (
        arrival.ref.uid,
        bytes.fromhex(arrival.fingerprint),
        arrival.size,
        epoch(arrival.received_at),
        KINDS.index(verdict.kind),
        None if verdict.cause is None else CAUSES.index(verdict.cause),
        storable(move.judged.subject[:MAX_SUBJECT_CHARS]),
        json.dumps(recipients),
        move.undoes,
    )


def settlement_row(settlement: Settlement) -> tuple[object, ...]:
    """Return state, to_uidvalidity, to_uid and id of a settled move."""
    to = settlement.to_ref
    where = (to.uidvalidity, to.uid) if to else (None, None)
    return (OUTCOMES.index(settlement.outcome), *where, settlement.entry.id)


def to_entry(row: Row) -> JournalEntry:
    """Read an intended move."""
    id_, source, uidvalidity, uid, fingerprint, size, received_at, to, to_uidvalidity, to_uidnext, method, undoes = row
    return JournalEntry(
        id_,
        MessageRef(source, uidvalidity, uid),
        to_fingerprint(fingerprint),
        size,
        moment_of(received_at),
        to,
        to_uidvalidity,
        to_uidnext,
        Method(method),
        puts_back=undoes is not None,
    )


def sighting_of(judged: Judged) -> Sighting:
    """Return what is counted of a bounce."""
    arrival = judged.arrival
    return Sighting(
        arrival.fingerprint, arrival.received_at, judged.verdict.kind, judged.verdict.cause or Cause.UNKNOWN
    )


def incident_row(incident: Incident) -> tuple[object, ...]:
    """Return the columns of `incident`, in the order in which they are selected."""
    return (
        incident.diagnosis,
        seconds_of(incident.opened),
        seconds_of(incident.last_seen),
        incident.count,
        incident.usual,
        incident.total,
        incident.peak,
        incident.notified and seconds_of(incident.notified),
        incident.notified_count,
        incident.closed and seconds_of(incident.closed),
        incident.id or None,
        incident.began and seconds_of(incident.began),
        incident.earlier,
    )


SELECT_INCIDENT = (
    "SELECT diagnosis, opened, last_seen, count, usual, total, peak, notified, notified_count, closed, id, began,"
    " earlier FROM incident"
)


def to_incident(row: Row) -> Incident:
    """Read an incident."""
    diagnosis, opened, last_seen, count, usual, total, peak, notified, notified_count, closed, id_, began, earlier = row
    return Incident(
        Diagnosis(diagnosis),
        moment_of(opened),
        moment_of(last_seen),
        count,
        usual,
        total,
        peak,
        moment_or_none(notified),
        notified_count,
        moment_or_none(closed),
        id_,
        moment_or_none(began),
        earlier,
    )


def to_waiting_alert(row: Row) -> WaitingAlert:
    """Read an alert that has not been delivered."""
    id_, channel, key, level, subject, body, due, attempts, why = row
    return WaitingAlert(id_, channel, Alert(key, Level(level), subject, body), moment_of(due), attempts, why)


def to_run(row: Row) -> Run:
    """Read a run."""
    id_, command, began, ended, *told = row
    return Run(id_, command, moment_of(began), moment_or_none(ended), Report(*told))


def to_past_run(row: Row) -> PastRun:
    """Read a run that moved mail."""
    id_, command, began, moved, undone = row
    return PastRun(id_, command, moment_of(began), moved, undone)


def to_filed_message(row: Row) -> FiledMessage:
    """Read what was moved."""
    id_, run, source, uidvalidity, uid, target, moved_uidvalidity, moved_uid, *rest = row
    to_uidvalidity, to_uidnext, fingerprint, size, received_at, kind, cause, *words, undone, undoes = rest
    subject, recipients = words
    return FiledMessage(
        id=id_,
        run=run,
        ref=MessageRef(source, uidvalidity, uid),
        to=None if moved_uid is None else MessageRef(target, moved_uidvalidity, moved_uid),
        to_folder=target,
        to_uidvalidity=to_uidvalidity,
        to_uidnext=to_uidnext,
        fingerprint=to_fingerprint(fingerprint),
        size=size,
        received_at=moment_of(received_at),
        kind=KINDS[kind],
        cause=None if cause is None else CAUSES[cause],
        subject=subject,
        recipients=tuple(json.loads(recipients)),
        undone=bool(undone),
        undoes=undoes,
    )


def to_day_total(row: Row) -> DayTotal:
    """Read the total of a day."""
    day, kind, cause, provenance, count = row
    return DayTotal(EPOCH.date() + timedelta(days=day), KINDS[kind], CAUSES[cause], PROVENANCES[provenance], count)
