"""A proxy on loopback that counts what passes, and can delay it like a slow line. Runs in threads of its own.

A turn is a client's going on when the server had answered everything it was asked: what costs a round trip on a line
that has a delay. A command sent while an earlier one is still being answered costs none. Seen from here the server may
have answered what the client has not read yet, so of one that pipelines the number is no bound of the round trips.
"""

from __future__ import annotations

import queue
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

_CHUNK = 64 * 1024
_ON_THE_WAY = 1_024
"""Chunks, which may be as small as what the sender writes: a line with delay must not be a narrow one by that alone."""
_COMMAND = re.compile(rb"^([A-Za-z0-9]{1,16}) [A-Z]{3,}", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Slowness:
    """How slow the line is."""

    rtt: float = 0.0
    """Seconds for there and back."""
    rate: float = 0.0
    """Octets in a second in each direction; 0 for no limit."""


@dataclass(slots=True)
class Traffic:
    """What has passed."""

    connections: int = 0
    turns: int = 0
    up: int = 0
    down: int = 0


@dataclass(slots=True)
class _Talk:
    """Who has said what on one connection."""

    traffic: Traffic
    lock: threading.Lock
    unanswered: set[bytes] = field(default_factory=set)
    tail: bytes = b""
    answered: bool = True
    """Whether the server has said something since the client last did."""
    compressed: bool = False

    def client_says(self, chunk: bytes) -> None:
        with self.lock:
            self.traffic.up += len(chunk)
            # What is compressed can't be read; then each change of direction counts.
            if self.answered and (self.compressed or not self.unanswered):
                self.traffic.turns += 1
            self.answered = False
            if not self.compressed:
                self.unanswered.update(_COMMAND.findall(chunk))
                self.compressed = b" COMPRESS DEFLATE\r\n" in chunk.upper()

    def server_says(self, chunk: bytes) -> None:
        with self.lock:
            self.traffic.down += len(chunk)
            self.answered = True
            text = self.tail + chunk
            if text.startswith(b"+ ") or b"\n+ " in text[-400:]:
                self.unanswered.clear()
            self.unanswered = {tag for tag in self.unanswered if not _ends(text, tag)}
            self.tail = text[-40:] if text[-2:] != b"\r\n" else b"\n"


def _ends(text: bytes, tag: bytes) -> bool:
    return text.startswith(tag + b" ") or any(b"\n%s %s " % (tag, word) in text for word in (b"OK", b"NO", b"BAD"))


class Proxy:
    """A context manager; `port` is where to connect to."""

    def __init__(self, host: str, port: int, slowness: Slowness = Slowness()) -> None:
        self._target = (host, port)
        self._slowness = slowness
        self._traffic = Traffic()
        self._lock = threading.Lock()
        self._door = socket.create_server((host, 0))
        self.port: int = self._door.getsockname()[1]

    def __enter__(self) -> Self:
        self._doorman = threading.Thread(target=self._accept, daemon=True)
        self._doorman.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self._doorman.join()

    def take(self) -> Traffic:
        """Return what has passed since the last call."""
        with self._lock:
            taken = Traffic(self._traffic.connections, self._traffic.turns, self._traffic.up, self._traffic.down)
            self._traffic.connections = self._traffic.turns = self._traffic.up = self._traffic.down = 0
        return taken

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._door.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            with self._lock:
                self._traffic.connections += 1
            talk = _Talk(self._traffic, self._lock)
            threads = []
            for source, sink, say in ((client, server, talk.client_says), (server, client, talk.server_says)):
                sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                line = _Line(source, sink, self._slowness)
                threads += [threading.Thread(target=line.read, args=(say,)), threading.Thread(target=line.write)]
            for thread in threads:
                thread.daemon = True
                thread.start()
            for thread in threads:
                thread.join()


class _Line:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, sink: socket.socket, slowness: Slowness) -> None:
        self._source, self._sink, self._slowness = source, sink, slowness
        self._way: queue.Queue[tuple[float, bytes]] = queue.Queue(maxsize=_ON_THE_WAY)

    def read(self, say: Callable[[bytes], None]) -> None:
        free_at = 0.0
        chunk = b"?"
        while chunk:
            try:
                chunk = self._source.recv(_CHUNK)
            except OSError:
                chunk = b""
            if chunk:
                say(chunk)
            free_at = max(free_at, time.monotonic())
            if self._slowness.rate:
                free_at += len(chunk) / self._slowness.rate
            self._way.put((free_at + self._slowness.rtt / 2, chunk))

    def write(self) -> None:
        chunk = b"?"
        while chunk:
            due, chunk = self._way.get()
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            try:
                if chunk:
                    self._sink.sendall(chunk)
                else:
                    self._sink.shutdown(socket.SHUT_WR)
            except OSError:  # who should hear it has gone: let the other one know, and take the rest off its hands
                with suppress(OSError):
                    self._source.shutdown(socket.SHUT_RDWR)
