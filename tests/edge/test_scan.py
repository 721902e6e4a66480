"""The scan: the lean header fields of each message are put to the question once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.edge.imap.commands import MAX_LEAN, Refused
from bouncefiler.edge.imap.scan import Lean
from tests.edge.script import BODIES, FIELDS, SECTION, Script, answer, lean, noting


def test_each_message_is_put_to_the_question_once() -> None:
    """The fields arrive as the server sent them, in its order; those that are suspect come back ascending."""
    seen: list[bytes] = []
    server = Script(answer(2, 9, b"From: two\r\n\r\n") + answer(1, 4, b"From: one\r\n\r\n") + b"B1 OK done\r\n")

    assert server.ask(lean(1, 9, noting(seen))) == [Lean(2, (4, 9))]
    assert seen == [b"From: two\r\n\r\n", b"From: one\r\n\r\n"]


@pytest.mark.parametrize(
    "said",
    [
        b"* 1 FETCH (" + SECTION + b" {%d}\r\n%s UID 5)\r\n" % (len(FIELDS), FIELDS),  # another order
        b"* 1 FETCH (UID 5 FLAGS (\\Seen) " + SECTION + b" {%d}\r\n%s)\r\n" % (len(FIELDS), FIELDS),
        b"* 1 fetch (uid 5 body[header.fields (from subject)] {%d}\r\n%s)\r\n" % (len(FIELDS), FIELDS),
        b"* 1 FETCH (UID 5 " + SECTION + b" ~{%d}\r\n%s)\r\n" % (len(FIELDS), FIELDS),  # RFC 3516
        b'* 1 FETCH (UID 5 BODY[HEADER.FIELDS ("FROM" "SUBJECT")] {%d}\r\n%s)\r\n' % (len(FIELDS), FIELDS),
        b"* 1 FETCH (UID 5 " + SECTION + b" {%d}\r\n%s MODSEQ (77))\r\n" % (len(FIELDS), FIELDS),
        b"* 1 FETCH (UID 5 ENVELOPE (NIL ((NIL NIL {3}\r\na)b NIL)) NIL) "
        + SECTION
        + b" {%d}\r\n%s)\r\n" % (len(FIELDS), FIELDS),
        b"* 1 FETCH (FLAGS (a[b $c{5} UID) UID 5 " + SECTION + b" {%d}\r\n%s)\r\n" % (len(FIELDS), FIELDS),
    ],
)
def test_the_order_and_company_of_items_do_not_matter(said: bytes) -> None:
    """RFC 3501 gives FETCH items no order, and servers may add items that nobody asked for."""
    server = Script(said + b"B1 OK done\r\n")

    assert server.ask(lean(5, 5, lambda fields: fields == FIELDS)) == [Lean(1, (5,))]


@pytest.mark.parametrize(
    ("value", "fields"),
    [(b'""', b""), (b'"From: a\\"b\\\\ UID 99 )"', b'From: a"b\\ UID 99 )'), (b"{0}\r\n", b"")],
)
def test_fields_may_come_as_a_quoted_string(value: bytes, fields: bytes) -> None:
    """What stands inside a quoted string is never taken for protocol."""
    seen: list[bytes] = []
    server = Script(b"* 1 FETCH (UID 5 %s %s)\r\nB1 OK done\r\n" % (SECTION, value))

    server.ask(lean(5, 5, noting(seen)))

    assert seen == [fields]


def test_what_nobody_asked_for_is_passed_over() -> None:
    """Unsolicited responses may stand between the answers, with literals of their own."""
    server = Script(
        b"* 7 EXISTS\r\n"
        + answer(1, 5)
        + b"* 3 EXPUNGE\r\n* OK Still here {5}\r\n* 1 FETCH (FLAGS (\\Seen))\r\n* 2 FETCH (UID 6 FLAGS (\\Seen))\r\n"
        + b'* LIST () "/" {16}\r\n* 1 FETCH (UID 8\r\n* NO disk is getting full\r\n'
        + b"* 9 FETCH (UID 7 %s NIL)\r\n" % SECTION
        + answer(4, 99)
        + answer(2, 6)
        + b"B1 OK done\r\n"
    )

    assert server.ask(lean(5, 7)) == [Lean(2, (5, 6))]


def test_messages_before_the_date_are_passed_over() -> None:
    """INTERNALDATE decides, in whatever zone it is given; a message without a readable one is rather looked at."""
    dates = [
        b" 1-Mar-2026 00:30:00 +0100",
        b" 1-Mar-2026 00:30:00 +0000",
        b"28-Feb-2026 23:30:00 -0100",
        b"32-Mar-2026",
    ]
    said = b"".join(
        b'* %d FETCH (UID %d INTERNALDATE "%s" %s {%d}\r\n%s)\r\n' % (uid, uid, date, SECTION, len(FIELDS), FIELDS)
        for uid, date in enumerate(dates, 1)
    )
    late, early = (
        b'* 9 FETCH (UID %d %s {2}\r\n\r\n INTERNALDATE "%s")\r\n' % (uid, SECTION, date)  # another order
        for uid, date in ((8, b" 2-Mar-2026 00:00:00 +0000"), (9, b" 2-Feb-2026 00:00:00 +0000"))
    )
    server = Script(said + late + early + b"B1 OK done\r\n")

    assert server.ask(lean(1, 9, since=datetime(2026, 3, 1, tzinfo=UTC))) == [Lean(4, (2, 3, 4, 8))]


def test_a_huge_field_is_cut() -> None:
    """No more than MAX_LEAN octets of a message are held, and the next message is still found."""
    seen: list[bytes] = []
    big = b"Subject: " + b"x" * (MAX_LEAN + 10_000)
    server = Script(answer(1, 1, big) + answer(2, 2) + b"B1 OK done\r\n")

    server.ask(lean(1, 2, noting(seen)))

    assert [len(fields) for fields in seen] == [MAX_LEAN, len(FIELDS)]


def test_a_refused_window_says_nothing() -> None:
    """Half a window is not taken for a whole one."""
    server = Script(answer(1, 1) + b"B1 NO [SERVERBUG] sorry\r\n")
    command = lean(1, 2)
    server.pipe.send(command)

    with pytest.raises(Refused):
        next(server.pipe.answers(command))


@given(st.lists(BODIES, min_size=1, max_size=5), st.booleans(), st.integers(1, 40))
def test_any_lean_fields_in_any_pieces(bodies: list[bytes], dated: bool, piece: int) -> None:
    """On the short way and on the long one, each message's fields are put to the question as they are."""
    seen: list[bytes] = []
    date = b' INTERNALDATE " 1-Mar-2026 12:00:00 +0000"' if dated else b""
    answers = (b"* 1 FETCH (UID %d%s %s {%d}\r\n%s)\r\n" % (n, date, SECTION, len(b), b) for n, b in enumerate(bodies))
    server = Script(b"".join(answers) + b"B1 OK done\r\n", piece)

    assert server.ask(lean(0, 9, noting(seen), datetime(2026, 1, 1, tzinfo=UTC) if dated else None))[0].scanned == len(
        seen
    )
    assert seen == bodies
