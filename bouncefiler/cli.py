"""The commands: parse the arguments, call one thing in `app`, print what comes back. Only here is printed or exited."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bouncefiler import __version__
from bouncefiler.errors import BouncefilerError, BrakePulled

if TYPE_CHECKING:
    from bouncefiler import render
    from bouncefiler.backscatter.advice import Alert
    from bouncefiler.backscatter.volume import Wave
    from bouncefiler.filing.plan import Plan
    from bouncefiler.filing.undo import FiledMessage, PastRun, Undo
    from bouncefiler.report.chronicle import Chronicle
    from bouncefiler.sent import SentReport
    from bouncefiler.settings import Account, Settings
    from bouncefiler.sweep import Brake, Report, Scope
else:

    class _Late:
        """A module that is loaded when something of it is first wanted: `--help` wants nothing."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, name: str) -> object:
            return getattr(import_module(self._name), name)

    render = _Late("bouncefiler.render")

MAX_MAIL = 64 * 1024 * 1024
"""`explain` reads no more than this of a file."""

EXIT_CODES = """\b
Exit codes:
  0   done
  1   explain: a file could not be read
  2   the command line is wrong
  69  the server, or an alert channel, can't be reached: try again later
  73  no room, or a folder or file can't be made
  74  the state file is damaged or can't be written
  75  busy, throttled, or stopped to ask   try again later
  76  the certificate isn't trusted, or the server can't move mail safely
  77  the password was refused
  78  the configuration or the password's source is wrong
"""


class Commands(click.Group):
    """Turns our errors into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BouncefilerError as exc:
            _complain(str(exc))
            ctx.exit(exc.exit_code)


@click.group(cls=Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bouncefiler")
@click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration file. [default: ~/.config/bouncefiler/config.toml, then /etc/bouncefiler/config.toml]",
)
@click.pass_context
def main(ctx: click.Context, config: Path | None) -> None:
    """Find delivery failures in your mailbox, file them, and hear about it when somebody abuses your address.

    \b
    A first time:
      bouncefiler login home     ask for the password of [accounts.home] and keep it in your keyring
      bouncefiler preview        show what would be filed, and why; changes nothing
      bouncefiler clean          do it
      bouncefiler run            go on doing it, as a service

    Nothing is ever deleted: messages are moved to a folder of yours, unread ones stay unread, and
    `bouncefiler undo` puts them back.
    """  # noqa: D301 - \b is click's mark for a paragraph that is not to be reflowed
    ctx.obj = config
    atexit.register(gc.freeze)  # what is left at the end goes with the process; to search it for cycles takes 25 ms
    logging.getLogger("bouncefiler").addHandler(logging.NullHandler())  # what `clean` has to say, it prints


def _account_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--account", "-a", "names", multiple=True, metavar="NAME", help="Only this account; can be repeated."
    )(command)


_RUN = click.IntRange(1, 2**62)


def _json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object a line.")(command)


_SPANS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def _moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        if value[:-1].isdecimal() and value[-1] in _SPANS:
            return datetime.now(UTC) - int(value[:-1]) * _SPANS[value[-1]]
        return datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter("expected a date such as 2026-03-01, or a span such as 30d or 12h") from None


def _scope_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        _json_option,
        click.option("--all-rows", is_flag=True, help="List each message, however many there are."),
        click.option("--all", "everything", is_flag=True, help="Also mail that was looked at before."),
        click.option("--folder", "-f", "folders", multiple=True, metavar="FOLDER", help="Instead of those configured."),
        click.option(
            "--since", callback=_moment, metavar="WHEN", help="Mail that came since 2026-03-01, or since 30d."
        ),
        _account_option,
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


@main.command(short_help="Show what would be filed, and why.")
@_scope_options
@click.pass_obj
def preview(config: Path | None, /, **options: Any) -> None:
    """Show what would be filed, and why. Changes nothing: not a message, not a flag, not a file."""
    from bouncefiler import app  # noqa: PLC0415 - here and below: --help must not load the program

    wanted = _Wanted(**options)
    settings = app.load_settings(config, os.environ)

    def one(account: Account) -> None:
        page = _Page(account, settings, wanted)
        with page.progress() as watch:
            for plan in app.preview(account, settings, wanted.scope(account), os.environ):
                watch.check(plan)
        page.show_preview()

    _for_each(settings, wanted.names, one)


@main.command(short_help="File the bounces.")
@_scope_options
@click.option("--yes", is_flag=True, help="Also when your own rules move very much.")
@click.pass_obj
def clean(config: Path | None, /, *, yes: bool, **options: Any) -> None:
    """File the bounces: do exactly what `preview` shows. Press Ctrl-C to stop after the messages in hand."""
    from bouncefiler import app  # noqa: PLC0415
    from bouncefiler.desk import at_work  # noqa: PLC0415
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

    with _stop_signals():
        _for_each(settings, wanted.names, one)


@main.command(short_help="Put filed messages back.")
@click.option("--run", "run_id", type=_RUN, metavar="ID", help="What this run filed (see `history`).")
@click.option("--since", callback=_moment, metavar="WHEN", help="What was filed since 2026-03-01, or since 2h.")
@click.option(
    "--message", "-m", metavar="WHICH", help="One message: its number in `history --run ID`, or its Message-ID."
)
@click.option("--yes", is_flag=True, help="Don't ask.")
@_json_option
@_account_option
@click.pass_obj
def undo(config: Path | None, /, *, run_id: int | None, yes: bool, as_json: bool, **options: Any) -> None:
    """Put filed messages back where they came from: those of the last run, if you don't say which.

    First shows what would be put back, and asks. Flags and dates stay as they are, and what is put back is not filed
    again. What you have moved or deleted since is named, and left alone.
    """
    from bouncefiler import app  # noqa: PLC0415
    from bouncefiler.desk import Choice, at_work  # noqa: PLC0415

    choice = Choice(run_id, options["since"], options["message"])
    if sum(chosen is not None for chosen in (choice.run, choice.since, choice.message)) > 1:
        raise click.UsageError("--run, --since and --message exclude each other")
    settings = app.load_settings(config, os.environ)
    account = _the_one(settings, options["names"])
    page = _Story(account, settings, as_json=as_json)
    with (
        _stop_signals(),
        _in_one_line(account),
        at_work(account, settings, os.environ, "bouncefiler undo") as desk,
    ):
        plan = desk.plan_undo(choice)
        if choice.explicit and not (plan.batches or plan.stays):
            raise click.UsageError("no such message or run was filed, or it is back already; see `bouncefiler history`")
        page.show_undo(plan)
        if plan.batches and (yes or _agreed(as_json=as_json)):
            page.show_undone(desk.undo(plan, _stop.is_set))


def _the_one(settings: Settings, names: Sequence[str]) -> Account:
    """Return the account that is meant: runs are numbered in each account for itself."""
    from bouncefiler import app  # noqa: PLC0415

    found = app.accounts(settings, names)
    if len(found) != 1:
        raise click.UsageError(f"say which account: --account {' or '.join(account.name for account in found)}")
    return found[0]


def _agreed(*, as_json: bool) -> bool:
    if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        _complain("nothing was put back: say --yes if that is what you want")
        sys.exit(BrakePulled.exit_code)
    return click.confirm("Put them back?")


@contextmanager
def _in_one_line(account: Account) -> Iterator[None]:
    """End the program with one line about the account's trouble."""
    try:
        yield
    except BouncefilerError as exc:
        _complain(f"{account.name}: {exc}")
        sys.exit(exc.exit_code)


@main.command(short_help="List what was filed, and when.")
@click.option("--run", "run_id", type=_RUN, metavar="ID", help="List the messages of this run.")
@click.option("--since", callback=_moment, metavar="WHEN", help="Runs since 2026-03-01, or since 30d.")
@_json_option
@_account_option
@click.pass_obj
def history(config: Path | None, /, *, run_id: int | None, as_json: bool, **options: Any) -> None:
    """List the runs that filed something, or with --run what one of them filed. Asks no server."""
    from bouncefiler import app  # noqa: PLC0415

    settings = app.load_settings(config, os.environ)
    if run_id is not None:
        account = _the_one(settings, options["names"])
        with _in_one_line(account):
            _Story(account, settings, as_json=as_json).show_run(run_id, app.moved_in(account, settings, run_id))
        return

    def one(account: Account) -> None:
        every = as_json or options["since"] is not None
        found = app.past_runs(account, settings, options["since"], limit=-1 if every else render.LATEST_RUNS + 1)
        _Story(account, settings, as_json=as_json).show_runs(found, every=every)

    _for_each(settings, options["names"], one)


@main.command(short_help="Say whether all is well.")
@_json_option
@_account_option
@click.pass_obj
def status(config: Path | None, names: tuple[str, ...], *, as_json: bool) -> None:
    """Say whether all is well: what is going on, when your mailbox was last looked into, and how many bounces came.

    Asks no server. Ends with 0 whenever that could be read, well or not; a script looks at `state` in --json.
    """
    from bouncefiler import app  # noqa: PLC0415
    from bouncefiler.report import status as told  # noqa: PLC0415

    settings = app.load_settings(config, os.environ)
    look = render.Look.of(sys.stdout, os.environ)

    def one(account: Account) -> None:
        chronicle = app.chronicle(account, settings, os.environ)
        if as_json:
            click.echo(render.to_json(told.status_json(chronicle)))
        else:
            click.echo(render.lay_out(told.status(chronicle, encoding=look.encoding), look), nl=False)

    _for_each(settings, names, one)


@main.command(short_help="Tell on a page what has happened.")
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
@_account_option
@click.pass_obj
def report(config: Path | None, names: tuple[str, ...], *, output: Path, days: int, force: bool) -> None:
    """Tell on a page what has happened: is all well, what came back and why, what was filed, which addresses are dead.

    One HTML file for all accounts, to be looked at in any browser, or printed. It loads nothing from anywhere and holds
    no script. It has other people's addresses in it, so that only you may read it. Asks no server.
    """
    from bouncefiler import app  # noqa: PLC0415
    from bouncefiler.report import page  # noqa: PLC0415

    settings = app.load_settings(config, os.environ)
    chronicles: list[Chronicle] = []
    try:
        _for_each(
            settings, names, lambda account: chronicles.append(app.chronicle(account, settings, os.environ, days))
        )
    finally:  # one account's trouble does not keep the others from the page
        if chronicles:
            _hand_over(page.page(chronicles), output, mark=page.MARK, force=force)
            if str(output) != "-":
                click.echo(f"The report is in {_clean(str(output.absolute()), 1_000)}; open it in a browser.")


@main.command(short_help="Write dead addresses into a file.")
@click.option("--dead", is_flag=True, help="Addresses that mail cannot be delivered to. There is nothing else so far.")
@click.option("--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
@click.option("--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Instead of printing it.")
@click.option("--force", is_flag=True, help="Even if the file is there already.")
@_account_option
@click.pass_obj
def export(config: Path | None, /, *, dead: bool, form: str, output: Path | None, force: bool, **options: Any) -> None:
    """List the addresses that do not exist, or no longer do, with why, since when, and how often.

    What is counted is the last answer from each. Those that you have written to come first; of the others it is not
    known. Asks no server.
    """
    from bouncefiler import app  # noqa: PLC0415
    from bouncefiler.report import dead as lists  # noqa: PLC0415

    if not dead:
        raise click.UsageError("say what to export: --dead")
    settings = app.load_settings(config, os.environ)
    listed: list[lists.Listed] = []
    _for_each(
        settings,
        options["names"],
        lambda account: listed.extend((account.name, found) for found in app.dead_addresses(account, settings)),
    )
    _hand_over(lists.as_json(listed) if form == "json" else lists.as_csv(listed), output, force=force)


def _hand_over(text: str, output: Path | None, *, mark: str = "", force: bool = False) -> None:
    """Write the text into a file, or print it as it is. Raises OutputRefused."""
    from bouncefiler import app  # noqa: PLC0415

    if output is None or str(output) == "-":
        sys.stdout.buffer.write(text.encode())
    else:
        app.write_file(output, text, mark=mark, force=force)


@main.command(short_help="Watch all accounts, as a service.")
@click.pass_obj
def run(config: Path | None) -> None:
    """Watch all accounts until told to stop: file new bounces, raise alerts. Made for systemd; see docs/service.md.

    SIGTERM ends it after the messages in hand, SIGHUP reads the configuration again.
    """
    from bouncefiler import shift  # noqa: PLC0415

    _log_to_stderr()
    sys.exit(shift.serve(config, os.environ))


@main.command(short_help="Keep the password of an account in your keyring.")
@click.argument("account")
@click.option("--notify", is_flag=True, help="The URLs that alerts are sent to, instead of the password.")
@click.pass_obj
def login(config: Path | None, account: str, *, notify: bool) -> None:
    """Ask for the password of ACCOUNT, try it, and keep it in your keyring.

    With --notify ask for the URLs that alerts are sent to; docs/alerts.md shows how they are written.
    """
    from bouncefiler import app  # noqa: PLC0415

    settings = app.load_settings(config, os.environ)
    chosen = app.account(settings, account)
    if notify:
        _log_in_to_notify(chosen, settings)
        return
    if not app.keeps_password(chosen):
        app.check_login(chosen, settings, os.environ)
        click.echo(f"{account}: the configured password works. It is not in the keyring, so there is nothing to keep.")
        return
    password = click.prompt(
        f"Password of {_clean(chosen.server.user)} at {_clean(chosen.server.host)}", hide_input=True
    )
    app.log_in_and_remember(chosen, settings, password)
    click.echo(f"{account}: the password works, and is now in your keyring. Next: bouncefiler preview -a {account}")


def _log_in_to_notify(account: Account, settings: Settings) -> None:
    from bouncefiler import app  # noqa: PLC0415

    if app.keeps_notify_urls(account):
        found = app.remember_notify_urls(account, settings, os.environ, _asked_urls())
        where = "now in your keyring, instead of what was there"
    else:
        found = app.check_notify_urls(account, settings, os.environ)
        where = "where the configuration says, so there is nothing to keep"
    services = ", ".join(map(_clean, found))
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


@main.command(short_help="Try the channels that alerts come through.")
@_account_option
@click.option("--test", is_flag=True, help="Send a test message through each channel, now.")
@click.option("--channel", "channels", multiple=True, metavar="CHANNEL", help="Only this channel; can be repeated.")
@click.pass_obj
def alert(config: Path | None, names: tuple[str, ...], channels: tuple[str, ...], *, test: bool) -> None:
    """Send a test message through each configured channel, and say whether it has arrived."""
    from bouncefiler import app  # noqa: PLC0415

    if not test:
        raise click.UsageError("say what to do: `bouncefiler alert --test` sends a test message")
    settings = app.load_settings(config, os.environ)
    _log_to_stderr()

    codes: list[int] = []

    def one(account: Account) -> None:
        for trial in app.try_channels(account, settings, os.environ, channels):
            what = "arrived" if trial.trouble is None else f"did not arrive: {trial.trouble}"
            click.echo(f"{account.name}: {trial.channel}: {render.clean_lines(what)}")
            if trial.trouble:
                codes.append(trial.trouble.exit_code)

    _for_each(settings, names, one)
    if codes:
        sys.exit(codes[0])


@main.command(short_help="Write a letter that warns your contacts; you send it.")
@_account_option
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
    from bouncefiler import app  # noqa: PLC0415

    settings = app.load_settings(config, os.environ)

    def one(account: Account) -> None:
        letter, tells_of_intruder = app.write_notice(account, settings, os.environ, language, hacked=hacked)
        if to_print:
            click.echo(f"{letter.subject}\n{letter.body.rstrip()}")
            return
        folder = app.put_in_drafts(account, settings, os.environ, letter)
        click.echo(f"{account.name}: the letter is in the folder {_clean(folder)}. Nothing was sent.")
        if tells_of_intruder:
            click.echo("Change your password before you send it: whoever is in your account reads the answers, too.")
        click.echo(
            "Open it in your mail program and change what you like. Write your contacts into Bcc, so that nobody"
        )
        click.echo("sees the others' addresses, and send it yourself.")

    _for_each(settings, names, one)


@main.command(short_help="List the folders of an account.")
@_account_option
@click.pass_obj
def folders(config: Path | None, names: tuple[str, ...]) -> None:
    """List the folders of an account, as the configuration names them."""
    from bouncefiler import app  # noqa: PLC0415

    settings = app.load_settings(config, os.environ)

    def one(account: Account) -> None:
        for folder in app.folders(account, settings, os.environ):
            click.echo(_clean(f"{folder.name}  {' '.join(folder.flags)}".rstrip()))

    _for_each(settings, names, one)


@main.command(short_help="Say what a mail is, and how that is known.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object a line.")
@click.pass_obj
def explain(config: Path | None, files: tuple[Path, ...], *, as_json: bool) -> None:
    """Say what each mail in FILES (or on standard input) is, and by which evidence. Needs no account.

    Your own rules take part when there is a configuration.
    """
    from bouncefiler import app, parts  # noqa: PLC0415

    settings = app.load_settings_if_any(config, os.environ)
    rules = parts.rules_of(settings)
    words = render.Words(rules, parts.language(settings, os.environ))
    look = render.Look.of(sys.stdout, os.environ)
    unread = 0
    for name, raw in _mails(files):
        if raw is None:
            unread += 1
            continue
        verdict, _ = app.explain(raw, rules)
        if as_json:
            click.echo(render.to_json(render.explain_json(name, verdict, words)))
        else:
            click.echo(render.lay_out(render.explain(name, verdict, words), look), nl=False)
    if unread:
        sys.exit(1)


@main.command(short_help="Look how your domain is protected against forgery.")
@_account_option
@click.option("--domain", metavar="DOMAIN", help="This domain, instead of those of the accounts' addresses.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object a line.")
@click.pass_obj
def posture(config: Path | None, names: tuple[str, ...], domain: str | None, *, as_json: bool) -> None:
    """Look how your domain is protected against forgery.

    Shows which records it publishes (SPF, DKIM, DMARC), what is wrong with them, and what could be published instead.
    Of the keys for DKIM it shows those that signed your mail in the last 60 days, as far as that was seen.
    Asks the DNS, and changes nothing.
    """
    from bouncefiler import app, parts  # noqa: PLC0415

    settings, domains = _domains(config, names, domain)
    language, look = parts.language(settings, os.environ), render.Look.of(sys.stdout, os.environ)
    for number, asked in enumerate(domains):
        try:
            found = app.posture_of(asked, settings)
        except ValueError as exc:
            raise click.BadParameter(str(exc), param_hint="--domain") from None
        if as_json:
            click.echo(render.to_json(render.posture_json(found)))
        else:
            document = render.posture(found, language, offline=not parts.may_ask(settings))
            click.echo("\n" * bool(number) + render.lay_out(document, look), nl=False)


def _domains(config: Path | None, names: Iterable[str], domain: str | None) -> tuple[Settings | None, Collection[str]]:
    """Return the domain that was named, else those of the accounts' addresses, each once; and the configuration."""
    from bouncefiler import app  # noqa: PLC0415

    if domain is not None:
        return app.load_settings_if_any(config, os.environ), (domain,)
    settings = app.load_settings(config, os.environ)
    found = {account.name: account.domain for account in app.accounts(settings, names)}
    for name in (name for name, domain in found.items() if domain is None):
        _complain(f"{name}: its user name is no address, so say which domain: bouncefiler posture --domain DOMAIN")
    domains = dict.fromkeys(domain for domain in found.values() if domain is not None)
    if not domains:
        raise click.UsageError("no domain to look at; name one with --domain")
    return settings, domains


def _mails(files: Sequence[Path]) -> Iterator[tuple[str, bytes | None]]:
    if not files and sys.stdin.isatty():
        click.echo("Paste a mail with all its headers, then press Ctrl-D.", err=True)
    for path in files or (Path("-"),):
        try:
            yield ("-", sys.stdin.buffer.read(MAX_MAIL)) if str(path) == "-" else (path.stem, _read(path))
        except OSError as exc:
            _complain(f"{path}: {exc.strerror}")
            yield path.stem, None


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_MAIL)


def _for_each(settings: Settings, names: Iterable[str], do: Callable[[Account], None]) -> None:
    """Do it for each account; one account's trouble does not keep the others from their turn."""
    from bouncefiler import app  # noqa: PLC0415

    worst = 0
    for account in app.accounts(settings, names):
        if _stop.is_set():
            break
        try:
            do(account)
        except BouncefilerError as exc:
            _complain(f"{account.name}: {exc}")
            worst = worst or exc.exit_code
    if worst:
        sys.exit(worst)


def _log_to_stderr() -> None:
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


class _Page:
    """What is shown of one account."""

    def __init__(self, account: Account, settings: Settings, wanted: _Wanted) -> None:
        from bouncefiler import app, parts  # noqa: PLC0415

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
            self._show(lambda: render.waves(waves), lambda: render.waves_json(self.account.name, waves))

    def show_alert(self, alert: Alert) -> None:
        if not self.wanted.as_json:
            click.echo()
        self._show(lambda: render.alert(alert), lambda: render.alert_json(alert))

    def _show(self, document: Callable[[], render.Document], record: Callable[[], render.Json]) -> None:
        if self.wanted.as_json:
            click.echo(render.to_json(record()))
        else:
            click.echo(render.lay_out(document(), self.look), nl=False)


class _Story:
    """What is shown of an account's past."""

    def __init__(self, account: Account, settings: Settings, *, as_json: bool) -> None:
        from bouncefiler import app, parts  # noqa: PLC0415

        self.name, self.as_json = account.name, as_json
        self.words = render.Words(app.Wording(settings, account.name), parts.language(settings, os.environ))

    def show_runs(self, runs: Sequence[PastRun], *, every: bool) -> None:
        self._show(lambda: render.runs(self.name, runs, every=every), render.runs_json(self.name, runs))

    def show_run(self, run: int, messages: Sequence[FiledMessage]) -> None:
        self._show(lambda: render.run(run, messages, self.words), render.run_json(self.name, messages))

    def show_undo(self, undo: Undo) -> None:
        self._show(lambda: render.undo(undo, self.words), render.undo_json(self.name, undo))

    def show_undone(self, report: Report) -> None:
        if not self.as_json:
            click.echo()
        self._show(lambda: render.undone(report), [render.report_json(self.name, report)])

    def _show(self, document: Callable[[], render.Document], records: Iterable[render.Json]) -> None:
        if self.as_json:
            for record in records:
                click.echo(render.to_json(record))
        else:
            look = render.Look.of(sys.stdout, os.environ)
            click.echo(render.lay_out(document(), look), nl=False)


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
        self.move_bar(plan.done, f"{self.page.account.name}: {self.page.overview.scanned:,} messages read")

    def done(self, plan: Plan, report: Report) -> None:
        """Nothing to add: the overview shows the plan, the report what came of all."""

    def sent_read(self, report: SentReport) -> None:
        done = report.read / max(1, report.read + report.left)
        self.move_bar(done, f"{self.page.account.name}: {report.read:,} sent messages read")

    def stopping(self) -> bool:
        return _stop.is_set()


_stop = threading.Event()


@contextmanager
def _stop_signals() -> Iterator[None]:
    """Let a first Ctrl-C or SIGTERM end the work after the batch in hand, and a second one at once."""

    def note(signum: int, _frame: object) -> None:
        if _stop.is_set():
            signal.default_int_handler(signum, None)
        _stop.set()
        click.echo("Stopping after the messages in hand; press Ctrl-C again to stop at once.", err=True)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _complain(message: str) -> None:
    click.echo(f"bouncefiler: {render.clean_lines(message)}", err=True)


def _clean(text: str, width: int = 200) -> str:
    return render.clean_text(text, width)
