"""The benchmark measures what it says it does."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from benchmarks.floor import uid_sets
from benchmarks.mailboxes import Kind, kinds, mails
from benchmarks.proxy import Proxy
from benchmarks.stock import BENCH, Stock
from bouncefiler.recognition.classify import examine
from bouncefiler.recognition.rulebook import load
from tests import dovecot
from tests.dovecot import HOST


def test_same_seed() -> None:
    """The same seed gives the same mail, octet by octet; another one gives other mail."""
    one, two, other = ([mail.raw for mail in mails(kinds(200, seed), seed)] for seed in (1, 1, 2))

    assert one == two
    assert one != other


def test_shares() -> None:
    """Five in a hundred are bounces, and 1.4 in a hundred look like some."""
    assert Counter(kinds(1_000, 1)) == {Kind.BOUNCE: 50, Kind.HARD_NEGATIVE: 14, Kind.ORDINARY: 936}


def test_labels() -> None:
    """What the benchmark calls a bounce is one, and nothing else is."""
    drawn = kinds(1_000, 3)
    rules = load()

    for mail, kind in zip(mails(drawn, 3), drawn, strict=True):
        verdict, subject = examine(mail.raw, False, rules)  # noqa: FBT003 - it is whole
        assert verdict.kind.is_bounce == (kind is Kind.BOUNCE), subject


def test_uid_sets() -> None:
    """Each UID is asked for once, in commands of a length that servers take."""
    uids = list(range(1_000_000, 1_005_000))

    sets = uid_sets(uids)

    assert [int(uid) for each in sets for uid in each.split(b",")] == uids
    assert max(map(len, sets)) <= 7_000 + 8
    assert uid_sets([]) == []


@contextmanager
def _talk() -> Iterator[tuple[socket.socket, socket.socket, Proxy]]:
    with socket.create_server((HOST, 0)) as door, Proxy(HOST, door.getsockname()[1]) as proxy:
        accepted: list[socket.socket] = []
        thread = Thread(target=lambda: accepted.append(door.accept()[0]))
        thread.start()
        with socket.create_connection((HOST, proxy.port)) as client:
            thread.join()
            with accepted[0] as server:
                yield client, server, proxy


def _pass(source: socket.socket, sink: socket.socket, octets: bytes) -> None:
    source.sendall(octets)
    got = b""
    while len(got) < len(octets):
        got += sink.recv(len(octets))
    assert got == octets


def test_a_turn() -> None:
    """A command costs a turn when nothing was left to be answered, and none when it is sent meanwhile."""
    with _talk() as (client, server, proxy):
        _pass(server, client, b"* OK hello\r\n")
        _pass(client, server, b"a1 NOOP\r\n")
        _pass(server, client, b"* 3 EXISTS\r\n")
        _pass(client, server, b"a2 NOOP\r\n")
        _pass(server, client, b"a1 OK done\r\na2 OK done\r\n")
        _pass(client, server, b"a3 NOOP\r\n")
        told = proxy.take()

    assert (told.connections, told.turns, told.up, told.down) == (1, 2, 27, 48)


@pytest.mark.dovecot
def test_what_was_done() -> None:
    """A message moved wrongly, lost or doubled is noticed, and the next run finds all as it was."""
    dovecot.require()
    with dovecot.running() as server:
        stock = Stock(server, 100, 1)
        stock.restore()
        mailbox = server.mailbox(BENCH)
        bounce, ordinary = min(stock.bounces), min(set(range(1, 101)) - stock.bounces)
        mailbox.create("Bounces")
        with mailbox.session() as client:
            client.select("INBOX")
            client.uid("COPY", str(bounce), "Bounces")
            client.uid("MOVE", str(ordinary), "Bounces")
        mailbox.expunge("INBOX", str(max(stock.bounces)))
        after = stock.outcome()
        stock.restore()
        before = stock.outcome()

    assert (after.moved, after.wrongly, after.missed, after.lost, after.doubled) == (2, 1, 4, 1, 1)
    assert (before.moved, before.lost, before.doubled) == (0, 0, 0)
