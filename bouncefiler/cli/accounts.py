"""The accounts that a command is for, and what becomes of their trouble."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from bouncefiler.cli.late import app
from bouncefiler.cli.terminal import complain, stopping
from bouncefiler.errors import BouncefilerError

if TYPE_CHECKING:
    from bouncefiler.settings import Account, Settings


def for_each(settings: Settings, names: Iterable[str], do: Callable[[Account], None]) -> None:
    """Do it for each account; one account's trouble does not keep the others from their turn."""
    worst = 0
    for account in app.accounts(settings, names):
        if stopping.is_set():
            break
        try:
            do(account)
        except BouncefilerError as exc:
            complain(f"{account.name}: {exc}")
            worst = worst or exc.exit_code
    if worst:
        sys.exit(worst)


def the_one(settings: Settings, names: Sequence[str]) -> Account:
    """Return the account that is meant: runs are numbered in each account for itself."""
    found = app.accounts(settings, names)
    if len(found) != 1:
        raise click.UsageError(f"say which account: --account {' or '.join(account.name for account in found)}")
    return found[0]


@contextmanager
def in_one_line(account: Account) -> Iterator[None]:
    """End the program with one line about the account's trouble."""
    try:
        yield
    except BouncefilerError as exc:
        complain(f"{account.name}: {exc}")
        sys.exit(exc.exit_code)
