"""The SQLite file itself: locked, checked, made durable, brought to the present schema; its errors in our words."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from bouncefiler import __version__
from bouncefiler.edge.store.rows import storable
from bouncefiler.edge.store.schema import APPLICATION_ID, Migrations
from bouncefiler.errors import BouncefilerError, StoreBroken, StoreBusy
from bouncefiler.report.chronicle import AtWork

CHEAP_TO_CHECK = 8 * 2**20
"""Files up to this many octets are checked whole when they are opened."""

GLANCE = 0.05
"""Seconds; whoever looks who holds the lock has let go of it by then."""


def lock_path(path: Path) -> Path:
    """Return where the lock of this state file is."""
    return path.with_name(f"{path.name}.lock")


def identities(path: Path) -> tuple[tuple[int, int], ...]:
    """Tell which files are at the paths of the store and its lock; raise FileNotFoundError when one is not there."""
    found = (path.stat(), lock_path(path).stat())
    return tuple((stat.st_dev, stat.st_ino) for stat in found)


def take_lock(path: Path, holder: str) -> int:
    """Take the lock, and say in it who has it. A lock file is never removed: that would be a race."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(lock)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()} {storable(holder)}\n".encode(), 0)
    except BlockingIOError as exc:
        busy = _busy(lock)
        os.close(lock)
        raise busy from exc
    except BaseException:
        os.close(lock)
        raise
    return lock


def _lock(lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # perhaps only by somebody who looks who is at work, which takes no time
        time.sleep(GLANCE)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def at_work(path: Path) -> AtWork | None:
    """Say who holds the state file now; None when nobody does. Raises StoreBroken."""
    with translated(path), suppress(FileNotFoundError):
        lock = os.open(lock_path(path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(lock)
        finally:
            os.close(lock)
    return None


def _holder(lock: int) -> AtWork:
    pid, _, holder = os.pread(lock, 400, 0).decode("utf-8", "replace").strip().partition(" ")
    since = datetime.fromtimestamp(os.fstat(lock).st_mtime, UTC)
    known = pid.isascii() and pid.isdigit()
    return AtWork(_printable(holder).removeprefix("bouncefiler "), int(pid) if known else None, since)


def _busy(lock: int) -> StoreBusy:
    holder = _holder(lock)
    who = f"`bouncefiler {holder.command}` (process {holder.pid})" if holder.pid else "another bouncefiler"
    return StoreBusy(
        f"{who} has been at work on this account since {holder.since.astimezone():%Y-%m-%d %H:%M:%S}; "
        "wait until it is done, or stop it first"
    )


def make_private(path: Path) -> None:
    """Make the file if there is none, readable by nobody but its owner."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.fstat(file).st_mode & 0o077:
            os.fchmod(file, 0o600)
    finally:
        os.close(file)


def connect(path: Path) -> sqlite3.Connection:
    """Open a file that exists, to read and write."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False, timeout=5.0
    )


def connect_to_memory() -> sqlite3.Connection:
    """Make an empty database that leaves no file behind."""
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)


def check_file(db: sqlite3.Connection, path: Path, known: int) -> None:
    """Raise StoreBroken unless the file is whole, ours, and of a version that we know."""
    blank = not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if not blank and pragma(db, "application_id") != APPLICATION_ID:
        raise StoreBroken(f"{path} is not a state file of bouncefiler but another program's; nothing was done to it")
    if (version := pragma(db, "user_version")) > known:
        row = db.execute("SELECT value FROM meta WHERE key = 'written_by'").fetchone()
        wanted = f"bouncefiler {_printable(str(row[0]))} or later" if row else "a later bouncefiler"
        raise StoreBroken(
            f"the state file {path} is of version {version}, and this bouncefiler ({__version__}) knows no more than "
            f"version {known}: install {wanted}. Nothing was done"
        )
    if pragma(db, "page_count") * pragma(db, "page_size") <= CHEAP_TO_CHECK:
        (said,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if said != "ok":
            raise StoreBroken(damage_at(path, said))


def pragma(db: sqlite3.Connection, name: str) -> int:
    """Return what a PRAGMA says, which is a number."""
    (value,) = db.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def make_durable(db: sqlite3.Connection) -> None:
    """Make every commit one fsync, and let readers look while a run is at work.

    A write-ahead log with synchronous=FULL does both (with NORMAL a commit may be lost with the power:
    https://sqlite.org/pragma.html#pragma_synchronous). A rollback journal would need two or three fsyncs a commit, and
    hold it up while a preview reads. Where SQLite cannot have a log it stays with the journal, which is as safe.
    """
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before anything is written, or it has no effect
    db.execute("PRAGMA journal_mode = WAL").fetchone()
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA journal_size_limit = 4194304")
    db.execute("PRAGMA cache_size = -512")  # KiB: each of a hundred accounts in one process has its own
    db.execute("PRAGMA foreign_keys = ON")


def migrate(db: sqlite3.Connection, migrations: Migrations) -> None:
    """Bring the tables to the present schema, one version after the other, each in a transaction of its own."""
    for version in range(pragma(db, "user_version"), len(migrations)):
        with transaction(db):
            for statement in migrations[version]:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {version + 1}")
            db.execute("INSERT OR REPLACE INTO meta VALUES ('written_by', ?)", (__version__,))


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Write all that the context does, or nothing of it."""
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
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into errors of ours."""
    try:
        yield
    except sqlite3.Error as exc:
        raise _ours(exc, path) from exc
    except UnicodeDecodeError as exc:  # what the sqlite3 module makes of damage that SQLite quotes in its message
        raise StoreBroken(damage_at(path, "not UTF-8")) from exc
    except OSError as exc:
        full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
        step = "make room on the disk" if full else "check that the directory exists and that you may write there"
        raise StoreBroken(f"{path} cannot be used: {exc.strerror}; {step}. No mail is moved") from exc


def _ours(exc: sqlite3.Error, path: Path) -> BouncefilerError:
    name = getattr(exc, "sqlite_errorname", "")
    for beginning, error, text in _TROUBLES:
        if name.startswith(beginning):
            return error(text.format(path=path, detail=name))
    return StoreBroken(damage_at(path, str(exc)))


def damage_at(path: Path, detail: str) -> str:
    """Say that the file is damaged, and what to do."""
    return (
        f"the state file {path} is damaged ({_printable(detail)}); move it away, and bouncefiler begins anew: no "
        "message is lost, but what you had put back may be filed again, and `undo` knows of no earlier run"
    )


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text[:200])
