"""Sent mail on a real server, and on one that plays Gmail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bouncefiler.edge import imap
from bouncefiler.edge.store import Store, open_store
from bouncefiler.errors import FolderRenumbered, Throttled, Unreachable
from bouncefiler.sent import MAX_ASKED, SentReport, Stretch, index
from tests.dovecot import PASSWORD, Dovecot, Mail, Mailbox, Variant
from tests.edge.test_account_contract import batch_of
from tests.edge.test_imap import Line, account_on
from tests.scripted import Answer, Part

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
def test_three_thousand_messages_and_then_the_new_ones(
    dovecots: Dovecots, store: Store, variant: Variant, folder: str
) -> None:
    """Read once, in few turns; then what came since, and nothing is changed by it: not a flag, not \\Recent."""
    mailbox = someone(dovecots(variant), 3_000, folder)
    before = mailbox.snapshot()
    line = Line()
    with imap.open_account(mailbox.dovecot.server(mailbox.user), PASSWORD, line) as account:
        report = index(account, store, (), NOW, Onlooker())
        turns = line.now.turns
        mailbox.deliver(sent(3_000), folder)
        again = index(account, store, (), NOW, Onlooker())
        commands = line.now.commands()

    assert (report.read, report.new, report.left) == (3_000, 3_000, 0)
    assert (again.read, again.new, again.left) == (1, 1, 0)
    assert store.sent_known(ids(*range(3_002))) == ids(*range(3_001))
    assert store.sent_burst(START, NOW).recipients == 3_001 * 2 + 1_001
    assert turns < 20
    assert not [command for command in commands if command.startswith(("SELECT", "UID STORE", "STORE"))]
    after = mailbox.snapshot()
    mailbox.expunge(folder, "3001")
    assert {**after, folder: after[folder][:-1]} == before


@pytest.mark.dovecot
def test_stopped_at_once_it_goes_on_with_other_work_and_resumes(dovecots: Dovecots, store: Store) -> None:
    """What was on its way when it stopped is not taken for anything else."""
    mailbox = someone(dovecots(Variant()), 3_200)
    with imap.open_account(mailbox.dovecot.server(mailbox.user), PASSWORD) as account:
        reports, starts = [], []
        for _ in range(4):
            reports.append(index(account, store, (), NOW, Onlooker(stop=True)))
            assert account.state("INBOX") is not None
            starts.append(store.sent_coverage().since)

    assert starts[:2] == [START + timedelta(hours=3_009), START + timedelta(hours=2_009)]
    assert [report.read for report in reports] == [200, 1_000, 1_000, 1_000]
    assert [report.left for report in reports] == [3_000, 2_000, 1_000, 0]
    assert store.sent_known(ids(*range(3_200))) == ids(*range(3_200))


@pytest.mark.dovecot
def test_a_folder_that_was_looked_at_can_still_be_filed_from(dovecots: Dovecots, store: Store) -> None:
    """EXAMINE is for the reading alone: who watches the folder of sent mail has its bounces moved."""
    mailbox = someone(dovecots(Variant()), 3)
    with imap.open_account(mailbox.dovecot.server(mailbox.user), PASSWORD) as account:
        state = account.look_at("Sent")
        assert state is not None
        account.prepare("Bounces")
        account.look_at("Sent")
        moved = account.move(batch_of(account, state, [2]))

    assert moved.uids == {2: 1}


@pytest.mark.dovecot
def test_a_folder_with_gaps_is_read_whole(dovecots: Dovecots, store: Store) -> None:
    mailbox = someone(dovecots(Variant()), 2_900)
    mailbox.expunge("Sent", "1:700,702:2899")
    with imap.open_account(mailbox.dovecot.server(mailbox.user), PASSWORD) as account:
        report = index(account, store, (), NOW, Onlooker())

    assert (report.read, report.left) == (2, 0)
    assert store.sent_known(ids(*range(2_900))) == ids(700, 2_899)
    assert store.sent_coverage().complete


@pytest.mark.dovecot
@pytest.mark.parametrize(
    "to",
    [b"x" * 1_000_000, b",\r\n ".join(b"p%d@x.example" % number for number in range(10_000)), b"\0\xff\x1b@\0.example"],
    ids=["megabyte", "ten-thousand", "nul"],
)
def test_a_monstrous_message_is_one_among_others(dovecots: Dovecots, store: Store, to: bytes) -> None:
    mailbox = dovecots(Variant()).mailbox(dovecots(Variant()).new_user())
    mailbox.store([])
    monster = Mail(b"Message-ID: <m1@example.org>\r\nTo: " + to + b"\r\nDate: x\r\n\r\ntext\r\n", START)
    mailbox.store([sent(0), monster, sent(2)], "Sent")
    with imap.open_account(mailbox.dovecot.server(mailbox.user), PASSWORD) as account:
        report = index(account, store, (), NOW, Onlooker())

    assert (report.new, report.trouble) == (3, ())
    assert store.sent_known(ids(0, 1, 2)) == ids(0, 1, 2)


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


# ── Gmail ────────────────────────────────────────────────────────────────────────────────────────────────────────────

GMAIL = "IMAP4rev1 UNSELECT IDLE NAMESPACE ID XLIST CHILDREN X-GM-EXT-1 UIDPLUS ENABLE MOVE ESEARCH SPECIAL-USE"
LISTED = (
    '* LIST (\\HasNoChildren) "/" "INBOX"\r\n'
    '* LIST (\\HasChildren \\Noselect) "/" "[Gmail]"\r\n'
    '* LIST (\\All \\HasNoChildren) "/" "[Gmail]/Todos os e-mails"\r\n'
    '* LIST (\\HasNoChildren \\Sent) "/" "[Gmail]/E-mails enviados"\r\n'
    '* LIST (\\HasNoChildren) "/" "Enviados"\r\n'
    "TAG OK Success"
)


def fetched(**messages: str) -> Callable[[str], str]:
    """Answer with the Message-IDs of these UIDs, as far as they are asked for."""

    def answer(command: str) -> str:
        asked = command.split()[2].split(",")
        lines = []
        for name, field_body in messages.items():
            if (uid := name.removeprefix("uid")) in asked:
                block = f"Message-ID: {field_body}\r\n\r\n"
                section = "BODY[HEADER.FIELDS (MESSAGE-ID)]"
                lines.append(f"* {uid} FETCH (UID {uid} {section} {{{len(block)}}}\r\n{block})\r\n")
        return "".join(lines) + "TAG OK Success"

    return answer


def gmail(answers: dict[str, Answer], capabilities: str = GMAIL) -> Part:
    namespace = '* NAMESPACE (("" "/")) NIL NIL\r\nTAG OK Success'
    return Part({"NAMESPACE": namespace, 'LIST "" "\\*"': LISTED, **answers}, capabilities=capabilities)


def test_all_mail_knows_what_is_in_no_folder_of_sent_mail() -> None:
    """One question an id, all in one turn; what is found is looked at, for the search goes by words."""
    found = "* SEARCH 4 9\r\nTAG OK SEARCH completed (Success)"
    part = gmail(
        {
            "UID SEARCH .*sent-1@": found,
            "UID SEARCH": "* SEARCH\r\nTAG OK SEARCH completed (Success)",
            "UID FETCH": fetched(uid4="<sent-1@mail.GMAIL.com>", uid9="<sent-1@mail.gmail.com.example>"),
        }
    )
    with account_on(part) as (account, scripted):
        known = account.find_in_all_mail(["<sent-1@mail.gmail.com>", "forged@gmail.com", "<sent-1@mail.gmail.com.x>"])

    assert known == {"<sent-1@mail.gmail.com>"}
    commands = scripted.commands()
    assert 'EXAMINE "[Gmail]/Todos os e-mails"' in commands
    assert [command for command in commands if "X-GM-RAW" in command] == [
        'UID SEARCH X-GM-RAW "in:sent rfc822msgid:sent-1@mail.gmail.com"',
        'UID SEARCH X-GM-RAW "in:sent rfc822msgid:forged@gmail.com"',
        'UID SEARCH X-GM-RAW "in:sent rfc822msgid:sent-1@mail.gmail.com.x"',
    ]
    assert not [command for command in commands if command.startswith("SELECT")]


@pytest.mark.parametrize(
    "id_",
    [
        '<a" OR in:anywhere@x.example>',
        "<a@x.example OR in:inbox>",
        "<a@x.example} in:inbox>",
        "<-in:sent@x.example>",
        "<a:b@x.example>",
        "<(a)@x.example>",
        "<é@x.example>",
        "<no-domain>",
        "<" + "a" * 300 + "@x.example>",
        "",
    ],
)
def test_an_id_that_is_more_than_one_is_never_asked_for(id_: str) -> None:
    """It comes out of untrusted mail, and Gmail's search has a language of its own."""
    with account_on(gmail({})) as (account, scripted):
        assert account.find_in_all_mail([id_]) == frozenset()

    assert not [command for command in scripted.commands() if "SEARCH" in command]


def test_a_folded_id_is_asked_for_in_one_piece() -> None:
    with account_on(gmail({"UID SEARCH": "* SEARCH\r\nTAG OK done"})) as (account, scripted):
        account.find_in_all_mail(["<a\r\n b@x.example>"])

    assert 'UID SEARCH X-GM-RAW "in:sent rfc822msgid:ab@x.example"' in scripted.commands()


def test_elsewhere_all_mail_is_not_asked() -> None:
    with account_on(gmail({}, "IMAP4rev1 UIDPLUS MOVE")) as (account, scripted):
        assert account.find_in_all_mail(["<a@x.example>"]) == frozenset()

    assert not [command for command in scripted.commands() if "SEARCH" in command]


def test_no_more_is_asked_at_a_time_than_is_promised() -> None:
    with account_on(gmail({"UID SEARCH": "* SEARCH\r\nTAG OK done"})) as (account, scripted):
        account.find_in_all_mail([f"<{number}@x.example>" for number in range(MAX_ASKED + 10)])

    assert len([command for command in scripted.commands() if "SEARCH" in command]) == MAX_ASKED


def test_a_search_that_is_refused_is_trouble_and_not_a_miss() -> None:
    refused = "TAG NO [THROTTLED] slow down"
    with account_on(gmail({"UID SEARCH": refused})) as (account, _), pytest.raises(Throttled):
        account.find_in_all_mail(["<a@x.example>"])


def test_sent_folders_are_those_marked_and_those_of_a_usual_name() -> None:
    with account_on(gmail({})) as (account, _):
        assert account.sent_folders() == ("[Gmail]/E-mails enviados", "Enviados")


def test_other_peoples_sent_mail_is_not_ours() -> None:
    part = Part(
        {
            "NAMESPACE": '* NAMESPACE (("" "/")) (("Other Users/" "/")) (("Shared/" "/"))\r\nTAG OK done',
            'LIST "" "\\*"': '* LIST (\\Sent) "/" "Other Users/bob/Sent"\r\n* LIST (\\Sent) "/" "Shared/Sent"\r\n'
            '* LIST () "/" "Sent"\r\nTAG OK done',
        },
        capabilities="IMAP4rev1 NAMESPACE UIDPLUS MOVE",
    )
    with account_on(part) as (account, _):
        assert account.sent_folders() == ("Sent",)


# ── servers with habits ──────────────────────────────────────────────────────────────────────────────────────────────


def sent_answer(*refused: int, order: str = "UID {uid} INTERNALDATE {date} {fields}") -> Callable[[str], str]:
    """Answer with messages 1 to 3 as far as they are asked for, and at the end with NO if a refused one was."""

    def answer(command: str) -> str:
        first, _, last = command.split()[2].partition(":")
        asked = [uid for uid in (1, 2, 3) if int(first) <= uid <= int(last or first)]
        lines = []
        for uid in asked:
            if uid in refused:
                continue
            block = sent(uid).raw.partition(b"Bcc")[0].partition(b"\r\n")[2].decode() + "\r\n"
            said = order.format(
                uid=uid,
                date='" 1-Mar-2026 12:00:00 +0000"',
                fields=f"BODY[HEADER.FIELDS (X)] {{{len(block)}}}\r\n{block}",
            )
            lines.append(f"* {uid} FETCH ({said})\r\n")
        refusal = "TAG NO [UNAVAILABLE] UID FETCH Server error - Please try again later"
        return "".join(lines) + (refusal if set(asked) & set(refused) else "TAG OK done")

    return answer


@pytest.mark.parametrize("order", ["UID {uid} INTERNALDATE {date} {fields}", "INTERNALDATE {date} {fields} UID {uid}"])
def test_the_items_may_come_in_any_order(store: Store, order: str) -> None:
    with account_on(Part({"UID FETCH": sent_answer(order=order)})) as (account, _):
        report = index(account, store, ("Sent",), NOW, Onlooker())

    assert report.new == 3
    assert store.sent_known(ids(0, 1, 2, 3)) == ids(1, 2, 3)


@pytest.mark.parametrize("refused", [(1,), (2,), (3,), (1, 3), (1, 2, 3)])
def test_messages_that_the_server_refuses_are_left_out(store: Store, refused: tuple[int, ...]) -> None:
    """Yahoo refuses some for ever: the others are read, and the folder counts as read."""
    with account_on(Part({"UID FETCH": sent_answer(*refused)})) as (account, _):
        report = index(account, store, ("Sent",), NOW, Onlooker())

    assert (report.read, report.new, report.left) == (3 - len(refused), 3 - len(refused), 0)
    assert store.sent_known(ids(1, 2, 3)) == ids(*({1, 2, 3} - {*refused}))
    assert store.sent_coverage().complete


def test_messages_that_nobody_asked_for_are_not_taken(store: Store) -> None:
    block = "Message-ID: <m9@example.org>\r\n\r\n"
    line = f'* 9 FETCH (UID 9 INTERNALDATE " 1-Mar-2026 12:00:00 +0000" BODY[HEADER.FIELDS (X)] {{{len(block)}}}\r\n'
    with account_on(Part({"UID FETCH": f"{line}{block})\r\nTAG OK done"})) as (account, _):
        report = index(account, store, ("Sent",), NOW, Onlooker())

    assert report.read == 0
    assert store.sent_known(["<m9@example.org>"]) == frozenset()


def test_a_server_that_does_not_end_is_left(store: Store) -> None:
    """More messages in an answer than were asked for can only be made up."""
    block = "Message-ID: <m@example.org>\r\n\r\n"

    def endless(_command: str) -> str:
        return "".join(
            f'* {uid} FETCH (UID {uid} INTERNALDATE "x" BODY[HEADER.FIELDS (X)] {{{len(block)}}}\r\n{block})\r\n'
            for uid in range(1, 5_000)
        )

    selected = "* 3 EXISTS\r\n* OK [UIDVALIDITY 7]\r\n* OK [UIDNEXT 900000]\r\nTAG OK [READ-ONLY] done"
    part = Part({"EXAMINE": selected, "FETCH": "TAG OK no numbers", "UID FETCH": endless})
    with account_on(part) as (account, _):
        report = index(account, store, ("Sent",), NOW, Onlooker())

        assert "more messages than there are" in report.trouble[0]
        with pytest.raises(Unreachable):
            account.noop()
