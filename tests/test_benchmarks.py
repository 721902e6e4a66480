"""The benchmark measures what it says it does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from benchmarks import clean, contestants, goals
from benchmarks.contestants import Contestant
from benchmarks.floor import uid_sets
from benchmarks.mailboxes import Kind, kinds, mails
from benchmarks.proxy import Proxy, Traffic
from benchmarks.results import Cost, Row, Series
from benchmarks.stock import BENCH, Outcome, Stock
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


def test_turns_of_what_is_compressed() -> None:
    """Over a line that the proxy can't read each change of direction is a turn."""
    squeeze = zlib.compressobj(0, wbits=-15)  # what it says could be read, and must not be taken for what it looks like

    def squeezed(text: bytes) -> bytes:
        return squeeze.compress(text) + squeeze.flush(zlib.Z_SYNC_FLUSH)

    with _talk() as (client, server, proxy):
        _pass(server, client, b"* OK hello\r\n")
        _pass(client, server, b"a1 COMPRESS DEFLATE\r\n")
        _pass(server, client, b"a1 OK go on\r\n")
        for question in (b"\r\na2 NOOP\r\n", b"\r\na3 NOOP\r\n"):
            _pass(client, server, squeezed(question))
            _pass(client, server, squeezed(question))  # sent before there was an answer
            _pass(server, client, squeezed(b"* 3 EXISTS\r\n"))
        told = proxy.take()

    assert told.turns == 3


def _row(name: str, *costs: Cost, outcome: Outcome | None = None, turns: int | None = None) -> Row:
    traffic = None if turns is None else Traffic(1, turns, 0, 0)
    contestant = Contestant(name, lambda _place: [], slow=name == "imapautofiler")
    return Row(contestant, list(costs), traffic, None if turns is None else turns - 2.0, outcome)


def _runs(*walls: float, cpu: float = 1.0, peak: float = 50.0) -> list[Cost]:
    return [Cost(wall, cpu, peak) for wall in walls]


def _told(*series: Series, start_up: float | None = None) -> list[str]:
    return [str(goal) for goal in goals.of_series(series, start_up)]


def _ended_after(wall: float) -> Cost:
    return Cost(wall, 1.0, 30.0, f"ended after {wall:.0f} s", ended=True)


def test_goals_of_a_large_mailbox() -> None:
    """Medians are compared, and what is missed is missed by what is too much."""
    outcome = Outcome(moved=5_000, wrongly=0, missed=0, lost=0, doubled=0)
    ours = _row("bouncefiler", *_runs(2.0, 9.0, 2.5, cpu=2.5, peak=61.5), outcome=outcome, turns=17)
    others = (_row("floor", *_runs(2.0, 2.5, 2.0)), _row("imapfilter", *_runs(2.0)), ours)
    slow = _row("imapautofiler", _ended_after(150.0))

    assert _told(Series(100_000, wan=False, rows=(*others, slow))) == [
        "met                    100,000: bouncefiler: moved wrongly, lost or doubled: 0, goal <= 0",
        "met                    100,000: round trips: 15, goal <= 15 (17 turns counted)",
        "missed by 0.05x        100,000: wall of bouncefiler over that of floor: 1.25x, goal <= 1.2x",
        "missed by 0.25x        100,000: wall over that of imapfilter: 1.25x, goal <= 1x",
        "met                    100,000: faster than imapautofiler: at least 60x, goal >= 50x (ended after 150 s)",
        "missed by 5 µs         100,000: CPU for a message: 25 µs, goal <= 20 µs",
        "missed by 1.5 MB       100,000: peak memory: 61.5 MB, goal <= 60 MB",
    ]


def test_a_program_that_was_ended_too_early_shows_nothing() -> None:
    rows = (_row("floor", *_runs(1.0)), _row("bouncefiler", *_runs(2.0)), _row("imapautofiler", _ended_after(60.0)))

    (said,) = [line for line in _told(Series(100_000, wan=False, rows=rows)) if "imapautofiler" in line]

    assert (
        said
        == "not decided            100,000: faster than imapautofiler: at least 30x, goal >= 50x (ended after 60 s)"
    )


def test_goals_of_a_middling_mailbox() -> None:
    """Start-up is taken off; over the slow line what compresses is compared with the floor that does."""
    near = Series(10_000, wan=False, rows=(_row("floor", *_runs(0.5)), _row("bouncefiler", *_runs(1.25))))
    far = {"floor": 1.0, "floor, compressed": 2.0, "bouncefiler": 9.0, "bouncefiler, compressed": 2.5}
    over_wan = Series(10_000, wan=True, rows=tuple(_row(name, *_runs(wall)) for name, wall in far.items()))

    assert _told(near, over_wan, start_up=0.25) == [
        "met                    10,000: wall of bouncefiler less start-up (0.25 s) over that of floor: 2x, goal <= 2x",
        (
            "met                    10,000, slow line: wall of bouncefiler, compressed over that of floor, compressed: "
            "1.25x, goal <= 1.3x"
        ),
    ]
    assert _told(near) == []


def test_goals_of_growth() -> None:
    """A million is compared with a hundred thousand of the same call, message by message; alone it has to end."""
    large = Series(100_000, wan=False, rows=(_row("floor", *_runs(2.0)), _row("bouncefiler", *_runs(3.0, peak=50.0))))
    ours = _row("bouncefiler", *_runs(45.0, cpu=20.0, peak=70.0))
    huge = Series(1_000_000, wan=False, rows=(_row("floor", *_runs(40.0)), ours))

    assert _told(large, huge)[-3:] == [
        "met                    1,000,000: runs of bouncefiler that came to their end: 1, goal >= 1",
        "missed by 5 MB         1,000,000: peak memory over that at 100,000: 20 MB, goal <= 15 MB",
        (
            "missed by 0.25x        1,000,000: wall for a message over that at 100,000: 1.5x, goal <= 1.25x "
            "(the floor's: 2.00x; CPU: 2.00x)"
        ),
    ]
    ours.costs = [_ended_after(900.0)]
    assert _told(huge) == ["missed by 1            1,000,000: runs of bouncefiler that came to their end: 0, goal >= 1"]


def test_a_contestant_is_known_by_its_worst_run() -> None:
    """One message lost is worse than many moved wrongly, and these than all bounces missed."""
    ideal, missing = Outcome(5, 0, 0, 0, 0), Outcome(0, 0, 5, 0, 0)
    wrong, lossy = Outcome(9, 4, 0, 0, 0), Outcome(5, 0, 0, 1, 0)
    seen: list[Outcome | None] = []
    row = _row("somebody")
    for outcome in (ideal, missing, wrong, lossy, wrong, ideal):
        row.saw(outcome)
        seen.append(row.outcome)

    assert seen == [ideal, missing, wrong, lossy, lossy, lossy]
    series = Series(1_000, wan=False, rows=(_row("bouncefiler", *_runs(1.0), outcome=lossy),))
    assert _told(series) == [
        "missed by 1            1,000: bouncefiler: moved wrongly, lost or doubled: 1, goal <= 0",
    ]


@pytest.mark.parametrize(
    ("quick", "asked", "waits"),
    [((), None, 900.0), ((0.2,), None, 30.0), ((4.0, 5.0), None, 300.0), ((4.0,), 7.0, 7.0)],
)
def test_a_slow_program_is_ended_when_enough_is_known(
    quick: Sequence[float], asked: float | None, waits: float
) -> None:
    bench = clean.Bench(None, None, 900.0, asked)  # type: ignore[arg-type]
    rows = [_row("bouncefiler", *_runs(*quick)), _row("imapautofiler")]

    assert bench.patience_with(rows[1].contestant, rows) == waits
    assert bench.patience_with(rows[0].contestant, rows) == 900.0


def test_who_takes_part_starts_as_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the caller's environment keeps Python from its bytecode, and there is some of ours."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    contestants.compile_ours()

    source = contestants.ROOT / "bouncefiler" / "cli" / "__init__.py"
    found = subprocess.run(
        [sys.executable, "-v", "-c", "import bouncefiler.cli, os; print('bytecode' in os.environ)"],
        check=True, capture_output=True, text=True, env=contestants.environ(), cwd=contestants.ROOT,
    )  # fmt: skip
    assert f"code object from '{source.parent}/__pycache__/__init__." in found.stderr
    assert not [name for name in contestants.environ() if name.startswith("PYTHON")]


def test_an_interrupted_stopwatch_ends_what_it_times(tmp_path: Path) -> None:
    """The command is in a group of its own, so that nobody else would."""
    started = tmp_path / "started"
    command = ["sh", "-c", f"echo $$ > {started}.new; mv {started}.new {started}; exec sleep 600"]
    watch = subprocess.Popen([sys.executable, "-I", "-S", str(clean.STOPWATCH), "600", *command])
    while not started.exists():
        assert watch.poll() is None
    watch.send_signal(signal.SIGINT)

    assert watch.wait(60) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


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


@pytest.mark.dovecot
def test_a_mailbox_is_made_once_and_kept(tmp_path: Path) -> None:
    """Another server finds it, message by message and with the server's indexes, and no run alters it."""
    dovecot.require()
    with dovecot.running() as server:
        Stock(server, 40, 1, tmp_path)
    (kept,) = tmp_path.iterdir()
    as_made = {path.relative_to(kept): path.stat().st_mtime for path in kept.rglob("*")}
    with dovecot.running() as server:
        stock = Stock(server, 40, 1, tmp_path)
        stock.restore()
        with server.mailbox(BENCH).session() as client:
            client.select("INBOX")
            client.create("Bounces")
            client.uid("MOVE", str(min(stock.bounces)), "Bounces")
        after = stock.outcome()

    assert (after.moved, after.wrongly, after.missed, after.lost, after.doubled) == (1, 0, 1, 0, 0)
    assert {path.relative_to(kept): path.stat().st_mtime for path in kept.rglob("*")} == as_made
    assert Path("Maildir/dovecot.index.cache") in as_made
