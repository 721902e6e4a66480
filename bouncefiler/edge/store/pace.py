"""How bounces came: the latest one by one, the days before as they were counted once; fulfils volume.History."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain

from bouncefiler.backscatter import volume
from bouncefiler.backscatter.provenance import Provenance
from bouncefiler.backscatter.volume import Day, Usual
from bouncefiler.edge.store.base import Base, Writable, only
from bouncefiler.edge.store.rows import Row, epoch, first_column, moment_of
from bouncefiler.edge.store.schema import KINDS, PROVENANCES
from bouncefiler.recognition.verdict import Kind

_DAY = 86_400

_FOREVER = 2**62
"""Later than any bounce, in seconds since 1970."""

MAY_BE_BACKSCATTER = (Provenance.UNKNOWN, Provenance.FORGED)

_learnt = lru_cache(maxsize=32)(volume.learnt)  # the days move once a week; the windows are looked at every few minutes


class PaceReader(Base):
    """When bounces came."""

    def history(
        self,
        since: datetime,
        provenances: Collection[Provenance] = MAY_BE_BACKSCATTER,
        before: datetime | None = None,
    ) -> array[int]:
        """Return INTERNALDATE, in seconds since 1970, of each failed delivery from `since` on of these provenances.

        Ascending, eight octets for each; where forged ones are asked for, with the automatic replies and challenges to
        forged mail. By default, all that may be backscatter.
        """
        until, span = ("", (epoch(since),)) if before is None else (_BEFORE, (epoch(since), epoch(before)))
        sql = f"{_came(provenances)}{until} ORDER BY received_at"
        with self._reading() as db:
            return array("q", chain.from_iterable(db.execute(sql, span)))

    def past(self, since: datetime, provenances: Collection[Provenance] = MAY_BE_BACKSCATTER) -> Past:
        """Return the same to look back at, which reads no more than is asked for. Good until more is counted."""
        return Past(self, since, provenances)

    def came(self, start: int, end: int, provenances: Collection[Provenance], *, last: bool = False) -> int | None:
        """Return when the first of them came from `start` on, and before `end`; or the last."""
        sql = f"{_came(provenances)}{_BEFORE} ORDER BY received_at {'DESC' if last else ''} LIMIT 1"
        return only(self._read(first_column, sql, (start, end)))

    def counted_days(self, first_day: int, last_day: int, provenances: Collection[Provenance]) -> tuple[Day, ...]:
        """Return those days, from `first_day` up to and without `last_day`, that are counted and have not changed."""
        return self._read(
            _to_day,
            "SELECT day, bounces, night, morning, afternoon, evening FROM pace"
            " WHERE whose = ? AND day >= ? AND day < ? ORDER BY day",
            (_whose(provenances), first_day, last_day),
        )


class PaceWriter(PaceReader, Writable):
    """… and the hand that keeps what was counted."""

    def count_days(self, since: datetime, until: datetime, provenances: Collection[Provenance]) -> None:
        """Count the days between `since` and `until`, so that `past` finds them counted as long as none changes."""
        first_day, last_day = -(-epoch(since) // _DAY), epoch(until) // _DAY
        known = {day.number for day in self.counted_days(first_day, last_day, provenances)}
        if len(known) < last_day - first_day:
            days = self.past(since, provenances).days(first_day, last_day)
            rows = ((_whose(provenances), day.number, day.bounces, *day.quarters) for day in days)
            with self._transaction() as db:
                db.executemany(_KEEP, (row for row in rows if row[1] not in known))


class Past:
    """See volume.History: what came since a moment, as it is asked for."""

    def __init__(self, reader: PaceReader, since: datetime, provenances: Collection[Provenance]) -> None:
        """Read nothing yet."""
        self._reader = reader
        self._since = epoch(since)
        self._provenances = tuple(provenances)
        self._read_from = _FOREVER
        self._times = array("q")

    def after(self, start: float) -> Sequence[int]:
        """See History. Read is a day more, for it is asked further and further back."""
        if start < self._read_from > self._since:
            first = max(self._since, int(start) - _DAY)
            self._times = self._between(first, self._read_from) + self._times
            self._read_from = first
        return self._times

    def first(self, start: float, end: float) -> int | None:
        """See History."""
        return self._reader.came(*self._within(start, end), self._provenances)

    def last(self, start: float, end: float) -> int | None:
        """See History."""
        return self._reader.came(*self._within(start, end), self._provenances, last=True)

    def days(self, first_day: int, last_day: int) -> Iterator[Day]:
        """See History. Counted are those that are not kept, and the one that `since` cuts."""
        kept = self._reader.counted_days(max(first_day, -(-self._since // _DAY)), last_day, self._provenances)
        for day in (*kept, Day(last_day, 0)):
            if first_day < day.number:
                times = self._between(max(self._since, first_day * _DAY), day.number * _DAY)
                yield from volume.days_of(times, first_day, day.number)
            if day.number < last_day:
                yield day
            first_day = day.number + 1

    def usual(self, first_day: int, last_day: int) -> Usual:
        """See History."""
        return _learnt(tuple(self.days(first_day, last_day)))

    def _between(self, start: int, end: int) -> array[int]:
        before = None if end == _FOREVER else moment_of(end)
        return self._reader.history(moment_of(start), self._provenances, before)

    def _within(self, start: float, end: float) -> tuple[int, int]:
        return int(max(self._since, start)), int(min(end, _FOREVER))


def _came(provenances: Collection[Provenance]) -> str:
    failed, *answers = (KINDS.index(kind) for kind in (Kind.FAILED, Kind.AUTOREPLY, Kind.CHALLENGE))
    wanted = ",".join(str(PROVENANCES.index(provenance)) for provenance in provenances)
    forged = PROVENANCES.index(Provenance.FORGED) if Provenance.FORGED in provenances else -1
    return (
        "SELECT received_at FROM sighting WHERE received_at >= ? AND"  # noqa: S608 - numbers only
        f" (kind = {failed} AND provenance IN ({wanted})"
        f" OR kind IN ({','.join(map(str, answers))}) AND provenance = {forged})"
    )


def _whose(provenances: Iterable[Provenance]) -> int:
    """Return the provenances as one number, a bit for each."""
    return sum(1 << PROVENANCES.index(provenance) for provenance in set(provenances))


def _to_day(row: Row) -> Day:
    number, bounces, *quarters = row
    return Day(number, bounces, tuple(quarters))


_BEFORE = " AND received_at < ?"

_KEEP = (
    "INSERT OR REPLACE INTO pace (whose, day, bounces, night, morning, afternoon, evening) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
