"""`explain`, `posture` and `folders` answer a question each: about a mail, a domain, an account."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bouncefiler.cli.accounts import for_each
from bouncefiler.cli.late import app, parts, render
from bouncefiler.cli.options import account_option, json_option
from bouncefiler.cli.terminal import complain

if TYPE_CHECKING:
    from bouncefiler.settings import Account, Settings

MAX_MAIL = 64 * 1024 * 1024
"""`explain` reads no more than this of a file."""


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def explain(config: Path | None, files: tuple[Path, ...], *, as_json: bool) -> None:
    """Say what each mail in FILES (or on standard input) is, and by which evidence. Needs no account.

    Your own rules take part when there is a configuration.
    """
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


def _mails(files: Sequence[Path]) -> Iterator[tuple[str, bytes | None]]:
    if not files and sys.stdin.isatty():
        click.echo("Paste a mail with all its headers, then press Ctrl-D.", err=True)
    for path in files or (Path("-"),):
        try:
            yield ("-", sys.stdin.buffer.read(MAX_MAIL)) if str(path) == "-" else (path.stem, _read(path))
        except OSError as exc:
            complain(f"{path}: {exc.strerror}")
            yield path.stem, None


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_MAIL)


@click.command()
@account_option
@click.option("--domain", metavar="DOMAIN", help="This domain, instead of those of the accounts' addresses.")
@json_option
@click.pass_obj
def posture(config: Path | None, names: tuple[str, ...], domain: str | None, *, as_json: bool) -> None:
    """Look how your domain is protected against forgery.

    Shows which records it publishes (SPF, DKIM, DMARC), what is wrong with them, and what could be published instead.
    Of the keys for DKIM it shows those that signed your mail in the last 60 days, as far as that was seen.
    Asks the DNS, and changes nothing.
    """
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
    if domain is not None:
        return app.load_settings_if_any(config, os.environ), (domain,)
    settings = app.load_settings(config, os.environ)
    found = {account.name: account.domain for account in app.accounts(settings, names)}
    for name in (name for name, domain in found.items() if domain is None):
        complain(f"{name}: its user name is no address, so say which domain: bouncefiler posture --domain DOMAIN")
    domains = dict.fromkeys(domain for domain in found.values() if domain is not None)
    if not domains:
        raise click.UsageError("no domain to look at; name one with --domain")
    return settings, domains


@click.command()
@account_option
@click.pass_obj
def folders(config: Path | None, names: tuple[str, ...]) -> None:
    """List the folders of an account, as the configuration names them."""
    settings = app.load_settings(config, os.environ)

    def one(account: Account) -> None:
        for folder in app.folders(account, settings, os.environ):
            click.echo(render.clean_text(f"{folder.name}  {' '.join(folder.flags)}".rstrip()))

    for_each(settings, names, one)
