"""A storm of mail that only looks like bounces raises no alarm, and hides no real one."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path

from bouncefiler.backscatter.incident import Background, Notice, Step, assess
from bouncefiler.backscatter.volume import WatchPolicy
from bouncefiler.edge.memory import MemoryAccount, Stored
from bouncefiler.edge.store import Store, open_store
from bouncefiler.filing.plan import FilingPolicy
from bouncefiler.parts import recogniser
from bouncefiler.recognition.rulebook import load
from bouncefiler.sweep import Report, Scope, Task, clean
from tests.test_sweep import Onlooker

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAIL = Path(__file__).parent / "mail"


def samples(*folders: str, bounces: bool) -> list[bytes]:
    """The mails of these folders that are bounces, or that are none."""
    files = sorted(file for folder in folders for file in (MAIL / folder).glob("*.toml"))
    kinds = {file: tomllib.loads(file.read_text(encoding="utf-8"))["kind"] for file in files}
    return [
        file.with_suffix(".eml").read_bytes() for file in files if (kinds[file] in {"failed", "delayed"}) is bounces
    ]


def within_the_hour(mails: Sequence[bytes], number: int) -> Iterator[Stored]:
    """So many messages, none the same as another, all come within the last hour."""
    for index, raw in enumerate(islice(cycle(mails), number)):
        stamp = f"Received: from storm{index}.example.net by mx.example.org; Sun, 1 Mar 2026 11:30:00 +0000\r\n"
        yield Stored(stamp.encode() + raw, NOON - timedelta(hours=1) * (index + 1) / (number + 1))


@contextmanager
def swept(mails: Sequence[Stored], directory: Path) -> Iterator[tuple[Store, Report]]:
    store = open_store(directory / "store.sqlite", holder="test")
    store.begin_run("test", NOON)
    task = Task(Scope(("INBOX",)), recogniser(load), FilingPolicy())
    try:
        yield store, clean(MemoryAccount.of(mails), store, task, Onlooker([]))
    finally:
        store.close()


def watched(store: Store) -> Step:
    return assess(store.past(NOON - timedelta(days=60)), NOON, WatchPolicy(), background=Background(NOON))


def test_a_thousand_look_alikes_within_an_hour_raise_nothing(tmp_path: Path) -> None:
    """What imitates a bounce, or answers by itself, is no sighting that counts."""
    mails = samples("imitations", "lookalikes", "ordinary", bounces=False)

    with swept([*within_the_hour(mails, 1_000)], tmp_path) as (store, report):
        assert report.scanned == 1_000
        assert report.moved == 0
        assert list(store.history(NOON - timedelta(days=60))) == []
        assert watched(store) == Step()


def test_a_flood_among_them_is_seen(tmp_path: Path) -> None:
    storm = within_the_hour(samples("imitations", bounces=False), 500)
    flood = within_the_hour(samples("postfix", "exim", bounces=True), 200)

    with swept([*storm, *flood], tmp_path) as (store, _):
        assert len(store.history(NOON - timedelta(days=60))) > 100
        assert watched(store).notices == (Notice.OPENED,)
