"""A state file that has grown for years: what is asked of it day by day does not go through all of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.state import DAY, NOW, SPAN, fill, quiet, sweep, told
from bouncefiler.edge.store import KEPT, Store, open_store
from bouncefiler.edge.store.database import pragma
from tests.edge.test_store import look_at_everything

GROWS = frozenset({"move", "filed", "folded", "sighting", "failure", "clue", "returned", "sent", "contact"})
"""These have a row for each bounce, or each message sent."""

OF_A_FEW = "USING INDEX move_open"
"""It has the moves that are open, and no others."""

BOUNCES = 3_000


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("state") / "home.db"
    with open_store(path, holder="test") as store:
        fill(store, BOUNCES)
    return path


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Iterator[Store]:
    path = tmp_path / "home.db"
    path.write_bytes(filled.read_bytes())
    with open_store(path, holder="test") as opened:
        yield opened


def scans(store: Store) -> list[str]:
    """Have bounces come, twice, and nothing more: which statements go through a whole table that grows."""
    statements: set[str] = set()
    store._db.set_trace_callback(statements.add)
    quiet(store)
    sweep(store, NOW, bounces=3)
    sweep(store, NOW + DAY, bounces=3, number=2)
    store._db.set_trace_callback(None)
    asked = [sql for sql in statements if sql.startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))]
    assert len(asked) > 40
    return sorted(sql for sql in asked if _passes_through_all(store._db, sql))


def _passes_through_all(db: sqlite3.Connection, sql: str) -> bool:
    steps = [str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {sql}")]
    scanned = [step.split()[1] for step in steps if step.startswith("SCAN") and not step.endswith(OF_A_FEW)]
    return not GROWS.isdisjoint(scanned)


# Bounded, the one by MAX_CONTACTS, the other by MAX_HEADERS.
COUNTED = ["SELECT count(*) FROM contact", "SELECT count(*) FROM returned"]


def test_no_look_at_the_account_goes_through_all_that_was_ever_seen(store: Store) -> None:
    assert scans(store) == COUNTED


@pytest.mark.parametrize(
    "index",
    [
        *("move_open", "move_batch", "sighting_received_at", "failure_received_at"),
        *("clue_noted", "clue_due", "sent_sent_at", "contact_first"),
    ],
)
def test_each_index_is_needed_for_that(store: Store, index: str) -> None:
    store._db.execute(f"DROP INDEX {index}")

    assert set(scans(store)) > set(COUNTED)


def test_a_look_reads_the_bounces_of_some_days_and_not_of_a_year(store: Store) -> None:
    statements: list[str] = []
    sweep(store, NOW)
    store._db.set_trace_callback(statements.append)
    sweep(store, NOW + timedelta(minutes=5), number=2)
    store._db.set_trace_callback(None)

    read = [sql for sql in statements if sql.startswith("SELECT received_at FROM sighting") and "LIMIT 1" not in sql]
    since = [int(sql.partition("received_at >= ")[2].split()[0]) for sql in read]
    assert since
    assert min(since) > (NOW - 5 * DAY).timestamp()


READ_WHOLE = ["failure USING COVERING INDEX failure_address", "move USING COVERING INDEX move_filed"]
"""What `status` and `report` go through, once: of each row, no more than they ask for."""


def read_whole(store: Store) -> list[str]:
    """Ask what `status` and `report` ask: which tables that grow, or indexes of them, are gone through?"""
    statements: set[str] = set()
    store._db.set_trace_callback(statements.add)
    told(store, NOW)
    store._db.set_trace_callback(None)
    steps = [
        str(row[3]).removeprefix("SCAN ")
        for sql in statements
        if sql.startswith(("SELECT", "WITH"))
        for row in store._db.execute(f"EXPLAIN QUERY PLAN {sql}")
        if str(row[3]).startswith("SCAN")
    ]
    assert len(steps) > 5
    return sorted(step for step in steps if step.split()[0] in GROWS)


def test_status_and_report_read_no_table_that_grows(store: Store) -> None:
    assert read_whole(store) == READ_WHOLE


@pytest.mark.parametrize("index", ["move_filed", "failure_address"])
def test_each_index_is_needed_for_that_too(store: Store, index: str) -> None:
    store._db.execute(f"DROP INDEX {index}")

    assert set(read_whole(store)) - set(READ_WHOLE)


def test_what_is_forgotten_is_still_counted_and_its_room_given_back(store: Store) -> None:
    sizes = [pages(store)]
    totals = store.daily((NOW - SPAN).date())
    assert sum(total.count for total in totals) == BOUNCES
    for late in range(0, 400, 50):
        store.tidy(NOW - SPAN + KEPT + late * DAY)

        assert store.daily((NOW - SPAN).date()) == totals
        sizes.append(pages(store))

    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0] / 2  # the rest: fingerprints of what was filed and counted, whom the owner wrote to
    assert pragma(store._db, "freelist_count") == 0
    assert look_at_everything(store)


def pages(store: Store) -> int:
    return pragma(store._db, "page_count")


def test_it_grows_no_further_when_as_much_is_forgotten_as_comes(store: Store) -> None:
    """A year later, with as many bounces as before, it is as large as it was; but for what is known as filed."""
    before = pages(store)
    fill(store, BOUNCES, NOW + KEPT + timedelta(days=1))
    store.tidy(NOW + KEPT + timedelta(days=1))

    assert pages(store) < 1.1 * before
