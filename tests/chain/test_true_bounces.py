"""The whole chain: Postfix and Dovecot refuse, Postfix tells the sender, and bouncefiler files what then arrives."""

from __future__ import annotations

import json
import os
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import dovecot
from tests.chain import postfix

ANA = "ana@garden.example"
PATIENCE = 60.0
ROOM = 5
"""How many messages an account can hold."""

CONFIG = """\
[accounts.ana]
host = "127.0.0.1"
port = {port}
security = "plain"
user = "{user}"
password_from = {{ environment = "ANAS_PASSWORD" }}
"""


@dataclass(frozen=True, slots=True)
class Chain:
    """Both servers, and bouncefiler's own place."""

    imap: dovecot.Dovecot
    smtp: postfix.Postfix
    home: Path

    def send(self, recipient: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.smtp.port, timeout=30) as client:
            client.sendmail(ANA, [recipient], f"From: {ANA}\r\nTo: {recipient}\r\nSubject: Seeds\r\n\r\nHello!\r\n")

    def inbox_of(self, number: int) -> tuple[dovecot.Held, ...]:
        """Wait until so many messages are in Ana's INBOX, and return them."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            inbox = self.imap.mailbox(ANA).snapshot()["INBOX"]
            if len(inbox) >= number:
                return inbox
            time.sleep(0.1)
        pytest.fail(f"no {number} bounces within {PATIENCE} s:\n{self.smtp.log.read_text()}\n{self.imap.log()}")

    def bouncefiler(self, *arguments: str) -> str:
        places = {"XDG_CONFIG_HOME": str(self.home / "config"), "XDG_STATE_HOME": str(self.home / "state")}
        done = subprocess.run(
            [sys.executable, "-m", "bouncefiler", *arguments],
            env={**os.environ, **places, "ANAS_PASSWORD": dovecot.PASSWORD},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    dovecot.require()
    postfix.require()
    with dovecot.running(dovecot.Variant(quota_messages=ROOM)) as imap, postfix.running(imap.lmtp_port) as smtp:
        config = tmp_path / "config/bouncefiler/config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(CONFIG.format(port=imap.port, user=ANA), encoding="utf-8")
        yield Chain(imap, smtp, tmp_path)


@pytest.mark.dovecot
@pytest.mark.postfix
def test_true_bounces_are_filed_as_they_came(chain: Chain) -> None:
    """What real servers send back is recognised with its cause, and is in Bounces afterwards: whole, and unread."""

    full = "full@garden.example"
    chain.imap.mailbox(full).store([dovecot.Mail(b"Subject: old\r\n\r\nstill here\r\n")] * ROOM)
    chain.send("nobody@other.example")
    chain.send(full)
    came = chain.inbox_of(2)
    planned = [json.loads(line) for line in chain.bouncefiler("preview", "--json").splitlines()]
    chain.bouncefiler("clean")
    after = chain.imap.mailbox(ANA).snapshot()

    assert {(move["cause"], *move["recipients"]) for move in planned if move["what"] == "move"} == {
        ("user-unknown", "nobody@other.example"),
        ("mailbox-full", full),
    }
    assert after["INBOX"] == ()
    assert sorted(as_it_is(held) for held in after["Bounces"]) == sorted(as_it_is(held) for held in came)
    assert all("\\Seen" not in held.flags for held in after["Bounces"])


def as_it_is(held: dovecot.Held) -> tuple[str, str, list[str]]:
    return held.sha256, held.received_at, sorted(held.flags)
