"""A server that plays a part: for what no real server can be made to do on demand.

It answers by a table, from a regular expression that a command begins with (without its tag) to what is said then. In
an answer TAG stands for the command's tag; `None` hangs up, and "+…" asks for one line more, after which its further
lines are said, or OK. The first row that matches counts; what no row knows is answered as an honest server would, or
with BAD.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Thread

from bouncefiler.settings import Security, Server

Answer = str | bytes | None | Callable[[str], str | bytes | None]

GREETING = "* OK hello"
CAPABILITIES = "IMAP4rev1 UIDPLUS MOVE UNSELECT"
SELECTED = (
    "* 3 EXISTS\r\n* OK [UIDVALIDITY 7]\r\n* OK [UIDNEXT 4]\r\n* OK [PERMANENTFLAGS (\\Seen \\Deleted \\*)]\r\n"
    "TAG OK [READ-WRITE] selected"
)

_HONEST: Mapping[str, Answer] = {
    "(LOGIN|AUTHENTICATE|NOOP|ID|SUBSCRIBE|CREATE|UNSELECT|UID STORE|UID EXPUNGE)": "TAG OK done",
    "(SELECT|EXAMINE)": SELECTED,
    "STATUS": lambda command: f"* STATUS {command.split()[1]} (MESSAGES 0 UIDVALIDITY 9 UIDNEXT 1)\r\nTAG OK done",
    "LIST": lambda command: f'* LIST () "/" {command.split(" ", 2)[2]}\r\nTAG OK done',
    "LOGOUT": "* BYE\r\nTAG OK done",
}


@dataclass(slots=True)
class Scripted:
    """A running server; `heard` is all that it was told, line by line."""

    port: int
    heard: list[str] = field(default_factory=list)

    def server(self, security: Security = Security.PLAIN, **settings: object) -> Server:
        """Say how to reach it."""
        values: dict[str, object] = {"host": "127.0.0.1", "port": self.port, "user": "ann", "timeout": 5.0}
        return Server(**(values | {"security": security} | settings))  # type: ignore[arg-type]

    def commands(self) -> list[str]:
        """Return what was told, without tags."""
        return [line.partition(" ")[2] for line in self.heard]


@dataclass(slots=True)
class Part:
    """What the server says."""

    answers: Mapping[str, Answer] = field(default_factory=dict)
    greeting: Answer = GREETING
    capabilities: str = CAPABILITIES
    context: ssl.SSLContext | None = None
    """With one, the server has TLS from the start, or from STARTTLS on if it offers that."""

    def answer(self, command: str) -> str | bytes | None:
        for pattern, said in (
            *self.answers.items(),
            ("CAPABILITY", f"* CAPABILITY {self.capabilities}\r\nTAG OK done"),
            *([("STARTTLS", "TAG OK go on")] if self.context else []),
            *_HONEST.items(),
        ):
            if re.match(pattern, command, re.IGNORECASE):
                return said(command) if callable(said) else said
        return "TAG BAD what?"


@contextmanager
def playing(part: Part | None = None) -> Iterator[Scripted]:
    """Play the part to whoever connects, until the block is left."""
    listener = socket.create_server(("127.0.0.1", 0))
    scripted = Scripted(listener.getsockname()[1])
    thread = Thread(target=_serve, args=(listener, part or Part(), scripted), daemon=True)
    thread.start()
    try:
        yield scripted
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        listener.close()
        thread.join(5)


def _serve(listener: socket.socket, part: Part, scripted: Scripted) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with suppress(OSError, ValueError), connection:
                _play(connection, part, scripted)


def _play(connection: socket.socket, part: Part, scripted: Scripted) -> None:
    if part.context and "STARTTLS" not in part.capabilities:
        connection = part.context.wrap_socket(connection, server_side=True)
    with connection:
        greeting = part.greeting("") if callable(part.greeting) else part.greeting
        if _say(connection, "", greeting) and _converse(connection, part, scripted) and part.context:
            connection = part.context.wrap_socket(connection, server_side=True)
            with connection:
                _converse(connection, part, scripted)


def _converse(connection: socket.socket, part: Part, scripted: Scripted) -> bool:
    """Answer commands; return True when TLS is to begin."""
    lines = connection.makefile("rb")
    while line := lines.readline():
        while literal := re.search(rb"\{(\d+)(\+?)\}\r\n$", line):
            if not literal[2]:
                connection.sendall(b"+ go on\r\n")
            line = line[: literal.start()] + lines.read(int(literal[1])) + lines.readline()
        heard = line.decode().removesuffix("\r\n")
        scripted.heard.append(heard)
        tag, _, command = heard.partition(" ")
        said = part.answer(command)
        if isinstance(said, str) and said.startswith("+"):
            asked, _, said = said.partition("\r\n")
            _say(connection, tag, asked)
            scripted.heard.append("+ " + lines.readline().decode().removesuffix("\r\n"))
            said = said or "TAG OK done"
        if not _say(connection, tag, said):
            return False
        if command == "STARTTLS" and part.context:
            return True
    return False


def _say(connection: socket.socket, tag: str, said: str | bytes | None) -> bool:
    if said is None:
        return False
    octets = said.encode() if isinstance(said, str) else said
    if octets:
        connection.sendall(octets.replace(b"TAG", tag.encode()) + b"\r\n")
    return True
