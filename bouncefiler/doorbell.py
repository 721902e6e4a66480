"""Watches sockets for jobs that wait, all of them in one thread: waiting costs an account no thread of its own."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread


@dataclass(frozen=True, slots=True)
class Watch:
    """What a job asks for at the end of a run: to be run again sooner than its interval says."""

    within: float
    """Seconds until the next run, at the latest."""
    fileno: int | None = None
    """A socket's descriptor: when it can be read, the job is run at once. It stays open until the job is called again.

    What has been read from the socket and lies in somebody's buffer does not count: look before you wait.
    """


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """A socket that is watched, and what to call, in the doorbell's thread, when it can be read."""

    fileno: int
    wake: Callable[[], None]


@dataclass(slots=True, eq=False)
class Doorbell:
    """The thread. It begins with the first socket; each socket is watched until it can be read once."""

    _orders: SimpleQueue[Callable[[], None]] = field(default_factory=SimpleQueue)
    _selector: selectors.BaseSelector | None = None
    _bell: socket.socket | None = None
    _thread: Thread | None = None
    _over: bool = False

    def watch(self, fileno: int, wake: Callable[[], None]) -> Sight:
        """Call `wake` once, as soon as there is something to read, or to be found out by reading."""
        if self._bell is None:
            ear, self._bell = socket.socketpair()
            ear.settimeout(0)
            self._selector = selectors.DefaultSelector()
            self._selector.register(ear, selectors.EVENT_READ)
            self._thread = Thread(target=self._serve, args=(self._selector, ear), name="doorbell", daemon=True)
            self._thread.start()
        sight = Sight(fileno, wake)
        self._order(lambda: self._add(sight))
        return sight

    def forget(self, sight: Sight) -> None:
        """Watch it no longer; a call that is on its way may still come."""
        self._order(lambda: self._drop(sight))

    def close(self) -> None:
        """End the thread."""
        if self._bell is not None and self._thread is not None:
            self._order(self._end)
            self._thread.join()
            self._bell.close()
            self._bell = None

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.put(order)
        if self._bell is not None:
            with suppress(BrokenPipeError):  # it was awake, and has obeyed this order already: that to end
                self._bell.send(b"!")

    # in the doorbell's thread

    def _serve(self, selector: selectors.BaseSelector, ear: socket.socket) -> None:
        with selector, ear:
            while not self._over:
                for key, _ in selector.select():
                    if isinstance(key.data, Sight):
                        self._drop(key.data)
                        key.data.wake()
                    else:
                        ear.recv(4_096)
                        self._obey()

    def _obey(self) -> None:
        with suppress(Empty):
            while True:
                self._orders.get_nowait()()

    def _add(self, sight: Sight) -> None:
        assert self._selector is not None  # noqa: S101 - it is made before the thread
        try:
            self._selector.register(sight.fileno, selectors.EVENT_READ, sight)
        except (KeyError, OSError, ValueError):  # closed meanwhile: whoever wanted to know finds that out
            sight.wake()

    def _drop(self, sight: Sight) -> None:
        assert self._selector is not None  # noqa: S101 - it is made before the thread
        key = self._selector.get_map().get(sight.fileno)
        if key is not None and key.data is sight:  # its number may by now be another's
            self._selector.unregister(sight.fileno)

    def _end(self) -> None:
        self._over = True
