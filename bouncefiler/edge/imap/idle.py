"""IDLE (RFC 2177): the server says by itself when something happens in the selected folder.

imapclient's IDLE is not used. There, the end of the connection looks like silence that comes at once; what has been
received already, and lies in a buffer of TLS or of ours, is not seen; and nothing has a time limit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bouncefiler.edge.imap.commands import Command
from bouncefiler.edge.imap.fetched import Fetched
from bouncefiler.edge.imap.pipe import Pipe
from bouncefiler.edge.imap.wire import Wire

_NEWS = re.compile(rb"\* \d+ (?:EXISTS|RECENT)\b", re.IGNORECASE).match


@dataclass(slots=True, eq=False)
class Idle(Command[bytes]):
    """IDLE in flight. Of what the server says only that there is news is kept, however long it talks."""

    text: bytes = field(default=b"IDLE", init=False)
    begun: bool = field(default=False, init=False)
    news: bool = field(default=False, init=False)

    def go_on(self) -> bool:
        """See Command."""
        self.begun = True
        return True

    def take(self, wire: Wire, parts: list[bytes], item: Fetched | None) -> bool:  # noqa: ARG002 - others do
        """See Command."""
        self.news = self.news or bool(_NEWS(parts[0]))
        return True


class IdlePipe(Pipe):
    """A pipe that can idle. Whoever sends the next command, or reads what is left, ends that."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self._idling: Idle | None = None

    def watch(self) -> bool | None:
        """Idle; return whether there is silence, so that the socket can be read only when the server says something.

        None when the server refuses to. Not to be called while it idles.
        """
        command = Idle()
        self.send(command)
        while not command.begun and command.reply is None:
            self._advance()
        if command.reply is not None:
            return None
        self._idling = command
        return not command.news and not self._wire.arrived()

    def attend(self) -> bool:
        """Idle no longer, if it did; return whether the server has told of new messages meanwhile."""
        command, self._idling = self._idling, None
        if command is None:
            return False
        with self._or_broken():
            self._wire.restart()
            while command.reply is None and self._wire.arrived():
                self._advance()
            if command.reply is None:  # some servers end it by themselves, and would take DONE for a command
                self._wire.send(b"DONE\r\n")
        while command.reply is None:
            self._advance()
        return command.news

    def send(self, *commands: Command[Any]) -> None:
        """See Pipe."""
        self.attend()
        super().send(*commands)

    def drain(self, but: Sequence[Command[Any]] = ()) -> None:
        """See Pipe."""
        self.attend()
        super().drain(but)
