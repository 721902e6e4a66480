"""A bounce longer than what is read first: no further part can hide in it, and without one it is read only once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from bouncefiler.edge import imap
from bouncefiler.edge.memory import MemoryAccount, Stored
from bouncefiler.edge.store import open_for_reading
from bouncefiler.filing.plan import FilingPolicy, Plan
from bouncefiler.recognition import classify, lean, rulebook
from bouncefiler.recognition.message import read
from bouncefiler.recognition.verdict import Kind
from bouncefiler.sweep import (
    FIRST_OCTETS,
    MORE_OCTETS,
    FolderState,
    Reader,
    Reading,
    Recogniser,
    Scope,
    Task,
    Window,
    pages,
)
from tests.dovecot import PASSWORD, Dovecot, Mail, Variant
from tests.scripted import Part, playing

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = rulebook.load()
TASK = Task(
    Scope(("INBOX",)),
    Recogniser(lean.suspects, lambda raw, cut: classify.examine(raw, cut, RULES)),
    FilingPolicy(),
)

WORDS = b"Content-Type: text/plain\r\n\r\nYour message could not be delivered: 550 5.1.1 user unknown\r\n"
STATUS = (
    b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\n\r\n"
    b"Final-Recipient: rfc822; bo@example.com\r\nAction: failed\r\nStatus: 5.1.1\r\n"
)
RETURNED = b"Content-Type: message/rfc822\r\n\r\nFrom: ana@example.org\r\nTo: bo@example.com\r\nSubject: x\r\n\r\n"
LONG = RETURNED + b"a line of the returned message\r\n" * 1_000
ARCHIVE = b"Content-Type: application/zip; name=invoice.zip\r\n\r\nPK\r\n"


def report(*parts: bytes) -> bytes:
    head = (
        b"Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.example.net\r\nSubject: Undelivered Mail Returned to Sender\r\n"
        b"MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
    )
    return head + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


HONEST = report(WORDS, STATUS, LONG)
DRESSED = {
    "a file at the end": report(WORDS, STATUS, LONG, ARCHIVE),
    "a file behind a part of nothing": report(WORDS, STATUS, LONG, b"", ARCHIVE),
    "a file behind a part without a header": report(WORDS, STATUS, LONG, b"\r\nhello", ARCHIVE),
    "a file between two returned messages": report(WORDS, STATUS, LONG, ARCHIVE, LONG),
    "a file in a part of its own parts": report(
        WORDS, STATUS, LONG, b"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n" + ARCHIVE + b"\r\n--c--\r\n"
    ),
}


@dataclass
class Watched:
    """An account, and how often it was asked to read how much of how many messages."""

    reader: Reader
    asked: list[tuple[int, int]] = field(default_factory=list)

    def state(self, folder: str) -> FolderState | None:
        return self.reader.state(folder)

    def scan(self, *args: object) -> Iterator[Window]:
        return self.reader.scan(*args)  # type: ignore[arg-type]

    def read(self, state: FolderState, uids: Sequence[int], octets: int) -> Iterator[Reading]:
        self.asked.append((octets, len(uids)))
        return self.reader.read(state, uids, octets)

    def parts(self, state: FolderState, uids: Sequence[int]) -> Iterator[tuple[int, tuple[str, ...]]]:
        return self.reader.parts(state, uids)

    def headers(self, state: FolderState, first_uid: int) -> Iterator[Reading]:
        return self.reader.headers(state, first_uid)


def plan_of(reader: Reader, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    (plan,) = pages(reader, open_for_reading(tmp_path_factory.getbasetemp() / "none"), TASK)
    return plan


@pytest.fixture(params=["memory", pytest.param("dovecot", marks=pytest.mark.dovecot)])
def account_of(request: pytest.FixtureRequest) -> Iterator[Callable[[bytes], Watched]]:
    """Give an account with this one message."""
    if request.param == "memory":
        yield lambda raw: Watched(MemoryAccount.of([Stored(raw, NOON)]))
        return
    dovecots: Callable[[Variant], Dovecot] = request.getfixturevalue("dovecots")
    server = dovecots(Variant())
    user = server.new_user()
    opened = []

    def account(raw: bytes) -> Watched:
        server.mailbox(user).store([Mail(raw, NOON)])
        opened.append(imap.open_reader(server.server(user), PASSWORD))
        return Watched(opened[-1])

    yield account
    for reader in opened:
        reader.close()


@pytest.mark.parametrize("how", DRESSED)
def test_a_file_far_behind_the_report_gives_it_away(
    how: str, account_of: Callable[[bytes], Watched], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However it is put there: nothing of it is in the octets that are read first."""
    assert b"zip" not in DRESSED[how][:FIRST_OCTETS]

    plan = plan_of(account_of(DRESSED[how]), tmp_path_factory)

    assert not plan.moves
    assert [left.judged.verdict.kind for left in plan.left] == [Kind.IMITATION]


def test_a_bounce_that_ends_with_the_returned_message_is_read_once(
    account_of: Callable[[bytes], Watched], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The server says of which parts it consists; the verdict is that on the whole message."""
    account = account_of(HONEST)

    plan = plan_of(account, tmp_path_factory)

    (move,) = plan.moves
    whole, _ = classify.examine(HONEST, False, RULES)  # noqa: FBT003 - the protocol's shape
    assert move.judged.verdict.recipients == whole.recipients
    assert move.judged.verdict.original == whole.original
    assert move.judged.verdict.evidence == whole.evidence
    assert [(octets, uids) for octets, uids in account.asked if uids] == [(FIRST_OCTETS, 1)]


LONG_HEADER = RETURNED.replace(b"Subject: x", b"Subject: " + b"x" * 9_000)
ENCODED = RETURNED.replace(b"rfc822", b"rfc822\r\nContent-Transfer-Encoding: base64") + b"QUJD" * 9_000


@pytest.mark.parametrize(
    "raw",
    [
        HONEST[:400],
        HONEST.replace(b"boundary=b", b"boundary=other"),
        report(WORDS, STATUS + b"x" * 10_000),
        report(WORDS, STATUS, LONG_HEADER),
        report(WORDS, STATUS, ENCODED),
    ],
    ids=["words", "boundary", "report", "returned header", "encoded"],
)
def test_where_more_than_a_part_may_be_missing_nothing_is_promised(raw: bytes) -> None:
    """Not before the header of the returned message has come to its end, in plain sight."""
    assert read(raw[:FIRST_OCTETS], cut=True).begun == ()


def test_what_has_begun_is_told_in_its_order() -> None:
    """Of a message that was cut in its returned message; of a whole one nothing needs to be told."""
    assert read(HONEST[:FIRST_OCTETS], cut=True).begun == ("text/plain", "message/delivery-status", "message/rfc822")
    assert read(HONEST, cut=False).begun == ()


@pytest.mark.parametrize("status", ["BAD", "NO"])
def test_a_server_that_does_not_tell_the_parts_is_made_to_send_the_message(
    status: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It is read on, as far as it would be if the parts were others."""

    def fetched(command: str) -> bytes:
        octets = int(found[1]) if (found := re.search(r"<0\.(\d+)>", command)) else 0
        fields = HONEST.partition(b"\r\n\r\n")[0].partition(b"\r\n")[2] + b"\r\n\r\n"
        section, body = (b"BODY[]<0>", HONEST[:octets]) if octets else (b"BODY[HEADER.FIELDS (FROM)]", fields)
        about = b"RFC822.SIZE %d " % len(HONEST) if octets else b""
        return b"* 1 FETCH (UID 3 %s%s {%d}\r\n%s)\r\nTAG OK" % (about, section, len(body), body)

    part = Part({r"UID FETCH \S+ \(UID BODY\)": f"TAG {status} what?", "UID FETCH": fetched})
    with playing(part) as scripted, imap.open_reader(scripted.server(), PASSWORD) as reader:
        watched = Watched(reader)
        plan = plan_of(watched, tmp_path_factory)

    assert len(plan.moves) == 1
    assert [octets for octets, uids in watched.asked if uids] == [FIRST_OCTETS, MORE_OCTETS]
