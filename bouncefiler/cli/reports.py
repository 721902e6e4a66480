"""`status`, `report` and `export` tell what has happened, from what is kept: no server is asked."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bouncefiler.cli.accounts import for_each
from bouncefiler.cli.late import app, parts, render
from bouncefiler.cli.options import account_option, json_option

if TYPE_CHECKING:
    from bouncefiler.report.chronicle import Chronicle
    from bouncefiler.settings import Account


@click.command()
@json_option
@account_option
@click.pass_obj
def status(config: Path | None, names: tuple[str, ...], *, as_json: bool) -> None:
    """Say whether all is well: what is going on, when your mailbox was last looked into, and how many bounces came.

    Asks no server. Ends with 0 whenever that could be read, well or not; a script looks at `state` in --json.
    """
    from bouncefiler.report import status as told  # noqa: PLC0415

    settings = app.load_settings(config, os.environ)
    look = render.Look.of(sys.stdout, os.environ)

    def one(account: Account) -> None:
        chronicle = app.chronicle(account, settings, os.environ)
        if as_json:
            click.echo(render.to_json(told.status_json(chronicle)))
        else:
            click.echo(render.lay_out(told.status(chronicle, encoding=look.encoding), look), nl=False)

    for_each(settings, names, one)


@click.command()
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("bouncefiler-report.html"),
    show_default=True,
    metavar="FILE",
    help="Where to write the page; - prints it.",
)
@click.option("--days", type=click.IntRange(1, 400), default=90, show_default=True, help="How far back to count.")
@click.option("--force", is_flag=True, help="Even over a file that is no report.")
@account_option
@click.pass_obj
def report(config: Path | None, names: tuple[str, ...], *, output: Path, days: int, force: bool) -> None:
    """Tell on a page what has happened: is all well, what came back and why, what was filed, which addresses are dead.

    One HTML file for all accounts, to be looked at in any browser, or printed. It loads nothing from anywhere and holds
    no script. It has other people's addresses in it, so that only you may read it. Asks no server.
    """
    from bouncefiler.report import page  # noqa: PLC0415
    from bouncefiler.report.speech import Speech  # noqa: PLC0415

    settings = app.load_settings(config, os.environ)
    chronicles: list[Chronicle] = []
    try:
        for_each(settings, names, lambda account: chronicles.append(app.chronicle(account, settings, os.environ, days)))
    finally:  # one account's trouble does not keep the others from the page
        if chronicles:
            _hand_over(page.page(chronicles), output, mark=page.MARK, force=force)
            if str(output) != "-":
                where = render.clean_text(str(output.absolute()), 1_000)
                click.echo(Speech(parts.language(settings, os.environ)).texts["page"]["is-in"].format(file=where))


@click.command()
@click.option("--dead", is_flag=True, help="Addresses that mail cannot be delivered to. There is nothing else so far.")
@click.option("--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
@click.option("--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Instead of printing it.")
@click.option("--force", is_flag=True, help="Even if the file is there already.")
@account_option
@click.pass_obj
def export(config: Path | None, /, *, dead: bool, form: str, output: Path | None, force: bool, **options: Any) -> None:
    """List the addresses that do not exist, or no longer do, with why, since when, and how often.

    What is counted is the last answer from each. Those that you have written to come first; of the others it is not
    known. Asks no server.
    """
    from bouncefiler.report import dead as lists  # noqa: PLC0415

    if not dead:
        raise click.UsageError("say what to export: --dead")
    settings = app.load_settings(config, os.environ)
    listed: list[lists.Listed] = []
    for_each(
        settings,
        options["names"],
        lambda account: listed.extend((account.name, found) for found in app.dead_addresses(account, settings)),
    )
    _hand_over(lists.as_json(listed) if form == "json" else lists.as_csv(listed), output, force=force)


def _hand_over(text: str, output: Path | None, *, mark: str = "", force: bool = False) -> None:
    """Write the text into a file, or print it as it is. Raises OutputRefused."""
    if output is None or str(output) == "-":
        sys.stdout.buffer.write(text.encode())
    else:
        app.write_file(output, text, mark=mark, force=force)
