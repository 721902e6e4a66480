"""Runs a command and says what it cost: `python -I -S stopwatch.py SECONDS COMMAND …` prints one line of JSON.

A process of its own, and a small one: the kernel counts the memory of whoever starts a program as the program's own
peak, as long as that is the larger one. So no peak below this program's (about 9 MB) can be told.
"""

from __future__ import annotations

import os
import signal
import sys
import time


def main(seconds: str, *command: str) -> None:
    """Do it; a command that takes longer than so many seconds is ended."""
    begun = time.monotonic()
    child = os.fork()
    if not child:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.execvp(command[0], command)  # noqa: S606 - a command of ours
    over_time = False

    def end(*_: object) -> None:
        nonlocal over_time
        over_time = True
        os.killpg(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, end)
    signal.alarm(int(seconds))
    try:
        _, status, used = os.wait4(child, 0)
    except KeyboardInterrupt:  # which only we are told of: the command is in a group of its own
        end()
        os.waitpid(child, 0)
        raise SystemExit(130) from None
    signal.alarm(0)
    import json  # noqa: PLC0415 - it would make this program larger before the command starts

    cost = {
        "wall": time.monotonic() - begun,
        "cpu": used.ru_utime + used.ru_stime,
        "peak_kb": used.ru_maxrss,
        "status": None if over_time else os.waitstatus_to_exitcode(status),
    }
    print(json.dumps(cost))


main(*sys.argv[1:])
