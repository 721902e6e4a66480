"""Sent mail on a real server, and on one that plays Gmail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bouncefiler.edge import imap
from bouncefiler.edge.store import Store, open_store
from bouncefiler.errors import FolderRenumbered
from bouncefiler.sent import SentReport, Stretch, index
from tests.dovecot import PASSWORD, Dovecot, Mail, Mailbox, Variant
from tests.edge.test_imap import Line

Dovecots = Callable[[Variant], Dovecot]

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW = START + timedelta(days=300)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "a.sqlite3", holder="tests") as opened:
        yield opened


@dataclass(frozen=True, slots=True)
class Onlooker:
    stop: bool = False

    def sent_read(self, _report: SentReport) -> None:
        pass

    def stopping(self) -> bool:
        return self.stop


def sent(number: int) -> Mail:
    at = START + timedelta(hours=number)
    raw = (
        f"Return-Path: <ann@example.org>\r\nMessage-ID: <m{number}@example.org>\r\n"
        f"Date: {at:%a, %d %b %Y %H:%M:%S +0000}\r\nFrom: Ann <ann@example.org>\r\n"
        f"To: friend{number % 5}@example.net,\r\n\tother{number % 3}@example.net\r\nBcc: secret@example.net\r\n"
        f"Subject: number {number}\r\n\r\ntext\r\n"
    )
    return Mail(raw.encode(), at)


def ids(*numbers: int) -> frozenset[str]:
    return frozenset(f"<m{number}@example.org>" for number in numbers)


def someone(dovecot: Dovecot, number: int, folder: str = "Sent") -> Mailbox:
    mailbox = dovecot.mailbox(dovecot.new_user())
    mailbox.store([])
    mailbox.store(map(sent, range(number)), folder)
    return mailbox


@pytest.mark.dovecot
@pytest.mark.parametrize(
    ("variant", "folder"),
    [
        (Variant(), "Sent"),
        (Variant(without=("SPECIAL-USE", "LIST-EXTENDED")), "Itens enviados"),
        (Variant(prefix="INBOX.", separator="."), "INBOX.Sent Items"),
    ],
    ids=["special-use", "by-name", "below-inbox"],
)
def test_two_thousand_messages_and_then_the_new_ones(
    dovecots: Dovecots, store: Store, variant: Variant, folder: str
) -> None:
    """Read once, in few turns; then what came since, and nothing is changed by it: not a flag, not \\Recent."""
    mailbox = someone(dovecots(variant), 2_000, folder)
    before = mailbox.snapshot()
    line = Line()
    with imap.open_account(mailbox.dovecot.server(mailbox.user), PASSWORD, line) as account:
        report = index(account, store, (), NOW, Onlooker())
        turns = line.now.turns
        mailbox.deliver(sent(2_000), folder)
        again = index(account, store, (), NOW, Onlooker())
        commands = line.now.commands()

    assert (report.read, report.new, report.left) == (2_000, 2_000, 0)
    assert (again.read, again.new, again.left) == (1, 1, 0)
    assert store.sent_known(ids(*range(2_002))) == ids(*range(2_001))
    assert store.sent_burst(START, NOW).recipients == 2_001 * 2 + sum(1 for n in range(2_001) if n >= 1_000)
    assert turns < 20
    assert not [command for command in commands if command.startswith(("SELECT", "UID STORE", "STORE"))]
    after = mailbox.snapshot()
    mailbox.expunge(folder, "2001")
    assert {**after, folder: after[folder][:-1]} == before


@pytest.mark.dovecot
def test_stopped_at_once_it_goes_on_with_other_work_and_resumes(dovecots: Dovecots, store: Store) -> None:
    """What was on its way when it stopped is not taken for anything else."""
    mailbox = someone(dovecots(Variant()), 1_700)
    with imap.open_account(mailbox.dovecot.server(mailbox.user), PASSWORD) as account:
        reports = []
        for _ in range(4):
            reports.append(index(account, store, (), NOW, Onlooker(stop=True)))
            assert account.state("INBOX") is not None

    assert [report.read for report in reports] == [200, 500, 500, 500]
    assert [report.left for report in reports] == [1_500, 1_000, 500, 0]
    assert store.sent_known(ids(*range(1_700))) == ids(*range(1_700))


@pytest.mark.dovecot
def test_a_folder_with_gaps_is_read_whole(dovecots: Dovecots, store: Store) -> None:
    mailbox = someone(dovecots(Variant()), 900)
    mailbox.expunge("Sent", "1:700,702:899")
    with imap.open_account(mailbox.dovecot.server(mailbox.user), PASSWORD) as account:
        report = index(account, store, (), NOW, Onlooker())

    assert (report.read, report.left) == (2, 0)
    assert store.sent_known(ids(*range(900))) == ids(700, 899)
    assert store.sent_coverage().complete


@pytest.mark.dovecot
def test_numbered_anew_in_between_is_said(dovecots: Dovecots) -> None:
    mailbox = someone(dovecots(Variant()), 3)
    with imap.open_account(mailbox.dovecot.server(mailbox.user), PASSWORD) as account:
        state = account.look_at("Sent")
        assert state is not None
        account.state("INBOX")
        mailbox.renumber("Sent")

        with pytest.raises(FolderRenumbered):
            list(account.header_fields(state, Stretch(range(1, 4)), lambda fields, _at: fields))
