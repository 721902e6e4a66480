"""What the protocol itself costs: a program that is told which messages are bounces, and understands nothing.

    python -I -S floor.py HOST PORT USER PASSWORD FOLDER ORACLE [compress]

It asks for the four lean header fields of all messages, for the first 8 KiB of each bounce, and has the bounces moved,
in as few turns as the protocol allows to somebody who has to know one answer before the next question. Of the answers
it only looks for where they end. ORACLE is a file with the UIDs of the bounces, one a line.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path

_BUFFER = 256 * 1024
_COMMAND_OCTETS = 7_000
_LEAN = b"(UID BODY.PEEK[HEADER.FIELDS (FROM SUBJECT CONTENT-TYPE MESSAGE-ID)])"


class Line:
    """A connection; `inflate` and `deflate` are for what is compressed (RFC 4978)."""

    def __init__(self, host: str, port: int) -> None:
        self._sock = socket.create_connection((host, port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = memoryview(bytearray(_BUFFER))
        self._tags = 0
        self._seen = b""
        self._inflate: Callable[[memoryview], bytes] = bytes
        self._deflate: Callable[[bytes], bytes] = bytes

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def compress(self) -> None:
        """Have all that follows compressed."""
        import zlib  # noqa: PLC0415 - the plain floor must not pay for it

        self.say([b"COMPRESS DEFLATE"])
        inflater, deflater = zlib.decompressobj(-15), zlib.compressobj(wbits=-15)
        self._inflate = inflater.decompress
        self._deflate = lambda data: deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH)

    def greeting(self) -> None:
        """Wait for the first line."""
        while not self._receive().endswith(b"\r\n"):
            pass

    def say(self, commands: list[bytes]) -> None:
        """Send commands, always two at a time, and read until the last one has been answered."""
        tags = [self._send(command) for command in commands[:2]]
        for command in [*commands[2:], None, None][: len(commands)]:
            self._await(tags.pop(0))
            if command is not None:
                tags.append(self._send(command))

    def _send(self, command: bytes) -> bytes:
        self._tags += 1
        tag = b"F%05d " % self._tags
        self._sock.sendall(self._deflate(tag + command + b"\r\n"))
        return tag + b"OK"

    def _await(self, tag: bytes) -> None:
        if tag in self._seen:
            return
        while tag not in self._receive():
            pass

    def _receive(self) -> bytes:
        """Return what has come, with the end of what came before; it can hold the ends of two answers."""
        size = self._sock.recv_into(self._buffer)
        if not size:
            sys.exit("the server hung up")
        self._seen = self._seen[-16:] + self._inflate(self._buffer[:size])
        return self._seen


def uid_sets(uids: list[int]) -> list[bytes]:
    """Write UIDs as sets of a length that servers take in one command."""
    sets: list[bytes] = []
    current: list[bytes] = []
    length = 0
    for uid in uids:
        text = b"%d" % uid
        if length + len(text) > _COMMAND_OCTETS:
            sets.append(b",".join(current))
            current, length = [], 0
        current.append(text)
        length += len(text) + 1
    return [*sets, b",".join(current)] if current else sets


def main(host: str, port: str, user: str, password: str, folder: str, oracle: str, *more: str) -> None:
    """Do it."""
    sets = uid_sets([int(line) for line in Path(oracle).read_text("ascii").split()])
    line = Line(host, int(port))
    line.greeting()
    line.say([b'LOGIN "%s" "%s"' % (user.encode(), password.encode())])
    if "compress" in more:
        line.compress()
    target = b'"%s"' % folder.encode()
    line.say([b"SELECT INBOX", b"CREATE " + target])
    line.say([b"UID FETCH 1:* " + _LEAN])
    line.say([b"UID FETCH %s (UID BODY.PEEK[]<0.8192>)" % uids for uids in sets])
    line.say([b"UID MOVE %s %s" % (uids, target) for uids in sets])
    line.say([b"LOGOUT"])


if __name__ == "__main__":
    main(*sys.argv[1:])
