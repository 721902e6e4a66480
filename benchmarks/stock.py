"""One mailbox on a throw-away Dovecot, put back as it was before each run; and what a run has done to it.

The mail lies in the account `stock`. Before each run the account `bench` is made the same: its files are links to
those of `stock`, its indexes copies, so a mailbox that was made once can be kept and be `stock` another time. The
indexes are in the state in which a mail client leaves them: the fields that it shows in its list are cached. By the
link's inode every message is known again, wherever it has been moved to.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.floor import Line
from benchmarks.mailboxes import Kind, kinds, mails, recipe
from tests.dovecot import HOST, PASSWORD, Dovecot

STOCK, BENCH = "stock", "bench"

LONG = 120.0
"""Seconds to wait for the server's last process: a listing of a million takes a minute, though nobody waits for it."""

# What Thunderbird asks for when it opens a folder.
_LISTING = (
    b"(UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority "
    b"References Newsgroups In-Reply-To Content-Type Reply-To)])"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of the messages."""

    moved: int
    wrongly: int
    missed: int
    lost: int
    doubled: int

    @property
    def safe(self) -> bool:
        """Whether each message is there, once."""
        return not self.lost and not self.doubled


class Stock:
    """A mailbox of so many messages; `keep` is a directory where one that was made is looked for, or put."""

    def __init__(self, dovecot: Dovecot, size: int, seed: int, keep: Path | None = None) -> None:
        self.size = size
        self._dovecot = dovecot
        self._drawn = kinds(size, seed)
        homes = dovecot.base / "home"
        kept = keep / f"{size}-{seed}-{recipe()}" if keep else None
        self._to = homes / BENCH / "Maildir"
        self._from = (kept or homes / STOCK) / "Maildir"
        remove(dovecot)
        if not self._from.exists():
            self._make(seed, kept)
        self._inodes = self._by_inode()
        self.oracle = dovecot.base / "oracle"
        self.oracle.write_text("\n".join(str(uid) for uid in sorted(self.bounces)))

    def _make(self, seed: int, kept: Path | None) -> None:
        self._dovecot.mailbox(STOCK).store(mails(self._drawn, seed))
        made = self._dovecot.base / "home" / STOCK
        self._be_listed(made / "Maildir")
        if kept:
            made.rename(kept)

    @cached_property
    def bounces(self) -> frozenset[int]:
        """The UIDs of the bounces."""
        return frozenset(uid for uid, kind in enumerate(self._drawn, 1) if kind is Kind.BOUNCE)

    def restore(self) -> None:
        """Make the account `bench` what `stock` is. Raises TimeoutError when the server does not let go of it."""
        self._dovecot.await_leave(BENCH, LONG)
        for folder in self._to.glob(".*"):
            shutil.rmtree(folder)
        for part in ("cur", "new", "tmp"):
            (self._to / part).mkdir(parents=True, exist_ok=True)
            self._link_all(self._from / part, self._to / part)
        for path in self._to.iterdir():
            if path.is_file():
                path.unlink()
        for path in self._from.iterdir():
            if path.is_file():
                shutil.copy2(path, self._to / path.name)
                os.chown(self._to / path.name, *self._dovecot.owner)
        for path in (self._to.parent, self._to, *(self._to / part for part in ("cur", "new", "tmp"))):
            os.chown(path, *self._dovecot.owner)
            # Dovecot reads a directory anew whose time is not the one in the index.
            shutil.copystat(self._from.parent / path.relative_to(self._to.parent), path)

    def outcome(self) -> Outcome:
        """Say what the last run has done."""
        self._dovecot.await_leave(BENCH, LONG)
        inbox = _inodes_in(self._to)
        elsewhere = Counter[int]()
        for folder in self._to.glob(".*"):
            elsewhere += _inodes_in(folder)
        there = inbox + elsewhere
        moved = {self._inodes.get(inode, 0) for inode in elsewhere}
        return Outcome(
            moved=len(moved),
            wrongly=len(moved - self.bounces),
            missed=len(self.bounces - moved),
            lost=sum(inode not in there for inode in self._inodes),
            doubled=sum(there.values()) - len(there),
        )

    def _be_listed(self, maildir: Path) -> None:
        """Open the folder as a mail client does; long after its last change, so that the index can be relied upon."""
        for path in (maildir / "cur", maildir / "new", maildir / "dovecot-uidlist"):
            os.utime(path, (time.time() - 3600,) * 2)
        for _ in range(2):
            with closing(Line(HOST, self._dovecot.port)) as line:
                line.greeting()
                line.say([b'LOGIN "%s" "%s"' % (STOCK.encode(), PASSWORD.encode())])
                line.say([b"SELECT INBOX", b"FETCH 1:* " + _LISTING, b"LOGOUT"])
        self._dovecot.await_leave(STOCK, LONG)

    def _by_inode(self) -> dict[int, int]:
        lines = (self._from / "dovecot-uidlist").read_text("ascii").splitlines()[1:]
        uids = {line.partition(":")[2]: int(line.split(maxsplit=1)[0]) for line in lines}
        with os.scandir(self._from / "cur") as entries:
            return {entry.inode(): uids[entry.name.partition(":")[0]] for entry in entries}

    @staticmethod
    def _link_all(source: Path, target: Path) -> None:
        wanted, present = _names_in(source), _names_in(target)
        for name in present.keys() - wanted.keys():
            (target / name).unlink()
        for name in sorted(wanted.keys() - present.keys(), key=wanted.__getitem__):
            os.link(f"{source}/{name}", f"{target}/{name}")


def remove(dovecot: Dovecot) -> None:
    """Give back the disk space, but for what is kept."""
    for home in (dovecot.base / "home" / user for user in (BENCH, STOCK)):
        for folder in (home / "Maildir" / "cur", *home.glob("Maildir/.*/cur")):
            if folder.exists():
                names = _names_in(folder)
                for name in sorted(names, key=names.__getitem__):
                    (folder / name).unlink(missing_ok=True)
        shutil.rmtree(home, ignore_errors=True)


def _names_in(folder: Path) -> dict[str, int]:
    """Return the names in a directory, and the inodes of what they name.

    In a large directory names come in the order of their hashes. A disk is many times as fast in the order of inodes.
    """
    with os.scandir(folder) as entries:
        return {entry.name: entry.inode() for entry in entries}


def _inodes_in(folder: Path) -> Counter[int]:
    found = Counter[int]()
    for part in ("cur", "new"):
        if (folder / part).exists():
            with os.scandir(folder / part) as entries:
                found.update(entry.inode() for entry in entries)
    return found
