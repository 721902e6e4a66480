"""What a desk, and the answers that need none, are made of: from settings to rules, names, passwords, channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from bouncefiler.backscatter import advice, letters
from bouncefiler.backscatter.domains import Limitable, Offline
from bouncefiler.edge import credentials, notify
from bouncefiler.edge.store import StoreReader
from bouncefiler.recognition import lean
from bouncefiler.recognition.verdict import Verdict
from bouncefiler.settings import Account, Settings
from bouncefiler.sweep import Recogniser, Scope, Task

if TYPE_CHECKING:
    from bouncefiler.recognition.rulebook import Rulebook

NOTIFY = "notify"
"""The channel that is one for each URL."""


def language(settings: Settings | None, environ: Mapping[str, str]) -> str:
    """Return the language to write in: the configured one, else the locale's (POSIX, 8.2), such as "pt_BR"."""
    if settings and settings.language:
        return settings.language
    return next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "en")


def may_ask(settings: Settings | None) -> bool:
    """Whether the DNS may be asked: yes, unless the configuration says no."""
    return settings is None or settings.dns


def name_service(settings: Settings | None) -> Limitable:
    """Return whom to ask about domains: nobody, when the configuration says so."""
    if not may_ask(settings):
        return Offline()
    from bouncefiler.edge import dns  # noqa: PLC0415 - takes a tenth of a second to load, and few need it

    return dns.Resolver()


def rules_of(settings: Settings | None, account: str | None = None) -> Rulebook:
    """Return our own rules and, before them, the user's that hold for this account (all of them, when None)."""
    from bouncefiler.recognition import rulebook  # noqa: PLC0415 - see recogniser

    return rulebook.load(settings.rules_for(account) if settings else ())


def language_of(account: Account, settings: Settings, environ: Mapping[str, str]) -> str:
    """Return the language that this account is told in: its own, else that of all."""
    return account.language or language(settings, environ)


def urls_to_notify(
    account: Account,
    settings: Settings,
    environ: Mapping[str, str],
    patience: credentials.Patience = credentials.PATIENCE,
) -> Sequence[str]:
    """Return the URLs to notify. Raises CredentialError."""
    hidden = settings.secret_variables
    user = account.server.user
    return credentials.notify_urls(account.notify_from, account.name, user, environ, hidden=hidden, patience=patience)


def notify_channels(
    account: Account,
    settings: Settings,
    environ: Mapping[str, str],
    store: StoreReader,
    patience: credentials.Patience = credentials.PATIENCE,
) -> Mapping[str, NotifyChannel]:
    """Return a channel for each URL to notify, by a name that does not give it away. Raises CredentialError."""
    words = language_of(account, settings, environ)
    known = credentials.child_environ(environ, settings.secret_variables)
    urls = urls_to_notify(account, settings, environ, patience)
    in_inbox = "inbox" in account.alert_channels
    return {f"{NOTIFY}:{store.key_for(f'{NOTIFY} {url}')}": NotifyChannel(url, words, in_inbox, known) for url in urls}


@dataclass(frozen=True, slots=True)
class NotifyChannel:
    """The channel to one URL."""

    url: str = field(repr=False)
    language: str
    in_inbox: bool
    environ: Mapping[str, str] = field(repr=False)

    def __call__(self, alert: advice.Alert) -> None:
        """Send the beginning of the alert there."""
        notify.send(self.url, alert, letters.brief(alert, self.language, in_inbox=self.in_inbox), self.environ)

    @property
    def scheme(self) -> str:
        """What kind of URL it is, such as "tgram"."""
        return self.url.partition("://")[0][:20]


def task_of(account: Account, settings: Settings, scope: Scope) -> Task:
    """Say what is to be done in the account, by the rules that hold for it."""
    return Task(scope, recogniser(lambda: rules_of(settings, account.name)), account.filing)


def recogniser(load: Callable[[], Rulebook]) -> Recogniser:
    """Bind the rules that `load` reads to the questions of a sweep.

    Where nothing has come, recognition is not even loaded.
    """
    rulebook = LateRulebook(load)

    def examine(raw: bytes, cut: bool) -> tuple[Verdict, str]:  # noqa: FBT001 - as Recogniser has it
        from bouncefiler.recognition import classify  # noqa: PLC0415

        return classify.examine(raw, cut, rulebook.rules)

    return Recogniser(lean.suspects, examine, rulebook.prepare)


class LateRulebook:
    """The rules, read when there is something to judge, and while the server is being waited for."""

    def __init__(self, load: Callable[[], Rulebook]) -> None:
        self._load = load
        self._reading: Thread | None = None

    def prepare(self) -> None:
        """Begin to read them, unless that has been done."""
        if self._reading is None:
            self._reading = Thread(target=self._load, name="rulebook", daemon=True)
            self._reading.start()

    @cached_property
    def rules(self) -> Rulebook:
        """The rules; waits until they have been read."""
        if self._reading is not None:
            self._reading.join()
        return self._load()


def password_of(account: Account, settings: Settings, environ: Mapping[str, str]) -> str:
    """Return the account's password. Raises CredentialError."""
    hidden = settings.secret_variables
    return credentials.password(account.credential, account.name, account.server.user, environ, hidden=hidden)


def state_file(account: Account, settings: Settings) -> Path:
    """Return where the account's state is kept."""
    return settings.state_dir / f"{account.name}.sqlite3"


def present() -> datetime:
    """Return what time it is."""
    return datetime.now(UTC)
