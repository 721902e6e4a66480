"""Notifications arrive as they were written, or it is said why not; and their URLs are never seen anywhere."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread, Timer

import pytest

from bouncefiler.backscatter.advice import Alert, Level
from bouncefiler.backscatter.letters import Brief
from bouncefiler.edge import notify
from bouncefiler.edge.notify import messenger
from bouncefiler.errors import Undelivered
from tests.webhook import TOKEN, webhook

ALERT = Alert("wave 1", Level.CRITICAL, "Somebody may be in your mail account", "Hello.\n")
BRIEF = Brief("Somebody may be in your mail account", "Olá! <b>_1_</b> & [x]\n\n2. Zwei")


@pytest.fixture
def environ() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}


def refusal(url: str, environ: Mapping[str, str], seconds: float = 30) -> str:
    with pytest.raises(Undelivered) as caught:
        notify.send(url, ALERT, BRIEF, environ, seconds)
    told = "".join(traceback.format_exception(caught.value))
    assert TOKEN not in told
    assert url not in told
    return str(caught.value)


def test_it_arrives_as_it_was_written_with_its_level(environ: Mapping[str, str]) -> None:
    with webhook() as hook:
        notify.send(hook.url, ALERT, BRIEF, environ, 30)

    [(path, message)] = hook.came
    assert path == f"/{TOKEN}"
    assert (message["title"], message["message"], message["type"]) == (BRIEF.title, BRIEF.body, "failure")


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (404, "the service answered 404: there is nobody at that address"),
        (403, "the service answered 403: it refuses the token"),
        (429, "the service answered 429: too many"),
        (500, "the service answered 500; try again later"),
    ],
)
def test_a_service_that_refuses_is_reported_with_what_it_said(
    environ: Mapping[str, str], status: int, says: str
) -> None:
    with webhook(status=status) as hook:
        assert refusal(hook.url, environ).startswith(says)


def test_no_redirect_is_followed(environ: Mapping[str, str]) -> None:
    """Else a service could have us ask what it likes, in our own network."""
    with webhook() as other, webhook(status=302, location=f"http://127.0.0.1:{other.port}/inside") as hook:
        assert "not followed" in refusal(hook.url, environ)

    assert (len(hook.came), other.came) == (1, [])


def test_a_service_that_hangs_is_left_in_time(environ: Mapping[str, str]) -> None:
    with webhook(status=None) as hook:
        assert "in time" in refusal(hook.url, environ, 3)


def test_a_process_that_hangs_is_ended(environ: Mapping[str, str]) -> None:
    """Before it has done anything at all."""
    assert "in time" in refusal(f"json://127.0.0.1:1/{TOKEN}", environ, 0.01)


def test_a_service_that_is_not_there_is_reported(environ: Mapping[str, str]) -> None:
    assert "cannot be reached" in refusal(f"json://127.0.0.1:1/{TOKEN}", environ)


def test_an_answer_without_end_is_not_read(environ: Mapping[str, str]) -> None:
    with webhook(endless=True) as hook:
        notify.send(hook.url, ALERT, BRIEF, environ, 30)

    assert len(hook.came) == 1


@pytest.mark.parametrize("url", [f"pigeon://{TOKEN}", f"{TOKEN}", f"tgram://{TOKEN}", f"json://{TOKEN}:port/x"])
def test_a_url_that_apprise_does_not_know_is_reported(environ: Mapping[str, str], url: str) -> None:
    assert "apprise does not know" in refusal(url, environ)


def test_nothing_goes_unencrypted_over_the_internet(environ: Mapping[str, str]) -> None:
    """Nothing is even looked up: the name cannot exist (RFC 6761, 6.4)."""
    assert "unencrypted" in refusal(f"json://hooks.example.invalid/{TOKEN}", environ)


class Sink(StreamRequestHandler):
    """An SMTP server (RFC 5321) that takes one message, and refuses every password."""

    def handle(self) -> None:
        self.say("220 sink")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.say("250-sink\r\n250 AUTH PLAIN LOGIN")
            elif verb == b"AUTH":
                self.say("535 5.7.8 no")
            elif verb == b"DATA":
                self.say("354 go on")
                self.server.came = b"".join(iter(self.rfile.readline, b".\r\n"))  # type: ignore[attr-defined]
                self.say("250 ok")
            else:
                self.say("250 ok")

    def say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")


@pytest.fixture
def mail_server() -> Iterator[ThreadingTCPServer]:
    with ThreadingTCPServer(("127.0.0.1", 0), Sink) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def mailto(server: ThreadingTCPServer, who: str = "") -> str:
    port = server.server_address[1]
    return f"mailto://{who}127.0.0.1:{port}/?from=ana@example.org&to=rui@example.net&mode=insecure"


def test_a_mail_says_that_nobody_should_answer_it(environ: Mapping[str, str], mail_server: ThreadingTCPServer) -> None:
    """RFC 3834, 5: neither a person's holiday notice nor a server's bounce handling is to make a loop of it."""
    notify.send(mailto(mail_server), ALERT, BRIEF, environ, 30)

    message = message_from_bytes(mail_server.came, policy=default)  # type: ignore[attr-defined]
    assert (message["Auto-Submitted"], message["Subject"]) == ("auto-generated", BRIEF.title)


def test_a_mail_server_that_refuses_the_password_is_told_from_others(
    environ: Mapping[str, str], mail_server: ThreadingTCPServer
) -> None:
    assert "refused the user name or the password" in refusal(mailto(mail_server, f"ana:{TOKEN}@"), environ)


def test_no_mail_goes_unencrypted_over_the_internet(environ: Mapping[str, str]) -> None:
    url = f"mailto://ana:{TOKEN}@example.invalid?smtp=smtp.example.invalid&to=rui@example.net&mode=insecure"

    assert "unencrypted" in refusal(url, environ)


@pytest.mark.parametrize(
    ("url", "clear"),
    [
        ("http://example.org/x", True),
        ("http://198.51.100.7/x", False),  # for documentation: nowhere on the internet (RFC 5737)
        ("http://1.1.1.1/x", True),
        ("http://[2606:4700::1]/", True),
        ("https://example.org/x", False),
        ("http://localhost:8080/x", False),
        ("http://192.168.1.4/x", False),
        ("http://[::1]/x", False),
        ("http://nas/x", False),
        ("http://nas.local/x", False),
        ("http://local.example.org/x", True),
    ],
)
def test_what_is_nearby_may_be_plain(url: str, clear: bool) -> None:
    assert messenger.in_the_clear(url) is clear


def test_without_apprise_it_is_said_how_to_get_it(tmp_path: Path, environ: Mapping[str, str]) -> None:
    (tmp_path / "apprise.py").write_text("raise ImportError")

    with pytest.raises(Undelivered, match=r"pip install 'bouncefiler\[notify\]'"):
        notify.services(["ntfys://topic"], {**environ, "PYTHONPATH": str(tmp_path)}, 30)


def test_apprise_says_which_services_it_knows(environ: Mapping[str, str]) -> None:
    urls = ["ntfys://topic", f"json://127.0.0.1/{TOKEN}", f"pigeon://{TOKEN}"]

    assert notify.services(urls, environ, 30) == ("ntfy", "JSON", None)


def test_a_url_shows_in_no_log_and_no_output_of_ours(
    environ: Mapping[str, str], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever level anybody has set: apprise and what it uses log URLs."""
    with caplog.at_level(logging.DEBUG), webhook(status=500) as hook:
        refusal(hook.url, environ)

    captured = capfd.readouterr()
    assert hook.came
    assert TOKEN not in caplog.text + captured.out + captured.err
    assert "apprise" not in sys.modules


def test_a_url_shows_in_nothing_that_the_process_says(tmp_path: Path, environ: Mapping[str, str]) -> None:
    """Even if it is told to say all that it can: Python runs a sitecustomize first."""
    (tmp_path / "sitecustomize.py").write_text("import logging\nlogging.basicConfig(level=1)\nlogging.debug('awake')\n")
    with webhook(status=500) as hook:
        order = {"task": "send", "url": hook.url, "title": "t", "body": "b", "level": "info", "headers": {}}
        done = subprocess.run(
            [sys.executable, messenger.__file__],
            input=json.dumps(order),
            env={**environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

    assert "awake" in done.stderr
    assert json.loads(done.stdout) == {"why": "status", "detail": 500}
    assert TOKEN not in done.stdout + done.stderr


def test_a_url_is_not_in_the_list_of_processes() -> None:
    """While the service hangs, look at what everybody on the machine can see, and the process's own variables."""
    seen: list[bytes] = []

    def look() -> None:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                lines = [(process / name).read_bytes() for name in ("cmdline", "environ")]
            except OSError:
                continue
            if b"messenger.py" in lines[0]:
                seen.extend(lines)

    with webhook(status=None) as hook:
        timer = Timer(2.0, look)
        timer.start()
        refusal(hook.url, {"PATH": os.environ["PATH"]}, 4)
        timer.join()

    assert hook.came
    assert seen
    assert TOKEN.encode() not in b"".join(seen)


def test_what_the_process_answers_is_not_shown_as_it_is() -> None:
    """It has handled the URL: only words that we know come out of it."""
    assert TOKEN not in notify._in_words({"why": TOKEN, "detail": TOKEN})
    assert TOKEN not in notify._in_words({"why": "crash", "detail": f"x {TOKEN}"})
    assert not re.search(r"\{|None", notify._in_words({}))
