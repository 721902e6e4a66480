"""A proxy that stands before an IMAP server and goes wrong on command, at an exact point of the conversation.

It understands just enough of IMAP (RFC 3501, 2.2) to know where a command begins and where its answer ends: lines,
literals, tags. It keeps a list of the commands that it saw, without what could be a password.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from io import BufferedReader
from threading import Event, Lock, Thread

_LITERAL = re.compile(rb"\{(\d+)\+?\}\r\n$")
_SECRET = re.compile(rb"(?i)(LOGIN|AUTHENTICATE)\b.*", re.DOTALL)
_LAST_WORDS = re.compile(rb"(?im)(?:^\* OK \[COPYUID[^\n]*\n)|(?:^[^*+ \\r\\n]+ (?:OK|NO|BAD)[^\n]*\n\Z)")
_RESET = struct.pack("ii", 1, 0)
_SLOW_SECONDS = 0.002


class Moment(StrEnum):
    """When, in the life of a command, the fault strikes."""

    BEFORE = "before"
    """The client has sent it, the server never gets it."""
    DONE = "done"
    """The server has carried it out; nothing of its answer has reached the client."""
    WITHIN = "within"
    """As DONE, but the client has got the first octets of the answer."""
    AFTER = "after"
    """The client has the whole answer."""


class Harm(StrEnum):
    """What goes wrong."""

    CUT = "cut"
    RESET = "reset"
    STALL = "stall"
    """Silence, with the connection open."""
    BYE = "bye"
    NO = "no"
    BAD = "bad"
    TWICE = "twice"
    """The answer comes two times."""
    PIECES = "pieces"
    """From here on each octet comes by itself."""
    SLOW = "slow"
    """From here on octets come slowly."""
    NONE = "none"
    """Nothing at all, for what is done meanwhile by somebody else (`Fault.meanwhile`)."""


_REFUSALS = {Harm.NO: b" NO [UNAVAILABLE] not now\r\n", Harm.BAD: b" BAD what do you mean?\r\n"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong once."""

    harm: Harm
    moment: Moment
    at: int
    """Which command of the conversation, from 0, counted over all connections."""
    octets: int = 0
    """For WITHIN: how many octets of the answer still reach the client."""
    meanwhile: Callable[[], None] | None = None
    """What happens at that moment, while the client waits; so not AFTER."""

    def __str__(self) -> str:
        """Say it in a word for each part."""
        where = f"{self.moment} {self.octets} octets" if self.moment is Moment.WITHIN else str(self.moment)
        return f"{self.harm} {where}, command {self.at}"


@dataclass(slots=True)
class Heard:
    """A command that a client sent."""

    connection: int
    command: str
    """Without its tag; of LOGIN and AUTHENTICATE the verb only."""


@dataclass(slots=True)
class Proxy:
    """A running proxy."""

    port: int
    upstream: int
    heard: list[Heard] = field(default_factory=list)
    fault: Fault | None = None
    struck: Event = field(default_factory=Event)
    connections: int = 0
    _open: set[socket.socket] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def arm(self, fault: Fault | None) -> None:
        """Forget what was heard, and strike where the fault says, counted from now on."""
        with self._lock:
            self.heard.clear()
            self.struck.clear()
            self.fault = fault

    def commands(self) -> list[str]:
        """Return the commands since `arm`."""
        with self._lock:
            return [heard.command for heard in self.heard]

    def note(self, connection: int, command: bytes) -> Fault | None:
        """Write down a command; return the fault that is due at it."""
        with self._lock:
            self.heard.append(Heard(connection, _SECRET.sub(rb"\1", command).decode("utf-8", "replace").strip()))
            due = self.fault if self.fault and self.fault.at == len(self.heard) - 1 else None
            if due:
                self.fault = None
            return due

    def hold(self, sock: socket.socket) -> None:
        """Remember an open socket, so that it can be closed at the end."""
        with self._lock:
            self._open.add(sock)

    def hang_up(self) -> None:
        """Close whatever is still open."""
        with self._lock:
            for sock in self._open:
                _end(sock)
            self._open.clear()


@contextmanager
def standing_before(port: int) -> Iterator[Proxy]:
    """Run a proxy before the server on this port of 127.0.0.1 until the block is left."""
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = Proxy(listener.getsockname()[1], port)
    thread = Thread(target=_accept, args=(listener, proxy), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        listener.close()
        proxy.hang_up()
        thread.join(5)


def _accept(listener: socket.socket, proxy: Proxy) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", proxy.upstream))
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                proxy.hold(sock)
            proxy.connections += 1
            _Conversation(proxy, client, server, proxy.connections).start()


class _Conversation:
    """One client's connection, and ours to the server for it."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket, number: int) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._number = number
        self._due: tuple[bytes, Fault] | None = None
        self._asking = False  # AUTHENTICATE or IDLE is on: the next line is no command
        self._pace = 0.0
        self._pieces = False
        self._mute = False
        self._unanswered = 0

    def start(self) -> None:
        for work in (self._upwards, self._downwards):
            Thread(target=self._until_the_end, args=(work,), daemon=True).start()

    def _until_the_end(self, work: Callable[[], None]) -> None:
        with suppress(OSError, ValueError):
            work()
        for sock in (self._client, self._server):
            _end(sock)

    def _upwards(self) -> None:
        with self._client.makefile("rb") as lines:
            while line := lines.readline():
                if self._asking:
                    self._asking = False
                    self._server.sendall(line)
                elif not self._begin(line):
                    continue
                else:
                    self._send_rest(line, lines)

    def _begin(self, line: bytes) -> bool:
        """Look at the first line of a command; whether the server is to get it."""
        tag, _, command = line.partition(b" ")
        fault = self._proxy.note(self._number, command)
        verb = command.split(b" ", 1)[0].strip().upper()
        self._asking = verb in {b"AUTHENTICATE", b"IDLE"} and command.count(b" ") < 2
        if fault and fault.moment is Moment.BEFORE:
            if fault.meanwhile:
                self._await_answers()
            self._strike(fault, tag)
            if fault.harm not in {Harm.NONE, Harm.PIECES, Harm.SLOW}:
                return False
        elif fault:
            self._due = (tag, fault)
        self._unanswered += 1
        return True

    def _await_answers(self) -> None:
        """Wait until the server is done with what it was asked before: nothing is to change by itself."""
        end = time.monotonic() + 5
        while self._unanswered and time.monotonic() < end:
            time.sleep(0.001)

    def _send_rest(self, line: bytes, lines: BufferedReader) -> None:
        self._server.sendall(line)
        while literal := _LITERAL.search(line):
            self._server.sendall(lines.read(int(literal[1])))
            line = lines.readline()
            self._server.sendall(line)

    def _downwards(self) -> None:
        with self._server.makefile("rb") as lines:
            kept = b""
            while response := _response(lines):
                due = self._due
                self._unanswered -= not response.startswith((b"*", b"+"))
                if due is None:
                    self._say(response)
                    continue
                kept += response
                tag, fault = due
                if response.startswith(tag + b" "):
                    self._due = None
                    self._answer(fault, tag, kept)
                    kept = b""
                elif not response.startswith((b"*", b"+")):  # the end of a command before that one
                    self._say(kept)
                    kept = b""

    def _answer(self, fault: Fault, tag: bytes, kept: bytes) -> None:
        """Give the client what the fault lets through of the answer; then go wrong."""
        if fault.moment is Moment.WITHIN:
            self._say(kept[: fault.octets])
        elif fault.moment is Moment.DONE and fault.harm in {Harm.NO, Harm.BAD}:
            self._say(_LAST_WORDS.sub(b"", kept))
        elif fault.moment is Moment.AFTER:
            self._say(kept)
            if fault.harm is Harm.TWICE:
                self._say(kept)
        self._strike(fault, tag)
        if fault.moment is Moment.DONE and fault.harm in {Harm.NONE, Harm.PIECES, Harm.SLOW}:
            self._say(kept)

    def _strike(self, fault: Fault, tag: bytes) -> None:
        if fault.meanwhile:
            fault.meanwhile()
        self._proxy.struck.set()
        match fault.harm:
            case Harm.CUT:
                _end(self._client)
            case Harm.RESET:
                self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                self._client.shutdown(socket.SHUT_RD)  # wakes whoever reads; else the socket would not close yet
                os.close(self._client.detach())
            case Harm.BYE:
                self._say(b"* BYE the server is going down\r\n")
                _end(self._client)
            case Harm.NO | Harm.BAD:
                self._say(tag + _REFUSALS[fault.harm])
            case _:
                self._mute = fault.harm is Harm.STALL
                self._pieces = fault.harm is Harm.PIECES
                self._pace = _SLOW_SECONDS if fault.harm is Harm.SLOW else 0.0

    def _say(self, octets: bytes) -> None:
        if self._mute:
            return
        if self._pieces:
            for octet in octets:
                self._client.sendall(bytes((octet,)))
        elif self._pace:
            for start in range(0, len(octets), 64):
                time.sleep(self._pace)
                self._client.sendall(octets[start : start + 64])
        else:
            self._client.sendall(octets)


def _response(lines: BufferedReader) -> bytes:
    """Read one response with its literals; empty at the end."""
    whole = line = lines.readline()
    while literal := _LITERAL.search(line):
        whole += lines.read(int(literal[1]))
        line = lines.readline()
        whole += line
    return whole


def _end(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        sock.close()
