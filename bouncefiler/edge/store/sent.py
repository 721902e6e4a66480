"""What is remembered of sent mail."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from bouncefiler.edge.store.base import Base, Writable, those_in
from bouncefiler.edge.store.rows import EPOCH, KEPT, Row, epoch, moment_or_none, storable
from bouncefiler.recognition import message_id
from bouncefiler.recognition.outgoing import Habit, Outgoing, contact_key
from bouncefiler.sent import SentBurst, SentCoverage, SentMark, coverage_of

MAX_CONTACTS = 200_000
"""How many addresses are remembered as written to; then those first written to longest ago go."""

MAX_HABITS = 300
"""How many values of one sort are remembered, the most frequent ones."""

KEY_IN_USE = timedelta(days=60)
"""A key that nothing was signed by for so long may have been replaced, and need not be published any more."""

_MANY_CONTACTS = 5_000


class SentMailReader(Base):
    """What of a StoreReader is about sent mail; fulfils the reading half of sent.SentLedger."""

    def sent_known(self, message_ids: Collection[str]) -> frozenset[str]:
        """Return those of these Message-IDs (with <> or without) that were sent within KEPT."""
        asked = {id_: key for id_ in message_ids if (key := message_id.key_of(message_id.normal(id_)))}
        with self._reading() as db:
            known = set(_known(db, asked.values()))
        return frozenset(id_ for id_, key in asked.items() if key in known)

    def written_to(self, addresses: Collection[str]) -> frozenset[str]:
        """Return those of these addresses that a message was sent to, as far as they are remembered."""
        asked = {contact_key(address.lower().encode("utf-8", "replace")): address for address in addresses}
        with self._reading() as db:
            return frozenset(asked[key] for key in those_in(db, "contact", "address", asked))

    def sent_marks(self) -> tuple[SentMark, ...]:
        """See sent.SentLedger."""
        with self._reading() as db:
            return _marks(db)

    def sent_coverage(self) -> SentCoverage:
        """Say for which time it can be said that a message was not sent."""
        with self._reading() as db:
            marks = _marks(db)
        asked = [mark.asked for mark in marks if mark.asked]
        return coverage_of(marks, max(asked) - KEPT if asked else EPOCH)

    def sent_burst(self, since: datetime, until: datetime) -> SentBurst:
        """Say how much was sent from `since` to before `until`."""
        span = (epoch(since), epoch(until))
        with self._reading() as db:
            messages, recipients, mailings = db.execute(
                "SELECT count(*), coalesce(sum(recipients), 0), coalesce(sum(mailing), 0) FROM sent"
                " WHERE sent_at >= ? AND sent_at < ?",
                span,
            ).fetchone()
            (strangers,) = db.execute("SELECT count(*) FROM contact WHERE first >= ? AND first < ?", span).fetchone()
        return SentBurst(messages, recipients, strangers, mailings)

    def habits(self, what: str) -> Mapping[str, int]:
        """Return what of this sort the user's own mail has, and how often, most frequent first.

        "from" are addresses in From; "id-domain" right sides of Message-IDs, "id-shape" what the left sides look like
        (message_id.shape_of); "selector" names of DKIM keys as they are in the DNS; and what was given to `learn`.
        """
        with self._reading() as db:
            rows = db.execute("SELECT value, count FROM habit WHERE what = ? ORDER BY count DESC, value", (what,))
            return dict(rows.fetchall())

    def selectors(self, domain: str, now: datetime) -> tuple[str, ...]:
        """Return the selectors of the domain's DKIM keys by which mail was signed lately, most often used first."""
        sql = "SELECT value FROM habit WHERE what = 'selector' AND last >= ? ORDER BY count DESC, value"
        keys = self._read(lambda row: str(row[0]), sql, (epoch(now - KEY_IN_USE),))
        below = f"._domainkey.{domain}"
        return tuple(key.removesuffix(below) for key in keys if key.endswith(below))


class SentMail(Writable):
    """What of a Store is about sent mail; with SentMailReader fulfils sent.SentLedger."""

    def keep_sent(self, mark: SentMark, mails: Sequence[Outgoing], now: datetime) -> int:
        """See sent.SentLedger. Of mail older than KEPT only the addresses are remembered."""
        horizon = epoch(now - KEPT)
        kept = {mail.key: mail for mail in mails if mail.sent_at >= horizon}
        with self._transaction() as db:
            for key in _known(db, kept):
                del kept[key]
            db.executemany(
                "INSERT INTO sent (id, sent_at, recipients, mailing) VALUES (?, ?, ?, ?)", map(_row, kept.values())
            )
            _keep_contacts(db, mails)
            _keep_habits(db, _habits_of(kept.values()))
            db.execute(
                "INSERT OR REPLACE INTO sent_folder (name, uidvalidity, low, high, since, asked)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                _mark_row(mark),
            )
        return len(kept)

    def forget_marks(self, folders: Iterable[str]) -> None:
        """See sent.SentLedger."""
        with self._transaction() as db:
            db.executemany("DELETE FROM sent_folder WHERE name = ?", ((storable(name),) for name in folders))

    def learn(self, what: str, values: Iterable[str], now: datetime) -> None:
        """Count what the user's own mail was seen to have, such as a relay, once for each time it is in `values`."""
        at = epoch(now)
        with self._transaction() as db:
            _keep_habits(db, {(what, storable(value)): (count, at) for value, count in Counter(values).items()})


def tidy_sent(db: sqlite3.Connection, horizon: int) -> None:
    """Forget the ids of mail sent before `horizon`, and the contacts that are too many."""
    db.execute("DELETE FROM sent WHERE sent_at < ?", (horizon,))
    _trim_contacts(db)


def _known(db: sqlite3.Connection, keys: Collection[bytes]) -> tuple[bytes, ...]:
    return those_in(db, "sent", "id", keys)


def _row(mail: Outgoing) -> Row:
    return mail.key, mail.sent_at, mail.recipients, mail.mailing


def _keep_contacts(db: sqlite3.Connection, mails: Iterable[Outgoing]) -> None:
    first: dict[bytes, int] = {}
    for mail in mails:
        for contact in mail.contacts:
            first[contact] = min(mail.sent_at, first.get(contact, mail.sent_at))
    db.executemany(
        "INSERT INTO contact (address, first) VALUES (?, ?)"
        " ON CONFLICT (address) DO UPDATE SET first = excluded.first WHERE excluded.first < first",
        first.items(),
    )
    if len(first) > _MANY_CONTACTS:  # otherwise `tidy` is soon enough
        _trim_contacts(db)


def _trim_contacts(db: sqlite3.Connection) -> None:
    (known,) = db.execute("SELECT count(*) FROM contact").fetchone()
    if known > MAX_CONTACTS:
        db.execute(
            "DELETE FROM contact WHERE address IN (SELECT address FROM contact ORDER BY first, address DESC LIMIT ?)",
            (known - MAX_CONTACTS,),
        )


def _habits_of(mails: Iterable[Outgoing]) -> Mapping[Habit, tuple[int, int]]:
    """Return how often each habit is in these messages, and when last."""
    found: dict[Habit, tuple[int, int]] = {}
    for mail in mails:
        for habit in mail.habits:
            count, last = found.get(habit, (0, 0))
            found[habit] = (count + 1, max(last, mail.sent_at))
    return found


def _keep_habits(db: sqlite3.Connection, habits: Mapping[Habit, tuple[int, int]]) -> None:
    db.executemany(
        "INSERT INTO habit (what, value, count, last) VALUES (?, ?, ?, ?) ON CONFLICT (what, value)"
        " DO UPDATE SET count = count + excluded.count, last = max(last, excluded.last)",
        ((*habit, *numbers) for habit, numbers in habits.items()),
    )
    for what in {what for what, _ in habits}:
        db.execute(
            "DELETE FROM habit WHERE what = ?1 AND value IN (SELECT value FROM habit WHERE what = ?1"
            " ORDER BY count DESC, last DESC, value LIMIT -1 OFFSET ?2)",
            (what, MAX_HABITS),
        )


def _marks(db: sqlite3.Connection) -> tuple[SentMark, ...]:
    rows = db.execute("SELECT name, uidvalidity, low, high, since, asked FROM sent_folder ORDER BY name")
    return tuple(map(_mark_of, rows))


def _mark_of(row: Row) -> SentMark:
    name, uidvalidity, low, high, since, asked = row
    return SentMark(name, uidvalidity, low, high, moment_or_none(since), moment_or_none(asked))


def _mark_row(mark: SentMark) -> Row:
    times = (None if moment is None else epoch(moment) for moment in (mark.since, mark.asked))
    return (storable(mark.folder), mark.uidvalidity, mark.low, mark.high, *times)
