"""Alerts through every channel, and the letter to the contacts, as a user runs the commands; on a real server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest

from bouncefiler import app
from bouncefiler.backscatter.advice import Alert, Level
from bouncefiler.backscatter.incident import Diagnosis, Incident
from bouncefiler.desk import Desk, take_desk
from bouncefiler.edge.store import open_store
from bouncefiler.recognition import classify, rulebook
from bouncefiler.recognition.verdict import Kind
from tests import dovecot
from tests.dovecot import Dovecot, Mail, Variant
from tests.webhook import TOKEN, webhook

pytestmark = pytest.mark.dovecot

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALERT = Alert("opened 20260301T120000 20260301T120000", Level.WARNING, "347 bounces in 24 hours", "Hello.\n")
WAVE = Incident(Diagnosis.BACKSCATTER, NOON, NOON, count=347, usual=0.3, total=347, peak=347, closed=NOON)
BOUNCE = min((Path(__file__).parent / "mail" / "qmail").glob("*.eml"))

_POSTPONED = r"""
namespace inbox {
  mailbox Postponed {
    special_use = \Drafts
    auto = create
  }
}
"""


@dataclass(frozen=True)
class User:
    """Somebody with an account and a configuration."""

    server: Dovecot
    name: str
    home: Path

    def configure(self, alert: str = "", more: str = "", source: str = '{ environment = "TEST_PASSWORD" }') -> None:
        (self.home / "config.toml").write_text(
            f'state_dir = "{self.state.parent}"\n[accounts.home]\nhost = "127.0.0.1"\nport = {self.server.port}\n'
            f'security = "plain"\nuser = "{self.name}"\npassword_from = {source}\n{more}\n'
            f"[accounts.home.alert]\n{alert}\n",
            encoding="utf-8",
        )

    def notify(self, channels: str = '"log", "inbox", "notify"') -> None:
        self.configure(f'channels = [{channels}]\nnotify_from = {{ environment = "TEST_URLS" }}')

    @property
    def state(self) -> Path:
        return self.home / "state" / "home.sqlite3"

    @staticmethod
    def environ(*urls: str) -> dict[str, str]:
        secrets = {"TEST_PASSWORD": dovecot.PASSWORD, "TEST_URLS": "\n".join(urls)}
        return {**os.environ, **secrets, "LANG": "C.UTF-8"}

    def start(self, *arguments: str, environ: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start it without a terminal, so that what would be typed there comes from standard input."""
        command = [sys.executable, "-m", "bouncefiler", "--config", str(self.home / "config.toml"), *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, env=environ, text=True, start_new_session=True, stdin=pipe, stdout=pipe, stderr=pipe
        )

    def run(
        self, *arguments: str, urls: Sequence[str] = (), typed: str = "", more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, environ={**self.environ(*urls), **(more or {})})
        out, err = process.communicate(typed, timeout=120)
        assert "Traceback" not in err
        assert TOKEN not in out + err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def messages(self, folder: str) -> list[EmailMessage]:
        with self.server.mailbox(self.name).session() as client:
            client.select(f'"{folder}"', readonly=True)
            _, data = client.uid("FETCH", "1:*", "(BODY.PEEK[])")
        found = [message_from_bytes(item[1], policy=default) for item in data if isinstance(item, tuple)]
        return [message for message in found if isinstance(message, EmailMessage)]

    def flags(self, folder: str) -> list[frozenset[str]]:
        return [held.flags for held in self.server.mailbox(self.name).snapshot()[folder]]

    def desk(self, *urls: str) -> Desk:
        environ = self.environ(*urls)
        settings = app.load_settings(self.home / "config.toml", environ)
        return take_desk(settings.accounts["home"], settings, environ, "a test")


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with dovecot.running() as running:
        yield running


@pytest.fixture(scope="module")
def postponing() -> Iterator[Dovecot]:
    with dovecot.running(Variant(extra=_POSTPONED)) as running:
        yield running


@pytest.fixture
def user(server: Dovecot, tmp_path: Path) -> User:
    made = User(server, server.new_user(), tmp_path)
    made.configure()
    return made


# --- the test message


def test_a_test_message_comes_through_every_channel(user: User) -> None:
    """Also while another bouncefiler is at work on the account."""
    user.notify()
    with webhook() as hook, open_store(user.state, holder="another one"):
        done = user.run("alert", "--test", urls=(hook.url,))

    assert done.returncode == 0, done.stderr
    told = dict(line.removeprefix("home: ").rsplit(": ", 1) for line in done.stdout.splitlines())
    assert set(told.values()) == {"arrived"}
    assert [re.sub("[0-9a-f]{8}", "#", channel) for channel in told] == ["log", "inbox", "notify:# (json)"]
    [(_, came)] = hook.came
    [message] = user.messages("INBOX")
    assert came["title"] == message["Subject"] == "This is only a test"
    assert "This is only a test" in done.stderr


def test_the_test_message_is_no_bounce(user: User) -> None:
    user.run("alert", "--test")

    [message] = user.messages("INBOX")
    verdict, _ = classify.examine(message.as_bytes(), False, rulebook.load())  # noqa: FBT003
    assert verdict.kind not in {Kind.FAILED, Kind.DELAYED, Kind.IMITATION}


def test_a_channel_that_fails_is_named_with_the_reason_and_the_others_are_tried(user: User) -> None:
    user.notify()
    with webhook(status=404) as gone, webhook() as hook:
        done = user.run("alert", "--test", urls=(gone.url, hook.url))

    assert done.returncode == 69
    assert done.stdout.count(": arrived") == 3
    assert "did not arrive: the service answered 404: there is nobody at that address" in done.stdout
    assert len(hook.came) == 1


def test_one_channel_alone_can_be_tried(user: User) -> None:
    user.notify()
    with webhook() as hook:
        done = user.run("alert", "--test", "--channel", "notify", urls=(hook.url,))

    assert (len(hook.came), user.messages("INBOX"), len(done.stdout.splitlines())) == (1, [], 1)


def test_a_channel_that_is_not_configured_is_named_with_those_that_are(user: User) -> None:
    done = user.run("alert", "--test", "--channel", "notify")

    assert done.returncode == 78
    assert "log, inbox" in done.stderr


def test_urls_that_are_not_there_are_no_reason_to_leave_out_the_rest(user: User) -> None:
    user.notify('"notify", "inbox"')
    done = user.run("alert", "--test")

    assert done.returncode == 78
    assert "notify: did not arrive" in done.stdout
    assert len(user.messages("INBOX")) == 1


def test_alert_alone_says_what_it_can_do(user: User) -> None:
    done = user.run("alert")

    assert done.returncode == 2
    assert "--test" in done.stderr


# --- the keyring


_DRAWER = """
import json, os, pathlib
from keyring.backend import KeyringBackend
class Keyring(KeyringBackend):
    priority = 9
    file = pathlib.Path(os.environ["DRAWER"])
    def kept(self):
        return json.loads(self.file.read_text()) if self.file.exists() else {}
    def get_password(self, service, username):
        return self.kept().get(f"{service}|{username}")
    def set_password(self, service, username, password):
        self.file.write_text(json.dumps({**self.kept(), f"{service}|{username}": password}))
    def delete_password(self, service, username):
        raise NotImplementedError
"""


@pytest.fixture
def keyring(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "drawer.py").write_text(_DRAWER)
    backend = "drawer.Keyring"
    return {"PYTHON_KEYRING_BACKEND": backend, "PYTHONPATH": str(tmp_path), "DRAWER": str(tmp_path / "kept.json")}


def test_login_keeps_a_new_password_while_the_service_is_at_work(user: User, keyring: dict[str, str]) -> None:
    """As docs/service.md has it: a new one into the keyring, then a reload. A refused one is kept by nobody."""
    user.configure(source='"keyring"')
    with open_store(user.state, holder="bouncefiler run"):
        refused = user.run("login", "home", typed="wrong\n", more=keyring)
        done = user.run("login", "home", typed=f"{dovecot.PASSWORD}\n", more=keyring)

    assert (refused.returncode, done.returncode) == (77, 0), done.stderr
    kept = json.loads(Path(keyring["DRAWER"]).read_text())
    assert kept == {f"bouncefiler|home/{user.name}": dovecot.PASSWORD}


def test_login_asks_for_the_urls_and_keeps_them_in_the_keyring(user: User, keyring: dict[str, str]) -> None:
    """From where the channel takes them."""
    user.configure('channels = ["notify"]')
    with webhook() as hook, webhook() as other:
        done = user.run("login", "home", "--notify", typed=f"{hook.url}\n{other.url}\n\n", more=keyring)
        tested = user.run("alert", "--test", more=keyring)

    assert done.returncode == 0, done.stderr
    assert "alerts can go to JSON, JSON" in done.stdout
    assert "bouncefiler alert --test -a home" in done.stdout
    kept = json.loads(Path(keyring["DRAWER"]).read_text())
    assert kept == {f"bouncefiler notify|home/{user.name}": f"{hook.url}\n{other.url}"}
    assert tested.returncode == 0, tested.stdout
    assert (len(hook.came), len(other.came)) == (1, 1)


@pytest.mark.parametrize("typed", [f"pigeon://{TOKEN}\n\n", f"{TOKEN}\n\n", "\n"])
def test_login_keeps_no_url_that_apprise_does_not_know(user: User, keyring: dict[str, str], typed: str) -> None:
    done = user.run("login", "home", "--notify", typed=typed, more=keyring)

    assert done.returncode == 78
    assert "URL" in done.stderr
    assert not Path(keyring["DRAWER"]).exists()


def test_login_checks_urls_that_are_kept_elsewhere(user: User) -> None:
    user.notify()

    assert "so there is nothing to keep" in user.run("login", "home", "--notify", urls=("ntfys://topic",)).stdout
    assert user.run("login", "home", "--notify", urls=(f"pigeon://{TOKEN}",)).returncode == 78


# --- the outbox


def test_only_the_url_that_failed_gets_the_alert_again(user: User) -> None:
    """And each of them gets it once; the state does not give the URLs away."""
    user.notify('"notify"')
    with webhook() as hook, webhook(status=500) as broken:
        desk = user.desk(hook.url, broken.url)
        desk.store.record(WAVE, [("notify", ALERT)], NOON)
        desk.deliver()
        desk.deliver()
        assert (len(hook.came), len(broken.came)) == (1, 1)

        broken.status = 200
        [waiting] = desk.store.alerts_waiting()
        assert re.fullmatch("notify:[0-9a-f]{8}", waiting.channel)
        assert "500" in waiting.why
        desk.store.alert_failed(waiting.id, NOON, waiting.why)  # as if the pause were over
        desk.deliver()
        desk.deliver()
        desk.leave()

    assert (len(hook.came), len(broken.came)) == (1, 2)
    state = b"".join(path.read_bytes() for path in user.state.parent.iterdir())
    assert ALERT.subject.encode() in state
    assert TOKEN.encode() not in state


def test_a_channel_that_hangs_keeps_no_bounce_from_being_filed(user: User) -> None:
    user.notify('"notify"')
    user.server.mailbox(user.name).store([Mail(BOUNCE.read_bytes(), NOON)])
    with open_store(user.state, holder="a test") as store:
        store.record(WAVE, [("notify", ALERT)], NOON)
    with webhook(status=None) as hook:
        process = user.start("clean", environ=user.environ(hook.url))
        deadline = time.monotonic() + 60
        while not hook.came and time.monotonic() < deadline:
            time.sleep(0.05)
        filed = len(user.messages("Bounces"))
        out, err = process.communicate(timeout=60)

    assert (len(hook.came), filed, process.returncode) == (1, 1, 0), err
    assert TOKEN not in out + err


# --- the letter


def test_the_letter_is_put_into_the_folder_that_the_server_names(postponing: Dovecot, tmp_path: Path) -> None:
    """As a draft, to nobody, in the account alone: nothing is sent."""
    user = User(postponing, postponing.new_user(), tmp_path)
    user.configure()
    user.server.mailbox(user.name).create("Drafts")
    done = user.run("notice")

    assert done.returncode == 0, done.stderr
    assert "is in the folder Postponed. Nothing was sent." in done.stdout
    assert "Bcc" in done.stdout
    [letter] = user.messages("Postponed")
    assert letter["Subject"] == "Strange mail in my name"
    assert not {"To", "Cc", "Bcc"} & set(letter.keys())
    assert user.flags("Postponed") == [frozenset({"\\Draft", "\\Seen"})]
    assert user.flags("Drafts") == []


def test_without_a_flag_the_folder_is_found_by_its_name(user: User) -> None:
    user.server.mailbox(user.name).create("Rascunhos")

    assert user.run("notice", "--language", "pt").returncode == 0
    [letter] = user.messages("Rascunhos")
    assert letter["Subject"] == "E-mails estranhos em meu nome"


def test_the_configured_folder_comes_first(user: User) -> None:
    user.configure(more='drafts_folder = "Letters"')
    user.server.mailbox(user.name).create("Drafts", "Letters")

    assert "Letters" in user.run("notice").stdout
    assert (len(user.messages("Letters")), user.messages("Drafts")) == (1, [])


@pytest.mark.parametrize("more", ["", 'drafts_folder = "Nowhere"'])
def test_without_a_folder_for_drafts_it_is_said_what_to_do(user: User, more: str) -> None:
    """None is made: it would be one that no mail program shows as such."""
    user.configure(more=more)
    done = user.run("notice")

    assert done.returncode == 73
    assert "`bouncefiler folders`" in done.stderr
    assert set(user.server.mailbox(user.name).snapshot()) <= {"INBOX", "Trash", "Quarantine", "Sent"}


@pytest.mark.parametrize(
    ("diagnosis", "option", "hacked"),
    [
        (None, [], False),
        (Diagnosis.BACKSCATTER, [], False),
        (Diagnosis.COMPROMISED, [], True),
        (Diagnosis.COMPROMISED, ["--forged"], False),
        (Diagnosis.BACKSCATTER, ["--hacked"], True),
    ],
)
def test_the_letter_fits_what_happened(
    user: User, diagnosis: Diagnosis | None, option: list[str], hacked: bool
) -> None:
    if diagnosis:
        with open_store(user.state, holder="a test") as store:
            store.record(Incident(diagnosis, NOON, NOON, 40, 0.3, 40, 40, closed=NOON + timedelta(days=1)), [], NOON)
    done = user.run("notice", "--print", *option)

    assert done.returncode == 0, done.stderr
    assert ("somebody got into my mail account" in done.stdout) is hacked
    assert ("Anybody can write any sender" in done.stdout) is not hacked
    assert user.server.mailbox(user.name).snapshot()["INBOX"] == ()


def test_the_letter_about_an_intruder_is_not_to_be_sent_at_once(user: User) -> None:
    user.server.mailbox(user.name).create("Drafts")

    assert "Change your password before you send it" in user.run("notice", "--hacked").stdout
