"""Talks to the service manager: sd_notify(3) and its watchdog. Without systemd, everything here does nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

SECONDS = 5.0
"""How long a notification may take: systemd's socket is only ever full for moments."""


def notify(*assignments: str, environ: Mapping[str, str] = os.environ) -> None:
    """Tell systemd these `NAME=text` lines in one datagram; whatever goes wrong, nothing is raised.

    `$NOTIFY_SOCKET` is a path, or a name in the abstract namespace when it begins with "@" (sd_notify(3)).
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    lines = (" ".join(assignment.splitlines()) for assignment in assignments)
    # A path that no file can have is a ValueError.
    with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(SECONDS)
        manager.connect("\0" + address[1:] if address.startswith("@") else address)
        manager.sendall("\n".join(lines).encode("utf-8", "replace"))


def watchdog_interval(environ: Mapping[str, str] = os.environ, pid: int | None = None) -> float | None:
    """Return after how many seconds to send `WATCHDOG=1` again, None when nobody waits for it.

    It is half of `$WATCHDOG_USEC`, as sd_watchdog_enabled(3) recommends; `$WATCHDOG_PID` says whom it is meant for.
    """
    microseconds = _positive(environ.get("WATCHDOG_USEC", ""))
    meant_for = environ.get("WATCHDOG_PID", "")
    if microseconds is None or (meant_for and _positive(meant_for) != (os.getpid() if pid is None else pid)):
        return None
    return microseconds / 2_000_000


def _positive(text: str) -> int | None:
    # ASCII digits and not too many of them: int() takes more than that, and refuses very long ones by ValueError.
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    return int(text) or None
