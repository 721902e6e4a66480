"""A service of counting jobs, for the tests that need a real process: signals, and the watchdog.

    child.py ACCOUNTS

ACCOUNTS is a file with a name on each line; "wrong" in it stands for a configuration with an error. Each run prints
`NAME begins`, then does batches until it is asked to stop: it prints `NAME batch`, and each takes one line on stdin.
A name that begins with "idle" stands for an account with nothing to do; one with "signalled", for a SIGTERM that comes
to the thread which works for that account.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from datetime import timedelta
from functools import partial
from pathlib import Path

from bouncefiler.edge import systemd
from bouncefiler.errors import ConfigError
from bouncefiler.service import Job, Limits, Tick, run_service


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def work(name: str, tick: Tick) -> None:
    say(f"{name} begins")
    if name.startswith("signalled"):  # the main thread sleeps, and is not woken by what comes to another one
        time.sleep(0.5)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    while not name.startswith("idle") and not tick.stopping():
        say(f"{name} batch")
        sys.stdin.readline()
        tick.progress()
    say(f"{name} ends")


def load() -> list[Job]:
    names = Path(sys.argv[1]).read_text(encoding="utf-8").split()
    if "wrong" in names:
        raise ConfigError("accounts: wrong: expected a name")
    return [Job(name, timedelta(minutes=5), partial(work, name), partial(say, f"{name} closes")) for name in names]


def limits() -> Limits:
    return Limits(
        grace=float(os.environ.get("BOUNCEFILER_TEST_GRACE", "45")),
        patience=float(os.environ.get("BOUNCEFILER_TEST_PATIENCE", "600")),
        pulse=float(os.environ.get("BOUNCEFILER_TEST_PULSE", "30")),
    )


def main() -> int:
    try:
        code = run_service(load, notify=systemd.notify, watchdog_interval=systemd.watchdog_interval(), limits=limits())
    except ConfigError as error:
        return error.exit_code
    say("over")
    return code


if __name__ == "__main__":
    sys.exit(main())
