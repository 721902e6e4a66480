"""The index of sent mail: what the user has sent, read from the folders where mail programs keep copies.

It answers "did I send this?" for bounces, and tells what the user's own mail looks like. `index` reads the header
fields of new messages first, then goes back in time from where it stopped: bounces concern recent mail. It can be
interrupted at any moment; what was read and how far are written down together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from bouncefiler.errors import AccountError, Unreachable
from bouncefiler.recognition import outgoing
from bouncefiler.recognition.outgoing import Outgoing
from bouncefiler.sweep import FolderState

RECENT = 1_000
"""So many of the newest messages of each folder are read before the older ones of any."""

_EDGE = 10

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which messages of a folder to read: all of these UIDs, in this order, and how many header fields of each."""

    uids: range
    newest_first: bool = False
    every_field: bool = True
    """False leaves out those that servers seldom have at hand: Bcc, List-*, Precedence, DKIM-Signature."""


class SentReader(Protocol):
    """An account whose sent mail can be read. Nothing here changes anything: folders are opened by EXAMINE.

    All may raise AccountError.
    """

    def sent_folders(self) -> tuple[str, ...]:
        """Return the folders where copies of sent mail are kept, by their flags and names; none when there are none."""

    def look_at(self, folder: str) -> FolderState | None:
        """Describe the folder as it is now; None when there is no such folder."""

    def header_fields(
        self, state: FolderState, stretch: Stretch, make: Callable[[bytes, datetime | None], T]
    ) -> Iterator[tuple[range, tuple[T, ...]]]:
        """Make something of the header fields and INTERNALDATE of each message in the stretch.

        Yields (UIDs, what was made of them in ascending order) for one part of the stretch after the other; the parts
        are adjacent, and together they are the stretch. A message that is gone or that the server refuses is missing.
        Raises FolderRenumbered when UIDVALIDITY is not that of `state`.
        """

    def find_in_all_mail(self, message_ids: Sequence[str]) -> frozenset[str]:
        """Return those of at most MAX_ASKED Message-IDs that the server knows as sent, whatever folder they are in.

        Empty where the server cannot tell (all but Gmail).
        """


MAX_ASKED = 50
"""Message-IDs in one call of `find_in_all_mail`."""


@dataclass(frozen=True, slots=True)
class SentMark:
    """How far a folder of sent mail has been read: all UIDs from `low` to `high`."""

    folder: str
    uidvalidity: int
    low: int
    high: int
    since: datetime | None = None
    """Mail sent from then on is among them, as far as the order of UIDs is that of time; None before any was read."""
    asked: datetime | None = None
    """When all that was in the folder above `low` had been read."""

    @property
    def complete(self) -> bool:
        """Whether it has been read down to its beginning."""
        return self.low <= 1


class SentLedger(Protocol):
    """What is remembered of sent mail. Every method raises StoreBroken when it can't be read or written."""

    def sent_marks(self) -> tuple[SentMark, ...]:
        """Return how far the folders have been read."""

    def keep_sent(self, mark: SentMark, mails: Sequence[Outgoing], now: datetime) -> int:
        """Remember these messages and how far the folder has been read by that, both or neither.

        A message that is remembered already is not counted again. Returns how many are new.
        """

    def forget_marks(self, folders: Iterable[str]) -> None:
        """Forget how far these folders have been read; not what was read."""


@dataclass(frozen=True, slots=True)
class SentCoverage:
    """For which time it can be said that a message was not sent."""

    complete: bool = False
    """Whether all folders have been read down to their beginning. Ids are kept for store.KEPT all the same."""
    since: datetime | None = None
    """All mail sent from then on is known, up to `until`; None when that is true of no moment."""
    until: datetime | None = None
    """When the last of the folders was brought up to date."""


@dataclass(frozen=True, slots=True)
class SentBurst:
    """How much was sent in a span of time."""

    messages: int = 0
    recipients: int = 0
    strangers: int = 0
    """Addresses that were written to for the first time then."""
    mailings: int = 0
    """Messages that say that they went to many."""


@dataclass(frozen=True, slots=True)
class SentReport:
    """What came of reading the folders of sent mail."""

    folders: tuple[str, ...] = ()
    """Those that there are; without any, nothing is known of what the user sends."""
    read: int = 0
    """Messages read in this call."""
    new: int = 0
    """Those of them that were not known."""
    left: int = 0
    """About how many are still to be read."""
    trouble: tuple[str, ...] = ()
    """What the server says of folders that it does not let be read; the others were read."""


class SentWatcher(Protocol):
    """Who looks on while sent mail is read."""

    def sent_read(self, report: SentReport) -> None:
        """See what has been done so far, after each part of it was written down."""

    def stopping(self) -> bool:
        """Whether to end after the part in hand; the next call goes on from there."""


def index(
    reader: SentReader, ledger: SentLedger, configured: Sequence[str], now: datetime, watcher: SentWatcher
) -> SentReport:
    """Read what has been sent since the last time, then older mail that was not read yet, until told to stop.

    `configured` names the folders of sent mail; with none, the reader finds them. One that there is not, or that the
    server does not let be read, keeps nobody from the others, and is a gap in what is known.
    Raises AccountError, StoreBroken; whatever it raises, the next call goes on where this one stopped.
    """
    job = _Job(reader, ledger, now, configured or reader.sent_folders())
    for report in job.steps():
        watcher.sent_read(report)
        if watcher.stopping():
            break
    return job.report


class _Job:
    """One call of `index`: what it has read, and how far the folders have been read by now."""

    def __init__(self, reader: SentReader, ledger: SentLedger, now: datetime, names: Sequence[str]) -> None:
        self._reader, self._ledger, self._now = reader, ledger, now
        self._trouble: dict[str, str] = {}
        self._states = {name: state for name in names if (state := self._look_at(name))}
        kept = {mark.folder: mark for mark in ledger.sent_marks()}
        self._marks = {name: _mark(state, kept.get(name)) for name, state in self._states.items()}
        for name in set(names) - self._states.keys() - kept.keys():
            ledger.keep_sent(SentMark(name, uidvalidity=0, low=2, high=1), (), now)  # nothing of it is known
        if gone := kept.keys() - set(names):
            ledger.forget_marks(gone)
        self.report = self._told(SentReport(tuple(self._states)))

    def steps(self) -> Iterator[SentReport]:
        """Yield the report after each part that was read and written down."""
        for name in self._states:
            yield from self._as_far_as_it_goes(name, self._catch_up(name))
        for name in self._states:
            yield from self._as_far_as_it_goes(name, self._go_back(name, RECENT))
        for name in self._states:
            yield from self._as_far_as_it_goes(name, self._go_back(name))

    def _look_at(self, name: str) -> FolderState | None:
        try:
            return self._reader.look_at(name)
        except Unreachable:
            raise
        except AccountError as exc:
            self._trouble[name] = str(exc)
            return None

    def _as_far_as_it_goes(self, name: str, steps: Iterator[SentReport]) -> Iterator[SentReport]:
        if name in self._trouble:
            return
        try:
            yield from steps
        except Unreachable:
            raise
        except AccountError as exc:
            self._trouble[name] = str(exc)
            self.report = self._told(self.report)

    def _catch_up(self, name: str) -> Iterator[SentReport]:
        state = self._states[name]
        stretch = Stretch(range(self._marks[name].high + 1, state.uidnext))
        for uids, mails in self._parts(state, stretch):
            yield self._keep(replace(self._marks[name], high=uids[-1]), mails)
        self._keep(replace(self._marks[name], asked=self._now), ())

    def _go_back(self, name: str, at_most: int | None = None) -> Iterator[SentReport]:
        """Read backwards: the newest `at_most` messages with all fields, or all that is left with the cheaper ones."""
        state = self._states[name]
        stretch = Stretch(range(1, self._marks[name].low), newest_first=True, every_field=at_most is not None)
        read = 0
        for uids, mails in self._parts(state, stretch):
            since = _edge(mails) or self._marks[name].since
            yield self._keep(replace(self._marks[name], low=uids[0], since=since), mails)
            read += len(mails)
            if at_most is not None and read >= at_most:
                return

    def _parts(self, state: FolderState, stretch: Stretch) -> Iterator[tuple[range, tuple[Outgoing, ...]]]:
        return self._reader.header_fields(state, stretch, outgoing.read) if stretch.uids else iter(())

    def _keep(self, mark: SentMark, mails: Sequence[Outgoing]) -> SentReport:
        new = self._ledger.keep_sent(mark, mails, self._now)
        self._marks[mark.folder] = mark
        done = self.report
        self.report = self._told(replace(done, read=done.read + len(mails), new=done.new + new))
        return self.report

    def _told(self, report: SentReport) -> SentReport:
        left = sum(
            _unread(state, self._marks[name]) for name, state in self._states.items() if name not in self._trouble
        )
        return replace(report, left=left, trouble=tuple(self._trouble.values()))


def _mark(state: FolderState, kept: SentMark | None) -> SentMark:
    """Return how far the folder has been read. Numbered anew, it is read anew; ids stay true, so none is forgotten."""
    if kept is not None and kept.uidvalidity == state.uidvalidity:
        return kept
    return SentMark(state.folder, state.uidvalidity, state.uidnext, state.uidnext - 1)


def _unread(state: FolderState, mark: SentMark) -> int:
    """Return about how many messages have not been read, if they are spread evenly over the UIDs."""
    numbers = max(0, mark.low - 1) + max(0, state.uidnext - 1 - mark.high)
    return min(state.exists, -(-state.exists * numbers // max(1, state.uidnext - 1)))


def _edge(mails: Sequence[Outgoing]) -> datetime | None:
    """Return when the oldest of these were sent: the latest of the first few, should some old ones be among them."""
    first = [mail.sent_at for mail in mails[:_EDGE]]
    return datetime.fromtimestamp(max(first), UTC) if first else None


def coverage_of(marks: Iterable[SentMark], oldest: datetime) -> SentCoverage:
    """Say what is known of all folders together; ids of before `oldest` are not kept."""
    known: Mapping[str, SentMark] = {mark.folder: mark for mark in marks}
    if not known:
        return SentCoverage()
    starts = [oldest if mark.complete else mark.since for mark in known.values()]
    ends = [mark.asked for mark in known.values()]
    return SentCoverage(
        all(mark.complete for mark in known.values()),
        None if None in starts else max(oldest, *(start for start in starts if start)),
        None if None in ends else min(end for end in ends if end),
    )
