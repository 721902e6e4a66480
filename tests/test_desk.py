"""Reading sent mail comes after filing and is never in its way."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bouncefiler.desk import MAX_REFUSALS, Desk, at_work
from bouncefiler.errors import LoginRefused, Throttled, TokenRefused
from bouncefiler.filing.plan import Plan
from bouncefiler.sent import SentReport
from bouncefiler.settings import Account, EnvironmentVariable, Settings, TokenCommand
from bouncefiler.sweep import Report, Scope
from tests.scripted import SELECTED, Answer, Part, Scripted, playing

LISTED = '* LIST () "/" "INBOX"\r\n* LIST (\\Sent) "/" "Sent"\r\nTAG OK done'


@dataclass(frozen=True, slots=True)
class Onlooker:
    def check(self, plan: Plan) -> None:
        pass

    def done(self, plan: Plan, report: Report) -> None:
        pass

    def sent_read(self, report: SentReport) -> None:
        pass

    def stopping(self) -> bool:
        return False


@contextmanager
def desk_at(
    answers: Mapping[str, Answer], state: Path, sent_folders: tuple[str, ...] = ()
) -> Iterator[tuple[Desk, Scripted]]:
    """The desk of an account on a server that plays a part, with an INBOX in which nothing is found."""
    part = Part({'LIST "" "\\*"': LISTED, **answers, "UID FETCH": "TAG OK done"})
    with playing(part) as scripted:
        account = Account("home", scripted.server(), EnvironmentVariable("SECRET"), sent_folders=sent_folders)
        settings = Settings(state / "config.toml", {"home": account}, state)
        with at_work(account, settings, {"SECRET": "secret"}, "tests") as desk:
            yield desk, scripted


def sweep(desk: Desk) -> Report:
    watcher = Onlooker()
    return desk.sweep(Scope(("INBOX",)), watcher, "tests", watcher)


def looked_at(scripted: Scripted) -> list[str]:
    return [command for command in scripted.commands() if command.startswith("EXAMINE")]


def test_sent_mail_is_read_after_the_sweep_has_ended(tmp_path: Path) -> None:
    with desk_at({}, tmp_path) as (desk, scripted):
        sweep(desk)

        commands = scripted.commands()
        assert commands.index('SELECT "INBOX"') < commands.index('EXAMINE "Sent"')
        assert desk.sent == SentReport(("Sent",))
        assert not desk.sent_is_due()
        assert desk.store.sent_coverage().complete


def said_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "bouncefiler"]


@pytest.mark.parametrize(
    "answer",
    [
        "TAG NO [SERVERBUG] internal error",
        "TAG NO not\tto\x1b[2J you",
        None,
        "* OK [UIDVALIDITY 0]\r\nTAG OK done",
        "what?",
    ],
    ids=["no", "hostile", "hang-up", "no-uidvalidity", "garbled"],
)
def test_trouble_with_sent_mail_is_one_line_and_keeps_nothing_from_being_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: Answer
) -> None:
    """Filing goes on, in the next sweep too; and the line is not said again and again."""
    with desk_at({"EXAMINE": answer}, tmp_path) as (desk, _), caplog.at_level(logging.INFO):
        assert sweep(desk) == Report()
        assert sweep(desk) == Report()

        (said,) = said_in(caplog)
        assert said.startswith("home: sent mail was not read: ")
        assert said.isprintable()
        assert len(desk.store.runs()) == 2


def test_a_connection_that_breaks_over_sent_mail_is_not_broken_again_at_once(tmp_path: Path) -> None:
    with desk_at({"EXAMINE": None}, tmp_path) as (desk, scripted):
        sweep(desk)
        sweep(desk)

        assert len(looked_at(scripted)) == 1
        assert desk.sent is None


def test_one_folder_that_cannot_be_read_keeps_nobody_from_the_others(tmp_path: Path) -> None:
    """But then it cannot be said of any message that it was not sent."""
    answers = {'EXAMINE "Closed"': "TAG NO [NOPERM] not yours"}
    with desk_at(answers, tmp_path, ("Closed", "Sent")) as (desk, _):
        sweep(desk)

        assert desk.sent is not None
        assert desk.sent.folders == ("Sent",)
        assert "not yours" in desk.sent.trouble[0]
        coverage = desk.store.sent_coverage()
        assert (coverage.complete, coverage.since, coverage.until) == (False, None, None)


def test_a_pause_that_the_server_asks_for_is_kept(tmp_path: Path) -> None:
    """The sweep is written down as ended, then the caller is told to wait."""
    with desk_at({"EXAMINE": "TAG NO [THROTTLED] slow down"}, tmp_path) as (desk, _):
        with pytest.raises(Throttled):
            sweep(desk)

        assert desk.store.runs()[0].ended is not None


def test_a_mailbox_without_sent_mail_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    none = '* LIST () "/" "INBOX"\r\nTAG OK done'
    with desk_at({'LIST "" "\\*"': none}, tmp_path) as (desk, _), caplog.at_level(logging.INFO):
        sweep(desk)
        sweep(desk)

        (said,) = said_in(caplog)
        assert "there is no folder of sent mail" in said
        assert "sent_folders" in said


def test_a_configured_folder_that_there_is_not_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    answers = {'LIST "" "Gone"': "TAG OK none", 'EXAMINE "Gone"': "TAG NO [NONEXISTENT] none"}
    with desk_at(answers, tmp_path, ("Sent", "Gone")) as (desk, _), caplog.at_level(logging.INFO):
        sweep(desk)

        assert desk.sent == SentReport(("Sent",))
        assert "there is no folder 'Gone'," in said_in(caplog)[0]


def test_a_password_that_was_refused_twice_is_sent_no_third_time(tmp_path: Path) -> None:
    """Servers lock accounts after a few more, and a program that is started again and again would see to that."""
    with desk_at({"(LOGIN|AUTHENTICATE)": "TAG NO [AUTHENTICATIONFAILED] wrong"}, tmp_path) as (desk, scripted):
        for _ in range(4):
            with pytest.raises(LoginRefused):
                sweep(desk)
        sent = [command for command in scripted.commands() if command.startswith(("LOGIN", "AUTHENTICATE"))]

    assert len(sent) == MAX_REFUSALS == 2


def test_a_token_that_is_refused_does_not_keep_the_next_from_being_tried(tmp_path: Path) -> None:
    """It locks no account; and the program that prints it may print the same for an hour."""
    offered = "* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\nTAG OK done"
    answers = {"AUTHENTICATE": "TAG NO AUTHENTICATE failed", "CAPABILITY": offered}
    with desk_at(answers, tmp_path) as (desk, scripted):
        server = replace(desk.account.server, oauth=True)
        desk.account = replace(desk.account, server=server, credential=TokenCommand(("echo", "token")))
        for _ in range(4):
            with pytest.raises(TokenRefused):
                sweep(desk)

    assert len([command for command in scripted.commands() if command.startswith("AUTHENTICATE")]) == 4


def test_clean_of_an_empty_mailbox_loads_nothing_that_it_has_no_use_for(tmp_path: Path) -> None:
    """Whoever starts it each minute pays for what it loads each minute."""
    needless = {
        *("apprise", "apscheduler", "asyncio", "dkim", "dns", "google", "jinja2", "keyring", "re2", "rich"),
        *(f"bouncefiler.backscatter.{name}" for name in ("dmarc", "posture", "records", "spf")),
        *(
            f"bouncefiler.recognition.{name}"
            for name in ("case", "classify", "disguise", "message", "rule", "rulebook")
        ),
        *(
            f"bouncefiler.{name}"
            for name in ("edge.dkim", "edge.dns", "report.page", "report.status", "service", "shift")
        ),
    }
    config = tmp_path / "config.toml"
    code = (
        "import sys; from bouncefiler.cli import main; main(sys.argv[1:], standalone_mode=False); print(*sys.modules)"
    )

    part = Part({'LIST "" "\\*"': LISTED, "(SELECT|EXAMINE)": SELECTED.replace("3 EXISTS", "0 EXISTS")})
    with playing(part) as scripted:
        config.write_text(
            f'state_dir = "state"\n[accounts.home]\nhost = "127.0.0.1"\nport = {scripted.server().port}\n'
            'user = "ann"\nsecurity = "plain"\npassword_from = { environment = "SECRET" }\n'
        )
        done = subprocess.run(
            [sys.executable, "-c", code, "--config", str(config), "clean"],
            capture_output=True,
            env={**os.environ, "SECRET": "secret"},
            text=True,
            check=True,
            timeout=60,
        )

    loaded = set(done.stdout.split())
    assert {"bouncefiler.desk", "bouncefiler.lookout", "bouncefiler.sweep", "imapclient", "pydantic"} <= loaded
    assert not needless & loaded
