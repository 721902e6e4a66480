"""What has happened to the account, for those who look back; and when it was last looked into."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from bouncefiler.backscatter.incident import Diagnosis, Incident, Notice
from bouncefiler.backscatter.provenance import Provenance
from bouncefiler.edge.store.base import Base, Writable, only
from bouncefiler.edge.store.past import NOT_UNDONE
from bouncefiler.edge.store.rows import (
    SELECT_INCIDENT,
    Row,
    epoch,
    first_column,
    moment_of,
    storable,
    to_incident,
)
from bouncefiler.edge.store.schema import CAUSES, PROVENANCES
from bouncefiler.report.chronicle import DeadAddress, Filed, Look, Told, Undelivered

NOTED_AGAIN = timedelta(hours=1)
"""That all is still well is written down no more often than this: a service looks every few minutes."""

MAX_TROUBLE = 500


class ChronicleReader(Base):
    """What status and report tell."""

    def incidents(self, limit: int) -> tuple[Incident, ...]:
        """Return the incidents of all kinds, open and closed, the newest first."""
        return self._read(to_incident, f"{SELECT_INCIDENT} ORDER BY opened DESC, id DESC LIMIT ?", (limit,))

    def told(self, limit: int) -> tuple[Told, ...]:
        """Return the latest that was told of incidents, the oldest first."""
        newest_first = self._read(
            lambda row: Told(row[0], moment_of(row[1]), Notice(row[2]), Diagnosis(row[3]), row[4], row[5]),
            "SELECT incident, at, notice, diagnosis, count, total FROM told ORDER BY at DESC LIMIT ?",
            (limit,),
        )
        return newest_first[::-1]

    def filed_by_folder(self) -> tuple[Filed, ...]:
        """Return how many messages were moved where, without those that were put back, the fullest folder first."""
        return self._read(
            lambda row: Filed(row[0], row[1], moment_of(row[2])),
            _FILED_BY_FOLDER,
        )

    def filed_count(self, since: datetime) -> int:
        """Return how many messages were moved by the runs that began at `since` or later, and not put back."""
        return only(self._read(first_column, _FILED_COUNT, (epoch(since),))) or 0

    def dead_addresses(self) -> tuple[DeadAddress, ...]:
        """Return the addresses whose last failure was for good; those that the owner wrote to first, then the latest.

        Without those of mail that is known to be forged; of most other mail nobody knows.
        """
        return self._read(_to_dead, _LIST_DEAD)

    def latest_dead(self, known: int, strangers: int) -> tuple[tuple[DeadAddress, ...], int]:
        """Return the first of these, up to `known` that the owner wrote to and so many others; and how many in all."""
        found = self._read(lambda row: (_to_dead(row[:-1]), int(row[-1])), _LATEST_DEAD, (known, strangers))
        return tuple(dead for dead, _ in found), found[0][1] if found else 0

    def undelivered(self) -> tuple[Undelivered, ...]:
        """Return the alerts that were tried and could not be delivered, the oldest first."""
        return self._read(
            lambda row: Undelivered(row[0], row[1], row[2], row[3], moment_of(row[4])),
            "SELECT channel, subject, why, attempts, due FROM outbox"
            " WHERE sent IS NULL AND moot IS NULL AND attempts > 0 ORDER BY id",
        )

    def last_look(self) -> Look:
        """Return when the folders were last looked through; and, if that has not worked since, why not."""
        at = only(self._read(first_column, "SELECT value FROM meta WHERE key = 'looked_at'"))
        trouble = only(self._read(lambda row: _to_trouble(row[0]), "SELECT value FROM meta WHERE key = 'trouble'"))
        if at is None and trouble is None:  # as an earlier version left it: then the last sweep says it
            sql = "SELECT max(ended) FROM run WHERE command <> 'undo'"
            at = only(self._read(first_column, sql))
        why, since = trouble or ("", None)
        return Look(None if at is None else moment_of(at), why, since)


class ChronicleWriter(ChronicleReader, Writable):
    """… and the hand that notes it."""

    def looked(self, now: datetime, trouble: str = "") -> None:
        """Write down that the account was looked into, or what trouble there was; the first of it says since when."""
        before = self.last_look()
        if trouble:
            since = before.trouble_since or now
            value = json.dumps([storable(trouble[:MAX_TROUBLE]), epoch(since)])
            with self._transaction() as db:
                db.execute("INSERT OR REPLACE INTO meta VALUES ('trouble', ?)", (value,))
        elif before.trouble or before.at is None or not timedelta(0) <= now - before.at < NOTED_AGAIN:
            with self._transaction() as db:
                db.execute("INSERT OR REPLACE INTO meta VALUES ('looked_at', ?)", (epoch(now),))
                db.execute("DELETE FROM meta WHERE key = 'trouble'")


def _to_trouble(stored: str) -> tuple[str, datetime]:
    why, since = json.loads(stored)
    return str(why), moment_of(since)


def _to_dead(row: Row) -> DeadAddress:
    address, cause, first, last, count, genuine = row
    whose = Provenance.GENUINE if genuine else Provenance.UNKNOWN
    return DeadAddress(address, CAUSES[cause], moment_of(first), moment_of(last), count, whose)


# CROSS JOIN: from the runs, which are few, to their moves.
_FILED_COUNT = f"""SELECT count(*)
    FROM run CROSS JOIN batch ON batch.run = run.id CROSS JOIN move ON move.batch = batch.id
    WHERE began >= ? AND state = 1 AND undoes IS NULL AND {NOT_UNDONE}"""  # noqa: S608 - ours

# Counted by batch, in an index; taken off is what was put back, of which there is little.
_FILED_BY_FOLDER = """WITH
    moved AS (SELECT batch, count(*) AS number FROM move WHERE state = 1 AND undoes IS NULL GROUP BY batch),
    undone AS (SELECT move.batch AS batch, count(DISTINCT move.id) AS number
        FROM move AS back CROSS JOIN move ON move.id = back.undoes
        WHERE back.undoes IS NOT NULL AND back.state = 1 AND move.state = 1 AND move.undoes IS NULL GROUP BY 1)
SELECT target, sum(moved.number - coalesce(undone.number, 0)) AS total, max(began)
    FROM moved JOIN batch ON batch.id = moved.batch JOIN run ON run.id = batch.run
    LEFT JOIN undone ON undone.batch = moved.batch
    WHERE moved.number > coalesce(undone.number, 0) GROUP BY target ORDER BY total DESC, target"""

# One number says when the last failure was, and in its last bit whether it may pass: of two in one second, such a one
# is taken for the last.
_LAST = "max(received_at * 2 + NOT permanent)"
_DEAD = f"""SELECT address, {_LAST} / 2 AS last, min(received_at) AS first, count(*) AS number,
        max(provenance = {PROVENANCES.index(Provenance.GENUINE)}) AS genuine
    FROM failure WHERE provenance <> {PROVENANCES.index(Provenance.FORGED)}
    GROUP BY address HAVING {_LAST} % 2 = 0"""  # noqa: S608 - numbers only
_CAUSE = f"""(SELECT cause FROM failure WHERE failure.address = dead.address AND received_at = dead.last AND permanent
    AND provenance <> {PROVENANCES.index(Provenance.FORGED)} ORDER BY fingerprint LIMIT 1)"""  # noqa: S608 - numbers only
_LIST_DEAD = f"""SELECT address, {_CAUSE}, first, last, number, genuine FROM ({_DEAD}) AS dead
    ORDER BY genuine DESC, last DESC, address"""  # noqa: S608 - as above
_LATEST_DEAD = f"""WITH every AS ({_DEAD}),
    latest AS (SELECT * FROM (SELECT * FROM every WHERE genuine ORDER BY last DESC, address LIMIT ?)
        UNION ALL SELECT * FROM (SELECT * FROM every WHERE NOT genuine ORDER BY last DESC, address LIMIT ?))
SELECT address, {_CAUSE}, first, last, number, genuine, (SELECT count(*) FROM every) FROM latest AS dead
    ORDER BY genuine DESC, last DESC, address"""  # noqa: S608 - as above
