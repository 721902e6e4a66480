"""The commands as a user runs them, on a real server: preview, clean, kill, clean again, and all that can go wrong."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from threading import Thread

import pytest

from bouncefiler.edge.store import open_for_reading
from bouncefiler.recognition.verdict import Kind
from tests import dovecot
from tests.dovecot import Dovecot, Mail, Snapshot, Variant

pytestmark = pytest.mark.dovecot

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SAMPLES = Path(__file__).parent / "mail"


@dataclass(frozen=True)
class User:
    """Somebody with an account and a configuration."""

    server: Dovecot
    name: str
    home: Path

    def configure(self, more: str = "", top: str = "", **changes: str | int) -> None:
        values: dict[str, str | int] = {"host": "127.0.0.1", "port": self.server.port, "user": self.name}
        values |= {"security": "plain"} | changes
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        source = 'password_from = { environment = "TEST_PASSWORD" }\n'
        state = f"state_dir = {json.dumps(str(self.home / 'state'))}\n"
        (self.home / "config.toml").write_text(f"{state}{top}[accounts.home]\n{lines}{source}{more}", encoding="utf-8")

    def start(self, *arguments: str, password: str = dovecot.PASSWORD) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "bouncefiler", "--config", str(self.home / "config.toml"), *arguments]
        environ = {**os.environ, "TEST_PASSWORD": password, "LANG": "C.UTF-8"}
        return subprocess.Popen(command, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, *arguments: str, password: str = dovecot.PASSWORD) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, password=password)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def records(self, *arguments: str) -> list[dict[str, object]]:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def snapshot(self) -> Snapshot:
        return self.server.mailbox(self.name).snapshot()

    def fill(self, mails: list[Mail]) -> None:
        self.server.mailbox(self.name).store(mails)


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with dovecot.running() as running:
        yield running


@pytest.fixture
def user(server: Dovecot, tmp_path: Path) -> User:
    made = User(server, server.new_user(), tmp_path)
    made.configure()
    return made


def samples(*, bounces: bool) -> list[bytes]:
    """Our own sample mail, of many makes and small, that is expected to be a bounce, or not."""
    expected = {path: tomllib.loads(path.read_text("utf-8"))["kind"] for path in sorted(SAMPLES.glob("*/*.toml"))}
    mails = [
        path.with_suffix(".eml").read_bytes() for path, kind in expected.items() if Kind(kind).is_bounce == bounces
    ]
    return [_without_envelope(raw) for raw in mails if len(raw) < 8_000 and b"\r\n" not in raw][::7]


def mailbox(size: int, every: int) -> list[Mail]:
    """Mail of which each `every`-th is a bounce; no two have the same header block."""
    kinds = (samples(bounces=False), samples(bounces=True))
    mails = []
    for number in range(size):
        choice = kinds[number % every == 0]
        raw = f"Received: from a.example by b.example with ESMTP id {number}; Sun, 1 Mar 2026 12:00:00 +0000\n".encode()
        body = choice[number // every % len(choice)]
        flags = ((), ("\\Seen",), ("\\Flagged", "\\Seen"))[number % 3]
        mails.append(Mail(raw + body, NOON - timedelta(minutes=size - number), flags))
    return mails


def _without_envelope(raw: bytes) -> bytes:
    return raw.partition(b"\n")[2] if raw.startswith(b"From ") else raw


def identities(snapshot: Snapshot) -> Counter[tuple[str, str, frozenset[str]]]:
    r"""What must never change: each message's bytes, INTERNALDATE and flags (\Recent is the session's)."""
    return Counter(
        (held.sha256, held.received_at, held.flags - {"\\Recent"}) for folder in snapshot.values() for held in folder
    )


def test_clean_moves_what_preview_lists_and_a_second_one_nothing(user: User) -> None:
    """Ten thousand messages with five hundred bounces: what was announced is done, and nothing else."""
    user.fill(mailbox(10_000, 20))
    before = user.snapshot()

    previewed = [record for record in user.records("preview") if record["what"] == "move"]
    assert identities(user.snapshot()) == identities(before)
    assert not (user.home / "state").exists(), "preview wrote something"
    cleaned = [record for record in user.records("clean") if record["what"] == "move"]
    after = user.snapshot()

    assert len(previewed) == 500
    assert cleaned == previewed
    assert len(after["Bounces"]) == 500
    assert {record["uid"] for record in previewed} == {h.uid for h in before["INBOX"]} - {h.uid for h in after["INBOX"]}
    assert identities(after) == identities(before)
    (summary,) = [record for record in user.records("clean") if record["what"] == "report"]
    assert (summary["scanned"], summary["moved"]) == (0, 0)
    assert identities(user.snapshot()) == identities(before)


@pytest.mark.parametrize("wait", [0.4, 0.6, 0.8])
def test_killed_in_the_middle_and_run_again_the_end_is_the_same(user: User, wait: float) -> None:
    """`kill -9` at some moment of a clean: nothing is lost or doubled then, and the next run finishes the work."""
    user.fill(mailbox(4_000, 4))
    before = user.snapshot()

    process = user.start("clean")
    time.sleep(wait)
    process.kill()
    process.communicate()
    assert identities(user.snapshot()) == identities(before)
    assert user.run("clean").returncode == 0

    after = user.snapshot()
    assert identities(after) == identities(before)
    assert len(after["Bounces"]) == 1_000
    assert user.records("clean")[-1]["moved"] == 0


@pytest.mark.parametrize("seed", range(2))
def test_killed_after_a_part_the_next_run_begins_behind_it(user: User, seed: int) -> None:
    """`kill -9` at any moment after a part was done: that part is filed, and nothing of it is read again.

    What was about to be moved comes first in the next run, and is not scanned either.
    """
    user.fill(mailbox(4_500, 1))
    before = user.snapshot()

    done, intended = _killed_after_a_part(user, Random(seed).uniform(0, 0.2))  # noqa: S311 - no secret
    user.server.await_leave(user.name)
    killed = user.snapshot()
    (rest,) = [record for record in user.records("clean") if record["what"] == "report"]

    assert identities(killed) == identities(before)
    assert 0 < done <= len(killed["Bounces"])
    assert min(held.uid for held in killed["INBOX"]) > done
    assert rest["scanned"] == len([held for held in killed["INBOX"] if held.uid not in intended])
    after = user.snapshot()
    assert identities(after) == identities(before)
    assert len(after["Bounces"]) == 4_500


def _killed_after_a_part(user: User, wait: float) -> tuple[int, set[int]]:
    """Kill a clean so long after its first part is done.

    Return up to which UID its state says that it is done, and which others it was about to move.
    """
    state = user.home / "state" / "home.sqlite3"

    def done() -> int:
        with open_for_reading(state) as ledger:
            mark = ledger.watermark("INBOX")
        return mark.last_uid if mark else 0

    process = user.start("clean")
    try:
        _await(state.exists, pause=0.01)
        _await(lambda: done() > 0, pause=0.01)
        time.sleep(wait)
    finally:
        process.kill()
        process.communicate()
    with open_for_reading(state) as ledger:
        return done(), {entry.ref.uid for entry in ledger.open_entries()}


def facts(snapshot: Snapshot, folder: str) -> Counter[tuple[str, str, frozenset[str]]]:
    return identities({folder: snapshot.get(folder, ())})


def test_undo_puts_everything_back_as_it_was_and_clean_leaves_it_there(user: User) -> None:
    user.fill(mailbox(400, 4))
    before = user.snapshot()
    user.run("clean")

    (run,) = user.records("history")
    filed = user.records("history", "--run", str(run["run"]))
    *undone, report = user.records("undo", "--yes")

    assert (run["command"], run["moved"], run["undone"]) == ("clean", 100, 0)
    assert len(filed) == 100
    assert {record["number"] for record in filed} == {r["number"] for r in undone if r["what"] == "undo"}
    assert (report["moved"], report["unsettled"]) == (100, 0)
    assert facts(user.snapshot(), "INBOX") == identities(before)
    assert user.records("clean", "--all")[-1]["moved"] == 0
    assert [(past["command"], past["moved"], past["undone"]) for past in user.records("history")] == [
        ("undo", 100, 0),
        ("clean", 100, 100),
    ]
    assert "nothing to put back" in user.run("undo", "--yes").stdout


def test_undo_asks_first_and_a_pipe_has_to_say_yes(user: User) -> None:
    user.fill(mailbox(8, 4))
    user.run("clean")
    before = user.snapshot()

    done = user.run("undo")

    assert done.returncode == 75
    assert "To be put back: 2 messages" in done.stdout
    assert "--yes" in done.stderr
    assert user.snapshot() == before
    assert len(user.records("history")) == 1


@pytest.mark.parametrize(("answer", "back"), [(b"y\n", 2), (b"n\n", 0)])
def test_undo_asks_whoever_sits_at_a_terminal(user: User, answer: bytes, back: int) -> None:
    user.fill(mailbox(8, 4))
    user.run("clean")
    command = [sys.executable, "-m", "bouncefiler", "--config", str(user.home / "config.toml"), "undo"]
    environ = {**os.environ, "TEST_PASSWORD": dovecot.PASSWORD, "LANG": "C.UTF-8", "TERM": "dumb"}
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, env=environ, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while b"Put them back?" not in shown:
            shown += os.read(ours, 65_536)
        assert len(user.snapshot()["INBOX"]) == 6, "it did not wait for the answer"
        os.write(ours, answer)
        assert process.wait(60) == 0
    os.close(ours)

    assert b"To be put back: 2 messages" in shown
    assert len(user.snapshot()["INBOX"]) == 6 + back


def test_undo_puts_back_one_message_or_what_was_filed_since_a_time(user: User) -> None:
    user.fill([Mail(b"Message-ID: <number-%d@x>\n" % n + mail.raw) for n, mail in enumerate(mailbox(4, 1))])
    user.run("clean")
    first, *_ = user.records("history", "--run", str(user.records("history")[0]["run"]))

    assert user.records("undo", "--yes", "--message", str(first["number"]))[-1]["moved"] == 1
    assert user.records("undo", "--yes", "--message", "<number-2@x>")[-1]["moved"] == 1
    assert user.run("undo", "--yes", "--message", "<number-2@x>").returncode == 2
    assert user.run("undo", "--yes", "--run", "77").returncode == 2
    assert user.run("undo", "--yes", "--since", "2999-01-01").returncode == 2
    assert user.records("undo", "--yes", "--since", "1h")[-1]["moved"] == 2
    assert len(user.snapshot()["INBOX"]) == 4


@pytest.mark.parametrize(("move", "wait"), [(True, 0.0), (False, 0.0), (False, 0.05)])
def test_an_undo_that_is_killed_loses_and_doubles_nothing_and_can_be_run_again(
    tmp_path: Path, wait: float, move: bool
) -> None:
    """`kill -9` so many seconds after the run was written down."""
    with dovecot.running(Variant(move=move)) as server:
        user = User(server, server.new_user(), tmp_path)
        user.configure()
        user.fill(mailbox(700, 1))
        before = user.snapshot()
        assert user.run("clean").returncode == 0
        assert len(user.snapshot()["Bounces"]) > 650

        process = user.start("undo", "--yes")
        reader = Thread(target=process.communicate)  # it prints more than a pipe holds before it begins
        reader.start()
        with open_for_reading(tmp_path / "state" / "home.sqlite3") as ledger:
            _await(lambda: ledger.runs(1)[0].command == "undo", pause=0.001)
        time.sleep(wait)
        process.kill()
        reader.join()
        user.run("undo", "--yes")
        user.run("clean")
        user.run("undo", "--yes")

        assert facts(user.snapshot(), "INBOX") == identities(before)
        assert user.snapshot()["Bounces"] == ()


def test_a_stop_signal_ends_after_the_messages_in_hand(user: User) -> None:
    user.fill(mailbox(4_000, 4))
    before = user.snapshot()

    process = user.start("clean")
    while process.poll() is None and not any((user.home / "state").glob("*.sqlite3")):
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)

    assert process.returncode == 0
    assert identities(user.snapshot()) == identities(before)
    user.run("clean")
    assert len(user.snapshot()["Bounces"]) == 1_000


def test_a_second_bouncefiler_says_who_is_at_work_and_does_nothing(user: User) -> None:
    user.fill(mailbox(40, 4))
    process = user.start("run")
    try:
        _await(lambda: "Bounces" in user.snapshot() and len(user.snapshot()["Bounces"]) == 10)
        done = user.run("clean")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)

    assert done.returncode == 75
    assert f"{process.pid}" in done.stderr
    assert process.returncode == 0


def test_clean_knows_afterwards_what_was_sent(user: User) -> None:
    """Read in the same run, without a word on standard output, and without a change to the account."""
    user.fill(mailbox(8, 4))
    copies = [Mail(f"Message-ID: <s{n}@x.example>\r\nTo: a@x.example\r\n\r\n".encode(), NOON) for n in range(30)]
    user.server.mailbox(user.name).store(copies, "Sent")
    before = user.snapshot()["Sent"]
    done = user.run("clean")

    assert done.returncode == 0, done.stderr
    assert "sent" not in done.stdout
    assert user.snapshot()["Sent"] == before
    with open_for_reading(user.home / "state" / "home.sqlite3") as store:
        assert store.sent_known(["<s0@x.example>", "<s29@x.example>", "<s30@x.example>"]) == {
            "<s0@x.example>",
            "<s29@x.example>",
        }


def test_the_service_files_what_arrives_and_ends_on_request(user: User) -> None:
    user.configure(poll_interval="30s")
    user.fill(mailbox(8, 4))
    process = user.start("run")
    try:
        _await(lambda: len(user.snapshot().get("Bounces", ())) == 2)
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 0, err


def _arrives(user: User, **configured: str | bool) -> str:
    """Start the service, deliver one more bounce when it waits, and see it filed; return the server's log."""
    user.configure("".join(f"{key} = {json.dumps(value)}\n" for key, value in configured.items()))
    user.fill(mailbox(8, 4))
    process = user.start("run")
    try:
        _await(lambda: len(user.snapshot().get("Bounces", ())) == 2)
        time.sleep(1.0)
        user.server.mailbox(user.name).deliver(mailbox(20, 1)[19])
        _await(lambda: len(user.snapshot()["Bounces"]) == 3, seconds=90.0)
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)

    assert process.returncode == 0, err
    return user.server.log()


def test_where_the_server_tells_a_bounce_is_filed_long_before_the_next_look(user: User) -> None:
    """The interval is a day, and the test does not wait for long. Nor does a stop."""
    _arrives(user, poll_interval="1d")


def test_a_server_without_idle_is_looked_at_in_intervals(tmp_path: Path) -> None:
    with dovecot.running(Variant(without=("IDLE",))) as server:
        _arrives(User(server, server.new_user(), tmp_path), poll_interval="30s")


def test_the_service_stops_trying_a_refused_password_and_says_so(user: User) -> None:
    process = user.start("run", password="not this one")
    _, err = process.communicate(timeout=60)

    assert process.returncode == 77
    assert "refuses to log" in err
    assert user.server.log().count(f"user=<{user.name}>, method") <= 2


def test_the_service_waits_while_the_server_is_away_and_goes_on_when_it_is_back(user: User, tmp_path: Path) -> None:
    """A configuration that names a dead port stands for the outage; SIGHUP, for the moment when it is over."""
    user.fill(mailbox(8, 4))
    user.configure(port=1)
    process = user.start("run")
    try:
        time.sleep(2.0)
        assert process.poll() is None, "it gave up"
        user.configure()
        process.send_signal(signal.SIGHUP)
        _await(lambda: len(user.snapshot().get("Bounces", ())) == 2)
        (tmp_path / "config.toml").write_text("accounts = 7")
        process.send_signal(signal.SIGHUP)
        time.sleep(1.0)
        assert process.poll() is None, "a wrong configuration ended it"
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "nothing listens" in err
    assert "config.toml" in err


def _await(condition: object, seconds: float = 30.0, pause: float = 0.1) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(pause)


class TestTrouble:
    """Each trouble is one line with the next step, and its own exit code; nothing is moved."""

    def check(self, user: User, code: int, *words: str, password: str = dovecot.PASSWORD) -> None:
        before = user.snapshot() if code != 69 else None
        done = user.run("clean", password=password)

        assert done.returncode == code, done.stderr
        first, *_ = done.stderr.splitlines()
        for word in words:
            assert word in done.stderr, done.stderr
        assert first.startswith("bouncefiler: ")
        assert "Traceback" not in done.stderr
        if before is not None:
            assert identities(user.snapshot()) == identities(before)

    def test_a_wrong_password(self, user: User) -> None:
        user.fill(mailbox(8, 4))

        self.check(user, 77, "127.0.0.1", "password", password="not this one")

    def test_a_wrong_password_is_not_tried_a_third_time(self, user: User) -> None:
        for _ in range(2):
            assert user.run("clean", password="not this one").returncode == 77
        tried = user.server.log().count(user.name)

        done = user.run("clean", password="not this one")

        assert done.returncode == 77
        assert "not tried again" in done.stderr
        assert user.server.log().count(user.name) == tried
        assert user.run("clean").returncode == 0, "another password is another matter"

    def test_a_host_that_is_not_there(self, user: User) -> None:
        user.configure(port=1)

        self.check(user, 69, "127.0.0.1")

    def test_a_certificate_that_nobody_signed(self, user: User) -> None:
        user.fill(mailbox(8, 4))
        user.configure(port=user.server.tls_port, security="tls")

        self.check(user, 76, "ca_file", "fingerprint")

    def test_a_password_in_the_configuration(self, user: User) -> None:
        user.configure('password = "secret word"\n')

        done = user.run("clean")

        assert done.returncode == 78
        assert "secret word" not in done.stderr + done.stdout

    def test_a_folder_that_the_server_will_not_make(self, tmp_path: Path) -> None:
        with dovecot.running(Variant(acl=True)) as server:
            user = User(server, server.new_user(), tmp_path)
            user.configure(bounce_folder="Shared/Bounces")
            user.fill(mailbox(8, 4))
            server.mailbox(user.name).grant("Shared", "lr")

            self.check(user, 73, "Shared/Bounces")

    def test_a_full_account(self, tmp_path: Path) -> None:
        with dovecot.running(Variant(quota_messages=8, move=False)) as server:
            user = User(server, server.new_user(), tmp_path)
            user.configure()
            user.fill(mailbox(8, 4))

            self.check(user, 73, "room")

    def test_a_server_without_any_safe_way_to_move(self, tmp_path: Path) -> None:
        with dovecot.running(Variant(uidplus=False, move=False)) as server:
            user = User(server, server.new_user(), tmp_path)
            user.configure()
            user.fill(mailbox(8, 4))

            self.check(user, 76, "UIDPLUS")


def test_a_wave_of_bounces_raises_one_alert_in_the_inbox(user: User) -> None:
    now = datetime.now(UTC)
    mails = [Mail(mail.raw, now - timedelta(minutes=n % 300)) for n, mail in enumerate(mailbox(120, 1))]
    user.fill(mails)

    user.run("clean")
    user.run("clean")

    alerts = [held for held in user.snapshot()["INBOX"] if "\\Seen" not in held.flags]
    inbox = user.snapshot()["INBOX"]
    assert len(inbox) == 1
    assert len(alerts) == 1


def test_old_bounces_raise_no_alert(user: User) -> None:
    user.fill(mailbox(120, 1))

    user.run("clean")

    assert user.snapshot()["INBOX"] == ()
