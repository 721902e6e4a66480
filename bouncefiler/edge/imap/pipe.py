"""Several commands on their way at once, and their answers one at a time (RFC 3501, 5.5 and 7).

imapclient sends one command, waits, and holds the whole answer; for reading a mailbox of any size neither will do.

An untagged response belongs to the command that asked for such a thing, not to the one whose tagged line comes next:
Dovecot answers two FETCH commands on end, and only then says that both are done.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, product
from typing import Any, TypeVar

from bouncefiler.edge.imap.commands import Ask, Command, Leave, Refused, Reply, ended
from bouncefiler.edge.imap.fetched import parsed
from bouncefiler.edge.imap.wire import Garbled, Lost, Wire

_BYE = re.compile(rb"\* BYE ?(.*)", re.IGNORECASE | re.DOTALL).match
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_TAGS = tuple(f"B{(high + low).lstrip('0')}".encode() for high, low in product(_DIGITS, repeat=2))[1:]
"""Short ones, for they come twice in each answer; by the time that one is used again its command is long forgotten."""

T = TypeVar("T")


class Pipe:
    """Commands in flight on one wire.

    Whoever wants an answer has all that comes before it read too; it is kept for whoever asks, or dropped when nobody
    will. After any trouble other than Refused the connection is of no use any more.
    """

    def __init__(self, wire: Wire) -> None:
        self.broken = False
        self._wire = wire
        self._flying: deque[Command[Any]] = deque()
        self._tags = cycle(_TAGS)
        self._posted: list[Command[Any]] = []
        self._spoken_to: Command[Any] | None = None
        """Who took the last response, while an earlier command may not have ended: probably takes the next one, too."""

    @property
    def idle(self) -> bool:
        """Whether no answer is on its way."""
        return not self._flying

    def send(self, *commands: Command[Any]) -> None:
        """Send these commands in one go, without waiting for answers."""
        with self._or_broken():
            if not self._flying:
                self._wire.restart()
            together, self._posted = [*self._posted, *commands], []
            for command in together:
                command.tag = next(self._tags)
            self._flying.extend(together)
            self._wire.send(b"".join(b"%s %s\r\n" % (command.tag, command.text) for command in together))

    def post(self, command: Command[Any]) -> None:
        """Send this command in one go with the next one: it is in no hurry, and costs no turn of its own."""
        self._posted.append(command)

    def answers(self, command: Command[T]) -> Generator[T]:
        """Yield what the answer to this command brings; raise Refused at its end if it was NO or BAD."""
        try:
            while command.kept or command.reply is None:
                if not command.kept:
                    self._advance()
                else:
                    yield command.kept.popleft()
        finally:
            command.forget()
        if not command.reply.complete:
            raise Refused(command.reply)

    def ask(self, *texts: bytes) -> tuple[Reply, ...]:
        """Send these commands in one go; return how each ended, with the untagged responses of all."""
        return self.end(self.begin(*texts))

    def begin(self, *texts: bytes) -> list[Ask]:
        """Send these commands in one go; `end` waits for their answers. No two such questions are open at a time."""
        while any(isinstance(command, Ask) for command in self._flying):
            self._advance()
        commands = [Ask(text) for text in texts]
        self.send(*commands)
        return commands

    def end(self, commands: Sequence[Ask]) -> tuple[Reply, ...]:
        """Return how these commands ended, each with the untagged responses of all."""
        replies = [self._end_of(command) for command in commands]
        lines = tuple(line for command in commands for line in command.kept)
        return tuple(replace(reply, lines=lines) for reply in replies)

    def drain(self, but: Sequence[Command[Any]] = ()) -> None:
        """Read all answers that are on their way, without those to some commands that wait behind them."""
        while any(command not in but for command in self._flying):
            self._advance()

    def _end_of(self, command: Command[Any]) -> Reply:
        while command.reply is None:
            self._advance()
        return command.reply

    def _advance(self) -> None:
        """Read one response more, or several alike, and give them to whoever asked."""
        with self._or_broken():
            octets = max(command.octets for command in self._flying)
            parts = (self._spoken_to or self._flying[0]).skim(self._wire, octets)
            if parts[0].startswith(b"* "):
                self._untagged(parts)
            elif not (parts[0].startswith(b"+") and self._flying[0].go_on()):
                self._tagged(parts[0])

    def _untagged(self, parts: list[bytes]) -> None:
        if (bye := _BYE(parts[0])) and not any(isinstance(command, Leave) for command in self._flying):
            raise Lost(bye[1].strip().decode("utf-8", "replace"))
        item = parsed(parts)
        self._spoken_to = next((command for command in self._flying if command.take(self._wire, parts, item)), None)

    def _tagged(self, line: bytes) -> None:
        tag, _, rest = line.partition(b" ")
        command = next((command for command in self._flying if command.tag == tag), None)
        if command is None:
            raise Garbled(f"an unexpected line: {line[:40]!r}")
        self._flying.remove(command)
        self._spoken_to = None
        self._wire.restart()
        command.finish(ended(rest))

    def _or_broken(self) -> _Guard:
        return _Guard(self)


@dataclass(frozen=True, slots=True)
class _Guard:
    """Gives the connection up whatever goes wrong inside: nobody knows any more which answer is whose."""

    pipe: Pipe

    def __enter__(self) -> None:
        if self.pipe.broken:
            raise Lost("the connection was given up")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.pipe.broken = True
