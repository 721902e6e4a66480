"""The whole job on every sort of server that can be started: preview, clean, clean again; or a clear refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bouncefiler.errors import CannotMove
from bouncefiler.settings import Security
from tests import servers
from tests.dovecot import Dovecot, Snapshot, Variant
from tests.test_main_job import User, identities, mailbox

SIZE, EVERY = 60, 4
DOVECOTS: dict[str, tuple[Variant, Security]] = {
    "TLS": (Variant(), Security.TLS),
    "STARTTLS": (Variant(), Security.STARTTLS),
    "without MOVE": (Variant(move=False), Security.PLAIN),
    "INBOX.": (Variant(prefix="INBOX.", separator="."), Security.PLAIN),
    "INBOX. without MOVE": (Variant(move=False, prefix="INBOX.", separator="."), Security.PLAIN),
}
ACL = Variant(acl=True)


def user_on(server: Dovecot, home: Path, security: Security = Security.PLAIN) -> User:
    user = User(server, server.new_user(), home)
    port = server.tls_port if security is Security.TLS else server.port
    trusted = {} if security is Security.PLAIN else {"ca_file": str(server.certificate)}
    user.configure(port=port, security=security.value, **trusted)
    user.fill(mailbox(SIZE, EVERY))
    return user


def do_the_job(user: User) -> None:
    """What was announced is done and nothing else; done again, it is nothing."""
    before = user.snapshot()
    previewed = [record for record in user.records("preview") if record["what"] == "move"]
    assert user.snapshot() == before

    cleaned = [record for record in user.records("clean") if record["what"] == "move"]
    after = user.snapshot()

    assert cleaned == previewed
    assert len(previewed) == SIZE // EVERY
    assert _sizes(user, after) == {"INBOX": SIZE - SIZE // EVERY, "Bounces": SIZE // EVERY}
    assert identities(after) == identities(before)
    assert user.records("clean")[-1]["moved"] == 0
    assert user.snapshot() == after


def _sizes(user: User, snapshot: Snapshot) -> dict[str, int]:
    prefix = user.server.variant.prefix
    return {name.removeprefix(prefix): len(held) for name, held in snapshot.items() if held}


@pytest.mark.dovecot
@pytest.mark.parametrize("name", DOVECOTS)
def test_the_job_is_done_on_dovecot(name: str, dovecots: Callable[[Variant], Dovecot], tmp_path: Path) -> None:
    """In whatever way it is reached, and with whatever it can do."""
    variant, security = DOVECOTS[name]

    do_the_job(user_on(dovecots(variant), tmp_path, security))


@pytest.mark.servers
@pytest.mark.parametrize("name", servers.OTHERS)
def test_the_job_is_done_on_others(name: str, others: Callable[[str], Dovecot], tmp_path: Path) -> None:
    """On Courier and on Cyrus."""
    do_the_job(user_on(others(name), tmp_path))


@pytest.mark.dovecot
@pytest.mark.parametrize("folder", ["INBOX", "Bounces"])
def test_what_may_only_be_read_is_left_alone(
    folder: str, dovecots: Callable[[Variant], Dovecot], tmp_path: Path
) -> None:
    """A source that gives nothing away, or a target that takes nothing: said at once, and nothing has changed."""
    user = user_on(dovecots(ACL), tmp_path)
    box = user.server.mailbox(user.name)
    if folder != "INBOX":
        box.create(folder)
    box.grant(folder, "lr")
    before = user.snapshot()

    done = user.run("clean")

    assert done.returncode == CannotMove.exit_code
    assert f"'{folder}'" in done.stderr
    assert "Traceback" not in done.stderr
    assert {name: held for name, held in user.snapshot().items() if held} == {"INBOX": before["INBOX"]}
    assert user.run("preview").returncode == 0
