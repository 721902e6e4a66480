"""Commands in flight: each is given the answer that it has asked for, and none is mixed up."""

from __future__ import annotations

import pytest

from bouncefiler.edge.imap import pipe
from bouncefiler.edge.imap.commands import IN_A_ROW, Fetch, Leave, Number, Refused
from bouncefiler.edge.imap.fetched import Fetched, parsed
from bouncefiler.edge.imap.scan import Lean
from tests.edge.script import Script, answer, lean, messages


def test_no_two_questions_are_open_at_a_time() -> None:
    """The second one is sent when the first one has been answered: nobody could tell whose an untagged line is."""
    server = Script(b"* OK [COPYUID 1 7 9] moved\r\nB1 OK done\r\n* STATUS x (UIDNEXT 1)\r\nB2 OK done\r\n")

    (move,) = server.pipe.begin(b"UID MOVE")
    status = server.pipe.begin(b"STATUS")

    assert move.reply is not None
    assert server.pipe.end(status)[0].lines == (b"* STATUS x (UIDNEXT 1)\r\n",)
    assert server.pipe.end([move])[0].lines == (b"* OK [COPYUID 1 7 9] moved\r\n",)


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


def test_messages_that_are_gone_are_no_refusal() -> None:
    """NO [EXPUNGEISSUED] (RFC 5530) comes after all that there was to send."""
    server = Script(answer(1, 1) + b"B1 NO [EXPUNGEISSUED] Some messages are gone\r\n")

    assert server.ask(lean(1, 2)) == [Lean(1, (1,))]


def test_an_answer_keeps_its_literals() -> None:
    """A folder name may come as a literal, and look like anything."""
    server = Script(b'* LIST () "/" {12}\r\nB1 OK hello\r\nB1 OK done\r\n'.replace(b"{12}", b"{11}"))

    (reply,) = server.pipe.ask(b"LIST")

    assert reply.lines == (b'* LIST () "/" {11}\r\nB1 OK hello\r\n',)
