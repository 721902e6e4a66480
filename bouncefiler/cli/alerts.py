"""`alert` tries the channels that alerts come through, and `notice` writes to those who were sent mail in your name."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bouncefiler.cli.accounts import for_each
from bouncefiler.cli.late import app, render
from bouncefiler.cli.options import account_option
from bouncefiler.cli.terminal import log_to_stderr

if TYPE_CHECKING:
    from bouncefiler.settings import Account


@click.command()
@account_option
@click.option("--test", is_flag=True, help="Send a test message through each channel, now.")
@click.option("--channel", "channels", multiple=True, metavar="CHANNEL", help="Only this channel; can be repeated.")
@click.pass_obj
def alert(config: Path | None, names: tuple[str, ...], channels: tuple[str, ...], *, test: bool) -> None:
    """Send a test message through each configured channel, and say whether it has arrived."""
    if not test:
        raise click.UsageError("say what to do: `bouncefiler alert --test` sends a test message")
    settings = app.load_settings(config, os.environ)
    log_to_stderr()

    codes: list[int] = []

    def one(account: Account) -> None:
        for trial in app.try_channels(account, settings, os.environ, channels):
            what = "arrived" if trial.trouble is None else f"did not arrive: {trial.trouble}"
            click.echo(f"{account.name}: {trial.channel}: {render.clean_lines(what)}")
            if trial.trouble:
                codes.append(trial.trouble.exit_code)

    for_each(settings, names, one)
    if codes:
        sys.exit(codes[0])


@click.command()
@account_option
@click.option("--language", type=click.Choice(["en", "pt"]), help="Of the letter. [default: that of alerts]")
@click.option(
    "--hacked/--forged",
    default=None,
    help="Somebody was in your account, or only writes your address on mail. [default: what the last alert was about]",
)
@click.option("--print", "to_print", is_flag=True, help="Show the letter instead of putting it into Drafts.")
@click.pass_obj
def notice(
    config: Path | None, names: tuple[str, ...], language: str | None, *, hacked: bool | None, to_print: bool
) -> None:
    """Put a letter into Drafts that warns your contacts of strange mail in your name. Nothing is sent: you do that."""
    settings = app.load_settings(config, os.environ)

    def one(account: Account) -> None:
        letter, tells_of_intruder = app.write_notice(account, settings, os.environ, language, hacked=hacked)
        if to_print:
            click.echo(f"{letter.subject}\n{letter.body.rstrip()}")
            return
        folder = app.put_in_drafts(account, settings, os.environ, letter)
        click.echo(f"{account.name}: the letter is in the folder {render.clean_text(folder)}. Nothing was sent.")
        if tells_of_intruder:
            click.echo("Change your password before you send it: whoever is in your account reads the answers, too.")
        click.echo(
            "Open it in your mail program and change what you like. Write your contacts into Bcc, so that nobody"
        )
        click.echo("sees the others' addresses, and send it yourself.")

    for_each(settings, names, one)
