"""`login` keeps a password, and `run` watches the accounts from then on, as a service."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bouncefiler.cli.accounts import in_one_line
from bouncefiler.cli.late import app, parts, render
from bouncefiler.cli.terminal import log_to_stderr

if TYPE_CHECKING:
    from bouncefiler.settings import Account, Settings


@click.command()
@click.pass_obj
def run(config: Path | None) -> None:
    """Watch all accounts until told to stop: file new bounces, raise alerts. Made for systemd; see docs/service.md.

    SIGTERM ends it after the messages in hand, SIGHUP reads the configuration again.
    """
    from bouncefiler import shift  # noqa: PLC0415

    log_to_stderr()
    sys.exit(shift.serve(config, os.environ))


@click.command()
@click.argument("account")
@click.option("--notify", is_flag=True, help="The URLs that alerts are sent to, instead of the password.")
@click.pass_obj
def login(config: Path | None, account: str, *, notify: bool) -> None:
    """Ask for the password of ACCOUNT, try it, and keep it in your keyring.

    With --notify ask for the URLs that alerts are sent to; docs/alerts.md shows how they are written.
    """
    settings = app.load_settings(config, os.environ)
    chosen = app.account(settings, account)
    with in_one_line(chosen):
        if notify:
            _log_in_to_notify(chosen, settings)
        else:
            _log_in(chosen, settings)


def _log_in(account: Account, settings: Settings) -> None:
    words = render.Words(app.Wording(settings, account.name), parts.language(settings, os.environ))
    if not app.keeps_password(account):
        app.check_login(account, settings, os.environ)
        name = "token-works" if account.server.oauth else "password-elsewhere"
        click.echo(words.say("command", name, account=account.name))
        return
    password = click.prompt(
        words.say(
            "command",
            "password",
            user=render.clean_text(account.server.user),
            host=render.clean_text(account.server.host),
        ),
        hide_input=True,
    )
    app.log_in_and_remember(account, settings, password)
    click.echo(words.say("command", "password-works", account=account.name))


def _log_in_to_notify(account: Account, settings: Settings) -> None:
    if app.keeps_notify_urls(account):
        found = app.remember_notify_urls(account, settings, os.environ, _asked_urls())
        where = "now in your keyring, instead of what was there"
    else:
        found = app.check_notify_urls(account, settings, os.environ)
        where = "where the configuration says, so there is nothing to keep"
    services = ", ".join(map(render.clean_text, found))
    click.echo(f"{account.name}: alerts can go to {services}. The URLs are {where}.")
    if "notify" in account.alert_channels:
        click.echo(f"Next: bouncefiler alert --test -a {account.name}")
    else:
        click.echo(f'Next: write channels = ["log", "inbox", "notify"] under [accounts.{account.name}.alert]')


def _asked_urls() -> Sequence[str]:
    """Ask for one URL after the other, as long as there are some; nothing that is typed is shown."""
    urls: list[str] = []
    while True:
        more = (
            "Another one, or just Enter" if urls else "URL to send alerts to, such as ntfys://TOPIC (it is not shown)"
        )
        url = click.prompt(more, hide_input=True, default="", show_default=False).strip()
        if not url:
            return urls
        urls.append(url)
