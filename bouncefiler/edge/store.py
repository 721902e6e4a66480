"""What bouncefiler remembers of one account, in one SQLite file. The only module that speaks SQL.

Kept here: the journal of moves (intended, then settled), sightings of bounces, how far each folder was read, incidents,
the outbox of alerts, refused logins. Not kept here: mail. Without the file, the folders are read again, that is all.

A `Store` is to be used by one thread at a time, not always the same one.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import sqlite3
from array import array
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

from bouncefiler import __version__
from bouncefiler.backscatter.advice import Alert, Level
from bouncefiler.backscatter.incident import Diagnosis, Incident
from bouncefiler.backscatter.volume import Provenance, Sighting
from bouncefiler.errors import BouncefilerError, StoreBroken, StoreBusy
from bouncefiler.filing.plan import (
    Filed,
    JournalEntry,
    Judged,
    MessageRef,
    Method,
    Move,
    MoveBatch,
    Outcome,
    Plan,
    Settlement,
    Watermark,
)
from bouncefiler.recognition.identity import Fingerprint
from bouncefiler.recognition.verdict import Cause, Kind
from bouncefiler.sweep import FolderState, Moved, Report

T = TypeVar("T")
Row = tuple[Any, ...]
Migrations = tuple[tuple[str, ...], ...]

KEPT = timedelta(days=400)
"""How long a single sighting, a settled move and a sent alert are kept: a year to compare with, and a month over."""

IDLE_RUN_KEPT = timedelta(days=7)
"""How long a run that moved nothing is kept: a service makes some hundred a day."""

MAX_SUBJECT_CHARS = 200
MAX_RECIPIENTS = 3
MAX_RECIPIENT_CHARS = 100

CHEAP_TO_CHECK = 8 * 2**20
"""Files up to this many octets are checked whole when they are opened."""

MAX_PARAMETERS = 500
"""How many values are put into one statement; SQLite before 3.32 takes 999."""

# "bncf", which tells this file from other programs' (https://sqlite.org/pragma.html#pragma_application_id).
_APPLICATION_ID = 0x626E6366
_STRETCHING = 50_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# In the tables that grow, an enum's member is stored as its place in these tuples: only ever append.
_KINDS = (
    Kind.OTHER,
    Kind.FAILED,
    Kind.DELAYED,
    Kind.DELIVERED,
    Kind.FEEDBACK,
    Kind.AUTOREPLY,
    Kind.RECEIPT,
    Kind.CHALLENGE,
    Kind.IMITATION,
)
_CAUSES = (
    Cause.UNKNOWN,
    Cause.MAILBOX_FULL,
    Cause.USER_UNKNOWN,
    Cause.MAILBOX_DISABLED,
    Cause.DOMAIN_UNKNOWN,
    Cause.SENDER_BLOCKED,
    Cause.AUTH_FAILED,
    Cause.CONTENT_REJECTED,
    Cause.MESSAGE_TOO_BIG,
    Cause.RELAY_DENIED,
    Cause.RATE_LIMITED,
    Cause.UNREACHABLE,
    Cause.POLICY,
    Cause.MOVED,
    Cause.LOOP,
    Cause.PROTOCOL_ERROR,
)
_PROVENANCES = (Provenance.UNKNOWN, Provenance.FORGED, Provenance.GENUINE)
_OUTCOMES = (None, Outcome.MOVED, Outcome.GONE, Outcome.VOID)  # None: intended, and open

_FIRST = (
    f"PRAGMA application_id = {_APPLICATION_ID}",
    # A version that cannot read the rest still reads `written_by` from here: this table must stay as it is.
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
    "INSERT INTO meta VALUES ('salt', randomblob(32))",
    """CREATE TABLE run (
        id INTEGER PRIMARY KEY, command TEXT NOT NULL, began INTEGER NOT NULL, ended INTEGER,
        scanned INTEGER NOT NULL DEFAULT 0, moved INTEGER NOT NULL DEFAULT 0, stayed INTEGER NOT NULL DEFAULT 0,
        gone INTEGER NOT NULL DEFAULT 0, unsettled INTEGER NOT NULL DEFAULT 0, settled INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE batch (
        id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run, source TEXT NOT NULL,
        uidvalidity INTEGER NOT NULL, source_uidnext INTEGER NOT NULL, target TEXT NOT NULL,
        to_uidvalidity INTEGER NOT NULL, to_uidnext INTEGER NOT NULL, method TEXT NOT NULL)""",
    "CREATE INDEX batch_run ON batch (run)",
    """CREATE TABLE move (
        id INTEGER PRIMARY KEY, batch INTEGER NOT NULL REFERENCES batch, uid INTEGER NOT NULL,
        state INTEGER NOT NULL DEFAULT 0, fingerprint BLOB NOT NULL, size INTEGER NOT NULL,
        received_at INTEGER NOT NULL, kind INTEGER NOT NULL, cause INTEGER, subject TEXT NOT NULL,
        recipients TEXT NOT NULL, to_uidvalidity INTEGER, to_uid INTEGER)""",
    "CREATE UNIQUE INDEX move_batch ON move (batch, uid)",
    "CREATE INDEX move_open ON move (id) WHERE state = 0",
    """CREATE TABLE folder (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, uidvalidity INTEGER NOT NULL, UNIQUE (name, uidvalidity))""",
    """CREATE TABLE filed (
        fingerprint BLOB NOT NULL, folder INTEGER NOT NULL REFERENCES folder, last_uid INTEGER NOT NULL,
        PRIMARY KEY (fingerprint, folder)) WITHOUT ROWID""",
    """CREATE TABLE sighting (
        fingerprint BLOB PRIMARY KEY, received_at INTEGER NOT NULL, kind INTEGER NOT NULL,
        cause INTEGER NOT NULL, provenance INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX sighting_received_at ON sighting (received_at, kind, provenance)",
    # Fingerprints of the sightings that live on in day_total only, so that they are not counted again.
    "CREATE TABLE folded (fingerprint BLOB PRIMARY KEY) WITHOUT ROWID",
    """CREATE TABLE day_total (
        day INTEGER NOT NULL, kind INTEGER NOT NULL, cause INTEGER NOT NULL, provenance INTEGER NOT NULL,
        count INTEGER NOT NULL, PRIMARY KEY (day, kind, cause, provenance)) WITHOUT ROWID""",
    """CREATE TABLE watermark (
        folder TEXT PRIMARY KEY, uidvalidity INTEGER NOT NULL, last_uid INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE incident (
        id INTEGER PRIMARY KEY, diagnosis TEXT NOT NULL, opened REAL NOT NULL, last_seen REAL NOT NULL,
        count INTEGER NOT NULL, usual REAL, total INTEGER NOT NULL, peak INTEGER NOT NULL, notified REAL,
        notified_count INTEGER NOT NULL, closed REAL, began REAL, earlier INTEGER NOT NULL)""",
    """CREATE TABLE outbox (
        id INTEGER PRIMARY KEY, channel TEXT NOT NULL, key TEXT NOT NULL, level TEXT NOT NULL,
        subject TEXT NOT NULL, body TEXT NOT NULL, due REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
        why TEXT NOT NULL DEFAULT '', sent REAL, UNIQUE (channel, key))""",
    "CREATE INDEX outbox_due ON outbox (due) WHERE sent IS NULL",
    "CREATE TABLE refusal (credential TEXT PRIMARY KEY, count INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID",
)

MIGRATIONS: Migrations = (_FIRST,)
"""Statements that make version n + 1 of the schema out of version n. What was released is never edited."""


@dataclass(frozen=True, slots=True)
class DueAlert:
    """An alert that is to be delivered through `channel` now."""

    id: int
    channel: str
    alert: Alert
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


@dataclass(frozen=True, slots=True)
class FiledMessage:
    """A message that a run moved. `subject` and `recipients` are the mail's words: untrusted, and cut short."""

    ref: MessageRef
    to: MessageRef | None
    """Where it is now, None when that is not known exactly."""
    to_folder: str
    fingerprint: Fingerprint
    received_at: datetime
    kind: Kind
    cause: Cause | None
    subject: str
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DayTotal:
    """How many bounces of one sort came on one day (UTC)."""

    day: date
    kind: Kind
    cause: Cause
    provenance: Provenance
    count: int


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
        with _translated(self._path):
            self._db.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with _translated(self._path):
            try:
                yield self._db
            except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as exc:
                raise StoreBroken(_damaged(self._path, "a value makes no sense")) from exc

    def _read(self, decode: Callable[[Row], T], sql: str, parameters: Sequence[object] = ()) -> tuple[T, ...]:
        with self._reading() as db:
            return tuple(decode(row) for row in db.execute(sql, parameters))

    def open_entries(self) -> tuple[JournalEntry, ...]:
        """Return the moves that were intended and not settled, in the order of their intent."""
        return self._read(
            _entry,
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
            lambda row: (_fingerprint(row[0]), Watermark(*row[1:])),
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
        known = (_epoch(since), _KINDS.index(Kind.FAILED), _PROVENANCES.index(Provenance.GENUINE))
        with self._reading() as db:
            return array("q", (received_at for (received_at,) in db.execute(sql, known)))

    def daily(self, since: date) -> tuple[DayTotal, ...]:
        """Return the totals of each day (UTC) from `since` on, ascending; days without bounces are not named."""
        first = (since - _EPOCH.date()).days
        return self._read(
            _day_total,
            "SELECT day, kind, cause, provenance, sum(count) FROM ("
            " SELECT day, kind, cause, provenance, count FROM day_total WHERE day >= ?"
            " UNION ALL SELECT received_at / 86400, kind, cause, provenance, 1 FROM sighting WHERE received_at >= ?"
            ") GROUP BY day, kind, cause, provenance ORDER BY day, kind, cause, provenance",
            (first, first * 86_400),
        )

    def runs(self, limit: int = 50) -> tuple[Run, ...]:
        """Return the latest runs, newest first."""
        return self._read(
            _run,
            "SELECT id, command, began, ended, scanned, moved, stayed, gone, unsettled, settled"
            " FROM run ORDER BY id DESC LIMIT ?",
            (limit,),
        )

    def filed_in(self, run: int) -> tuple[FiledMessage, ...]:
        """Return what this run moved, in the order of its intent."""
        return self._read(
            _filed_message,
            "SELECT source, uidvalidity, uid, target, move.to_uidvalidity, to_uid, fingerprint, received_at, kind,"
            " cause, subject, recipients FROM batch JOIN move ON move.batch = batch.id"
            " WHERE run = ? AND state = ? ORDER BY move.id",
            (run, _OUTCOMES.index(Outcome.MOVED)),
        )

    def watched_since(self) -> datetime | None:
        """Return when the first run began: from then on, every bounce has been counted. None before there was one."""
        return _only(self._read(lambda row: _aware(row[0]), "SELECT value FROM meta WHERE key = 'watched_since'"))

    def incident(self) -> Incident | None:
        """Return the incident that is open, None when all is quiet."""
        return _only(self._read(_incident, f"{_SELECT_INCIDENT} WHERE closed IS NULL ORDER BY id DESC LIMIT 1"))

    def last_incident(self) -> Incident | None:
        """Return the latest incident, open or closed; None when there never was one."""
        return _only(self._read(_incident, f"{_SELECT_INCIDENT} ORDER BY id DESC LIMIT 1"))

    def alerts_due(self, now: datetime) -> tuple[DueAlert, ...]:
        """Return the alerts that are to be delivered, or tried again, oldest first."""
        return self._read(
            _due_alert,
            "SELECT id, channel, key, level, subject, body, attempts, why FROM outbox"
            " WHERE sent IS NULL AND due <= ? ORDER BY id",
            (_moment(now),),
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
        return _only(self._read(_first, "SELECT count FROM refusal WHERE credential = ?", (credential_key,))) or 0


class Store(StoreReader):
    """What is remembered of an account, held by this process alone; fulfils `sweep.Journal`.

    A method that writes returns when all that it wrote is safely on disk; when it raises, nothing of it was written.
    """

    def __init__(self, db: sqlite3.Connection, path: Path, lock: int) -> None:
        super().__init__(db, path)
        self._lock = lock
        self._run = 0
        self._files = _identities(path)

    def close(self) -> None:
        """Close the file, then let others have it."""
        try:
            super().close()
        finally:
            os.close(self._lock)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _translated(self._path):
            if _identities(self._path) != self._files:
                raise StoreBroken(f"{self._path} or its lock was replaced while in use; run bouncefiler again")
            with _transaction(self._db):
                yield self._db

    def begin_run(self, command: str, now: datetime) -> int:
        """Write down that a run begins; what is intended from now on is its doing. Return its id."""
        with self._transaction() as db:
            began = db.execute("INSERT INTO run (command, began) VALUES (?, ?)", (_text(command), _epoch(now)))
            db.execute("INSERT OR IGNORE INTO meta VALUES ('watched_since', ?)", (_epoch(now),))
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
            db.execute(sql, (_epoch(now), *told, self._run))
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
                "INSERT INTO move (batch, uid, fingerprint, size, received_at, kind, cause, subject, recipients)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                ((number, *_move_row(move)) for move in batch.moves),
            )

    def settle_moved(self, batch: MoveBatch, moved: Moved) -> int:
        """Settle those moves of the batch that `moved` names, and count their bounces; return how many."""
        named = moved.uids or {}
        state = _OUTCOMES.index(Outcome.MOVED)
        with self._transaction() as db:
            number = _latest(db, batch)
            settled = db.executemany(
                "UPDATE move SET state = ?, to_uidvalidity = ?, to_uid = ? WHERE batch = ? AND uid = ? AND state = 0",
                ((state, moved.to_uidvalidity, named[uid], number, uid) for uid in batch.uids if uid in named),
            ).rowcount
            _count_moved(db, (id_ for (id_,) in db.execute("SELECT id FROM move WHERE batch = ?", (number,))))
        return max(settled, 0)

    def settle(self, settlements: Iterable[Settlement]) -> None:
        """Settle entries whose end was found out by looking; what is settled already stays as it is."""
        settled = tuple(settlements)
        with self._transaction() as db:
            db.executemany(
                "UPDATE move SET state = ?, to_uidvalidity = ?, to_uid = ? WHERE id = ? AND state = 0",
                map(_settlement_row, settled),
            )
            _count_moved(db, (settlement.entry.id for settlement in settled))

    def finish(self, plan: Plan) -> None:
        """Write down how far the folder has been read, and count the bounces that were left."""
        left = (_sighting(left.judged) for left in plan.left if left.judged.verdict.kind.is_bounce)
        with self._transaction() as db:
            _count(db, left)
            if plan.watermark:
                _raise_watermark(db, plan.watermark)

    def remember(self, sightings: Iterable[Sighting]) -> None:
        """Count these bounces; one that was counted before is not counted again."""
        with self._transaction() as db:
            _count(db, sightings)

    def record(self, incident: Incident, alerts: Sequence[tuple[str, Alert]], now: datetime) -> Incident:
        """Keep the incident and put its (channel, alert) pairs in the outbox, all or nothing; return it with its id.

        An alert whose key the channel has had before is not put there again.
        """
        with self._transaction() as db:
            id_ = db.execute(_KEEP_INCIDENT, _incident_row(incident)).lastrowid
            db.executemany(
                "INSERT INTO outbox (channel, key, level, subject, body, due) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (channel, key) DO NOTHING",
                (
                    (channel, _text(a.key), a.level, _text(a.subject), _text(a.body), _moment(now))
                    for channel, a in alerts
                ),
            )
        return incident if incident.id else replace(incident, id=id_ or 0)

    def alert_sent(self, id_: int, now: datetime) -> None:
        """Write down that an alert was delivered. Killed before this, it is delivered twice rather than never."""
        with self._transaction() as db:
            db.execute("UPDATE outbox SET sent = ?, attempts = attempts + 1 WHERE id = ?", (_moment(now), id_))

    def alert_failed(self, id_: int, retry_at: datetime, why: str) -> None:
        """Write down that an alert could not be delivered, and when to try again."""
        with self._transaction() as db:
            db.execute(
                "UPDATE outbox SET due = ?, why = ?, attempts = attempts + 1 WHERE id = ?",
                (_moment(retry_at), _text(why), id_),
            )

    def login_refused(self, credential_key: str, now: datetime) -> int:
        """Count a refused login; return how many there were with this credential."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO refusal (credential, count, at) VALUES (?, 1, ?)"
                " ON CONFLICT (credential) DO UPDATE SET count = count + 1, at = excluded.at",
                (credential_key, _epoch(now)),
            )
        return self.refusals(credential_key)

    def login_accepted(self) -> None:
        """Forget the refused logins."""
        with self._transaction() as db:
            db.execute("DELETE FROM refusal")

    def tidy(self, now: datetime) -> None:
        """Fold sightings older than KEPT into totals of their days, and drop settled moves and sent alerts as old.

        `filed` and `daily` answer as before. Costs next to nothing when there is nothing to do.
        """
        horizon = _epoch(now - KEPT)
        with self._transaction() as db:
            _fold(db, horizon)
            for sql in _TRIM:
                db.execute(sql, {"horizon": horizon, "idle": _epoch(now - IDLE_RUN_KEPT)})
        with _translated(self._path):
            # Not `execute`: it takes the first step only of a statement without columns, which gives back one page.
            self._db.executescript("PRAGMA incremental_vacuum")


def open_store(path: Path, *, holder: str) -> Store:
    """Open the account's state file to write, making it when there is none; `holder` is the command that does so.

    Raises StoreBusy while another process has it open to write (the lock dies with the process), StoreBroken.
    """
    return _open_store(path, holder, MIGRATIONS)


def open_for_reading(path: Path) -> StoreReader:
    """Open the account's state file to look at it, whoever else has it open. Raises StoreBroken.

    It changes nothing that is remembered: a file that does not exist reads as empty and is not made; one of an earlier
    version is read through a copy in memory. (Not `mode=ro`: after a kill, SQLite has to clear up before it can read.)
    """
    return _open_for_reading(path, MIGRATIONS)


def _open_store(path: Path, holder: str, migrations: Migrations) -> Store:
    with ExitStack() as undo, _translated(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _lock(_lock_path(path), holder)
        undo.callback(os.close, lock)
        _make_private(path)
        db = _connect(path)
        undo.callback(db.close)
        _check(db, path, len(migrations))
        _make_durable(db)
        _migrate(db, migrations)
        undo.pop_all()
        return Store(db, path, lock)


def _open_for_reading(path: Path, migrations: Migrations) -> StoreReader:
    with ExitStack() as undo, _translated(path):
        db = _connect(path) if path.exists() else _connect_to_memory()
        undo.callback(db.close)
        _check(db, path, len(migrations))
        if _pragma(db, "user_version") < len(migrations):
            old, db = db, _connect_to_memory()
            undo.callback(db.close)
            old.backup(db)
            old.close()
            _migrate(db, migrations)
        db.execute("PRAGMA query_only = ON")
        undo.pop_all()
        return StoreReader(db, path)


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _identities(path: Path) -> tuple[tuple[int, int], ...]:
    """Tell which files are at the paths of the store and its lock; raise FileNotFoundError when one is not there."""
    found = (path.stat(), _lock_path(path).stat())
    return tuple((stat.st_dev, stat.st_ino) for stat in found)


def _lock(path: Path, holder: str) -> int:
    """Take the lock, and say in it who has it. A lock file is never removed: that would be a race."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()} {_text(holder)}\n".encode(), 0)
    except BlockingIOError as exc:
        busy = _busy(lock)
        os.close(lock)
        raise busy from exc
    except BaseException:
        os.close(lock)
        raise
    return lock


def _busy(lock: int) -> StoreBusy:
    pid, _, holder = os.pread(lock, 400, 0).decode("utf-8", "replace").strip().partition(" ")
    since = datetime.fromtimestamp(os.fstat(lock).st_mtime, UTC).astimezone()
    who = f"`bouncefiler {_printable(holder)}` (process {pid})" if pid.isdigit() else "another bouncefiler"
    return StoreBusy(
        f"{who} has been at work on this account since {since:%Y-%m-%d %H:%M:%S}; "
        "wait until it is done, or stop it first"
    )


def _make_private(path: Path) -> None:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.fstat(file).st_mode & 0o077:
            os.fchmod(file, 0o600)
    finally:
        os.close(file)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False, timeout=5.0
    )


def _connect_to_memory() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)


def _check(db: sqlite3.Connection, path: Path, known: int) -> None:
    """Raise StoreBroken unless the file is whole, ours, and of a version that we know."""
    blank = not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if not blank and _pragma(db, "application_id") != _APPLICATION_ID:
        raise StoreBroken(f"{path} is not a state file of bouncefiler but another program's; nothing was done to it")
    if (version := _pragma(db, "user_version")) > known:
        row = db.execute("SELECT value FROM meta WHERE key = 'written_by'").fetchone()
        wanted = f"bouncefiler {_printable(str(row[0]))} or later" if row else "a later bouncefiler"
        raise StoreBroken(
            f"the state file {path} is of version {version}, and this bouncefiler ({__version__}) knows no more than "
            f"version {known}: install {wanted}. Nothing was done"
        )
    if _pragma(db, "page_count") * _pragma(db, "page_size") <= CHEAP_TO_CHECK:
        (said,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if said != "ok":
            raise StoreBroken(_damaged(path, said))


def _pragma(db: sqlite3.Connection, name: str) -> int:
    (value,) = db.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _make_durable(db: sqlite3.Connection) -> None:
    """Make every commit one fsync, and let readers look while a run is at work.

    A write-ahead log with synchronous=FULL does both (with NORMAL a commit may be lost with the power:
    https://sqlite.org/pragma.html#pragma_synchronous). A rollback journal would need two or three fsyncs a commit, and
    hold it up while a preview reads. Where SQLite cannot have a log it stays with the journal, which is as safe.
    """
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before anything is written, or it has no effect
    db.execute("PRAGMA journal_mode = WAL").fetchone()
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA journal_size_limit = 4194304")
    db.execute("PRAGMA foreign_keys = ON")


def _migrate(db: sqlite3.Connection, migrations: Migrations) -> None:
    for version in range(_pragma(db, "user_version"), len(migrations)):
        with _transaction(db):
            for statement in migrations[version]:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {version + 1}")
            db.execute("INSERT OR REPLACE INTO meta VALUES ('written_by', ?)", (__version__,))


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.rollback()


# What SQLite says (https://sqlite.org/rescode.html), by the beginning of its name, and what it means for the user.
_TROUBLES: tuple[tuple[str, type[BouncefilerError], str], ...] = (
    ("SQLITE_BUSY", StoreBusy, "another program is using {path}; try again when it has finished"),
    ("SQLITE_FULL", StoreBroken, "no room to write {path}: make room on the disk; until then no mail is moved"),
    ("SQLITE_IOERR", StoreBroken, "the disk refused {path} ({detail}): is it full, or failing? No mail is moved"),
    ("SQLITE_CANTOPEN", StoreBroken, "{path} cannot be opened: check its owner and permissions. No mail is moved"),
    ("SQLITE_READONLY", StoreBroken, "{path} cannot be written: check its owner and permissions. No mail is moved"),
    ("SQLITE_PERM", StoreBroken, "{path} cannot be opened: check its owner and permissions. No mail is moved"),
    ("SQLITE_NOMEM", StoreBroken, "out of memory while reading {path}; no mail is moved"),
)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into errors of ours."""
    try:
        yield
    except sqlite3.Error as exc:
        raise _ours(exc, path) from exc
    except UnicodeDecodeError as exc:  # what the sqlite3 module makes of damage that SQLite quotes in its message
        raise StoreBroken(_damaged(path, "not UTF-8")) from exc
    except OSError as exc:
        full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
        step = "make room on the disk" if full else "check that the directory exists and that you may write there"
        raise StoreBroken(f"{path} cannot be used: {exc.strerror}; {step}. No mail is moved") from exc


def _ours(exc: sqlite3.Error, path: Path) -> BouncefilerError:
    name = getattr(exc, "sqlite_errorname", "")
    for beginning, error, text in _TROUBLES:
        if name.startswith(beginning):
            return error(text.format(path=path, detail=name))
    return StoreBroken(_damaged(path, str(exc)))


def _damaged(path: Path, detail: str) -> str:
    return (
        f"the state file {path} is damaged ({_printable(detail)}); move it away, and bouncefiler will read the folders "
        "again: nothing in your mailbox depends on it"
    )


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text[:200])


def _text(text: str) -> str:
    """Make the text storable: half characters, as damaged mail has them, are not UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _moment(moment: datetime) -> float:
    if moment.tzinfo is None:
        raise ValueError("a time without a zone means nothing here")
    return moment.timestamp()


def _epoch(moment: datetime) -> int:
    return int(_moment(moment))


def _aware(seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)  # fromtimestamp would take a senseless number for trouble with the disk


def _aware_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else _aware(seconds)


def _only(rows: Sequence[T]) -> T | None:
    return rows[0] if rows else None


def _first(row: Row) -> Any:
    return row[0]


def _fingerprint(stored: bytes) -> Fingerprint:
    return Fingerprint(stored.hex())


def _move_row(move: Move) -> tuple[object, ...]:
    arrival, verdict = move.judged.arrival, move.judged.verdict
    recipients = [_text(r.final_recipient[:MAX_RECIPIENT_CHARS]) for r in verdict.recipients[:MAX_RECIPIENTS]]
    return (
        arrival.ref.uid,
        bytes.fromhex(arrival.fingerprint),
        arrival.size,
        _epoch(arrival.received_at),
        _KINDS.index(verdict.kind),
        None if verdict.cause is None else _CAUSES.index(verdict.cause),
        _text(move.judged.subject[:MAX_SUBJECT_CHARS]),
        json.dumps(recipients),
    )


def _settlement_row(settlement: Settlement) -> tuple[object, ...]:
    to = settlement.to_ref
    where = (to.uidvalidity, to.uid) if to else (None, None)
    return (_OUTCOMES.index(settlement.outcome), *where, settlement.entry.id)


def _entry(row: Row) -> JournalEntry:
    id_, source, uidvalidity, uid, fingerprint, size, to, to_uidvalidity, to_uidnext, method = row
    ref = MessageRef(source, uidvalidity, uid)
    return JournalEntry(id_, ref, _fingerprint(fingerprint), size, to, to_uidvalidity, to_uidnext, Method(method))


def _sighting(judged: Judged) -> Sighting:
    arrival = judged.arrival
    return Sighting(
        arrival.fingerprint, arrival.received_at, judged.verdict.kind, judged.verdict.cause or Cause.UNKNOWN
    )


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
                _epoch(s.received_at),
                _KINDS.index(s.kind),
                _CAUSES.index(s.cause),
                _PROVENANCES.index(s.provenance),
            )
            for s in sightings
        ),
    )


def _count_moved(db: sqlite3.Connection, ids: Iterable[int]) -> None:
    """Remember those of these moves that were done as filed, and count the bounces among them."""
    moved = [(id_, _OUTCOMES.index(Outcome.MOVED)) for id_ in ids]
    db.executemany(
        "INSERT INTO filed (fingerprint, folder, last_uid) SELECT fingerprint, folder.id, max(source_uidnext - 1, 0)"
        " FROM move JOIN batch ON batch.id = move.batch"
        " JOIN folder ON name = source AND folder.uidvalidity = batch.uidvalidity WHERE move.id = ? AND state = ?"
        " ON CONFLICT (fingerprint, folder) DO UPDATE SET last_uid = max(last_uid, excluded.last_uid)",
        moved,
    )
    db.executemany(
        "INSERT INTO sighting (fingerprint, received_at, kind, cause, provenance)"
        " SELECT fingerprint, received_at, kind, coalesce(cause, 0), 0 FROM move"
        " WHERE id = ? AND state = ? AND kind IN (?, ?)"
        " AND NOT EXISTS (SELECT 1 FROM folded WHERE folded.fingerprint = move.fingerprint)"
        " ON CONFLICT (fingerprint) DO NOTHING",
        ((*which, _KINDS.index(Kind.FAILED), _KINDS.index(Kind.DELAYED)) for which in moved),
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


# Order is important: a batch goes when its last move has gone, a run when its last batch has.
_TRIM = (
    """DELETE FROM move WHERE state <> 0 AND batch IN
        (SELECT batch.id FROM run JOIN batch ON batch.run = run.id WHERE began < :horizon)""",
    """DELETE FROM batch WHERE run IN (SELECT id FROM run WHERE began < :horizon)
        AND NOT EXISTS (SELECT 1 FROM move WHERE move.batch = batch.id)""",
    """DELETE FROM run WHERE began < :idle AND id < (SELECT max(id) FROM run)
        AND NOT EXISTS (SELECT 1 FROM batch WHERE batch.run = run.id)""",
    "DELETE FROM outbox WHERE sent < :horizon",
    "DELETE FROM refusal WHERE at < :horizon",
)

_SELECT_INCIDENT = (
    "SELECT diagnosis, opened, last_seen, count, usual, total, peak, notified, notified_count, closed, id, began,"
    " earlier FROM incident"
)
_KEEP_INCIDENT = (
    "INSERT OR REPLACE INTO incident"
    " (diagnosis, opened, last_seen, count, usual, total, peak, notified, notified_count, closed, id, began, earlier)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def _incident_row(incident: Incident) -> tuple[object, ...]:
    return (
        incident.diagnosis,
        _moment(incident.opened),
        _moment(incident.last_seen),
        incident.count,
        incident.usual,
        incident.total,
        incident.peak,
        incident.notified and _moment(incident.notified),
        incident.notified_count,
        incident.closed and _moment(incident.closed),
        incident.id or None,
        incident.began and _moment(incident.began),
        incident.earlier,
    )


def _incident(row: Row) -> Incident:
    diagnosis, opened, last_seen, count, usual, total, peak, notified, notified_count, closed, id_, began, earlier = row
    return Incident(
        Diagnosis(diagnosis),
        _aware(opened),
        _aware(last_seen),
        count,
        usual,
        total,
        peak,
        _aware_or_none(notified),
        notified_count,
        _aware_or_none(closed),
        id_,
        _aware_or_none(began),
        earlier,
    )


def _due_alert(row: Row) -> DueAlert:
    id_, channel, key, level, subject, body, attempts, why = row
    return DueAlert(id_, channel, Alert(key, Level(level), subject, body), attempts, why)


def _run(row: Row) -> Run:
    id_, command, began, ended, *told = row
    return Run(id_, command, _aware(began), _aware_or_none(ended), Report(*told))


def _filed_message(row: Row) -> FiledMessage:
    source, uidvalidity, uid, target, to_uidvalidity, to_uid, fingerprint, received_at, kind, cause, *words = row
    subject, recipients = words
    return FiledMessage(
        ref=MessageRef(source, uidvalidity, uid),
        to=None if to_uid is None else MessageRef(target, to_uidvalidity, to_uid),
        to_folder=target,
        fingerprint=_fingerprint(fingerprint),
        received_at=_aware(received_at),
        kind=_KINDS[kind],
        cause=None if cause is None else _CAUSES[cause],
        subject=subject,
        recipients=tuple(json.loads(recipients)),
    )


def _day_total(row: Row) -> DayTotal:
    day, kind, cause, provenance, count = row
    return DayTotal(_EPOCH.date() + timedelta(days=day), _KINDS[kind], _CAUSES[cause], _PROVENANCES[provenance], count)
