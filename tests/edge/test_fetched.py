"""FETCH responses: whatever a mail contains, it is read as it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.edge.imap.commands import Parts
from bouncefiler.edge.imap.fetched import Fetched, internaldate
from bouncefiler.edge.imap.wire import Garbled, Lost
from tests.edge.script import BODIES, Script, messages

NO_MORE = b' NIL NIL NIL "7BIT" 3 1'


@pytest.mark.parametrize(
    ("body", "types"),
    [
        (b'(("TEXT" "PLAIN"%s)("message" "rfc822"%s) "report")' % (NO_MORE, NO_MORE), ("text/plain", "message/rfc822")),
        (b'((("text" "plain"%s)("text" "html"%s) "alternative")("image" "png"%s) "mixed")' % ((NO_MORE,) * 3),
         ("multipart/alternative", "image/png")),
        (b'(("text" "plain" ("name" "a (b) \\" c")%s) "mixed")' % NO_MORE, ("text/plain",)),
        (b'(("text" "plain" ("name" {7}\r\n) "x" ()%s) "mixed")' % NO_MORE, ("text/plain",)),
        (b'("text" "plain"%s)' % NO_MORE, None),
        (b'(("text" "plain"%s)' % NO_MORE, None),
    ],
)  # fmt: skip
def test_the_types_of_parts_are_found(body: bytes, types: tuple[str, ...] | None) -> None:
    """Whatever stands beside them; where the answer is not clear there is none."""
    line = b"* 1 FETCH (UID 5 BODY " + body + b")\r\n"
    server = Script(line + b"B1 OK done\r\n")

    told = server.ask(Parts(b"UID FETCH", {5}))

    assert [item.parts for item in told] == ([types] if types else [])


@pytest.mark.parametrize(
    "monstrous",
    [
        b"* 1 FETCH (UID 5 BODY (" + b'("text" "plain")' * 200_000 + b' "mixed"))\r\n',
        b"* 1 FETCH (UID 5 BODY (" + b'("text" "plain" ("n" {1}\r\nx))' * 200 + b' "mixed"))\r\n',
        b"* 1 FETCH (UID 5 BODY (" + b'("text" "plain")' * 200_000 + b' {3}\r\nB1 "mixed"))\r\n',
    ],
    ids=["line", "literals", "literal behind a line"],
)
def test_a_monstrous_structure_is_passed_over(monstrous: bytes) -> None:
    """Whoever writes a mail makes its structure: it must not cost us the connection."""
    fine = b'* 2 FETCH (UID 6 BODY (("text" "plain" NIL) "mixed"))\r\n'
    server = Script(monstrous + fine + b"B1 OK done\r\n")

    assert [item.uid for item in server.ask(Parts(b"UID FETCH", {5, 6}))] == [6]


def test_a_message_is_read_with_its_facts() -> None:
    """UID, INTERNALDATE with its zone, size, flags and the first octets."""
    server = Script(
        b'* 1 FETCH (UID 5 RFC822.SIZE 900 INTERNALDATE " 1-Mar-2026 12:00:00 -0330" FLAGS (\\Seen \\Deleted) '
        b"BODY[]<0> {5}\r\nhello)\r\nB1 OK done\r\n"
    )
    when = datetime(2026, 3, 1, 12, tzinfo=timezone(-timedelta(hours=3, minutes=30)))

    assert server.ask(messages(5)) == [Fetched(5, when, 900, (b"\\Seen", b"\\Deleted"), b"BODY[]<0>", b"hello")]


def test_a_message_comes_once_and_only_if_asked_for() -> None:
    """A server that repeats itself, or sends other messages, changes nothing."""
    said = b"".join(b"* 1 FETCH (UID %d BODY[]<0> {1}\r\n%d)\r\n" % (uid, uid) for uid in (5, 8, 5, 6))
    server = Script(said + b"B1 OK done\r\n")

    assert [item.uid for item in server.ask(messages(5, 6))] == [5, 6]


def test_only_the_first_octets_are_kept() -> None:
    """Also of a server that knows no partial FETCH and sends the whole message."""
    server = Script(b"* 1 FETCH (UID 5 BODY[] {300000}\r\n" + b"x" * 300_000 + b")\r\nB1 OK done\r\n")

    assert [item.body for item in server.ask(messages(5, octets=8))] == [b"x" * 8]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b" 1-Jan-2024 00:00:00 +0000", datetime(2024, 1, 1, tzinfo=UTC)),
        (b"31-DEC-1999 23:59:59 +0530", datetime(1999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=5.5)))),
        (b"01-Jan-0000 00:00:00 +0000", None),
        (b"01-Foo-2024 00:00:00 +0000", None),
        (b"01-Jan-2024 00:00:00 +9900", None),
        (b"yesterday", None),
    ],
)
def test_an_internaldate_is_read_or_not_at_all(value: bytes, expected: datetime | None) -> None:
    """RFC 3501's date-time and nothing else."""
    assert internaldate(value) == expected


FACTS = [b"UID %d", b"FLAGS (\\Seen $Label1)", b'INTERNALDATE " 1-Mar-2026 12:00:00 +0000"', b"RFC822.SIZE 9", b"BODY"]


@given(st.permutations(FACTS), st.lists(BODIES, min_size=1, max_size=4), st.integers(1, 40))
def test_any_message_in_any_order_in_any_pieces(order: list[bytes], bodies: list[bytes], piece: int) -> None:
    """Whatever a mail contains, and however the network cuts it, it is read as it is."""
    said = b""
    for uid, body in enumerate(bodies, 1):
        items = [b"BODY[]<0> {%d}\r\n%s" % (len(body), body) if item == b"BODY" else item for item in order]
        said += b"* 1 FETCH (" + b" ".join(items).replace(b"UID %d", b"UID %d" % uid, 1) + b")\r\n"
    server = Script(said + b"B1 OK done\r\n", piece)

    got = server.ask(messages(*range(1, len(bodies) + 1)))

    assert [item.body for item in got] == bodies
    assert {(item.size, item.flags) for item in got} == {(9, (b"\\Seen", b"$Label1"))}


@given(st.binary(max_size=200), st.integers(1, 40))
def test_any_octets_end_in_an_answer_or_in_a_known_error(said: bytes, piece: int) -> None:
    """Nothing that a server can send makes the parser fall over."""
    server = Script(b"* 1 FETCH " + said + b"\r\nB1 OK done\r\n", piece)

    try:
        server.ask(messages(1))
    except (Lost, Garbled):
        assert server.pipe.broken
