"""What is remembered of an account, to be looked at only."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from datetime import date, datetime
from pathlib import Path
from typing import TypeVar

from bouncefiler.backscatter.incident import Diagnosis, Incident
from bouncefiler.edge.store.base import Base, only, parts_of
from bouncefiler.edge.store.chronicle import ChronicleReader
from bouncefiler.edge.store.clues import ClueReader
from bouncefiler.edge.store.database import (
    check_file,
    connect,
    connect_to_memory,
    migrate,
    pragma,
    translated,
)
from bouncefiler.edge.store.pace import PaceReader
from bouncefiler.edge.store.past import PastReader
from bouncefiler.edge.store.rows import (
    EPOCH,
    SELECT_INCIDENT,
    Row,
    Run,
    WaitingAlert,
    first_column,
    moment_of,
    seconds_of,
    to_day_total,
    to_entry,
    to_fingerprint,
    to_incident,
    to_run,
    to_waiting_alert,
)
from bouncefiler.edge.store.schema import KINDS, MIGRATIONS, Migrations
from bouncefiler.edge.store.sent import SentMailReader
from bouncefiler.filing.plan import Filed, JournalEntry, MessageRef, Watermark
from bouncefiler.recognition.identity import Fingerprint
from bouncefiler.recognition.verdict import Kind
from bouncefiler.report.chronicle import DayTotal

T = TypeVar("T")

_STRETCHING = 50_000


class StoreReader(ChronicleReader, ClueReader, PaceReader, PastReader, SentMailReader, Base):
    """What is remembered of an account, to be looked at only; fulfils `sweep.Ledger`.

    Every method raises StoreBroken when the file can't be read.
    """

    def open_entries(self) -> tuple[JournalEntry, ...]:
        """Return the moves that were intended and not settled, in the order of their intent."""
        return self._read(
            to_entry,
            "SELECT move.id, source, uidvalidity, uid, fingerprint, size, received_at, target, batch.to_uidvalidity,"
            " to_uidnext, method, undoes FROM move JOIN batch ON batch.id = move.batch WHERE state = 0"
            " ORDER BY move.id",
        )

    def filed(self, fingerprints: Collection[Fingerprint]) -> Filed:
        """Return those of `fingerprints` that were moved, however long ago, and how far their folders were numbered."""
        found: dict[Fingerprint, list[Watermark]] = defaultdict(list)
        for fingerprint, mark in self._of_fingerprints(
            lambda row: (to_fingerprint(row[0]), Watermark(*row[1:])),
            "SELECT fingerprint, name, uidvalidity, last_uid FROM filed JOIN folder ON folder.id = filed.folder WHERE",
            fingerprints,
        ):
            found[fingerprint].append(mark)
        return dict(found)

    def settled_at(self, fingerprints: Collection[Fingerprint]) -> frozenset[MessageRef]:
        """Return where messages with these fingerprints went, by the moves that are settled."""
        sql = (
            "SELECT target, move.to_uidvalidity, to_uid FROM move JOIN batch ON batch.id = move.batch"
            " WHERE to_uid IS NOT NULL AND"
        )
        return frozenset(self._of_fingerprints(lambda row: MessageRef(*row), sql, fingerprints))

    def _of_fingerprints(
        self, decode: Callable[[Row], T], sql: str, fingerprints: Collection[Fingerprint]
    ) -> Iterator[T]:
        keys = [bytes.fromhex(fingerprint) for fingerprint in fingerprints]
        for part in parts_of(keys):
            yield from self._read(decode, f"{sql} fingerprint IN ({','.join('?' * len(part))})", part)

    def watermark(self, folder: str) -> Watermark | None:
        """Return how far the folder has been read, None when it never was."""
        sql = "SELECT folder, uidvalidity, last_uid FROM watermark WHERE folder = ?"
        return only(self._read(lambda row: Watermark(*row), sql, (folder,)))

    def daily(self, since: date) -> tuple[DayTotal, ...]:
        """Return the totals of each day (UTC) from `since` on, ascending; days without bounces are not named."""
        bounces = [KINDS.index(kind) for kind in Kind if kind.is_bounce]
        first = (since - EPOCH.date()).days
        return self._read(
            to_day_total,
            "SELECT day, kind, cause, provenance, sum(count) FROM ("
            " SELECT day, kind, cause, provenance, count FROM day_total WHERE day >= ?"
            " UNION ALL SELECT received_at / 86400, kind, cause, provenance, 1 FROM sighting WHERE received_at >= ?"
            ") WHERE kind IN (?, ?) GROUP BY day, kind, cause, provenance ORDER BY day, kind, cause, provenance",
            (first, first * 86_400, *bounces),
        )

    def runs(self, limit: int = 50) -> tuple[Run, ...]:
        """Return the latest runs, newest first."""
        return self._read(
            to_run,
            "SELECT id, command, began, ended, scanned, moved, stayed, gone, unsettled, settled"
            " FROM run ORDER BY id DESC LIMIT ?",
            (limit,),
        )

    def watched_since(self) -> datetime | None:
        """Return when the first run began: from then on, every bounce has been counted. None before there was one."""
        return only(self._read(lambda row: moment_of(row[0]), "SELECT value FROM meta WHERE key = 'watched_since'"))

    def incident(self, *, own_mailing: bool = False) -> Incident | None:
        """Return the incident that is open, None when all is quiet: the abuse, or the owner's own mailing."""
        return self._incident(own_mailing, "AND closed IS NULL")

    def last_incident(self, *, own_mailing: bool = False) -> Incident | None:
        """Return the latest incident, open or closed, of abuse or of own mailings; None when there never was one."""
        return self._incident(own_mailing, "")

    def _incident(self, own_mailing: bool, further: str) -> Incident | None:  # noqa: FBT001
        sql = f"{SELECT_INCIDENT} WHERE (diagnosis = ?) = ? {further} ORDER BY id DESC LIMIT 1"
        return only(self._read(to_incident, sql, (Diagnosis.OWN_MAILING, own_mailing)))

    def alerts_waiting(self) -> tuple[WaitingAlert, ...]:
        """Return the alerts that are still to be delivered, oldest first."""
        return self._read(
            to_waiting_alert,
            "SELECT id, channel, key, level, subject, body, due, attempts, why FROM outbox"
            " WHERE sent IS NULL AND moot IS NULL ORDER BY id",
        )

    def alerts_sent(self, since: datetime) -> tuple[tuple[str, datetime], ...]:
        """Return through which channel, and when, each alert was delivered from `since` on."""
        sql = "SELECT channel, sent FROM outbox WHERE sent >= ? ORDER BY sent"
        return self._read(lambda row: (row[0], moment_of(row[1])), sql, (seconds_of(since),))

    def key_for(self, secret_parts: str) -> str:
        """Return a name for a credential, the same each time in this store, that does not give it away.

        PBKDF2 (RFC 8018), salted per store and cut to 32 bits: each guess is slow, and a match proves nothing. Only
        the names of refused credentials are ever stored, until a login succeeds.
        """
        with self._reading() as db:
            (salt,) = db.execute("SELECT value FROM meta WHERE key = 'salt'").fetchone()
            secret = secret_parts.encode("utf-8", "surrogatepass")
            return hashlib.pbkdf2_hmac("sha256", secret, salt, _STRETCHING, 4).hex()

    def refused_any(self) -> bool:
        """Whether the server refused any credential since the last login that it accepted: most often not."""
        return bool(only(self._read(first_column, "SELECT EXISTS (SELECT 1 FROM refusal)")))

    def refusals(self, credential_key: str) -> int:
        """Return how often the server refused this credential since the last login that it accepted."""
        return only(self._read(first_column, "SELECT count FROM refusal WHERE credential = ?", (credential_key,))) or 0


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
