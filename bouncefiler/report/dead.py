"""Addresses that mail cannot be delivered to, as a list for a spreadsheet or a program."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from bouncefiler.render import Json, clean_text, to_json
from bouncefiler.report.chronicle import DeadAddress

HEADS = ("account", "address", "cause", "first", "last", "count", "sent_by_you")

MAX_CELL = 400

_FORMULA = tuple("=+-@\t\r＝＋－＠﹢﹣﹦﹫")
"""What a spreadsheet takes for the beginning of a formula (CWE-1236), with the full-width and small forms."""

Listed = tuple[str, DeadAddress]
"""An account's name, and an address."""


def as_csv(listed: Iterable[Listed]) -> str:
    """Write a table (RFC 4180) in which no cell is a formula; days are those of UTC."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(HEADS)
    writer.writerows(map(_cell, _row(account, dead)) for account, dead in listed)
    return out.getvalue()


def _row(account: str, dead: DeadAddress) -> Iterator[str]:
    yield account
    yield dead.address
    yield dead.cause.value
    yield f"{dead.first:%Y-%m-%d}"
    yield f"{dead.last:%Y-%m-%d}"
    yield str(dead.count)
    yield "yes" if dead.sent_by_you else "unknown"


def _cell(text: str) -> str:
    clean = clean_text(text, MAX_CELL)
    return f"'{clean}" if clean.startswith(_FORMULA) else clean


def as_json(listed: Iterable[Listed]) -> str:
    """Write an array of objects, one a line, in ASCII."""
    return "[\n{}\n]\n".format(",\n".join(to_json(_object(account, dead)) for account, dead in listed))


def _object(account: str, dead: DeadAddress) -> Json:
    return {
        "account": account,
        "address": dead.address,
        "cause": dead.cause.value,
        "first": dead.first.isoformat(),
        "last": dead.last.isoformat(),
        "count": dead.count,
        "sent_by_you": dead.sent_by_you or None,
    }
