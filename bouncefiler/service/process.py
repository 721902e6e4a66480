"""The service as a process: it is told by signals what to do."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Thread
from types import FrameType

from bouncefiler.service.clock import Clock, Limits
from bouncefiler.service.job import Job
from bouncefiler.service.loop import Notify, Service


def run_service(
    load: Callable[[], Sequence[Job]],
    *,
    notify: Notify,
    watchdog_interval: float | None = None,
    clock: Clock | None = None,
    limits: Limits | None = None,
) -> int:
    """Run the jobs that `load` gives until a signal says to stop; return the exit code. For the main thread only.

    SIGTERM and SIGINT let the batch in hand be finished, for at most `Limits.grace` seconds; a second one kills the
    process at once. SIGHUP loads the jobs anew. READY=1 is sent when the first run of every account has begun, or waits
    for nothing but a free worker. When no account is left that may be tried again, returns the `exit_code` of the last
    one's error. Raises what `load` raises at the start, and ConfigError when it gives no jobs.
    """
    service = Service(load, notify, watchdog_interval, clock or Clock(), limits or Limits())
    with _woken_by_signals(service), _signals(service):
        return service.run()


@contextmanager
def _woken_by_signals(service: Service) -> Iterator[None]:
    """Have a signal end the wait for messages, whichever thread it comes to, and in whatever moment.

    Python calls a handler when the main thread next does something. One that arrives right before that thread falls
    asleep, or in another thread, would not wake it: then systemd would wait, too.
    """
    ear, mouth = socket.socketpair()
    mouth.settimeout(0)  # so wants signal.set_wakeup_fd

    def listen() -> None:
        while ear.recv(64):
            service.post(_nothing)

    listener = Thread(target=listen, name="signals", daemon=True)
    before = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        mouth.close()
        listener.join()
        ear.close()


def _nothing() -> None:
    """What there is to do for a signal, its handler does."""


@contextmanager
def _signals(service: Service) -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        # The next one takes its usual course, whatever this process may be stuck in: it may be killed at any point.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        service.post(service.stop)

    def reload(_number: int, _frame: FrameType | None) -> None:
        service.post(service.reload)

    handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
