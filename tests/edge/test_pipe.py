"""The wire: whatever a server sends, answers are found, bounded, and never mixed up."""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.edge.imap import pipe
from bouncefiler.edge.imap.commands import IN_A_ROW, MAX_LEAN, Command, Fetch, Leave, Number, Parts, Refused
from bouncefiler.edge.imap.fetched import Fetched, internaldate, parsed
from bouncefiler.edge.imap.pipe import Pipe
from bouncefiler.edge.imap.scan import Lean, Scan
from bouncefiler.edge.imap.wire import MAX_LINE, MAX_LITERAL, MAX_REPLY, Garbled, Lost, Wire

T = TypeVar("T")

FIELDS = b"From: a@example.org\r\nSubject: hello\r\n\r\n"
SECTION = b"BODY[HEADER.FIELDS (FROM SUBJECT CONTENT-TYPE MESSAGE-ID)]"


class FakeSocket:
    """A connection on which everything has been said already; `piece` octets arrive at a time."""

    def __init__(self, said: bytes, piece: int) -> None:
        self._said = memoryview(said)
        self._piece = piece
        self.heard: list[bytes] = []
        self.timeouts: list[float | None] = []

    def recv_into(self, buffer: bytearray) -> int:
        piece = self._said[: min(len(buffer), self._piece)]
        self._said = self._said[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def sendall(self, data: bytes) -> None:
        self.heard.append(data)

    def settimeout(self, value: float | None) -> None:
        self.timeouts.append(value)

    def fileno(self) -> int:
        return -1

    def shutdown(self, how: int) -> None:
        pass

    def close(self) -> None:
        pass


class Script:
    """A server whose part is written already."""

    def __init__(self, said: bytes, piece: int = 1_000_000, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.socket = FakeSocket(said, piece)
        self.wire = Wire(self.socket, 60.0, clock)
        self.pipe = Pipe(self.wire)

    def ask(self, command: Command[T]) -> list[T]:
        self.pipe.send(command)
        return list(self.pipe.answers(command))


def answer(number: int, uid: int, fields: bytes = FIELDS) -> bytes:
    return b"* %d FETCH (UID %d %s {%d}\r\n%s)\r\n" % (number, uid, SECTION, len(fields), fields)


def lean(first: int, last: int, suspect: Callable[[bytes], bool] = bool, since: datetime | None = None) -> Scan:
    def suspects(messages: Sequence[bytes]) -> list[int]:
        return [place for place, fields in enumerate(messages) if suspect(fields)]

    return Scan(b"UID FETCH", first, last, last - first + 1, suspects, since)


def noting(seen: list[bytes]) -> Callable[[bytes], bool]:
    def suspect(fields: bytes) -> bool:
        seen.append(fields)
        return True

    return suspect


def messages(*uids: int, octets: int = 1_000) -> Fetch:
    return Fetch(b"UID FETCH", b"BODY[]", set(uids), len(uids), octets)


# ── compression ──────────────────────────────────────────────────────────────────────────────────────────────────────


def deflated(data: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-15)
    return squeeze.compress(data) + squeeze.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize("piece", [1, 7, 1_000_000])
def test_what_is_compressed_is_read_as_what_is_not(piece: int) -> None:
    """In any pieces, also when the first of it has come together with the answer that begins it."""
    answers = b"".join(answer(n, n, b"From: %d\r\n\r\n" % n) for n in range(1, 2_000)) + b"B2 OK done\r\n"
    server = Script(b"B1 OK go on\r\n" + deflated(answers), piece)
    server.pipe.ask(b"COMPRESS DEFLATE")

    server.wire.compress()

    assert server.ask(lean(1, 2_000)) == [Lean(1_999, tuple(range(1, 2_000)))]
    assert zlib.decompressobj(-15).decompress(server.socket.heard[-1]) == b"B2 UID FETCH\r\n"


def test_each_command_reaches_the_server_at_once() -> None:
    """Nothing waits in the compressor for more."""
    server = Script(b"")
    server.wire.compress()

    server.wire.send(b"a\r\n")
    server.wire.send(b"b\r\n")

    inflate = zlib.decompressobj(-15)
    assert [inflate.decompress(heard) for heard in server.socket.heard] == [b"a\r\n", b"b\r\n"]


@pytest.mark.parametrize(
    "said", [b"no deflate at all, this is", deflated(b"* OK")[:-6] + b"\xff" * 40], ids=["plain text", "damaged"]
)
def test_what_cannot_be_decompressed_ends_the_connection(said: bytes) -> None:
    """As anything does that is against the protocol, or that breaks off."""
    server = Script(said)
    server.wire.compress()

    with pytest.raises((Garbled, Lost)):
        server.pipe.ask(b"NOOP")

    assert server.pipe.broken


def test_a_few_octets_that_make_gigabytes_are_bounded_like_gigabytes() -> None:
    """No more is decompressed at a time than is read at a time."""
    server = Script(deflated(b"* OK " + b"a" * 200_000_000))
    server.wire.compress()
    tracemalloc.start()

    with pytest.raises(Garbled, match="a line of over"):
        server.pipe.ask(b"NOOP")

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000


# ── questions ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_two_questions_are_open_at_a_time() -> None:
    """The second one is sent when the first one has been answered: nobody could tell whose an untagged line is."""
    server = Script(b"* OK [COPYUID 1 7 9] moved\r\nB1 OK done\r\n* STATUS x (UIDNEXT 1)\r\nB2 OK done\r\n")

    (move,) = server.pipe.begin(b"UID MOVE")
    status = server.pipe.begin(b"STATUS")

    assert move.reply is not None
    assert server.pipe.end(status)[0].lines == (b"* STATUS x (UIDNEXT 1)\r\n",)
    assert server.pipe.end([move])[0].lines == (b"* OK [COPYUID 1 7 9] moved\r\n",)


# ── of which parts a message consists ────────────────────────────────────────────────────────────────────────────────

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


# ── a window of lean fields ──────────────────────────────────────────────────────────────────────────────────────────


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


# ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── commands in flight ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_later_answer_can_be_wanted_first() -> None:
    """What comes before it is kept for whoever asks."""
    server = Script(
        answer(1, 1) + b"B1 OK done\r\n" + answer(2, 2) + b"B2 OK done\r\n" + b"* 3 EXISTS\r\nB3 OK done\r\n"
    )
    first, second = lean(1, 1), lean(2, 2)
    server.pipe.send(first, second)

    (reply,) = server.pipe.ask(b"NOOP")

    assert reply.lines == (b"* 3 EXISTS\r\n",)
    assert list(server.pipe.answers(second)) == [Lean(1, (2,))]
    assert list(server.pipe.answers(first)) == [Lean(1, (1,))]
    assert server.socket.heard == [b"B1 UID FETCH\r\nB2 UID FETCH\r\n", b"B3 NOOP\r\n"]


def test_an_answer_in_the_usual_form_goes_to_whoever_asked_for_it() -> None:
    """Not to the command that happens to be the first on its way."""
    first, second = messages(1, octets=5), Fetch(b"UID FETCH", b"BODY[HEADER]", {2}, 1, 5)
    server = Script(
        b"* 2 FETCH (UID 2 FLAGS () BODY[HEADER] {6}\r\nheader)\r\n* 1 FETCH (UID 1 FLAGS () BODY[] {6}\r\nbodies)\r\n"
        b"B1 OK done\r\nB2 OK done\r\n"
    )
    server.pipe.send(first, second)

    assert [item.body for item in server.pipe.answers(first)] == [b"bodie"]
    assert [item.body for item in server.pipe.answers(second)] == [b"heade"]


def test_no_more_than_a_few_messages_are_held() -> None:
    """Of an answer with many, the first ones are handed out while the others are still on the wire."""
    said = b"".join(b"* %d FETCH (UID %d BODY[] {1}\r\nx)\r\n" % (uid, uid) for uid in range(1, 200))
    server = Script(said + b"B1 OK done\r\n")
    command = messages(*range(1, 200))
    server.pipe.send(command)

    held = [len(command.kept) for _ in server.pipe.answers(command)]

    assert len(held) == 199
    assert max(held) <= IN_A_ROW


def test_an_untagged_response_belongs_to_whoever_asked_for_it() -> None:
    """Dovecot answers several FETCH commands on end, and then says of all of them that they are done."""
    body = b"* 1 FETCH (UID 1 BODY[]<0> {4}\r\nbody)\r\n"
    header = b"* 1 FETCH (UID 1 BODY[HEADER] {6}\r\nheader)\r\n"
    server = Script(
        header + body + answer(1, 1) + answer(3, 3) + answer(2, 2) + b"* OK [COPYUID 7 1 9] Moved\r\n"
        b"* 1 FETCH (UID 4)\r\nB1 OK done\r\nB2 OK done\r\nB3 OK done\r\nB4 OK done\r\nB5 OK done\r\nB6 OK\r\n"
    )
    first, second, reading, numbers = lean(1, 2), lean(3, 4), messages(1, octets=2), Number(b"FETCH")
    headers = Fetch(b"UID FETCH", b"BODY[HEADER]", {1}, 1)
    server.pipe.send(first, second, reading, headers, numbers)

    (moved,) = server.pipe.ask(b"UID MOVE")

    assert list(server.pipe.answers(first)) == [Lean(2, (1, 2))]
    assert list(server.pipe.answers(second)) == [Lean(1, (3,))]
    assert [item.body for item in server.pipe.answers(reading)] == [b"bo"]
    assert [item.body for item in server.pipe.answers(headers)] == [b"header"]
    assert list(server.pipe.answers(numbers)) == [4]
    assert moved.lines == (b"* OK [COPYUID 7 1 9] Moved\r\n",)


def test_answers_on_end_are_all_taken_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those to a later command are not taken apart one by one, though the first one has not ended."""
    apart: list[bytes] = []

    def counting(parts: list[bytes]) -> Fetched | None:
        apart.append(parts[0])
        return parsed(parts)

    monkeypatch.setattr(pipe, "parsed", counting)
    said = b"".join(b"* %d FETCH (UID %d BODY[]<0> {4}\r\nbody)\r\n" % (uid, uid) for uid in range(1, 101))
    said += b"".join(answer(uid, uid) for uid in range(1, 101))
    server = Script(said + b"B1 OK done\r\nB2 OK done\r\n")
    reading, scan = messages(*range(1, 101)), lean(1, 100)
    server.pipe.send(reading, scan)

    assert list(server.pipe.answers(scan)) == [Lean(100, tuple(range(1, 101)))]
    assert len(apart) < 10


def test_commands_may_end_in_another_order() -> None:
    """RFC 3501, 5.5: the tag says which one it is."""
    server = Script(answer(3, 3) + b"B2 OK two\r\n" + answer(1, 1) + b"B1 NO [UNAVAILABLE] one\r\n")
    first, second = lean(1, 2), lean(3, 4)
    server.pipe.send(first, second)

    assert list(server.pipe.answers(second)) == [Lean(1, (3,))]
    with pytest.raises(Refused, match="one"):
        list(server.pipe.answers(first))


def test_the_same_messages_may_be_asked_for_anew() -> None:
    """What was on its way to somebody who left is not taken for the answer to the new command, nor the other way."""
    server = Script(answer(1, 1) + b"B1 OK done\r\n" + answer(1, 1) + b"B2 OK done\r\n")
    abandoned = lean(1, 1)
    server.pipe.send(abandoned)
    abandoned.forget()

    assert server.ask(lean(1, 1)) == [Lean(1, (1,))]


def test_commands_of_one_go_share_what_is_said() -> None:
    """Which of them a line belongs to is for the reader to see."""
    server = Script(b'* LIST () "/" a\r\n* STATUS a (UIDNEXT 5)\r\nB1 OK one\r\nB2 NO two\r\n')

    listed, status = server.pipe.ask(b"LIST", b"STATUS")

    assert (listed.status, listed.text, status.status, status.text) == ("OK", "one", "NO", "two")
    assert listed.lines == status.lines == (b'* LIST () "/" a\r\n', b"* STATUS a (UIDNEXT 5)\r\n")


def test_a_good_bye_after_logout_is_no_surprise() -> None:
    """It belongs there (RFC 3501, 6.1.3)."""
    server = Script(b"B1 OK unselected\r\n* BYE see you\r\nB2 OK done\r\n")

    server.pipe.send(Leave(b"UNSELECT"), Leave(b"LOGOUT"))
    server.pipe.drain()

    assert server.pipe.idle


def test_an_answer_can_be_left_half_read() -> None:
    """The next command reads the rest of it, and keeps none of that."""
    said = b"".join(b"* 1 FETCH (UID %d BODY[] {1}\r\nx)\r\n" % uid for uid in (1, 2, 3))
    server = Script(said + b"B1 OK done\r\nB2 OK [ALERT] fine\r\n")
    command = messages(1, 2, 3)
    server.pipe.send(command)
    answers = server.pipe.answers(command)
    next(answers)

    answers.close()

    assert [reply.text for reply in server.pipe.ask(b"NOOP")] == ["[ALERT] fine"]
    assert not command.kept


def test_an_answer_can_be_taken_up_again() -> None:
    """Another command in between does not lose what the first one has still to bring."""
    said = b"".join(b"* 1 FETCH (UID %d BODY[] {1}\r\nx)\r\n" % uid for uid in (1, 2, 3))
    server = Script(said + b"B1 OK done\r\nB2 OK done\r\n")
    command = messages(1, 2, 3)
    server.pipe.send(command)
    answers = server.pipe.answers(command)

    uids = [next(answers).uid]
    server.pipe.ask(b"NOOP")
    uids += [item.uid for item in answers]

    assert uids == [1, 2, 3]


@pytest.mark.parametrize("status", ["NO", "BAD"])
def test_a_refusal_belongs_to_its_own_command(status: str) -> None:
    """It is raised where the answer is read, after what the answer brought, and the connection lives on."""
    one = b"* 1 FETCH (UID 1 BODY[] {1}\r\nx)\r\n"
    server = Script(one + b"B1 %s [UNAVAILABLE] try later\r\nB2 OK done\r\n" % status.encode())
    command = messages(1, 2)
    server.pipe.send(command)

    assert server.pipe.ask(b"NOOP")[0].status == "OK"
    answers = server.pipe.answers(command)
    assert next(answers).uid == 1
    with pytest.raises(Refused, match="try later") as refused:
        next(answers)
    assert refused.value.reply.code == "UNAVAILABLE"


def test_a_refused_window_says_nothing() -> None:
    """Half a window is not taken for a whole one."""
    server = Script(answer(1, 1) + b"B1 NO [SERVERBUG] sorry\r\n")
    command = lean(1, 2)
    server.pipe.send(command)

    with pytest.raises(Refused):
        next(server.pipe.answers(command))


def test_messages_that_are_gone_are_no_refusal() -> None:
    """NO [EXPUNGEISSUED] (RFC 5530) comes after all that there was to send."""
    server = Script(answer(1, 1) + b"B1 NO [EXPUNGEISSUED] Some messages are gone\r\n")

    assert server.ask(lean(1, 2)) == [Lean(1, (1,))]


def test_an_answer_keeps_its_literals() -> None:
    """A folder name may come as a literal, and look like anything."""
    server = Script(b'* LIST () "/" {12}\r\nB1 OK hello\r\nB1 OK done\r\n'.replace(b"{12}", b"{11}"))

    (reply,) = server.pipe.ask(b"LIST")

    assert reply.lines == (b'* LIST () "/" {11}\r\nB1 OK hello\r\n',)


# ── servers that mean ill, and lines that break ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", Lost),
        (b"* 1 EXISTS\r\nB1 OK do", Lost),  # in the middle of a line
        (b"* 1 FETCH (UID 1 BODY[] {5}\r\nhe", Lost),  # … and of a literal
        (b"* BYE too busy\r\nB1 OK done\r\n", Lost),
        (b"* 1 FETCH (UID 1 BODY[] {17179869184}\r\n", Garbled),
        (b"* 1 FETCH (UID 1 BODY[] {%d}\r\n" % (MAX_LITERAL + 1), Garbled),
        (b"B7 OK not mine\r\n", Garbled),
        (b"+ go on\r\n", Garbled),
        (b"B1 MAYBE\r\n", Garbled),
        (b"* 1 EXISTS\n", Garbled),
        (b"* " + b"x" * MAX_LINE, Garbled),
        (b"* 1 FETCH (UID 1 " + b"X {1}\r\nx" * 60 + b")\r\n", Garbled),
    ],
    ids=lambda value: value[:30] if isinstance(value, bytes) else value.__name__,
)
@pytest.mark.parametrize("make", [lambda: messages(1), lambda: lean(1, 1)], ids=["fetched", "lean"])
def test_a_broken_answer_ends_the_connection(
    said: bytes, error: type[Exception], make: Callable[[], Command[object]]
) -> None:
    """Nothing is allocated or believed that isn't there; and nobody can go on as if nothing had happened."""
    server = Script(said)

    with pytest.raises(error):
        server.ask(make())

    assert server.pipe.broken
    with pytest.raises(Lost):
        server.pipe.ask(b"NOOP")


def test_a_good_bye_is_passed_on_in_the_servers_words() -> None:
    """They may say how long to stay away."""
    server = Script(b"* BYE Request is throttled. Suggested Backoff Time: 9000 milliseconds\r\n")

    with pytest.raises(Lost, match="9000 milliseconds"):
        server.pipe.ask(b"NOOP")


def test_more_messages_than_there_are_end_the_connection() -> None:
    """A server that never stops sending cannot fill the memory."""
    said = b"".join(answer(uid, uid) + b"* 1 FETCH (UID %d BODY[] {1}\r\nx)\r\n" % uid for uid in range(1, 6))

    with pytest.raises(Garbled, match="more messages"):
        Script(said).ask(Scan(b"UID FETCH", 1, 100, 4, lambda _messages: ()))
    with pytest.raises(Garbled, match="more messages"):
        Script(said).ask(Fetch(b"UID FETCH", b"BODY[]", range(100), 4))


def test_an_answer_that_is_kept_has_a_limit() -> None:
    """Also when no line of it is long."""
    line = b"* OK " + b"x" * 200 + b"\r\n"
    server = Script(line * (MAX_REPLY // len(line) + 1))

    with pytest.raises(Garbled, match="octets"):
        server.pipe.ask(b"NOOP")


@pytest.mark.parametrize("make", [lambda: messages(1), lambda: lean(1, 1)], ids=["fetched", "lean"])
def test_talk_about_other_things_does_not_buy_time(make: Callable[[], Command[object]]) -> None:
    """An endless stream of lines that nobody asked for ends with the command's time."""
    clock = count(step=50)
    server = Script(b"* 1 EXISTS\r\n" * 100_000, clock=lambda: float(next(clock)))

    with pytest.raises(TimeoutError):
        server.ask(make())


def test_messages_that_were_asked_for_do_buy_time() -> None:
    """A slow line is no fault: each message that comes starts the time anew."""
    clock = count(step=50)
    said = b"".join(answer(uid, uid) for uid in range(1, 11)) + b"B1 OK done\r\n"
    server = Script(said, piece=len(answer(1, 1)), clock=lambda: float(next(clock)))

    assert [window.scanned for window in server.ask(lean(1, 10))] == [10]


def test_no_wait_is_longer_than_the_commands_time() -> None:
    """The socket's own time-out is cut to what is left."""
    clock = iter([0.0, 100.0, 110.0])
    server = Script(b"* 1 EXISTS\r\n* 2 EXISTS\r\nB1 OK done\r\n", piece=12, clock=lambda: next(clock))

    server.pipe.ask(b"NOOP")

    assert server.socket.timeouts == [60.0, 20.0, 10.0]


def test_an_error_in_the_question_ends_the_connection() -> None:
    """Nobody knows any more where in the answer the wire is."""
    server = Script(answer(1, 1) + b"B1 OK done\r\n")

    with pytest.raises(ZeroDivisionError):
        server.ask(lean(1, 1, lambda _fields: 1 // 0 == 0))

    assert server.pipe.broken


def test_octets_that_came_early_are_noticed() -> None:
    """What was sent in clear before TLS must not be taken for an answer after it (CVE-2011-0411)."""
    honest, injected = Script(b"A OK go ahead\r\n"), Script(b"A OK go ahead\r\nA2 OK injected\r\n")
    honest.wire.readline()
    injected.wire.readline()

    assert not honest.wire.unread()
    assert injected.wire.unread()


FACTS = [b"UID %d", b"FLAGS (\\Seen $Label1)", b'INTERNALDATE " 1-Mar-2026 12:00:00 +0000"', b"RFC822.SIZE 9", b"BODY"]
BODIES = st.one_of(st.binary(max_size=300), st.sampled_from([b"B1 OK done\r\n", b"* BYE\r\n", b")\r\n", b"{9}\r\n"]))


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


@given(st.binary(max_size=200), st.integers(1, 40))
def test_any_octets_end_in_an_answer_or_in_a_known_error(said: bytes, piece: int) -> None:
    """Nothing that a server can send makes the parser fall over."""
    server = Script(b"* 1 FETCH " + said + b"\r\nB1 OK done\r\n", piece)

    try:
        server.ask(messages(1))
    except (Lost, Garbled):
        assert server.pipe.broken
