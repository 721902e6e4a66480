"""Who sent what the bounces return: clues that wait, and what became of them; fulfils half of inquiry.Files."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from dataclasses import fields
from datetime import datetime, timedelta

from bouncefiler.backscatter.provenance import (
    Attribution,
    Clues,
    Provenance,
    Reason,
    clues_of,
    counts,
    failures_of,
)
from bouncefiler.edge.store.base import Base, Writable, only, those_in
from bouncefiler.edge.store.rows import Row, epoch, moment_of, moment_or_none, storable, to_fingerprint
from bouncefiler.edge.store.schema import CAUSES, KINDS, PROVENANCES
from bouncefiler.filing.plan import Judged
from bouncefiler.inquiry import Pending
from bouncefiler.recognition.verdict import Cause, Kind, Verdict

MAX_HEADERS = 2_000
"""How many returned header blocks may wait to be verified: a flood of 100,000 is judged by its first ones."""

ASK_AGAIN = timedelta(hours=1)
"""How long to wait before the provenance of a message is asked for again; then twice as long each time."""


class ClueReader(Base):
    """What is known of who sent the returned messages."""

    def pending(self, now: datetime, limit: int = 500) -> tuple[Pending, ...]:
        """Return messages whose provenance is open and is to be asked for now, those that wait longest first."""
        return self._read(
            _pending,
            "SELECT clue.fingerprint, received_at, noted, clues, header FROM clue"
            " JOIN sighting ON sighting.fingerprint = clue.fingerprint"
            " LEFT JOIN returned ON returned.fingerprint = clue.fingerprint"
            " WHERE due <= ? ORDER BY due LIMIT ?",
            (epoch(now), limit),
        )

    def oldest(self) -> datetime | None:
        """Return when the oldest bounce that is counted singly came."""
        return only(self._read(lambda row: moment_or_none(row[0]), "SELECT min(received_at) FROM sighting"))

    def tallied(self, since: datetime, until: datetime) -> tuple[tuple[Provenance, Reason, int], ...]:
        """Return (provenance, reasons, number) of the failed deliveries after `since`, up to and including `until`."""
        return self._read(
            lambda row: (PROVENANCES[row[0]], Reason(row[1]), row[2]),
            "SELECT provenance, reasons, count(*) FROM sighting"
            " WHERE received_at > ? AND received_at <= ? AND kind = ? GROUP BY provenance, reasons",
            (epoch(since), epoch(until), KINDS.index(Kind.FAILED)),
        )

    def causes(
        self, since: datetime, until: datetime, provenances: Collection[Provenance] = tuple(Provenance)
    ) -> tuple[tuple[Cause, int], ...]:
        """Return (cause, number) of the failed deliveries after `since`, up to `until`; most often first."""
        marks = ",".join(str(PROVENANCES.index(provenance)) for provenance in provenances)
        return self._read(
            lambda row: (CAUSES[row[0]], row[1]),
            "SELECT cause, count(*) FROM sighting WHERE received_at > ? AND received_at <= ? AND kind = ?"  # noqa: S608 - numbers only
            f" AND provenance IN ({marks}) GROUP BY cause ORDER BY count(*) DESC, cause",
            (epoch(since), epoch(until), KINDS.index(Kind.FAILED)),
        )

    def failed_for_good(self, since: datetime, limit: int) -> tuple[str, ...]:
        """Return the latest addresses that mail of the owner's could not be delivered to, and never will be."""
        return self._read(
            lambda row: str(row[0]),
            "SELECT address FROM failure WHERE permanent AND received_at > ? AND provenance = ?"
            " GROUP BY address ORDER BY max(received_at) DESC, address LIMIT ?",
            (epoch(since), PROVENANCES.index(Provenance.GENUINE), limit),
        )


class ClueWriter(ClueReader, Writable):
    """… and the hand that writes it."""

    def attribute(self, found: Iterable[tuple[Pending, Attribution, bool]], now: datetime) -> None:
        """Write down who sent these; those that are not settled (False) are asked about again later."""
        judged, open_ones, done, forged = list[Row](), list[Row](), list[Row](), list[Row]()
        for pending, attribution, settled in found:
            key = bytes.fromhex(pending.fingerprint)
            judged.append((key, PROVENANCES.index(attribution.provenance), int(attribution.reasons)))
            if not settled:
                open_ones.append((key, epoch(now + max(ASK_AGAIN, now - pending.noted))))
                continue
            done.append((key,))
            if attribution.provenance is Provenance.FORGED:  # nobody here has written to these
                forged.append((key,))
        with self._transaction() as db:
            db.executemany("UPDATE sighting SET provenance = ?2, reasons = ?3 WHERE fingerprint = ?1", sorted(judged))
            db.executemany("UPDATE clue SET due = ?2 WHERE fingerprint = ?1", sorted(open_ones))
            db.executemany("DELETE FROM clue WHERE fingerprint = ?", sorted(done))
            db.executemany("DELETE FROM returned WHERE fingerprint = ?", sorted(done))
            db.executemany("DELETE FROM failure WHERE fingerprint = ?", sorted(forged))


def note_clues(db: sqlite3.Connection, judged: Iterable[Judged]) -> None:
    """Keep what these messages show of the ones that they return, until it is settled who sent those.

    What was noted before, or has been counted, is passed over.
    """
    (began,) = db.execute("SELECT max(began) FROM run").fetchone()
    room = MAX_HEADERS - db.execute("SELECT count(*) FROM returned").fetchone()[0]
    clues, headers, failures = list[Row](), list[Row](), list[Row]()
    for key, item in _unseen(db, judged).items():
        if item.verdict.original and item.verdict.original.signed and len(headers) < room:
            headers.append((key, item.verdict.original.signed))
        received_at = epoch(item.arrival.received_at)
        noted = received_at if began is None else began
        clues.append((key, noted, noted, _written(clues_of(item.verdict))))
        failures.extend(_failure_rows(key, received_at, item.verdict))
    # Sorted, they go into the tables one behind the other: much less is read and shifted.
    db.executemany("INSERT INTO clue (fingerprint, noted, due, clues) VALUES (?, ?, ?, ?)", sorted(clues))
    db.executemany("INSERT INTO returned (fingerprint, header) VALUES (?, ?)", sorted(headers))
    db.executemany(_NOTE_FAILURE, sorted(failures))


def _unseen(db: sqlite3.Connection, judged: Iterable[Judged]) -> dict[bytes, Judged]:
    """Return those that count and are not known yet, each once, by their fingerprints as they are stored."""
    found: dict[bytes, Judged] = {}
    for item in judged:
        if counts(item.verdict.kind):
            found.setdefault(bytes.fromhex(item.arrival.fingerprint), item)
    for table in ("clue", "sighting", "folded"):
        for key in those_in(db, table, "fingerprint", found):
            del found[key]
    return found


_CLUES = tuple(field.name for field in fields(Clues))
_to_json = json.JSONEncoder(separators=(",", ":")).encode


def _written(clues: Clues) -> str:
    return _to_json({name: value for name in _CLUES if (value := getattr(clues, name))})


def _failure_rows(key: bytes, received_at: int, verdict: Verdict) -> Iterator[Row]:
    for failure in failures_of(verdict):
        yield (key, storable(failure.address), received_at, CAUSES.index(failure.cause), failure.permanent)


_NOTE_FAILURE = (
    "INSERT OR IGNORE INTO failure (fingerprint, address, received_at, cause, permanent) VALUES (?, ?, ?, ?, ?)"
)


def _pending(row: Row) -> Pending:
    fingerprint, received_at, noted, clues, header = row
    told = json.loads(clues)
    for name, value in told.items():
        if isinstance(value, list):
            told[name] = tuple(tuple(item) if isinstance(item, list) else item for item in value)
    return Pending(to_fingerprint(fingerprint), moment_of(received_at), moment_of(noted), Clues(**told), header or b"")
