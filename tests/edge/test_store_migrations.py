"""A state file of any earlier version becomes one of the present without a word of it lost, or stays as it was."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from bouncefiler.backscatter.incident import Diagnosis, Notice
from bouncefiler.backscatter.provenance import Provenance
from bouncefiler.edge.store import MIGRATIONS, StoreReader, open_store
from bouncefiler.edge.store.database import connect
from bouncefiler.edge.store.rows import moment_of
from bouncefiler.edge.store.schema import CAUSES, PROVENANCES
from bouncefiler.errors import StoreBroken
from bouncefiler.recognition.identity import Fingerprint
from bouncefiler.recognition.outgoing import contact_key
from tests.edge.test_store import NOON, start

EARLIER = range(1, len(MIGRATIONS))
AT = int(NOON.timestamp())
DAY = timedelta(days=1)
LONG_AGO = NOON - 9_000 * DAY


def octets(n: int, length: int = 16) -> bytes:
    return hashlib.sha256(b"%d" % n).digest()[:length]


def words(n: int) -> str:
    return f"ümlaut “{n}” \\ ' \" <b>"


def clues(n: int) -> str:
    return json.dumps({"ids": [f"<{n}@example.org>"], "results": [["mx", "spf", "fail", "example.org"]]})


# For each table of any version: its columns, how many rows, and the n-th of them. What a version lacks is left out.
ROWS: Mapping[str, tuple[str, int, Callable[[int], tuple[Any, ...]]]] = {
    "meta": ("key value", 1, lambda _n: ("watched_since", AT - 5_000)),
    "run": (
        "command began ended scanned moved stayed gone unsettled settled",
        400,
        lambda n: ("run" if n % 9 else "undo", AT - n * 5_000, AT - n * 5_000 + 3, n, n, 1, 2, 3, 4),
    ),
    "batch": (
        "run source uidvalidity source_uidnext target to_uidvalidity to_uidnext method",
        400,
        lambda n: (n + 1, f"INBOX{n % 3}", 5 + n % 2, 9_000 + n, f"Bounces{n % 4}", 77, n + 1, "move"),
    ),
    "move": (
        "batch uid state fingerprint size received_at kind cause subject recipients to_uidvalidity to_uid undoes",
        3_000,
        lambda n: (
            *(n % 400 + 1, n + 1, n % 4, octets(n), n, AT - n * 700, n % 9, n % 16 or None, words(n)),
            *(json.dumps([words(n)]), 77, n if n % 5 else None, n - 10 if n % 50 == 11 else None),
        ),
    ),
    "folder": ("name uidvalidity", 6, lambda n: (f"INBOX{n % 3}", 5 + n // 3)),
    "filed": ("fingerprint folder last_uid", 3_000, lambda n: (octets(n), n % 6 + 1, n)),
    "sighting": (
        "fingerprint received_at kind cause provenance reasons",
        3_000,
        lambda n: (octets(n), AT - n * 700, n % 9, n % 16, n % 3, n),
    ),
    "folded": ("fingerprint", 3_000, lambda n: (octets(10_000 + n),)),
    "day_total": ("day kind cause provenance count", 2_000, lambda n: (15_000 + n, n % 3, 2, n % 3, n + 1)),
    "watermark": ("folder uidvalidity last_uid", 3, lambda n: (f"INBOX{n}", 5, n + 100)),
    "incident": (
        "diagnosis opened last_seen count usual total peak notified notified_count closed began earlier",
        40,
        lambda n: (
            *(list(Diagnosis)[n % len(Diagnosis)], AT + n + 0.5, AT + n + 9.0, n, 0.5, n, n, None, n),
            *(None if n > 36 else AT + n + 10.0, AT + 0.25, n),
        ),
    ),
    "outbox": (
        "channel key level subject body due attempts why sent moot",
        300,
        lambda n: (
            *(f"c{n % 3}", f"k{n}", "warning", words(n), words(n), AT + n, n % 4, words(n)),
            *(None if n % 2 else AT + n, AT if n % 7 == 3 else None),
        ),
    ),
    "refusal": ("credential count at", 5, lambda n: (f"{n:08x}", n, AT)),
    "clue": (
        "fingerprint noted due clues header",
        2_000,
        lambda n: (octets(n), AT - n, AT - n, clues(n), b"h%d" % n if n % 2 else None),
    ),
    "returned": ("fingerprint header", 1_000, lambda n: (octets(2 * n + 1), b"h%d" % (2 * n + 1))),
    "failure": (
        "fingerprint address received_at cause permanent provenance",
        3_000,
        lambda n: (octets(n), f"r{n % 900}@example.net", AT - n * 700, n % 16, n % 2, n % 3),
    ),
    "pace": (
        "day whose bounces night morning afternoon evening",
        700,
        lambda n: (AT // 86_400 - n // 2, (3, 4)[n % 2], n, 1, 2, 3, n),
    ),
    "told": (
        "incident at notice diagnosis count total",
        60,
        lambda n: (n % 40 + 1, AT + n, list(Notice)[n % len(Notice)], list(Diagnosis)[n % len(Diagnosis)], n, n),
    ),
    "sent": ("id sent_at recipients mailing", 3_000, lambda n: (octets(n, 8), AT - n * 60, n % 5, n % 2)),
    "contact": ("address first", 3_000, lambda n: (contact_key(b"c%d@example.net" % n), AT - n * 60)),
    "sent_folder": (
        "name uidvalidity low high since asked",
        3,
        lambda n: (f"Sent{n}", 4, n + 1, 90, AT - 9_000, AT),
    ),
    "habit": (
        "what value count last",
        600,
        lambda n: (("relay", "selector")[n % 2], f"k{n}._domainkey.example.org", n, AT),
    ),
}

SOME = [Fingerprint(octets(n).hex()) for n in range(0, 3_000, 7)]

# Every question that a StoreReader answers.
QUESTIONS: Mapping[str, Callable[[StoreReader], object]] = {
    "alerts_sent": lambda reader: reader.alerts_sent(LONG_AGO),
    "alerts_waiting": lambda reader: reader.alerts_waiting(),
    "came": lambda reader: reader.came(0, AT, tuple(Provenance)),
    "causes": lambda reader: reader.causes(LONG_AGO, NOON),
    "counted_days": lambda reader: reader.counted_days(0, AT, tuple(Provenance)),
    "daily": lambda reader: reader.daily(LONG_AGO.date()),
    "dead_addresses": lambda reader: reader.dead_addresses(),
    "failed_for_good": lambda reader: reader.failed_for_good(LONG_AGO, 5_000),
    "filed": lambda reader: reader.filed(SOME),
    "filed_as": lambda reader: [reader.filed_as(n) for n in range(0, 3_000, 11)],
    "filed_by_folder": lambda reader: reader.filed_by_folder(),
    "filed_count": lambda reader: reader.filed_count(NOON - DAY),
    "filed_in": lambda reader: [reader.filed_in(n) for n in range(0, 400, 11)],
    "filed_last": lambda reader: reader.filed_last(),
    "filed_since": lambda reader: reader.filed_since(NOON - 9 * DAY),
    "habits": lambda reader: reader.habits("relay"),
    "history": lambda reader: list(reader.history(LONG_AGO, tuple(Provenance))),
    "incident": lambda reader: reader.incident(),
    "incidents": lambda reader: reader.incidents(100),
    "key_for": lambda reader: reader.key_for("secret"),
    "last_incident": lambda reader: reader.last_incident(),
    "last_look": lambda reader: reader.last_look(),
    "oldest": lambda reader: reader.oldest(),
    "latest_dead": lambda reader: reader.latest_dead(200, 30),
    "open_entries": lambda reader: reader.open_entries(),
    "past": lambda reader: list(reader.past(NOON - 9 * DAY).days(AT // 86_400 - 9, AT // 86_400)),
    "past_runs": lambda reader: reader.past_runs(),
    "pending": lambda reader: reader.pending(NOON, 5_000),
    "refused_any": lambda reader: reader.refused_any(),
    "refusals": lambda reader: reader.refusals("00000003"),
    "runs": lambda reader: reader.runs(1_000),
    "selectors": lambda reader: reader.selectors("example.org", NOON),
    "sent_burst": lambda reader: reader.sent_burst(NOON - DAY, NOON),
    "sent_coverage": lambda reader: reader.sent_coverage(),
    "sent_known": lambda reader: reader.sent_known({"<1@example.org>"}),
    "sent_marks": lambda reader: reader.sent_marks(),
    "settled_at": lambda reader: reader.settled_at(SOME),
    "tallied": lambda reader: reader.tallied(LONG_AGO, NOON),
    "told": lambda reader: reader.told(100),
    "undelivered": lambda reader: reader.undelivered(),
    "watched_since": lambda reader: reader.watched_since(),
    "watermark": lambda reader: reader.watermark("INBOX1"),
    "written_to": lambda reader: reader.written_to({"c3@example.net", "nobody@example.net"}),
}
CAN_BE_ASKED_OF = {1: 18, 2: 29, 3: 37, 4: 38}
"""How many of them the present statements ask of a file of an earlier version, before it is migrated."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home.db"


@dataclass(frozen=True)
class Made:
    """A state file of an earlier version: its octets, and what is in it."""

    octets: bytes
    contents: list[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, Made]:
    paths = {version: tmp_path_factory.mktemp("made") / "home.db" for version in EARLIER}
    for version, path in paths.items():
        make(path, version)
    return {version: Made(path.read_bytes(), contents(path)) for version, path in paths.items()}


def make(path: Path, version: int) -> None:
    """Make a state file as that version left it, with rows in each of its tables."""
    open_store(path, holder="then", migrations=MIGRATIONS[:version]).close()
    with closing(sqlite3.connect(path)) as db, db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert tables <= ROWS.keys()
        for table in [name for name in ROWS if name in tables]:
            columns, number, row = ROWS[table]
            present = {str(column[1]) for column in db.execute(f"PRAGMA table_info({table})")}
            kept = [place for place, name in enumerate(columns.split()) if name in present]
            names = ",".join(columns.split()[place] for place in kept)
            sql = f"INSERT INTO {table} ({names}) VALUES ({','.join('?' * len(kept))})"  # noqa: S608 - ours
            db.executemany(sql, ([row(n)[place] for place in kept] for n in range(number)))


def answers(path: Path) -> dict[str, object]:
    """Ask everything, of the file as it is; what it has not the tables for is left out."""
    found: dict[str, object] = {}
    with closing(connect(path)) as db:
        for name, ask in QUESTIONS.items():
            with suppress(StoreBroken):
                found[name] = ask(StoreReader(db, path))
    return found


def contents(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [f"version {db.execute('PRAGMA user_version').fetchone()[0]}", *db.iterdump()]


def test_each_question_there_is_is_asked() -> None:
    public = {name for name in dir(StoreReader) if not name.startswith("_")} - {"close"}

    assert public == QUESTIONS.keys()


@pytest.mark.parametrize("version", EARLIER)
def test_what_an_earlier_version_knew_is_answered_as_before(path: Path, made: Mapping[int, Made], version: int) -> None:
    path.write_bytes(made[version].octets)
    before = answers(path)
    open_store(path, holder="now").close()
    after = answers(path)

    assert len(before) == CAN_BE_ASKED_OF[version]
    assert after.keys() == QUESTIONS.keys()
    assert {name: after[name] for name in before} == before
    assert sum(bool(answer) for answer in before.values()) > 0.8 * len(before)


@pytest.mark.parametrize("version", [2, 3])
def test_header_blocks_that_waited_go_on_waiting(path: Path, made: Mapping[int, Made], version: int) -> None:
    path.write_bytes(made[version].octets)
    with open_store(path, holder="now") as store:
        waiting = {pending.fingerprint: pending.signed for pending in store.pending(NOON, 5_000)}

    assert waiting == {octets(n).hex(): b"h%d" % n if n % 2 else b"" for n in range(2_000)}


@pytest.mark.parametrize("version", [2, 3, 4])
def test_addresses_that_were_dead_are_dead(path: Path, made: Mapping[int, Made], version: int) -> None:
    """Whose mail it was that failed, an earlier version looked up in the sightings."""
    path.write_bytes(made[version].octets)
    failed: dict[str, list[tuple[int, bool, int]]] = defaultdict(list)
    for n in range(3_000):
        if (provenance := PROVENANCES[n % 3]) is not Provenance.FORGED:
            failed[f"r{n % 900}@example.net"].append((AT - n * 700, provenance is Provenance.GENUINE, n))
    dead = {
        (
            address,
            CAUSES[last[2] % 16],
            moment_of(min(all_)[0]),
            moment_of(last[0]),
            len(all_),
            any(g for _, g, _ in all_),
        )
        for address, all_ in failed.items()
        if (last := max(all_))[2] % 2
    }
    with open_store(path, holder="now") as store:
        found = store.dead_addresses()

    assert len(dead) > 100
    assert {(d.address, d.cause, d.first, d.last, d.count, d.sent_by_you) for d in found} == dead
    assert [(d.sent_by_you, d.last) for d in found] == sorted(((d.sent_by_you, d.last) for d in found), reverse=True)


CUTS = [(version, done) for version in EARLIER for done in range(len(MIGRATIONS[version]) + 1)]


@pytest.mark.parametrize(("version", "done"), CUTS)
def test_a_migration_that_fails_at_any_statement_leaves_all_as_it_was(
    path: Path, made: Mapping[int, Made], version: int, done: int
) -> None:
    path.write_bytes(made[version].octets)
    cut = (*MIGRATIONS[version][:done], "INSERT INTO nothing VALUES (1)")
    with pytest.raises(StoreBroken):
        open_store(path, holder="now", migrations=(*MIGRATIONS[:version], cut))

    assert contents(path) == made[version].contents
    open_store(path, holder="then", migrations=MIGRATIONS[:version]).close()


ENDLESS = (
    "INSERT INTO meta WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 'never', max(i) FROM n"
)


@pytest.mark.parametrize("version", EARLIER)
def test_a_migration_that_is_killed_leaves_all_as_it_was(path: Path, made: Mapping[int, Made], version: int) -> None:
    path.write_bytes(made[version].octets)

    def child(_report: Connection) -> None:
        open_store(path, holder="now", migrations=(*MIGRATIONS[:version], (*MIGRATIONS[version], ENDLESS)))

    process, _ = start(child)
    try:
        wait_until_written(path)
        time.sleep(0.1)  # most of that is the endless statement
    finally:
        process.kill()
        process.join()

    assert contents(path) == made[version].contents
    open_store(path, holder="now").close()
    assert answers(path).keys() == QUESTIONS.keys()


def wait_until_written(path: Path) -> None:
    """Wait until a migration is at work."""
    until = time.monotonic() + 60
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as db:
        while time.monotonic() < until:
            try:
                db.execute("BEGIN IMMEDIATE")
                db.execute("ROLLBACK")
            except sqlite3.OperationalError:
                return
            time.sleep(0.002)
    raise TimeoutError
