"""The index of sent mail: newest first, in pieces, each counted once whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bouncefiler.edge.memory import Folder, MemoryAccount, Stored
from bouncefiler.edge.store import KEPT, Store, open_store
from bouncefiler.edge.store.sent import KEY_IN_USE
from bouncefiler.errors import StoreBroken
from bouncefiler.sent import RECENT, SentBurst, SentReport, index

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def sent(number: int, *, to: str = "", days_ago: float | None = None, extra: str = "") -> Stored:
    """The message of this number; as a rule one an hour, the first one the oldest."""
    at = NOW - (timedelta(days=days_ago) if days_ago is not None else timedelta(hours=2_000 - number))
    fields = [
        f"Message-ID: <m{number}@example.org>",
        f"Date: {at:%a, %d %b %Y %H:%M:%S +0000}",
        "From: Ann <ann@example.org>",
        f"To: {to or f'friend{number % 7}@example.net'}",
        *([extra] if extra else []),
        "Subject: hello",
    ]
    return Stored("\r\n".join([*fields, "", "text\r\n"]).encode(), at)


def account(*messages: Stored, name: str = "Sent", window: int = 10) -> MemoryAccount:
    made = MemoryAccount({"INBOX": Folder(1), name: Folder(77)}, window=window)
    for message in messages:
        made.folders[name].add(message)
    return made


@dataclass(slots=True)
class Onlooker:
    """Notes what it is told, and stops after so many parts."""

    parts: int = 1_000_000
    seen: list[SentReport] = field(default_factory=list)

    def sent_read(self, report: SentReport) -> None:
        self.seen.append(report)

    def stopping(self) -> bool:
        return len(self.seen) >= self.parts


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "a.sqlite3", holder="tests") as opened:
        yield opened


def read(account: MemoryAccount, store: Store, parts: int = 1_000_000, now: datetime = NOW) -> SentReport:
    return index(account, store, (), now, Onlooker(parts))


def ids(*numbers: int) -> frozenset[str]:
    return frozenset(f"<m{number}@example.org>" for number in numbers)


def test_what_was_sent_is_known_and_nothing_else(store: Store) -> None:
    report = read(account(*map(sent, range(25))), store)

    assert report == SentReport(("Sent",), read=25, new=25, left=0)
    assert store.sent_known([*ids(*range(30)), ""]) == ids(*range(25))


def test_the_newest_are_read_first(store: Store) -> None:
    """Bounces concern recent mail: after the first part it is the last messages that are known."""

    report = read(account(*map(sent, range(25))), store, parts=1)

    assert store.sent_known(ids(*range(25))) == ids(*range(20, 25))
    assert report.left == 20
    assert store.sent_coverage().since == NOW - timedelta(hours=2_000 - 24)


def test_stopped_after_each_part_it_comes_to_the_same_end(store: Store) -> None:
    held = account(*map(sent, range(25)))
    reports = [read(held, store, parts=1) for _ in range(3)]

    assert [report.left for report in reports] == [20, 10, 0]
    assert sum(report.new for report in reports) == 25
    assert store.habits("from") == {"ann@example.org": 25}
    assert store.sent_coverage().complete


def test_new_mail_comes_before_the_rest_of_the_old(store: Store) -> None:
    held = account(*map(sent, range(25)))
    read(held, store, parts=1)
    for number in range(25, 40):
        held.folders["Sent"].add(sent(number))

    read(held, store, parts=2)

    assert store.sent_known(ids(*range(40))) == ids(*range(20, 40))


def test_nothing_new_reads_nothing(store: Store) -> None:
    held = account(*map(sent, range(25)))
    read(held, store)

    later = NOW + timedelta(hours=1)
    assert read(held, store, now=later) == SentReport(("Sent",))
    assert store.sent_coverage().until == later


def test_a_folder_numbered_anew_is_read_anew_and_counts_nothing_twice(store: Store) -> None:
    held = account(*map(sent, range(25)))
    read(held, store)
    held.folders["Sent"].messages.pop(3)  # deleted, and sent all the same
    held.renumber("Sent")

    report = read(held, store)

    assert (report.read, report.new) == (24, 0)
    assert store.sent_known(ids(*range(25))) == ids(*range(25))
    assert store.habits("from") == {"ann@example.org": 25}


def test_twins_and_messages_without_an_id_count_once_each(store: Store) -> None:
    """Copies in two folders are one message; two messages without Message-ID are two, however often they are read."""

    nameless = [Stored(sent(number).raw.replace(b"Message-ID", b"X-Id"), NOW) for number in (1, 2)]
    held = account(sent(5), sent(5), *nameless)
    held.folders["Sent Items"] = Folder(5)
    held.folders["Sent Items"].add(sent(5))
    read(held, store)
    held.renumber("Sent")
    read(held, store)

    assert store.sent_burst(NOW - KEPT, NOW).messages == 3
    assert store.habits("from") == {"ann@example.org": 3}


class Cut(Exception):
    """The power fails."""


@dataclass(slots=True)
class Fuse:
    """Blows at the n-th effect."""

    left: int

    def __call__(self, _what: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise Cut


@pytest.mark.parametrize("blow", range(1, 12))
def test_cut_at_any_step_it_goes_on_and_counts_nothing_twice(tmp_path: Path, blow: int) -> None:
    held = account(*map(sent, range(45)))
    with open_store(tmp_path / "a.sqlite3", holder="tests") as store:
        held.effect = Fuse(blow)
        if blow <= 10:
            with pytest.raises(Cut):
                read(held, store)
        held.effect = lambda _what: None
    with open_store(tmp_path / "a.sqlite3", holder="tests") as store:
        read(held, store)

        assert store.sent_known(ids(*range(45))) == ids(*range(45))
        assert store.sent_burst(NOW - KEPT, NOW) == SentBurst(messages=45, recipients=45, strangers=7)
        assert store.habits("from") == {"ann@example.org": 45}
        assert store.sent_coverage().complete


def test_what_was_read_and_how_far_are_written_together_or_not_at_all(store: Store) -> None:
    held = account(*map(sent, range(5)))
    store._db.execute(
        "CREATE TRIGGER fail BEFORE INSERT ON sent_folder WHEN NEW.low < 5 BEGIN SELECT RAISE(ABORT, 'cut'); END"
    )
    with pytest.raises(StoreBroken):
        read(held, store)

    assert store.sent_known(ids(*range(5))) == frozenset()
    assert store.habits("from") == {}
    assert store.sent_burst(NOW - KEPT, NOW) == SentBurst()


def test_every_folder_has_its_newest_read_before_any_is_read_to_its_end(store: Store) -> None:
    held = account(*map(sent, range(RECENT + 900)), window=500)
    held.folders["Sent Items"] = Folder(5)
    held.folders["Sent Items"].add(sent(9_999, days_ago=1))

    read(held, store, parts=4)

    assert store.sent_known(ids(0, 400, RECENT + 899, 9_999)) == ids(RECENT + 899, 9_999)
    assert not store.sent_coverage().complete


def test_a_burst_to_strangers_shows(store: Store) -> None:
    usual = [sent(number, to=f"friend{number % 3}@example.net", days_ago=30 - number / 4) for number in range(100)]
    burst = [
        sent(200 + number, to=f"Friend1@Example.net, s{number}@b.example, t{number}@b.example", days_ago=0.01)
        for number in range(50)
    ]
    news = [sent(300, to="all@example.org", days_ago=0.01, extra="List-Unsubscribe: <mailto:x@example.org>")]
    read(account(*usual, *burst, *news), store)

    found = store.sent_burst(NOW - timedelta(hours=1), NOW)
    assert found == SentBurst(messages=51, recipients=151, strangers=101, mailings=1)


def test_who_was_written_to_long_ago_is_no_stranger(store: Store) -> None:
    """Ids as old are not kept, addresses are; in whichever order they are read."""

    held = account(sent(1, to="old@example.net", days_ago=900), sent(2, to="old@example.net", days_ago=0.5))
    report = read(held, store)

    assert store.sent_burst(NOW - timedelta(days=1), NOW) == SentBurst(messages=1, recipients=1, strangers=0)
    assert report.new == 1
    assert store.sent_known(ids(1, 2)) == ids(2)


def test_what_is_old_is_forgotten_but_not_the_contacts(store: Store) -> None:
    read(account(sent(1, to="old@example.net", days_ago=399)), store)
    held = account(sent(2, to="old@example.net", days_ago=-4), name="Sent Items")
    later = NOW + timedelta(days=5)
    store.tidy(later)
    read(held, store, now=later)

    assert store.sent_known(ids(1, 2)) == ids(2)
    assert store.sent_burst(NOW, later).strangers == 0


def test_without_a_folder_of_sent_mail_nothing_is_claimed(store: Store) -> None:
    report = read(MemoryAccount.of([sent(1)]), store)

    assert report == SentReport()
    assert (store.sent_coverage().since, store.sent_coverage().until) == (None, None)
    assert not store.sent_coverage().complete


def test_an_empty_folder_is_read_to_its_end(store: Store) -> None:
    read(account(), store)

    coverage = store.sent_coverage()
    assert (coverage.complete, coverage.since, coverage.until) == (True, NOW - KEPT, NOW)


def test_a_folder_that_is_gone_is_no_gap(store: Store) -> None:
    held = account(*map(sent, range(25)))
    read(held, store, parts=1)
    held.folders["Sent Items"] = held.folders.pop("Sent")
    read(held, store)

    assert [mark.folder for mark in store.sent_marks()] == ["Sent Items"]
    assert store.sent_coverage().complete


def test_configured_folders_are_the_only_ones(store: Store) -> None:
    held = account(sent(1))
    held.folders["Archive"] = Folder(9)
    held.folders["Archive"].add(sent(2))

    report = index(held, store, ("Archive", "Missing"), NOW, Onlooker())

    assert report.folders == ("Archive",)
    assert store.sent_known(ids(1, 2)) == ids(2)


def test_a_configured_folder_that_there_is_not_is_a_gap(store: Store) -> None:
    """Until it is there, or is configured no more."""

    held = account(sent(1))
    index(held, store, ("Sent", "Missing"), NOW, Onlooker())
    before = store.sent_coverage()
    index(held, store, ("Sent",), NOW, Onlooker())

    assert (before.complete, before.since, before.until) == (False, None, None)
    assert store.sent_coverage().complete


def test_old_mail_copied_in_last_does_not_stretch_what_is_known(store: Store) -> None:
    """The bound is that of the messages at the edge, not of one old message among them."""

    held = account(*map(sent, range(45)), sent(99, days_ago=390))
    read(held, store, parts=1)

    since = store.sent_coverage().since
    assert since is not None
    assert since > NOW - timedelta(hours=2_000)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw.replace(b"To: ", b"To: " + b"x" * 1_000_000),
        lambda raw: raw.replace(b"To: ", b"To: " + b",".join(b"a%d@b.example" % n for n in range(10_000)) + b", "),
        lambda raw: raw.replace(b"To: ", b'To: "' + b'\\"' * 30_000 + b" "),
        lambda raw: raw.replace(b"example", b"\0\xff\xfe"),
        lambda raw: raw.replace(b"2026", b"99999999999"),
        lambda raw: raw.replace(b"Message-ID: ", b"Message-ID: " + b"<" * 100_000),
        lambda raw: raw.replace(b"\r\n", b"\r"),
        lambda raw: b"\r\n" + raw,
    ],
    ids=["megabyte", "ten-thousand", "quotes", "nul", "year", "brackets", "cr", "no-header"],
)
def test_hostile_headers_do_no_harm(store: Store, spoil: Callable[[bytes], bytes]) -> None:
    hostile = sent(1, extra="DKIM-Signature: s=a; d=" + "b" * 5_000)
    report = read(account(sent(0), Stored(spoil(hostile.raw), hostile.received_at), sent(2)), store)

    assert (report.read, report.new) == (3, 3)
    assert store.sent_known(ids(0, 2)) == ids(0, 2)
    assert max(len(value) for what in ("from", "id-domain", "id-shape") for value in store.habits(what)) < 255


def test_what_the_own_mail_looks_like_is_learnt(store: Store) -> None:
    signature = "DKIM-Signature: v=1; a=rsa-sha256; d=Example.org;\r\n\ts=key1; h=from; b=abc="
    read(account(*(sent(number, extra=signature) for number in range(3)), sent(400)), store)
    store.learn("relay", ["mx.example.org", "mx.example.org", "other.example"], NOW)
    store.learn("relay", ["other.example", "other.example"], NOW)

    assert store.habits("id-domain") == {"example.org": 4}
    assert store.habits("id-shape") == {"x": 4}
    assert store.habits("selector") == {"key1._domainkey.example.org": 3}
    assert list(store.habits("relay").items()) == [("other.example", 3), ("mx.example.org", 2)]
    assert store.habits("tag") == {}


def test_the_keys_that_sign_lately_are_those_of_the_domain_itself_and_not_replaced_since(store: Store) -> None:
    """Most often used first; who changes the key every month is not told that the old ones are gone."""
    lately = ["new._domainkey.example.org", "s1._domainkey.example.org", "s1._domainkey.example.org"]
    others = ["s2._domainkey.mail.example.org", "s3._domainkey.notexample.org", "_domainkey.example.org", "s4"]
    store.learn("selector", ["old._domainkey.example.org"] * 9, NOW - KEY_IN_USE - timedelta(days=1))
    store.learn("selector", [*lately, *others], NOW - KEY_IN_USE + timedelta(days=1))

    assert store.selectors("example.org", NOW) == ("s1", "new")
    assert store.selectors("example.net", NOW) == ()


def test_habits_are_bounded_and_the_frequent_ones_stay(store: Store) -> None:
    for _ in range(3):
        store.learn("relay", ["usual.example"], NOW)
    store.learn("relay", (f"r{number}.example" for number in range(1_000)), NOW)

    found = store.habits("relay")
    assert len(found) == 300
    assert next(iter(found)) == "usual.example"
