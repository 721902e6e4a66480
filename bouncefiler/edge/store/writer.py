"""What is remembered of an account, held by one process alone, which writes it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from bouncefiler.backscatter.advice import Alert
from bouncefiler.backscatter.incident import Incident, Notice
from bouncefiler.backscatter.provenance import counts
from bouncefiler.backscatter.volume import Sighting
from bouncefiler.edge.store.chronicle import ChronicleWriter
from bouncefiler.edge.store.clues import ClueWriter, note_clues
from bouncefiler.edge.store.database import (
    check_file,
    connect,
    identities,
    lock_path,
    make_durable,
    make_private,
    migrate,
    take_lock,
    transaction,
    translated,
)
from bouncefiler.edge.store.pace import PaceWriter
from bouncefiler.edge.store.reader import StoreReader
from bouncefiler.edge.store.rows import (
    KEPT,
    epoch,
    incident_row,
    move_row,
    seconds_of,
    settlement_row,
    sighting_of,
    storable,
)
from bouncefiler.edge.store.schema import CAUSES, KINDS, MIGRATIONS, OUTCOMES, PROVENANCES, Migrations
from bouncefiler.edge.store.sent import SentMail, tidy_sent
from bouncefiler.errors import StoreBroken
from bouncefiler.filing.plan import Method, MoveBatch, Outcome, Plan, Settlement, Watermark
from bouncefiler.recognition.verdict import Kind
from bouncefiler.sweep import FolderState, Moved, Report

CLUE_KEPT = timedelta(days=7)
"""How long it is asked who sent a returned message."""

IDLE_RUN_KEPT = timedelta(days=7)
"""How long a run that moved nothing is kept: a service makes some hundred a day."""


class Store(StoreReader, ChronicleWriter, ClueWriter, PaceWriter, SentMail):
    """What is remembered of an account, held by this process alone; fulfils `sweep.Journal` and `sent.SentLedger`.

    A method that writes returns when all that it wrote is safely on disk; when it raises, nothing of it was written.
    """

    def __init__(self, db: sqlite3.Connection, path: Path, lock: int) -> None:
        super().__init__(db, path)
        self._lock = lock
        self._run = 0
        self._files = identities(path)

    def close(self) -> None:
        """Close the file, then let others have it."""
        try:
            super().close()
        finally:
            os.close(self._lock)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """See sweep.Journal."""
        with self._transaction():
            yield

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self._db.in_transaction:
            yield self._db  # what is at hand is written by `at_once`
            return
        with translated(self._path):
            if identities(self._path) != self._files:
                raise StoreBroken(f"{self._path} or its lock was replaced while in use; run bouncefiler again")
            with transaction(self._db):
                yield self._db

    def begin_run(self, command: str, now: datetime) -> int:
        """Write down that a run begins; what is intended from now on is its doing. Return its id."""
        with self._transaction() as db:
            began = db.execute("INSERT INTO run (command, began) VALUES (?, ?)", (storable(command), epoch(now)))
            db.execute("INSERT OR IGNORE INTO meta VALUES ('watched_since', ?)", (epoch(now),))
        self._run = began.lastrowid or 0
        return self._run

    def end_run(self, now: datetime, report: Report) -> None:
        """Write down what came of the run."""
        sql = (
            "UPDATE run SET ended = ?, scanned = ?, moved = ?, stayed = ?, gone = ?, unsettled = ?, settled = ?"
            " WHERE id = ?"
        )
        told = (report.scanned, report.moved, report.left, report.gone, report.unsettled, report.settled)
        with self._transaction() as db:
            db.execute(sql, (epoch(now), *told, self._run))
        self._run = 0

    def intend(self, batch: MoveBatch, target: FolderState, method: Method) -> None:
        """Write down the moves of the batch before they are tried. Only between `begin_run` and `end_run`."""
        if not self._run:
            raise RuntimeError("a move can only be intended within a run: call begin_run first")
        source = (batch.source, batch.uidvalidity)
        about = (*source, batch.source_uidnext, batch.to, target.uidvalidity, target.uidnext, method)
        with self._transaction() as db:
            db.execute("INSERT INTO folder (name, uidvalidity) VALUES (?, ?) ON CONFLICT DO NOTHING", source)
            number = db.execute(
                "INSERT INTO batch (run, source, uidvalidity, source_uidnext, target, to_uidvalidity, to_uidnext,"
                " method) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (self._run, *about),
            ).lastrowid
            db.executemany(
                "INSERT INTO move (batch, uid, fingerprint, size, received_at, kind, cause, subject, recipients,"
                " undoes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                ((number, *move_row(move)) for move in batch.moves),
            )
            note_clues(db, (move.judged for move in batch.moves if move.undoes is None))

    def settle_moved(self, batch: MoveBatch, moved: Moved) -> int:
        """Settle those moves of the batch that `moved` names, and count their bounces; return how many."""
        named = moved.uids or {}
        state = OUTCOMES.index(Outcome.MOVED)
        with self._transaction() as db:
            number = _latest(db, batch)
            settled = db.executemany(
                "UPDATE move SET state = ?, to_uidvalidity = ?, to_uid = ? WHERE batch = ? AND uid = ? AND state = 0",
                ((state, moved.to_uidvalidity, named[uid], number, uid) for uid in batch.uids if uid in named),
            ).rowcount
            _count_moved(db, "move.batch", [number])
        return max(settled, 0)

    def settle(self, settlements: Iterable[Settlement]) -> None:
        """Settle entries whose end was found out by looking; what is settled already stays as it is."""
        settled = tuple(settlements)
        with self._transaction() as db:
            db.executemany(
                "UPDATE move SET state = ?, to_uidvalidity = ?, to_uid = ? WHERE id = ? AND state = 0",
                map(settlement_row, settled),
            )
            _count_moved(db, "move.id", [settlement.entry.id for settlement in settled])

    def finish(self, plan: Plan) -> None:
        """Write down how far the folder has been read, and count the bounces that were left."""
        left = [left.judged for left in plan.left if counts(left.judged.verdict.kind)]
        with self._transaction() as db:
            note_clues(db, left)
            _count(db, map(sighting_of, left))
            if plan.watermark:
                _raise_watermark(db, plan.watermark)

    def remember(self, sightings: Iterable[Sighting]) -> None:
        """Count these bounces; one that was counted before is not counted again."""
        with self._transaction() as db:
            _count(db, sightings)

    def record(
        self,
        incident: Incident,
        alerts: Sequence[tuple[str, Alert]],
        now: datetime,
        notices: Sequence[Notice] = (),
    ) -> Incident:
        """Keep the incident and put its (channel, alert) pairs in the outbox, all or nothing; return it with its id.

        `notices` are what was told of it now. An alert whose key the channel has had before is not put there again.
        """
        with self._transaction() as db:
            id_ = db.execute(_KEEP_INCIDENT, incident_row(incident)).lastrowid
            told = (incident.diagnosis, incident.count, incident.total)
            db.executemany(
                "INSERT OR IGNORE INTO told (incident, at, notice, diagnosis, count, total) VALUES (?, ?, ?, ?, ?, ?)",
                ((incident.id or id_, seconds_of(now), notice, *told) for notice in notices),
            )
            db.executemany(
                "INSERT INTO outbox (channel, key, level, subject, body, due) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (channel, key) DO NOTHING",
                (
                    (channel, storable(a.key), a.level, storable(a.subject), storable(a.body), seconds_of(now))
                    for channel, a in alerts
                ),
            )
        return incident if incident.id else replace(incident, id=id_ or 0)

    def alert_sent(self, id_: int, now: datetime, instead_of: Collection[int] = ()) -> None:
        """Write down that an alert was delivered, and those that it made moot are not to be.

        Killed before this, it is delivered twice rather than never.
        """
        with self._transaction() as db:
            db.execute("UPDATE outbox SET sent = ?, attempts = attempts + 1 WHERE id = ?", (seconds_of(now), id_))
            _make_moot(db, instead_of, now)

    def alerts_given_up(self, ids: Collection[int], now: datetime) -> None:
        """Write down that these alerts are not to be delivered any more."""
        with self._transaction() as db:
            _make_moot(db, ids, now)

    def alert_parted(self, id_: int, channels: Collection[str], now: datetime) -> None:
        """Put an alert into the outbox for each of these channels instead of the one that it is for, all or nothing."""
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO outbox (channel, key, level, subject, body, due)"
                " SELECT ?, key, level, subject, body, ? FROM outbox WHERE id = ?"
                " ON CONFLICT (channel, key) DO NOTHING",
                ((channel, seconds_of(now), id_) for channel in channels),
            )
            _make_moot(db, (id_,), now)

    def alert_failed(self, id_: int, retry_at: datetime, why: str) -> None:
        """Write down that an alert could not be delivered, and when to try again."""
        with self._transaction() as db:
            db.execute(
                "UPDATE outbox SET due = ?, why = ?, attempts = attempts + 1 WHERE id = ?",
                (seconds_of(retry_at), storable(why), id_),
            )

    def login_refused(self, credential_key: str, now: datetime) -> int:
        """Count a refused login; return how many there were with this credential."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO refusal (credential, count, at) VALUES (?, 1, ?)"
                " ON CONFLICT (credential) DO UPDATE SET count = count + 1, at = excluded.at",
                (credential_key, epoch(now)),
            )
        return self.refusals(credential_key)

    def login_accepted(self) -> None:
        """Forget the refused logins."""
        with self._transaction() as db:
            db.execute("DELETE FROM refusal")

    def tidy(self, now: datetime) -> None:
        """Fold sightings older than KEPT into totals of their days, and drop what else is as old and done with.

        `filed` and `daily` answer as before. Costs next to nothing when there is nothing to do.
        """
        horizon = epoch(now - KEPT)
        with self._transaction() as db:
            _fold(db, horizon)
            tidy_sent(db, horizon)
            for sql in _TRIM:
                idle, stale = epoch(now - IDLE_RUN_KEPT), epoch(now - CLUE_KEPT)
                db.execute(sql, {"horizon": horizon, "idle": idle, "stale": stale})
        with translated(self._path):
            # Not `execute`: it takes the first step only of a statement without columns, which gives back one page.
            self._db.executescript("PRAGMA incremental_vacuum")


def open_store(path: Path, *, holder: str, migrations: Migrations = MIGRATIONS) -> Store:
    """Open the account's state file to write, making it when there is none; `holder` is the command that does so.

    Raises StoreBusy while another process has it open to write (the lock dies with the process), StoreBroken.
    """
    with ExitStack() as undo, translated(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = take_lock(lock_path(path), holder)
        undo.callback(os.close, lock)
        make_private(path)
        db = connect(path)
        undo.callback(db.close)
        check_file(db, path, len(migrations))
        make_durable(db)
        migrate(db, migrations)
        undo.pop_all()
        return Store(db, path, lock)


def _make_moot(db: sqlite3.Connection, ids: Iterable[int], now: datetime) -> None:
    db.executemany("UPDATE outbox SET moot = ? WHERE id = ? AND sent IS NULL", ((seconds_of(now), id_) for id_ in ids))


def _latest(db: sqlite3.Connection, batch: MoveBatch) -> int:
    """Return the number under which the batch was last intended; 0, which is nobody's, when it never was."""
    sql = "SELECT id FROM batch WHERE source = ? AND uidvalidity = ? AND target = ? ORDER BY id DESC LIMIT 1"
    row = db.execute(sql, (batch.source, batch.uidvalidity, batch.to)).fetchone()
    return int(row[0]) if row else 0


def _count(db: sqlite3.Connection, sightings: Iterable[Sighting]) -> None:
    db.executemany(
        "INSERT INTO sighting (fingerprint, received_at, kind, cause, provenance) SELECT ?1, ?2, ?3, ?4, ?5"
        " WHERE NOT EXISTS (SELECT 1 FROM folded WHERE fingerprint = ?1) ON CONFLICT (fingerprint) DO NOTHING",
        (
            (
                bytes.fromhex(s.fingerprint),
                epoch(s.received_at),
                KINDS.index(s.kind),
                CAUSES.index(s.cause),
                PROVENANCES.index(s.provenance),
            )
            for s in sightings
        ),
    )


def _count_moved(db: sqlite3.Connection, column: str, values: Iterable[int]) -> None:
    """Remember what was filed of the moves whose column has one of these values, and count the bounces among it.

    Not so what was put back.
    """
    moved = [(value, OUTCOMES.index(Outcome.MOVED)) for value in values]
    db.executemany(
        "INSERT INTO filed (fingerprint, folder, last_uid) SELECT fingerprint, folder.id, max(source_uidnext - 1, 0)"  # noqa: S608 - ours
        " FROM move JOIN batch ON batch.id = move.batch"
        " JOIN folder ON name = source AND folder.uidvalidity = batch.uidvalidity"
        f" WHERE {column} = ? AND state = ? AND undoes IS NULL ORDER BY fingerprint"
        # Not raised when a twin is filed later: what was put back in between has a higher UID, and must stay.
        " ON CONFLICT (fingerprint, folder) DO NOTHING",
        moved,
    )
    db.executemany(
        "INSERT INTO sighting (fingerprint, received_at, kind, cause, provenance)"  # noqa: S608 - ours
        " SELECT fingerprint, received_at, kind, coalesce(cause, 0), 0 FROM move"
        f" WHERE {column} = ? AND state = ? AND undoes IS NULL AND kind IN (?, ?, ?, ?)"
        " AND NOT EXISTS (SELECT 1 FROM folded WHERE folded.fingerprint = move.fingerprint) ORDER BY fingerprint"
        " ON CONFLICT (fingerprint) DO NOTHING",
        ((*which, *_COUNTED) for which in moved),
    )


def _raise_watermark(db: sqlite3.Connection, watermark: Watermark) -> None:
    db.execute(
        "INSERT INTO watermark (folder, uidvalidity, last_uid) VALUES (?, ?, ?) ON CONFLICT (folder) DO UPDATE SET"
        " last_uid = CASE uidvalidity WHEN excluded.uidvalidity THEN max(last_uid, excluded.last_uid)"
        " ELSE excluded.last_uid END, uidvalidity = excluded.uidvalidity",
        (watermark.folder, watermark.uidvalidity, watermark.last_uid),
    )


def _fold(db: sqlite3.Connection, horizon: int) -> None:
    db.execute(
        "INSERT INTO day_total (day, kind, cause, provenance, count)"
        " SELECT received_at / 86400, kind, cause, provenance, count(*) FROM sighting WHERE received_at < ?"
        " GROUP BY 1, 2, 3, 4"
        " ON CONFLICT (day, kind, cause, provenance) DO UPDATE SET count = count + excluded.count",
        (horizon,),
    )
    db.execute("INSERT INTO folded SELECT fingerprint FROM sighting WHERE received_at < ?", (horizon,))
    db.execute("DELETE FROM sighting WHERE received_at < ?", (horizon,))
    db.execute("DELETE FROM pace WHERE day <= ?", (horizon // 86_400,))


_COUNTED = tuple(KINDS.index(kind) for kind in Kind if counts(kind))


# Order is important: a batch goes when its last move has gone, a run when its last batch has, a header by its clue.
_TRIM = (
    """DELETE FROM move WHERE state <> 0 AND batch IN
        (SELECT batch.id FROM run JOIN batch ON batch.run = run.id WHERE began < :horizon)""",
    """DELETE FROM batch WHERE run IN (SELECT id FROM run WHERE began < :horizon)
        AND NOT EXISTS (SELECT 1 FROM move WHERE move.batch = batch.id)""",
    """DELETE FROM run WHERE began < :idle AND id < (SELECT max(id) FROM run)
        AND NOT EXISTS (SELECT 1 FROM batch WHERE batch.run = run.id)""",
    "DELETE FROM outbox WHERE coalesce(sent, moot) < :horizon",
    "DELETE FROM returned WHERE fingerprint IN (SELECT fingerprint FROM clue WHERE noted < :stale)",
    "DELETE FROM clue WHERE noted < :stale",
    "DELETE FROM failure WHERE received_at < :horizon",
    "DELETE FROM refusal WHERE at < :horizon",
)


_KEEP_INCIDENT = (
    "INSERT OR REPLACE INTO incident"
    " (diagnosis, opened, last_seen, count, usual, total, peak, notified, notified_count, closed, id, began, earlier)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
