"""What is remembered of an account, to be looked at only."""

from __future__ import annotations

import hashlib
import sqlite3
from array import array
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Self, TypeVar

from bouncefiler.backscatter.incident import Incident
from bouncefiler.backscatter.provenance import Provenance
from bouncefiler.edge.store.database import (
    check_file,
    connect,
    connect_to_memory,
    damage_at,
    migrate,
    pragma,
    translated,
)
from bouncefiler.edge.store.rows import (
    EPOCH,
    DayTotal,
    DueAlert,
    FiledMessage,
    Row,
    Run,
    epoch,
    first_column,
    moment_of,
    seconds_of,
    to_day_total,
    to_due_alert,
    to_entry,
    to_filed_message,
    to_fingerprint,
    to_incident,
    to_run,
)
from bouncefiler.edge.store.schema import KINDS, MIGRATIONS, OUTCOMES, PROVENANCES, Migrations
from bouncefiler.errors import StoreBroken
from bouncefiler.filing.plan import Filed, JournalEntry, Outcome, Watermark
from bouncefiler.recognition.identity import Fingerprint
from bouncefiler.recognition.verdict import Kind

T = TypeVar("T")

MAX_PARAMETERS = 500
"""How many values are put into one statement; SQLite before 3.32 takes 999."""

_STRETCHING = 50_000


class StoreReader:
    """What is remembered of an account, to be looked at only; fulfils `sweep.Ledger`.

    Every method raises StoreBroken when the file can't be read.
    """

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with translated(self._path):
            self._db.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with translated(self._path):
            try:
                yield self._db
            except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as exc:
                raise StoreBroken(damage_at(self._path, "a value makes no sense")) from exc

    def _read(self, decode: Callable[[Row], T], sql: str, parameters: Sequence[object] = ()) -> tuple[T, ...]:
        with self._reading() as db:
            return tuple(decode(row) for row in db.execute(sql, parameters))

    def open_entries(self) -> tuple[JournalEntry, ...]:
        """Return the moves that were intended and not settled, in the order of their intent."""
        return self._read(
            to_entry,
            "SELECT move.id, source, uidvalidity, uid, fingerprint, size, target, batch.to_uidvalidity, to_uidnext,"
            " method FROM move JOIN batch ON batch.id = move.batch WHERE state = 0 ORDER BY move.id",
        )

    def filed(self, fingerprints: Collection[Fingerprint]) -> Filed:
        """Return those of `fingerprints` that were moved, however long ago, and how far their folders were numbered."""
        keys = [bytes.fromhex(fingerprint) for fingerprint in fingerprints]
        found: dict[Fingerprint, list[Watermark]] = defaultdict(list)
        for start in range(0, len(keys), MAX_PARAMETERS):
            for fingerprint, mark in self._filed(keys[start : start + MAX_PARAMETERS]):
                found[fingerprint].append(mark)
        return dict(found)

    def _filed(self, keys: Sequence[bytes]) -> tuple[tuple[Fingerprint, Watermark], ...]:
        marks = ",".join("?" * len(keys))
        return self._read(
            lambda row: (to_fingerprint(row[0]), Watermark(*row[1:])),
            "SELECT fingerprint, name, uidvalidity, last_uid FROM filed JOIN folder ON folder.id = filed.folder"  # noqa: S608 - marks are "?" only
            f" WHERE fingerprint IN ({marks})",
            keys,
        )

    def watermark(self, folder: str) -> Watermark | None:
        """Return how far the folder has been read, None when it never was."""
        sql = "SELECT folder, uidvalidity, last_uid FROM watermark WHERE folder = ?"
        return _only(self._read(lambda row: Watermark(*row), sql, (folder,)))

    def history(self, since: datetime) -> Sequence[int]:
        """Return INTERNALDATE, in seconds since 1970, of each failed delivery from `since` on that may be backscatter.

        Ascending; without those whose original the user is known to have sent. Takes eight octets for each.
        """
        sql = (
            "SELECT received_at FROM sighting WHERE received_at >= ? AND kind = ? AND provenance <> ?"
            " ORDER BY received_at"
        )
        known = (epoch(since), KINDS.index(Kind.FAILED), PROVENANCES.index(Provenance.GENUINE))
        with self._reading() as db:
            return array("q", (received_at for (received_at,) in db.execute(sql, known)))

    def daily(self, since: date) -> tuple[DayTotal, ...]:
        """Return the totals of each day (UTC) from `since` on, ascending; days without bounces are not named."""
        first = (since - EPOCH.date()).days
        return self._read(
            to_day_total,
            "SELECT day, kind, cause, provenance, sum(count) FROM ("
            " SELECT day, kind, cause, provenance, count FROM day_total WHERE day >= ?"
            " UNION ALL SELECT received_at / 86400, kind, cause, provenance, 1 FROM sighting WHERE received_at >= ?"
            ") GROUP BY day, kind, cause, provenance ORDER BY day, kind, cause, provenance",
            (first, first * 86_400),
        )

    def runs(self, limit: int = 50) -> tuple[Run, ...]:
        """Return the latest runs, newest first."""
        return self._read(
            to_run,
            "SELECT id, command, began, ended, scanned, moved, stayed, gone, unsettled, settled"
            " FROM run ORDER BY id DESC LIMIT ?",
            (limit,),
        )

    def filed_in(self, run: int) -> tuple[FiledMessage, ...]:
        """Return what this run moved, in the order of its intent."""
        return self._read(
            to_filed_message,
            "SELECT source, uidvalidity, uid, target, move.to_uidvalidity, to_uid, fingerprint, received_at, kind,"
            " cause, subject, recipients FROM batch JOIN move ON move.batch = batch.id"
            " WHERE run = ? AND state = ? ORDER BY move.id",
            (run, OUTCOMES.index(Outcome.MOVED)),
        )

    def watched_since(self) -> datetime | None:
        """Return when the first run began: from then on, every bounce has been counted. None before there was one."""
        return _only(self._read(lambda row: moment_of(row[0]), "SELECT value FROM meta WHERE key = 'watched_since'"))

    def incident(self) -> Incident | None:
        """Return the incident that is open, None when all is quiet."""
        return _only(self._read(to_incident, f"{_SELECT_INCIDENT} WHERE closed IS NULL ORDER BY id DESC LIMIT 1"))

    def last_incident(self) -> Incident | None:
        """Return the latest incident, open or closed; None when there never was one."""
        return _only(self._read(to_incident, f"{_SELECT_INCIDENT} ORDER BY id DESC LIMIT 1"))

    def alerts_due(self, now: datetime) -> tuple[DueAlert, ...]:
        """Return the alerts that are to be delivered, or tried again, oldest first."""
        return self._read(
            to_due_alert,
            "SELECT id, channel, key, level, subject, body, attempts, why FROM outbox"
            " WHERE sent IS NULL AND due <= ? ORDER BY id",
            (seconds_of(now),),
        )

    def key_for(self, secret_parts: str) -> str:
        """Return a name for a credential, the same each time in this store, that does not give it away.

        PBKDF2 (RFC 8018), salted per store and cut to 32 bits: each guess is slow, and a match proves nothing. Only
        the names of refused credentials are ever stored, until a login succeeds.
        """
        with self._reading() as db:
            (salt,) = db.execute("SELECT value FROM meta WHERE key = 'salt'").fetchone()
            secret = secret_parts.encode("utf-8", "surrogatepass")
            return hashlib.pbkdf2_hmac("sha256", secret, salt, _STRETCHING, 4).hex()

    def refusals(self, credential_key: str) -> int:
        """Return how often the server refused this credential since the last login that it accepted."""
        return _only(self._read(first_column, "SELECT count FROM refusal WHERE credential = ?", (credential_key,))) or 0


def open_for_reading(path: Path, migrations: Migrations = MIGRATIONS) -> StoreReader:
    """Open the account's state file to look at it, whoever else has it open. Raises StoreBroken.

    It changes nothing that is remembered: a file that does not exist reads as empty and is not made; one of an earlier
    version is read through a copy in memory. (Not `mode=ro`: after a kill, SQLite has to clear up before it can read.)
    """
    with ExitStack() as undo, translated(path):
        db = connect(path) if path.exists() else connect_to_memory()
        undo.callback(db.close)
        check_file(db, path, len(migrations))
        if pragma(db, "user_version") < len(migrations):
            old, db = db, connect_to_memory()
            undo.callback(db.close)
            old.backup(db)
            old.close()
            migrate(db, migrations)
        db.execute("PRAGMA query_only = ON")
        undo.pop_all()
        return StoreReader(db, path)


def _only(rows: Sequence[T]) -> T | None:
    return rows[0] if rows else None


_SELECT_INCIDENT = (
    "SELECT diagnosis, opened, last_seen, count, usual, total, peak, notified, notified_count, closed, id, began,"
    " earlier FROM incident"
)
