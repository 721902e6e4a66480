"""The embedded IMAP server of the demo: pymap's account in memory, in a process of its own, on loopback."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

HOST = "127.0.0.1"

PATIENCE = 20.0
"""Seconds that the server has for starting."""


@contextmanager
def running(user: str, password: str) -> Iterator[int]:
    """Run the server with one empty account, and give its port; it ends, with all its mail, when the block does."""
    port = _free_port()
    options = f"--host {HOST} --port {port} --no-tls dict --demo-user {user} --demo-password={password}".split()
    # In sight of others on this machine, this password guards made-up mail for as long as the demo runs.
    process = subprocess.Popen(
        [sys.executable, "-c", "from pymap.main import main; main()", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_for(process, port)
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
    return port


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((HOST, port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the demo's server did not start on port {port}; what it said about it stands above")
