"""`preview` shows what would be filed, and `clean` files it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bouncefiler.cli.accounts import for_each
from bouncefiler.cli.late import app, parts, render
from bouncefiler.cli.options import account_option, json_option, moment
from bouncefiler.cli.terminal import stop_signals, stopping

if TYPE_CHECKING:
    from bouncefiler.backscatter.advice import Alert
    from bouncefiler.backscatter.volume import Wave
    from bouncefiler.filing.plan import Plan
    from bouncefiler.sent import SentReport
    from bouncefiler.settings import Account, Settings
    from bouncefiler.sweep import Brake, Report, Scope


def _scope_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        json_option,
        click.option("--all-rows", is_flag=True, help="List each message, however many there are."),
        click.option("--all", "everything", is_flag=True, help="Also mail that was looked at before."),
        click.option("--folder", "-f", "folders", multiple=True, metavar="FOLDER", help="Instead of those configured."),
        click.option("--since", callback=moment, metavar="WHEN", help="Mail that came since 2026-03-01, or since 30d."),
        account_option,
    ):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the options of `preview` and `clean` ask for."""

    names: tuple[str, ...]
    folders: tuple[str, ...]
    since: datetime | None
    everything: bool
    all_rows: bool
    as_json: bool

    def scope(self, account: Account) -> Scope:
        from bouncefiler.sweep import Scope  # noqa: PLC0415

        return Scope(self.folders or account.folders, self.since, self.everything)


@click.command()
@_scope_options
@click.pass_obj
def preview(config: Path | None, /, **options: Any) -> None:
    """Show what would be filed, and why. Changes nothing: not a message, not a flag, not a file."""
    wanted = _Wanted(**options)
    settings = app.load_settings(config, os.environ)

    def one(account: Account) -> None:
        page = _Page(account, settings, wanted)
        with page.progress() as watch:
            for plan in app.preview(account, settings, wanted.scope(account), os.environ):
                watch.check(plan)
        page.show_preview()

    for_each(settings, wanted.names, one)


@click.command()
@_scope_options
@click.option("--yes", is_flag=True, help="Also when your own rules move very much.")
@click.pass_obj
def clean(config: Path | None, /, *, yes: bool, **options: Any) -> None:
    """File the bounces: do exactly what `preview` shows. Press Ctrl-C to stop after the messages in hand."""
    from bouncefiler.desk import at_work  # noqa: PLC0415 - `clean --help` must not load the program
    from bouncefiler.sweep import Brake  # noqa: PLC0415

    wanted = _Wanted(**options)
    settings = app.load_settings(config, os.environ)

    def one(account: Account) -> None:
        page = _Page(account, settings, wanted)
        with at_work(account, settings, os.environ, "bouncefiler clean") as desk:
            with page.progress(brake=None if yes else Brake()) as watch:
                report = desk.sweep(wanted.scope(account), watch, "clean", watch)
            page.show_report(report)
            page.show_waves(desk.past_waves(page.overview.oldest))
            desk.deliver()
            for alert in desk.raised:
                page.show_alert(alert)

    with stop_signals():
        for_each(settings, wanted.names, one)


class _Page:
    """What is shown of one account."""

    def __init__(self, account: Account, settings: Settings, wanted: _Wanted) -> None:
        self.account, self.wanted = account, wanted
        words = render.Words(app.Wording(settings, account.name), parts.language(settings, os.environ))
        self.overview = render.Overview(words, every=wanted.all_rows)
        self.look = render.Look.of(sys.stdout, os.environ)

    @contextmanager
    def progress(self, brake: Brake | None = None) -> Iterator[_Watch]:
        with render.progress(sys.stderr, render.Look.of(sys.stderr, os.environ)) as move:
            yield _Watch(self, move, brake)

    def add(self, plan: Plan) -> None:
        self.overview.add(plan)
        if self.wanted.as_json:
            for record in render.plan_json(self.account.name, plan):
                click.echo(render.to_json(record))

    def show_preview(self) -> None:
        self._show(
            lambda: render.preview(self.overview),
            lambda: render.preview_json(self.account.name, self.overview),
        )

    def show_report(self, report: Report) -> None:
        self._show(
            lambda: render.cleaned(self.overview, report),
            lambda: render.report_json(self.account.name, report),
        )

    def show_waves(self, waves: Sequence[Wave]) -> None:
        if waves:
            if not self.wanted.as_json:
                click.echo()
            self._show(
                lambda: render.waves(waves, self.overview.words), lambda: render.waves_json(self.account.name, waves)
            )

    def show_alert(self, alert: Alert) -> None:
        if not self.wanted.as_json:
            click.echo()
        self._show(lambda: render.alert(alert), lambda: render.alert_json(alert))

    def _show(self, document: Callable[[], render.Document], record: Callable[[], render.Json]) -> None:
        if self.wanted.as_json:
            click.echo(render.to_json(record()))
        else:
            click.echo(render.lay_out(document(), self.look), nl=False)


@dataclass(slots=True)
class _Watch:
    """Looks on while an account is swept: keeps what is shown, moves the progress bar, holds the brake."""

    page: _Page
    move_bar: Callable[[float, str], None]
    brake: Brake | None

    def check(self, plan: Plan) -> None:
        if self.brake:
            self.brake.check(plan)
        self.page.add(plan)
        self.move_bar(plan.done, self._words("read", self.page.overview.scanned))

    def _words(self, name: str, number: int) -> str:
        words = self.page.overview.words
        return words.say("command", name, account=self.page.account.name, n=words.number(number))

    def done(self, plan: Plan, report: Report) -> None:
        """Nothing to add: the overview shows the plan, the report what came of all."""

    def sent_read(self, report: SentReport) -> None:
        done = report.read / max(1, report.read + report.left)
        self.move_bar(done, self._words("sent-read", report.read))

    def stopping(self) -> bool:
        return stopping.is_set()
