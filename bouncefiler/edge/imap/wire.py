"""A connection as lines and literals (RFC 3501, 4.3), each bounded before it is read, none waited for too long.

TLS lies below; compression (RFC 4978) is done here.
"""

from __future__ import annotations

import io
import re
import socket
import ssl
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

MAX_LINE = 1_000_000
"""Octets in a line; imaplib has the same limit."""

MAX_LITERAL = 64 * 1024 * 1024
"""A larger literal is not even skipped."""

MAX_REPLY = 8 * 1024 * 1024
"""Octets in the whole answer to a command whose answer is kept."""

PATIENCE = 120.0
"""Seconds for a command to finish, or to bring one more message that was asked for."""

_BUFFER = 128 * 1024

STRUCTURE = re.compile(rb"\* \d+ FETCH \((?:UID \d+ )?BODY \(", re.IGNORECASE).match
_LITERAL = re.compile(rb"~?\{(\d{1,12})\}\r\n$").search
_NO_LITERAL = re.compile(rb"[^*]|\* (?:OK|NO|BAD|BYE|PREAUTH)\b", re.IGNORECASE).match


class Lost(Exception):
    """The connection has ended; says so in the server's words when it said BYE."""


class Garbled(Exception):
    """The server's answer breaks the protocol, or a limit that no honest answer comes near."""


class _Socket(Protocol):
    """What of a socket.socket is used."""

    def recv_into(self, buffer: Any, /) -> int: ...
    def sendall(self, data: bytes, /) -> None: ...
    def settimeout(self, value: float | None, /) -> None: ...
    def fileno(self) -> int: ...
    def shutdown(self, how: int, /) -> None: ...
    def close(self) -> None: ...


class _Source(io.RawIOBase):
    """The socket as io.BufferedReader wants it, with a time limit that starts anew when something useful has come."""

    def __init__(self, sock: _Socket, timeout: float, clock: Callable[[], float]) -> None:
        self.sock = sock
        self.timeout = timeout
        self.useful = True
        self.held = False
        self.waits = True
        self.ended = False
        self._clock = clock
        self._deadline = 0.0
        self._inflate: zlib._Decompress | None = None
        self._compressed = b""

    def readable(self) -> bool:
        return True

    def decompress(self, received: bytes) -> None:
        """Take what comes from now on as compressed, and also these octets, which have come already."""
        self._inflate, self._compressed = zlib.decompressobj(-zlib.MAX_WBITS), received

    def readinto(self, buffer: Any) -> int | None:
        if self.held:
            return None
        return self._receive(buffer) if self._inflate is None else self._inflated(self._inflate, buffer)

    def _receive(self, buffer: Any) -> int | None:
        now = self._clock()
        if self.useful:
            self._deadline, self.useful = now + PATIENCE, False
        if now >= self._deadline:
            raise TimeoutError(f"no end of the answer within {PATIENCE:.0f} seconds")
        self.sock.settimeout(min(self.timeout, self._deadline - now) if self.waits else 0.0)
        try:
            received = self.sock.recv_into(buffer)
        except (BlockingIOError, ssl.SSLWantReadError):
            if self.waits:
                raise
            return None
        self.ended = not received
        return received

    def _inflated(self, inflate: zlib._Decompress, buffer: Any) -> int | None:
        """Decompress no more than the buffer holds, however much there would be: a few octets can make gigabytes."""
        received = bytearray(_BUFFER)
        while not inflate.eof:
            try:
                octets = inflate.decompress(self._compressed, len(buffer))
            except zlib.error as exc:
                raise Garbled("compressed data that cannot be read") from exc
            self._compressed = inflate.unconsumed_tail
            if octets:
                buffer[: len(octets)] = octets
                return len(octets)
            size = self._receive(received)
            if not size:
                return size
            self._compressed = bytes(received[:size])
        return 0


class Wire:
    """Lines and literals over a socket. All may raise Lost, Garbled, TimeoutError and other OSErrors."""

    def __init__(self, sock: _Socket, timeout: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.source = _Source(sock, timeout, clock)
        self.file = io.BufferedReader(self.source, _BUFFER)
        self._budget = MAX_REPLY
        self._deflate: zlib._Compress | None = None

    def compress(self) -> None:
        """Compress in both directions from here on (RFC 4978): the server has just said that it does."""
        self.source.held = True
        try:
            received = self.file.read(len(self.file.peek(1))) or b""
        finally:
            self.source.held = False
        self.source.decompress(received)
        self._deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)

    def restart(self) -> None:
        """Begin a new command: the time limit and the allowance for kept answers start anew."""
        self.source.useful = True
        self._budget = MAX_REPLY

    def send(self, data: bytes) -> None:
        """Send all of it."""
        if self._deflate:
            data = self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self.source.sock.sendall(data)

    def readline(self) -> bytes:
        """Read one line, with its CRLF."""
        return self.checked(self.file.readline(MAX_LINE))

    def checked(self, line: bytes) -> bytes:
        """Return the line, if it is a whole one."""
        if line.endswith(b"\r\n"):
            return line
        if len(line) >= MAX_LINE:
            if STRUCTURE(line):
                return b"* 0 FETCH (BODY (" + self._skipped()
            raise Garbled(f"a line of over {MAX_LINE} octets")
        if line.endswith(b"\n"):
            raise Garbled("a line without CRLF")
        raise Lost("the connection was closed")

    def _skipped(self) -> bytes:
        """Read on to the end of the line, and return that end: who writes a mail can make its structure this long."""
        for _ in range(MAX_LITERAL // MAX_LINE):
            line = self.file.readline(MAX_LINE)
            if line.endswith(b"\r\n"):
                return line[-20:]
            if not line:
                raise Lost("the connection was closed")
        raise Garbled(f"a line of over {MAX_LITERAL} octets")

    def read(self, size: int) -> bytes:
        """Read exactly this many octets of an answer that is kept."""
        self.spend(size)
        return self.literal(size, size)

    def literal(self, size: int, keep: int) -> bytes:
        """Read a literal; return its first `keep` octets."""
        if size > MAX_LITERAL:
            raise Garbled(f"a literal of {size} octets")
        kept = self.file.read(min(size, keep))
        left = size - keep
        while left > 0:
            chunk = self.file.read(min(left, _BUFFER))
            if not chunk:
                break
            left -= len(chunk)
        if len(kept) < min(size, keep) or left > 0:
            raise Lost("the connection was closed in the middle of an answer")
        return kept

    def response(self, line: bytes, keep: int) -> list[bytes]:
        """Return the response that begins with this line: text, literal, …, text; `keep` octets of each literal."""
        parts = [line]
        while line.endswith(b"}\r\n") and not _NO_LITERAL(parts[0]) and (found := _LITERAL(line)):
            parts.append(self.literal(int(found[1]), keep))
            line = self.readline()
            parts.append(line)
            if len(parts) > 100:
                if not STRUCTURE(parts[0]):
                    raise Garbled("a response of over fifty literals")
                parts = [b"* 0 FETCH (BODY (\r\n", *parts[-2:]]
        return parts

    def spend(self, octets: int) -> None:
        """Count octets that are kept. Raises Garbled when the answer grows beyond all reason."""
        self._budget -= octets
        if self._budget < 0:
            raise Garbled(f"an answer of over {MAX_REPLY} octets")

    def unread(self) -> bool:
        """Whether octets have been received that nobody has read yet."""
        self.source.held = True
        try:
            return bool(self.file.peek(1))
        finally:
            self.source.held = False

    def arrived(self) -> bool:
        """Whether something can be read without waiting for it. Raises Lost at the connection's end.

        It takes what there is from the socket. When this is False, nothing lies in a buffer: not in TLS, not in the
        decompressor and not here, so that the socket becomes readable when more comes.
        """
        self.source.waits = False
        try:
            there = bool(self.file.peek(1))
        finally:
            self.source.waits = True
            self.source.sock.settimeout(self.source.timeout)
        if not there and self.source.ended:
            raise Lost("the connection was closed")
        return there

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.source.sock.fileno()

    def close(self) -> None:
        """Close the socket."""
        with suppress(OSError):
            self.source.sock.shutdown(socket.SHUT_RDWR)
        self.source.sock.close()
