"""What a user can ask for, one function for each thing. With `desk` and `shift` it puts the parts together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from bouncefiler import config
from bouncefiler.backscatter import advice, letters, volume
from bouncefiler.backscatter.domains import domain_name
from bouncefiler.backscatter.incident import Diagnosis
from bouncefiler.edge import alerts, credentials, files, imap, notify
from bouncefiler.edge.store import KEPT, open_for_reading, open_store
from bouncefiler.edge.store import at_work as at_work_on
from bouncefiler.errors import BouncefilerError, ConfigError, CredentialError, FolderMissing, StoreBusy
from bouncefiler.filing.plan import Plan
from bouncefiler.filing.undo import FiledMessage, PastRun
from bouncefiler.parts import (
    language_of,
    name_service,
    notify_channels,
    password_of,
    present,
    rules_of,
    state_file,
    task_of,
    urls_to_notify,
)
from bouncefiler.recognition.verdict import Cause, Verdict
from bouncefiler.report.chronicle import MAX_DEAD, MAX_STRANGERS, Chronicle, DeadAddress
from bouncefiler.settings import Account, KeyringEntry, Settings
from bouncefiler.sweep import Scope, pages

if TYPE_CHECKING:
    from bouncefiler.backscatter.posture import Posture
    from bouncefiler.recognition.rulebook import Rulebook

MAX_INCIDENTS = 50
"""So many incidents are told of, the newest."""

MAX_TOLD = 500
"""… and so many times that the owner was told of one."""

POSTURE_SECONDS = 30.0
"""How long the DNS may be asked about a domain in all."""


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the configuration. Raises ConfigError."""
    return config.load(path, environ)


def load_settings_if_any(path: Path | None, environ: Mapping[str, str]) -> Settings | None:
    """Read the configuration, if there is one; one that is named must be there. Raises ConfigError."""
    if path is None and not any(place.exists() for place in config.candidates(environ)):
        return None
    return config.load(path, environ)


def accounts(settings: Settings, names: Iterable[str]) -> Sequence[Account]:
    """Return the accounts of these names, all when none is named. Raises ConfigError for a name that there is not."""
    return [account(settings, name) for name in names] or list(settings.accounts.values())


def account(settings: Settings, name: str) -> Account:
    """Return the account of this name. Raises ConfigError when there is none."""
    if name not in settings.accounts:
        known = ", ".join(settings.accounts)
        raise ConfigError(f"{settings.path}: there is no [accounts.{name}]; there is: {known}")
    return settings.accounts[name]


def posture_of(domain: str, settings: Settings | None) -> Posture:
    """Look what the domain publishes against forgery, for half a minute at most.

    Of its DKIM keys, those that mail of the accounts was signed by. Raises ValueError for no domain, StoreBroken.
    """
    from bouncefiler.backscatter import posture  # noqa: PLC0415 - no other command knows SPF and DMARC

    selectors = dict.fromkeys(_selectors(domain, settings)) if settings else ()
    return posture.assess(domain, name_service(settings).within(POSTURE_SECONDS), selectors)


def _selectors(domain: str, settings: Settings) -> Iterator[str]:
    name, now = domain_name(domain), present()
    if name is None:
        return
    for account in settings.accounts.values():
        with open_for_reading(state_file(account, settings)) as store:
            yield from store.selectors(name, now)


def explain(raw: bytes, rules: Rulebook) -> tuple[Verdict, str]:
    """Say what this message is, and give its decoded Subject."""
    from bouncefiler.recognition import classify  # noqa: PLC0415 - see parts.recogniser

    return classify.examine(raw, False, rules)  # noqa: FBT003 - the protocol's shape: it is whole


@dataclass(frozen=True, slots=True)
class Wording:
    """What people call causes: the words of the rules, which are read when one is wanted."""

    settings: Settings | None
    account: str | None = None

    def label(self, cause: Cause, language: str) -> str:
        """See Rulebook."""
        return rules_of(self.settings, self.account).label(cause, language)

    def advice(self, cause: Cause, language: str) -> str:
        """See Rulebook."""
        return rules_of(self.settings, self.account).advice(cause, language)


def preview(account: Account, settings: Settings, scope: Scope, environ: Mapping[str, str]) -> Iterator[Plan]:
    """Yield what `clean` would do, page by page. Nothing in here could move mail or write state."""
    ledger = open_for_reading(state_file(account, settings))
    task = task_of(account, settings, scope)
    with imap.open_reader(account.server, password_of(account, settings, environ)) as reader:
        yield from pages(reader, ledger, task)


def past_runs(account: Account, settings: Settings, since: datetime | None, limit: int) -> tuple[PastRun, ...]:
    """Return the account's runs that moved mail, newest first; all of them for a limit of -1. Asks no server."""
    with open_for_reading(state_file(account, settings)) as ledger:
        return ledger.past_runs(since, limit)


def moved_in(account: Account, settings: Settings, run: int) -> tuple[FiledMessage, ...]:
    """Return what this run of the account moved. Asks no server."""
    with open_for_reading(state_file(account, settings)) as ledger:
        return ledger.filed_in(run)


def chronicle(account: Account, settings: Settings, environ: Mapping[str, str], days: int = 30) -> Chronicle:
    """Return what there is to tell of the account, with the bounces of so many days. Asks no server."""
    now = present()
    path = state_file(account, settings)
    since = now.date() - timedelta(days=days - 1)
    with open_for_reading(path) as store:
        watched_since = store.watched_since()
        before = watched_since or now
        dead, dead_count = store.latest_dead(MAX_DEAD, MAX_STRANGERS)
        return Chronicle(
            account=account.name,
            address=account.address,
            folder=account.filing.bounce_folder,
            language=language_of(account, settings, environ),
            now=now,
            watched_since=watched_since,
            look=store.last_look(),
            at_work=at_work_on(path),
            since=since,
            daily=store.daily(since),
            incidents=store.incidents(MAX_INCIDENTS),
            told=store.told(MAX_TOLD),
            waves=tuple(wave for wave in volume.past_waves(store.past(now - KEPT), now) if wave.last < before),
            filed=store.filed_by_folder(),
            filed_day=store.filed_count(now - timedelta(days=1)),
            filed_week=store.filed_count(now - timedelta(weeks=1)),
            dead=dead,
            dead_count=dead_count,
            undelivered=store.undelivered(),
        )


def dead_addresses(account: Account, settings: Settings) -> tuple[DeadAddress, ...]:
    """Return the addresses that mail cannot be delivered to, those that the owner wrote to first. Asks no server."""
    with open_for_reading(state_file(account, settings)) as store:
        return store.dead_addresses()


def write_file(path: Path, text: str, *, mark: str = "", force: bool = False) -> None:
    """Put a text that was asked for into a file; see `files.write`. Raises OutputRefused."""
    files.write(path, text, mark=mark, force=force)


def folders(account: Account, settings: Settings, environ: Mapping[str, str]) -> tuple[imap.FolderInfo, ...]:
    """List the account's folders, by the names that the configuration takes."""
    with imap.open_reader(account.server, password_of(account, settings, environ)) as reader:
        return reader.folders()


def keeps_password(account: Account) -> bool:
    """Whether the password of this account is ours to keep."""
    return isinstance(account.credential, KeyringEntry)


def check_login(account: Account, settings: Settings, environ: Mapping[str, str]) -> None:
    """Log in with the configured password, and out again. Raises what that raises."""
    _try(account, settings, password_of(account, settings, environ))


def log_in_and_remember(account: Account, settings: Settings, password: str) -> None:
    """Log in with this password, and keep it if the server takes it. Raises CredentialError, AccountError."""
    _try(account, settings, password)
    credentials.remember(account.credential, account.name, account.server.user, password)


def keeps_notify_urls(account: Account) -> bool:
    """Whether the URLs to notify of this account are ours to keep."""
    return isinstance(account.notify_from, KeyringEntry)


def check_notify_urls(account: Account, settings: Settings, environ: Mapping[str, str]) -> Sequence[str]:
    """Return which services the configured URLs are for. Raises CredentialError when one is for none."""
    return _services(settings, environ, urls_to_notify(account, settings, environ))


def remember_notify_urls(
    account: Account, settings: Settings, environ: Mapping[str, str], urls: Sequence[str]
) -> Sequence[str]:
    """Keep these URLs, and return which services they are for. Raises CredentialError when one is for none."""
    found = _services(settings, environ, urls)
    credentials.remember_urls(account.notify_from, account.name, account.server.user, urls)
    return found


def _services(settings: Settings, environ: Mapping[str, str], urls: Sequence[str]) -> Sequence[str]:
    found = notify.services(urls, credentials.child_environ(environ, settings.secret_variables))
    if None in found:
        raise CredentialError(
            f"apprise does not know what line {found.index(None) + 1} of the notification URLs means; docs/alerts.md "
            "shows how they are written. None of them was kept"
        )
    return tuple(name for name in found if name)


def _try(account: Account, settings: Settings, password: str) -> None:
    with imap.open_reader(account.server, password):
        pass
    if state_file(account, settings).exists():
        # Who is at work on the account has not given up its password, and forgets refusals when it logs in.
        with suppress(StoreBusy), open_store(state_file(account, settings), holder="bouncefiler login") as store:
            store.login_accepted()


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a test message through one channel."""

    channel: str
    trouble: BouncefilerError | None = None


def try_channels(
    account: Account, settings: Settings, environ: Mapping[str, str], only: Collection[str] = ()
) -> Iterator[Trial]:
    """Send a test message through each channel of the account, or those in `only`, now. Raises ConfigError.

    Nothing is written down, so the service may be at work meanwhile.
    """
    if unknown := sorted(set(only) - set(account.alert_channels)):
        raise ConfigError(
            f"{settings.path}: accounts.{account.name}.alert.channels: {unknown[0]!r} is not among them; there is: "
            + ", ".join(account.alert_channels)
        )
    alert = letters.trial(language_of(account, settings, environ), account.address, present())

    def to_inbox(alert: advice.Alert) -> None:
        with imap.open_account(account.server, password_of(account, settings, environ)) as connection:
            connection.append("INBOX", alerts.as_message(alert, account.address, present()), when=present())

    channels: dict[str, alerts.Channel] = {"log": alerts.to_log, "inbox": to_inbox}
    for name in only or account.alert_channels:
        try:
            members = {name: channels[name]} if name in channels else _members(account, settings, environ)
        except BouncefilerError as exc:
            yield Trial(name, exc)
            continue
        yield from (Trial(member, _attempt(channel, alert)) for member, channel in members.items())


def _members(account: Account, settings: Settings, environ: Mapping[str, str]) -> Mapping[str, alerts.Channel]:
    with open_for_reading(state_file(account, settings)) as store:
        found = notify_channels(account, settings, environ, store)
    return {f"{name} ({channel.scheme})": channel for name, channel in found.items()}


def _attempt(channel: alerts.Channel, alert: advice.Alert) -> BouncefilerError | None:
    try:
        channel(alert)
    except BouncefilerError as exc:
        return exc
    return None


def write_notice(
    account: Account, settings: Settings, environ: Mapping[str, str], language_: str | None, *, hacked: bool | None
) -> tuple[letters.Letter, bool]:
    """Write a letter to warn the contacts; return it, and whether it says that somebody was in the account.

    None takes what the last incident was. Raises StoreBroken.
    """
    if hacked is None:
        with open_for_reading(state_file(account, settings)) as store:
            last = store.last_incident()
        hacked = last is not None and last.diagnosis is Diagnosis.COMPROMISED
    words = language_ or language_of(account, settings, environ)
    return letters.notice(words, account.address, hacked=hacked), hacked


def put_in_drafts(account: Account, settings: Settings, environ: Mapping[str, str], letter: letters.Letter) -> str:
    """Put the letter into the folder for drafts, addressed to nobody; return the folder's name. Nothing is sent.

    Raises CredentialError, AccountError.
    """
    draft = alerts.as_draft(letter, account.address, present())
    with imap.open_account(account.server, password_of(account, settings, environ)) as connection:
        found = (account.drafts_folder,) if account.drafts_folder else connection.drafts_folders()
        if not found:
            raise FolderMissing(
                "there is no folder for drafts; `drafts_folder` in the configuration names it, `bouncefiler folders` "
                "lists those that there are, and `bouncefiler notice --print` needs none"
            )
        connection.append(found[0], draft, ("\\Draft", "\\Seen"), when=present())
    return found[0]
