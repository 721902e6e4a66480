"""IDLE ends at once with the connection, hears what is in a buffer already, and never waits without an end."""

from __future__ import annotations

import selectors
import socket
import ssl
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import pytest

from bouncefiler.edge import imap
from bouncefiler.edge.imap.commands import Leave
from bouncefiler.edge.imap.idle import IdlePipe
from bouncefiler.edge.imap.wire import Lost, Wire
from bouncefiler.errors import Unreachable
from bouncefiler.sweep import FolderState
from tests import scripted
from tests.edge.test_imap import certificates  # noqa: F401 - a fixture
from tests.scripted import Part, playing

PATIENCE = 10.0  # how long a test waits for what must come; it is used up only where the code is wrong
INBOX = FolderState("INBOX", uidvalidity=7, uidnext=4, exists=3)
IDLING = Part(answers={"IDLE": "+ idling"}, capabilities=f"{scripted.CAPABILITIES} IDLE")


@dataclass
class Line:
    """A pipe, and the server's end of its wire."""

    pipe: IdlePipe
    wire: Wire
    ours: socket.socket
    server: socket.socket

    def heard(self) -> bytes:
        self.server.settimeout(PATIENCE)
        return self.server.recv(65_536)

    def readable(self) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self.wire.fileno(), selectors.EVENT_READ)
            return bool(selector.select(PATIENCE))


@contextmanager
def connected(timeout: float = PATIENCE, clock: Callable[[], float] = lambda: 0.0) -> Iterator[Line]:
    ours, server = socket.socketpair()
    with ours, server:
        wire = Wire(ours, timeout, clock)
        yield Line(IdlePipe(wire), wire, ours, server)


@pytest.fixture
def line() -> Iterator[Line]:
    with connected() as made:
        yield made


def answering(line: Line, said: bytes) -> Thread:
    """Have the server say this as soon as it hears DONE."""

    def wait() -> None:
        heard = b""
        while not heard.endswith(b"DONE\r\n"):
            heard += line.heard()
        line.server.sendall(said)

    thread = Thread(target=wait)
    thread.start()
    return thread


def test_silence_is_told_and_news_makes_the_socket_readable(line: Line) -> None:
    line.server.sendall(b"+ idling\r\n")

    assert line.pipe.watch() is True
    line.server.sendall(b"* 4 EXISTS\r\n")
    assert line.readable()
    thread = answering(line, b"B1 OK done\r\n")
    assert line.pipe.attend() is True
    thread.join()


def test_other_talk_is_no_news(line: Line) -> None:
    line.server.sendall(b"+ idling\r\n")
    line.pipe.watch()
    line.server.sendall(b"* OK Still here\r\n* 2 FETCH (FLAGS (\\Seen))\r\n* 2 EXPUNGE\r\n")
    thread = answering(line, b"B1 OK done\r\n")

    assert line.pipe.attend() is False
    thread.join()


def test_the_end_of_the_connection_makes_the_socket_readable_and_ends_it_at_once(line: Line) -> None:
    line.server.sendall(b"+ idling\r\n")
    line.pipe.watch()
    line.heard()
    line.server.close()

    assert line.readable()
    with pytest.raises(Lost):
        line.pipe.attend()


def test_a_bye_ends_it_with_the_servers_words(line: Line) -> None:
    line.server.sendall(b"+ idling\r\n")
    line.pipe.watch()
    line.server.sendall(b"* BYE Autologout\r\n")

    with pytest.raises(Lost, match="Autologout"):
        line.pipe.attend()


@pytest.mark.parametrize(
    "said",
    [b"+ idling\r\n* 4 EXISTS\r\n", b"* 4 EXISTS\r\n+ idling\r\n", b"+ idling\r\n* 4 EX"],
    ids=["after the go-ahead", "before it", "half a line"],
)
def test_what_came_together_with_the_go_ahead_is_seen(line: Line, said: bytes) -> None:
    """Nothing would make the socket readable for it any more."""
    line.server.sendall(said)

    assert line.pipe.watch() is False


class Hiding:
    """A socket that is not readable, for TLS has taken all octets from it; each call gives a piece of them."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.waits: float | None = None

    def recv_into(self, buffer: bytearray) -> int:
        if not self._pieces:
            raise ssl.SSLWantReadError if self.waits == 0 else TimeoutError
        piece = self._pieces.pop(0)
        buffer[: len(piece)] = piece
        return len(piece)

    def settimeout(self, value: float | None) -> None:
        self.waits = value

    def sendall(self, data: bytes) -> None: ...
    def fileno(self) -> int:
        return -1

    def shutdown(self, how: int) -> None: ...
    def close(self) -> None: ...


def test_what_lies_in_the_buffer_of_tls_is_seen() -> None:
    assert IdlePipe(Wire(Hiding(b"+ idling\r\n", b"* 4 EXISTS\r\n"))).watch() is False
    assert IdlePipe(Wire(Hiding(b"+ idling\r\n"))).watch() is True


def test_what_lies_in_the_decompressor_is_seen(line: Line) -> None:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    line.wire.compress()

    for said, silent in ((b"+ idling\r\n", True), (b"B1 OK done\r\n+ idling\r\n* 4 EXISTS\r\n", False)):
        line.server.sendall(deflate.compress(said) + deflate.flush(zlib.Z_SYNC_FLUSH))
        assert line.pipe.watch() is silent


def test_over_tls_a_record_without_words_keeps_nobody_waiting(line: Line, certificates: Path) -> None:  # noqa: F811
    """TLS 1.3 sends tickets of its own: the socket is readable, and there is nothing to read."""
    ours, server = line.ours, line.server
    there = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    there.load_cert_chain(certificates / "good.pem", certificates / "good.key")
    here = ssl.create_default_context()
    here.check_hostname, here.verify_mode = False, ssl.CERT_NONE
    secured: list[ssl.SSLSocket] = []
    thread = Thread(target=lambda: secured.append(there.wrap_socket(server, server_side=True)))
    thread.start()
    with here.wrap_socket(ours) as client:
        thread.join()
        wire = Wire(client, PATIENCE)
        with secured[0]:
            assert wire.arrived() is False
            secured[0].sendall(b"+ idling\r\n* 4 EXISTS\r\n")  # one record
            assert IdlePipe(wire).watch() is False


def test_a_server_that_does_not_answer_is_waited_for_no_longer_than_for_any_command() -> None:
    with connected(timeout=0.05) as line, pytest.raises(TimeoutError):
        line.pipe.watch()
    with connected(timeout=0.05) as line:
        line.server.sendall(b"+ idling\r\n")
        line.pipe.watch()
        with pytest.raises(TimeoutError):
            line.pipe.attend()
        assert line.pipe.broken


def test_a_server_that_never_stops_talking_is_not_listened_to_for_ever() -> None:
    seconds = iter(range(0, 1_000_000, 10))
    with connected(clock=lambda: float(next(seconds))) as line:
        line.server.sendall(b"+ idling\r\n")
        line.pipe.watch()
        talking = Thread(target=talk, args=(line.server,))
        talking.start()
        with pytest.raises(TimeoutError, match="no end"):
            line.pipe.attend()
        line.ours.close()
        talking.join()


def talk(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            server.sendall(b"* OK and another thing\r\n" * 1_000)


def test_a_long_wait_does_not_count_as_time_of_the_answer() -> None:
    """Minutes of silence are what IDLE is for."""
    now = [0.0]
    with connected(clock=lambda: now[0]) as line:
        line.server.sendall(b"+ idling\r\n")
        line.pipe.watch()
        now[0] = 480.0
        thread = answering(line, b"B1 OK done\r\n")

        assert line.pipe.attend() is False
        thread.join()


@pytest.mark.parametrize("said", [b"B1 OK IDLE terminated\r\n", b"* 4 EXISTS\r\nB1 BAD timeout\r\n"])
def test_a_server_that_ends_it_by_itself_is_not_sent_a_done(line: Line, said: bytes) -> None:
    """It would take that for a command."""
    line.server.sendall(b"+ idling\r\n")
    line.pipe.watch()
    line.heard()
    line.server.sendall(said)

    assert line.pipe.attend() is (b"EXISTS" in said)
    line.pipe.send(Leave(b"NOOP"))
    assert line.heard() == b"B2 NOOP\r\n"


def test_the_next_command_ends_it(line: Line) -> None:
    line.server.sendall(b"+ idling\r\n")
    line.pipe.watch()
    thread = answering(line, b"B1 OK done\r\n")
    line.pipe.send(Leave(b"NOOP"))
    thread.join()

    assert line.heard() == b"B2 NOOP\r\n"
    assert line.pipe.attend() is False


def test_a_refusal_is_told(line: Line) -> None:
    line.server.sendall(b"B1 NO not now\r\n")

    assert line.pipe.watch() is None


class TestReader:
    def test_it_waits_for_the_folder_and_logs_out_politely(self) -> None:
        with playing(IDLING) as server:
            with imap.open_account(server.server(), "secret") as account:
                vigil = account.watch(INBOX)
                assert vigil is not None
                assert vigil.fileno is not None
            assert [line.partition(" ")[2] or line for line in server.heard][-4:] == [
                "IDLE",
                "DONE",
                "UNSELECT",
                "LOGOUT",
            ]

    def test_news_since_the_last_look_are_not_waited_for(self) -> None:
        with playing(IDLING) as server, imap.open_account(server.server(), "secret") as account:
            vigil = account.watch(FolderState("INBOX", uidvalidity=7, uidnext=3, exists=2))

            assert vigil == imap.Vigil(None)
            assert "IDLE" not in server.commands()

    def test_a_server_without_it_is_not_asked(self) -> None:
        with playing() as server, imap.open_account(server.server(), "secret") as account:
            assert account.watch(INBOX) is None
            assert "IDLE" not in server.commands()

    def test_a_server_that_refuses_is_asked_once(self) -> None:
        part = Part(answers={"IDLE": "TAG NO not now"}, capabilities=IDLING.capabilities)
        with playing(part) as server, imap.open_account(server.server(), "secret") as account:
            assert account.watch(INBOX) is None
            assert account.watch(INBOX) is None
            assert server.commands().count("IDLE") == 1

    def test_a_lost_connection_is_called_so(self) -> None:
        part = Part(answers={"IDLE": "+ idling\r\n* BYE Autologout"}, capabilities=IDLING.capabilities)
        with playing(part) as server, imap.open_account(server.server(), "secret") as account:
            account.watch(INBOX)
            with pytest.raises(Unreachable, match="Autologout"):
                account.attend()
