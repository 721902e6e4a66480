"""The wire: lines and literals are found, bounded, and not waited for too long, whatever a server sends."""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Callable
from itertools import count

import pytest

from bouncefiler.edge.imap.commands import Command, Fetch
from bouncefiler.edge.imap.scan import Lean, Scan
from bouncefiler.edge.imap.wire import MAX_LINE, MAX_LITERAL, MAX_REPLY, Garbled, Lost
from tests.edge.script import Script, answer, lean, messages


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
