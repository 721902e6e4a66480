"""`history` lists what was filed, and `undo` puts it back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bouncefiler.cli.accounts import for_each, in_one_line, the_one
from bouncefiler.cli.late import app, parts, render
from bouncefiler.cli.options import account_option, json_option, moment
from bouncefiler.cli.terminal import complain, stop_signals, stopping
from bouncefiler.errors import BrakePulled

if TYPE_CHECKING:
    from bouncefiler.filing.undo import FiledMessage, PastRun, Undo
    from bouncefiler.settings import Account, Settings
    from bouncefiler.sweep import Report


def _run_number(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """Read the number of a run, of those that the state file can hold. For an option's `callback`."""
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal() and len(value) <= 18 and int(value)):
        raise click.BadParameter("expected the number of a run, such as 3: `bouncefiler history` lists them")
    return int(value)


@click.command()
@click.option("--run", "run_id", callback=_run_number, metavar="ID", help="What this run filed (see `history`).")
@click.option("--since", callback=moment, metavar="WHEN", help="What was filed since 2026-03-01, or since 2h.")
@click.option(
    "--message", "-m", metavar="WHICH", help="One message: its number in `history --run ID`, or its Message-ID."
)
@click.option("--yes", is_flag=True, help="Don't ask.")
@json_option
@account_option
@click.pass_obj
def undo(config: Path | None, /, *, run_id: int | None, yes: bool, as_json: bool, **options: Any) -> None:
    """Put filed messages back where they came from: those of the last run, if you don't say which.

    First shows what would be put back, and asks. Flags and dates stay as they are, and what is put back is not filed
    again. What you have moved or deleted since is named, and left alone.
    """
    from bouncefiler.desk import Choice, at_work  # noqa: PLC0415

    choice = Choice(run_id, options["since"], options["message"])
    if sum(chosen is not None for chosen in (choice.run, choice.since, choice.message)) > 1:
        raise click.UsageError("--run, --since and --message exclude each other")
    settings = app.load_settings(config, os.environ)
    account = the_one(settings, options["names"])
    page = _Story(account, settings, as_json=as_json)
    with (
        stop_signals(),
        in_one_line(account),
        at_work(account, settings, os.environ, "bouncefiler undo") as desk,
    ):
        plan = desk.plan_undo(choice)
        if choice.explicit and not (plan.batches or plan.stays):
            raise click.UsageError("no such message or run was filed, or it is back already; see `bouncefiler history`")
        page.show_undo(plan)
        if plan.batches and (yes or _agreed(page.words, as_json=as_json)):
            page.show_undone(desk.undo(plan, stopping.is_set))


def _agreed(words: render.Words, *, as_json: bool) -> bool:
    if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        complain(words.say("command", "not-put-back"))
        sys.exit(BrakePulled.exit_code)
    return click.confirm(words.say("command", "put-back"))


@click.command()
@click.option("--run", "run_id", callback=_run_number, metavar="ID", help="List the messages of this run.")
@click.option("--since", callback=moment, metavar="WHEN", help="Runs since 2026-03-01, or since 30d.")
@json_option
@account_option
@click.pass_obj
def history(config: Path | None, /, *, run_id: int | None, as_json: bool, **options: Any) -> None:
    """List the runs that filed something, or with --run what one of them filed. Asks no server."""
    settings = app.load_settings(config, os.environ)
    if run_id is not None:
        account = the_one(settings, options["names"])
        with in_one_line(account):
            _Story(account, settings, as_json=as_json).show_run(run_id, app.moved_in(account, settings, run_id))
        return

    def one(account: Account) -> None:
        every = as_json or options["since"] is not None
        found = app.past_runs(account, settings, options["since"], limit=-1 if every else render.LATEST_RUNS + 1)
        _Story(account, settings, as_json=as_json).show_runs(found, every=every)

    for_each(settings, options["names"], one)


class _Story:
    """What is shown of an account's past."""

    def __init__(self, account: Account, settings: Settings, *, as_json: bool) -> None:
        self.name, self.as_json = account.name, as_json
        self.words = render.Words(app.Wording(settings, account.name), parts.language(settings, os.environ))

    def show_runs(self, runs: Sequence[PastRun], *, every: bool) -> None:
        self._show(lambda: render.runs(self.name, runs, self.words, every=every), render.runs_json(self.name, runs))

    def show_run(self, run: int, messages: Sequence[FiledMessage]) -> None:
        self._show(lambda: render.run(run, messages, self.words), render.run_json(self.name, messages))

    def show_undo(self, undo: Undo) -> None:
        self._show(lambda: render.undo(undo, self.words), render.undo_json(self.name, undo))

    def show_undone(self, report: Report) -> None:
        if not self.as_json:
            click.echo()
        self._show(lambda: render.undone(report, self.words), [render.report_json(self.name, report)])

    def _show(self, document: Callable[[], render.Document], records: Iterable[render.Json]) -> None:
        if self.as_json:
            for record in records:
                click.echo(render.to_json(record))
        else:
            look = render.Look.of(sys.stdout, os.environ)
            click.echo(render.lay_out(document(), look), nl=False)
