"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click


def account_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give the command --account, as `names`."""
    return click.option(
        "--account", "-a", "names", multiple=True, metavar="NAME", help="Only this account; can be repeated."
    )(command)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give the command --json, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object a line.")(command)


_SPANS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """Read a date that has come, or a span that ends now. For an option's `callback`."""
    if value is None:
        return None
    now = datetime.now(UTC)
    try:
        if value[:-1].isdecimal() and value[-1] in _SPANS:
            return now - int(value[:-1]) * _SPANS[value[-1]]
        since = datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter("expected a date such as 2026-03-01, or a span such as 30d or 12h") from None
    if since > now:
        raise click.BadParameter(f"{value} is yet to come")
    return since
