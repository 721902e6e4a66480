"""Standard error and Ctrl-C: how the person who waits is told of trouble, and how they end it."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click

from bouncefiler.cli.late import render


def complain(message: str) -> None:
    """Say what went wrong, in harmless lines."""
    click.echo(f"bouncefiler: {render.clean_lines(message)}", err=True)


def log_to_stderr() -> None:
    """Log to standard error: with the levels that the journal reads (sd-daemon(3)), or with the time."""
    if "JOURNAL_STREAM" in os.environ:
        names = {
            logging.DEBUG: "<7>",
            logging.INFO: "<6>",
            logging.WARNING: "<4>",
            logging.ERROR: "<3>",
            logging.CRITICAL: "<2>",
        }
        for level, prefix in names.items():
            logging.addLevelName(level, prefix)
        form = "%(levelname)s%(message)s"
    else:
        form = "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(format=form, level=logging.INFO)
    logging.getLogger("imapclient").setLevel(logging.WARNING)  # it tells of every connection that ends


stopping = threading.Event()
"""Set when the work is to end after the batch in hand."""


@contextmanager
def stop_signals() -> Iterator[None]:
    """Let a first Ctrl-C or SIGTERM end the work after the batch in hand, and a second one at once."""

    def note(signum: int, _frame: object) -> None:
        if stopping.is_set():
            signal.default_int_handler(signum, None)
        stopping.set()
        click.echo("Stopping after the messages in hand; press Ctrl-C again to stop at once.", err=True)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
