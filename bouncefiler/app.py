"""Puts the parts together: the only room that knows them all. One function for each thing that a user can ask for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from bouncefiler import config, sent
from bouncefiler.backscatter import advice, letters, volume
from bouncefiler.backscatter.domains import Limitable, Offline, domain_name
from bouncefiler.backscatter.incident import Diagnosis
from bouncefiler.doorbell import Watch
from bouncefiler.edge import alerts, credentials, files, imap, notify, systemd
from bouncefiler.edge.store import KEPT, Store, StoreReader, open_for_reading, open_store
from bouncefiler.edge.store import at_work as at_work_on
from bouncefiler.errors import (
    AccountError,
    BouncefilerError,
    BrakePulled,
    ConfigError,
    CredentialError,
    FolderMissing,
    LoginRefused,
    Throttled,
    Unreachable,
)
from bouncefiler.filing.plan import Plan, Watermark
from bouncefiler.filing.undo import FiledMessage, PastRun, Undo
from bouncefiler.lookout import Lookout
from bouncefiler.recognition import classify, lean, rulebook
from bouncefiler.recognition.rulebook import Rulebook
from bouncefiler.recognition.verdict import Cause, Verdict
from bouncefiler.report.chronicle import Chronicle, DeadAddress
from bouncefiler.restore import of_message_id, plan_return, put_back, tie_up
from bouncefiler.sent import SentReport, SentWatcher
from bouncefiler.settings import Account, KeyringEntry, Settings
from bouncefiler.sweep import Brake, FolderState, Recogniser, Report, Scope, Task, Watcher, clean, pages

MAX_REFUSALS = 2
"""A refused password is tried no more than this often: servers lock accounts, or ban the address, after a few more."""

LONG_LIVED = 300.0
"""A connection that has lasted for so many seconds may end without being called trouble."""

MAX_CUT_SHORT = 3

IDLE_SECONDS = 480.0
"""How long to wait for news over a connection without a word: below the nine minutes after which some routers forget
it, and with the 60 seconds of a command enough to notice within ten minutes that it is dead."""

SENT_SECONDS = 20.0
"""How long the service reads sent mail at a time."""

SENT_AGAIN = timedelta(hours=1)
"""After so long sent mail is looked at even if nothing has come; and not before, if there was trouble with it."""

MAX_INCIDENTS = 50
"""So many incidents are told of, the newest; and so many times that the owner was told of one."""
MAX_TOLD = 500

EPOCH = datetime.fromtimestamp(0, UTC)

NOTIFY = "notify"
"""The channel that is one for each URL."""

_IMPATIENT = credentials.Patience(command=10, keyring=10)
"""The service has mail to file."""

POSTURE_SECONDS = 30.0
"""How long the DNS may be asked about a domain in all."""

if TYPE_CHECKING:
    from bouncefiler.backscatter.posture import Posture
    from bouncefiler.service import Tick

log = logging.getLogger("bouncefiler")


# --- settings


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


# --- the domain


def domain_of(account: Account) -> str | None:
    """Return the domain of the account's address; None when its user name is no address."""
    local_part, _, domain = account.address.rpartition("@")
    return domain_name(domain) if local_part else None


def posture_of(domain: str, settings: Settings | None, selectors: Collection[str] = ()) -> Posture:
    """Look what the domain publishes against forgery, for half a minute at most. Raises ValueError for no domain.

    `selectors` are those of DKIM signatures that were seen in the domain's mail.
    """
    from bouncefiler.backscatter import posture  # noqa: PLC0415 - no other command knows SPF and DMARC

    return posture.assess(domain, name_service(settings).within(POSTURE_SECONDS), selectors)


# --- recognition


def recogniser(rules: Rulebook) -> Recogniser:
    """Bind the rules to the two questions of a sweep."""
    return Recogniser(lean.suspect, lambda raw, cut: classify.examine(raw, cut, rules))


def explain(raw: bytes, rules: Rulebook) -> tuple[Verdict, str]:
    """Say what this message is, and give its decoded Subject."""
    return classify.examine(raw, False, rules)  # noqa: FBT003 - the protocol's shape: it is whole


def rules_of(settings: Settings | None, account: str | None = None) -> Rulebook:
    """Return our own rules and, before them, the user's that hold for this account (all of them, when None)."""
    return rulebook.load(settings.rules_for(account) if settings else ())


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
    ledger = open_for_reading(_state_file(account, settings))
    task = _task(account, settings, scope)
    with imap.open_reader(account.server, _password(account, settings, environ)) as reader:
        yield from pages(reader, ledger, task)


@dataclass(frozen=True, slots=True)
class Choice:
    """What to put back: one message, a run, or what was filed since a time; by default the last run."""

    run: int | None = None
    since: datetime | None = None
    message: str | None = None
    """Its number in the history, or its Message-ID."""

    @property
    def explicit(self) -> bool:
        """Whether anything was chosen."""
        return self != Choice()


def past_runs(account: Account, settings: Settings, since: datetime | None, limit: int) -> tuple[PastRun, ...]:
    """Return the account's runs that moved mail, newest first; all of them for a limit of -1. Asks no server."""
    with open_for_reading(_state_file(account, settings)) as ledger:
        return ledger.past_runs(since, limit)


def moved_in(account: Account, settings: Settings, run: int) -> tuple[FiledMessage, ...]:
    """Return what this run of the account moved. Asks no server."""
    with open_for_reading(_state_file(account, settings)) as ledger:
        return ledger.filed_in(run)


def chronicle(account: Account, settings: Settings, environ: Mapping[str, str], days: int = 30) -> Chronicle:
    """Return what there is to tell of the account, with the bounces of so many days. Asks no server."""
    now = _now()
    path = _state_file(account, settings)
    since = now.date() - timedelta(days=days - 1)
    with open_for_reading(path) as store:
        watched_since = store.watched_since()
        before = watched_since or now
        return Chronicle(
            account=account.name,
            address=account.address,
            folder=account.filing.bounce_folder,
            language=_spoken(account, settings, environ),
            now=now,
            watched_since=watched_since,
            look=store.last_look(),
            at_work=at_work_on(path),
            since=since,
            daily=store.daily(since),
            incidents=store.incidents(MAX_INCIDENTS),
            told=store.told(MAX_TOLD),
            waves=tuple(wave for wave in volume.past_waves(store.history(now - KEPT), now) if wave.last < before),
            filed=store.filed_by_folder(),
            filed_day=store.filed_count(now - timedelta(days=1)),
            filed_week=store.filed_count(now - timedelta(weeks=1)),
            dead=store.dead_addresses(),
            undelivered=store.undelivered(),
        )


def dead_addresses(account: Account, settings: Settings) -> tuple[DeadAddress, ...]:
    """Return the addresses that mail cannot be delivered to, those that the owner wrote to first. Asks no server."""
    with open_for_reading(_state_file(account, settings)) as store:
        return store.dead_addresses()


def write_file(path: Path, text: str, *, mark: str = "", force: bool = False) -> None:
    """Put a text that was asked for into a file; see `files.write`. Raises OutputRefused."""
    files.write(path, text, mark=mark, force=force)


def _spoken(account: Account, settings: Settings, environ: Mapping[str, str]) -> str:
    return account.language or language(settings, environ)


def folders(account: Account, settings: Settings, environ: Mapping[str, str]) -> tuple[imap.FolderInfo, ...]:
    """List the account's folders, by the names that the configuration takes."""
    with imap.open_reader(account.server, _password(account, settings, environ)) as reader:
        return reader.folders()


def keeps_password(account: Account) -> bool:
    """Whether the password of this account is ours to keep."""
    return isinstance(account.credential, KeyringEntry)


def check_login(account: Account, settings: Settings, environ: Mapping[str, str]) -> None:
    """Log in with the configured password, and out again. Raises what that raises."""
    _try(account, settings, _password(account, settings, environ))


def log_in_and_remember(account: Account, settings: Settings, password: str) -> None:
    """Log in with this password, and keep it if the server takes it. Raises CredentialError, AccountError."""
    _try(account, settings, password)
    credentials.remember(account.credential, account.name, account.server.user, password)


def keeps_notify_urls(account: Account) -> bool:
    """Whether the URLs to notify of this account are ours to keep."""
    return isinstance(account.notify_from, KeyringEntry)


def check_notify_urls(account: Account, settings: Settings, environ: Mapping[str, str]) -> Sequence[str]:
    """Return which services the configured URLs are for. Raises CredentialError when one is for none."""
    return _services(account, settings, environ, _notify_urls(account, settings, environ))


def remember_notify_urls(
    account: Account, settings: Settings, environ: Mapping[str, str], urls: Sequence[str]
) -> Sequence[str]:
    """Keep these URLs, and return which services they are for. Raises CredentialError when one is for none."""
    found = _services(account, settings, environ, urls)
    credentials.remember_urls(account.notify_from, account.name, account.server.user, urls)
    return found


def _services(account: Account, settings: Settings, environ: Mapping[str, str], urls: Sequence[str]) -> Sequence[str]:
    found = notify.services(urls, credentials.child_environ(environ, settings.secret_variables))
    if None in found:
        raise CredentialError(
            f"account {account.name}: apprise does not know what line {found.index(None) + 1} of the notification URLs "
            "means; docs/alerts.md shows how they are written. None of them was kept"
        )
    return tuple(name for name in found if name)


def _notify_urls(
    account: Account,
    settings: Settings,
    environ: Mapping[str, str],
    patience: credentials.Patience = credentials.PATIENCE,
) -> Sequence[str]:
    hidden = settings.secret_variables
    user = account.server.user
    return credentials.notify_urls(account.notify_from, account.name, user, environ, hidden=hidden, patience=patience)


def _try(account: Account, settings: Settings, password: str) -> None:
    with imap.open_reader(account.server, password):
        pass
    if _state_file(account, settings).exists():
        with open_store(_state_file(account, settings), holder="bouncefiler login") as store:
            store.login_accepted()


def take_desk(
    account: Account,
    settings: Settings,
    environ: Mapping[str, str],
    holder: str,
    names: Callable[[Settings], Limitable] | None = None,
) -> Desk:
    """Take hold of the account's state, so that no other bouncefiler works on it. Raises StoreBusy, StoreBroken.

    `names` makes the name service to ask, when it is to be another one than `name_service` gives.
    """
    store = open_store(_state_file(account, settings), holder=holder)
    return Desk(account, settings, environ, store, names or name_service)


@contextmanager
def at_work(account: Account, settings: Settings, environ: Mapping[str, str], holder: str) -> Iterator[Desk]:
    """Take the desk for as long as the context lasts. Raises StoreBusy, StoreBroken."""
    desk = take_desk(account, settings, environ, holder)
    try:
        yield desk
    finally:
        desk.leave()


@dataclass(slots=True)
class Desk:
    """Where one account is worked on: its state, and one connection that is kept as long as it lives."""

    account: Account
    settings: Settings
    environ: Mapping[str, str]
    store: Store
    make_names: Callable[[Settings], Limitable]
    connection: imap.ImapAccount | None = field(default=None, init=False)
    raised: tuple[advice.Alert, ...] = field(default=(), init=False)
    """The alerts that the last sweep gave rise to."""
    sent: SentReport | None = field(default=None, init=False)
    """What came of reading sent mail the last time; None before that, and when there was trouble."""
    sent_at: datetime | None = field(default=None, init=False)
    logged_in: float = field(default=0.0, init=False)
    """When the connection was made, by time.monotonic."""
    idling: bool = field(default=False, init=False)
    idles_cut_short: int = field(default=0, init=False)
    """How many connections in a row have ended soon, and while they waited for news."""
    _names: Limitable | None = field(default=None, init=False)

    def sweep(self, scope: Scope, watcher: Watcher, command: str, sent_watcher: SentWatcher) -> Report:
        """Look through the account, file what is to be filed, then say what there is to say about the volume.

        Sent mail is read in between: it tells whose mail it is that came back.
        """
        self.raised = ()
        self.store.begin_run(command, _now())
        report = Report()
        try:
            with self._noted(), self._connected() as connection:
                report = clean(connection, self.store, _task(self.account, self.settings, scope), watcher)
        finally:
            self.store.end_run(_now(), report)
        try:
            self.index_sent(sent_watcher)
            self.inquire(watcher.stopping)
        finally:
            self.watch()
            self.store.tidy(_now())
        return report

    def index_sent(self, watcher: SentWatcher) -> None:
        """Read what was sent since the last time, then older sent mail, until the watcher says stop.

        Trouble with it is said in the log, and sent mail is left alone for a while. Raises Throttled, StoreBroken.
        """
        now = _now()
        if self.sent is None and self.sent_at and now < self.sent_at + SENT_AGAIN:
            return
        before, self.sent, self.sent_at = self.sent, None, now
        try:
            with self._connected() as connection:
                report = sent.index(connection, self.store, self.account.sent_folders, now, watcher)
                if report.trouble:
                    connection.noop()  # a broken connection must not be left to whoever comes next
        except Throttled:
            raise
        except AccountError as exc:
            self._say_unread(str(exc))
        else:
            self.sent = report
            self._say_of_sent(report, before)

    def _say_of_sent(self, report: SentReport, before: SentReport | None) -> None:
        """Say what keeps sent mail from being known; what was said the last time is not said again."""
        for trouble in report.trouble:
            if before is None or trouble not in before.trouble:
                self._say_unread(trouble)
        configured = self.account.sent_folders
        missing = " and no folder ".join(repr(name) for name in configured if name not in report.folders)
        if before is None and not report.trouble and (missing or not report.folders):
            log.info(
                "%s: there is no folder %s, so nothing is known of what is sent; `sent_folders` in the configuration "
                "names it, `bouncefiler folders` lists those that there are",
                self.account.name,
                missing or "of sent mail",
            )

    def _say_unread(self, why: str) -> None:
        log.warning("%s: sent mail was not read: %s", self.account.name, " ".join(why.split()))

    def sent_is_due(self) -> bool:
        """Whether there is sent mail left to read, or it is long ago that it was looked at."""
        left = self.sent is not None and self.sent.left > 0
        return left or self.sent_at is None or _now() >= self.sent_at + SENT_AGAIN

    def quiet(self) -> bool:
        """Whether nothing has come since the last sweep: one short question a folder, over the open connection.

        A connection that has ended meanwhile is no trouble, but a reason to sweep, and so to log in again; unless it
        has not lived for long: a server that wants no connection is not asked for one again and again.
        """
        if self.connection is None:
            return False
        try:
            with self._noted(), self._connected() as connection:
                told, self.idling = connection.attend(), False
                return not (told or self.store.open_entries() or self._anything_new(connection))
        except Throttled:
            raise
        except Unreachable:
            early = time.monotonic() - self.logged_in < LONG_LIVED
            if self.idling:
                self.idles_cut_short = self.idles_cut_short + 1 if early else 0
                self.idling = False
            if early:
                raise
            return False

    def _anything_new(self, connection: imap.ImapAccount) -> bool:
        return any(
            mark is None or connection.changed(_as_it_was(mark))
            for mark in map(self.store.watermark, self.account.folders)
        )

    def idle(self) -> imap.Vigil | None:
        """Have the server tell when something comes to the first folder; None when it is to be asked now and then."""
        mark = self.store.watermark(self.account.folders[0])
        if not self.account.idle or self.connection is None or mark is None or self.idles_cut_short > MAX_CUT_SHORT:
            return None
        if self.idles_cut_short == MAX_CUT_SHORT:
            self.idles_cut_short += 1
            log.info(
                "%s: the server soon ends connections that wait for news (IDLE), so it is asked every %s instead",
                self.account.name,
                self.account.poll_interval,
            )
            return None
        try:
            with self._connected() as connection:
                vigil = connection.watch(_as_it_was(mark))
        except Unreachable:
            self.idles_cut_short += 1
            raise
        self.idling = vigil is not None
        return vigil

    def plan_undo(self, choice: Choice) -> Undo:
        """Look where the chosen messages are now, and plan to put them back.

        Before that, what an interrupted run left open is settled.
        """
        with self._connected() as connection:
            tie_up(connection, self.store)
            return plan_return(connection, self._chosen(choice, connection))

    def undo(self, undo: Undo, stopping: Callable[[], bool]) -> Report:
        """Put back what the plan says. The next sweep leaves it there, and does not count it again."""
        self.store.begin_run("undo", _now())
        report = Report()
        try:
            with self._connected() as connection:
                report = put_back(undo, connection, self.store, stopping)
        finally:
            self.store.end_run(_now(), report)
        return report

    def _chosen(self, choice: Choice, connection: imap.ImapAccount) -> tuple[FiledMessage, ...]:
        if choice.message is not None:
            if choice.message.isascii() and choice.message.isdigit() and len(choice.message) < 19:
                return self.store.filed_as(int(choice.message))
            return of_message_id(connection, self.store.filed_since(EPOCH), choice.message)
        if choice.run is not None:
            return self.store.filed_in(choice.run)
        return self.store.filed_last() if choice.since is None else self.store.filed_since(choice.since)

    def inquire(self, stopping: Callable[[], bool]) -> None:
        """Find out, as far as that is possible now, who sent what came back. Raises as the connection, StoreBroken."""

        def elsewhere(message_ids: Sequence[str]) -> frozenset[str]:
            try:
                with self._connected() as connection:
                    return connection.find_in_all_mail(message_ids[: sent.MAX_ASKED])
            except Throttled:
                raise
            except AccountError as exc:
                log.warning("%s: not looked for in all mail: %s", self.account.name, " ".join(str(exc).split()))
                return frozenset()

        self._lookout().inquire(elsewhere, _now(), stopping)

    def watch(self) -> None:
        """Look whether there are more bounces than usual, or no longer are; put what there is to say in the outbox."""
        self.raised = self._lookout().watch(_now())

    def past_waves(self, since: datetime | None) -> tuple[volume.Wave, ...]:
        """Return the waves of bounces that ended after `since` and over a day ago, oldest first; none for None."""
        if since is None:
            return ()
        now = _now()
        waves = volume.past_waves(self.store.history(now - KEPT), now)
        return tuple(wave for wave in waves if wave.last >= since)

    def _lookout(self) -> Lookout:
        spoken = _spoken(self.account, self.settings, self.environ)
        reader = advice.Reader(self.account.address, self.account.filing.bounce_folder, spoken)
        return Lookout(self.account, self.store, self._name_service, reader, self.account.alert_channels)

    def _name_service(self) -> Limitable:
        if self._names is None:
            self._names = self.make_names(self.settings)
        return self._names

    def deliver(self) -> None:
        """Deliver the alerts that are due. A channel that fails is tried again at a later call; nothing is raised."""
        channels = {"log": alerts.to_log, "inbox": self._to_inbox}
        notified = {NOTIFY: self._notified} if NOTIFY in self.account.alert_channels else {}
        alerts.deliver(self.store, channels, _now(), notified)

    def leave(self) -> None:
        """Log out and let go of the state."""
        self.hang_up()
        self.store.close()

    def hang_up(self) -> None:
        """Log out, if logged in."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Write down that the folders were looked into, or what was in the way."""
        try:
            yield
        except (AccountError, CredentialError, BrakePulled) as exc:
            self.store.looked(_now(), str(exc).partition("\n")[0])
            raise
        self.store.looked(_now())

    @contextmanager
    def _connected(self) -> Iterator[imap.ImapAccount]:
        if self.connection is None:
            self.connection = self._log_in()
        try:
            yield self.connection
        except BaseException:
            # Whatever went wrong, what is still on its way over this connection can't be trusted any more.
            self.hang_up()
            raise

    def _log_in(self) -> imap.ImapAccount:
        server = self.account.server
        password = _password(self.account, self.settings, self.environ)
        key = self.store.key_for(f"{server.host}\0{server.user}\0{password}")
        if self.store.refusals(key) >= MAX_REFUSALS:
            raise LoginRefused(
                f"{server.host} has refused this password of {server.user} {MAX_REFUSALS} times, so it is not tried "
                f"again: the account could be locked. Set a new one (`bouncefiler login {self.account.name}`)"
            )
        try:
            connection = imap.open_account(server, password)
        except LoginRefused:
            self.store.login_refused(key, _now())
            raise
        self.store.login_accepted()
        self.logged_in = time.monotonic()
        return connection

    def _to_inbox(self, alert: advice.Alert) -> None:
        message = alerts.as_message(alert, self.account.address, _now())
        with self._connected() as connection:
            connection.append("INBOX", message, when=_now())

    def _notified(self) -> Mapping[str, alerts.Channel]:
        return _notified(self.account, self.settings, self.environ, self.store, _IMPATIENT)


# --- alerts and letters


def _notified(
    account: Account,
    settings: Settings,
    environ: Mapping[str, str],
    store: StoreReader,
    patience: credentials.Patience = credentials.PATIENCE,
) -> Mapping[str, _Notified]:
    """Return a channel for each URL to notify, by a name that does not give it away. Raises CredentialError."""
    words = _spoken(account, settings, environ)
    known = credentials.child_environ(environ, settings.secret_variables)
    urls = _notify_urls(account, settings, environ, patience)
    in_inbox = "inbox" in account.alert_channels
    return {f"{NOTIFY}:{store.key_for(f'{NOTIFY} {url}')}": _Notified(url, words, in_inbox, known) for url in urls}


@dataclass(frozen=True, slots=True)
class _Notified:
    """The channel to one URL."""

    url: str = field(repr=False)
    language: str
    in_inbox: bool
    environ: Mapping[str, str] = field(repr=False)

    def __call__(self, alert: advice.Alert) -> None:
        notify.send(self.url, alert, letters.brief(alert, self.language, in_inbox=self.in_inbox), self.environ)

    @property
    def scheme(self) -> str:
        """What kind of URL it is, such as "tgram"."""
        return self.url.partition("://")[0][:20]


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
    alert = letters.trial(_spoken(account, settings, environ), account.address, _now())

    def to_inbox(alert: advice.Alert) -> None:
        with imap.open_account(account.server, _password(account, settings, environ)) as connection:
            connection.append("INBOX", alerts.as_message(alert, account.address, _now()), when=_now())

    channels: dict[str, alerts.Channel] = {"log": alerts.to_log, "inbox": to_inbox}
    for name in only or account.alert_channels:
        try:
            members = {name: channels[name]} if name in channels else _members(account, settings, environ)
        except BouncefilerError as exc:
            yield Trial(name, exc)
            continue
        yield from (Trial(member, _attempt(channel, alert)) for member, channel in members.items())


def _members(account: Account, settings: Settings, environ: Mapping[str, str]) -> Mapping[str, alerts.Channel]:
    with open_for_reading(_state_file(account, settings)) as store:
        found = _notified(account, settings, environ, store)
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
        with open_for_reading(_state_file(account, settings)) as store:
            last = store.last_incident()
        hacked = last is not None and last.diagnosis is Diagnosis.COMPROMISED
    words = language_ or _spoken(account, settings, environ)
    return letters.notice(words, account.address, hacked=hacked), hacked


def put_in_drafts(account: Account, settings: Settings, environ: Mapping[str, str], letter: letters.Letter) -> str:
    """Put the letter into the folder for drafts, addressed to nobody; return the folder's name. Nothing is sent.

    Raises CredentialError, AccountError.
    """
    draft = alerts.as_draft(letter, account.address, _now())
    with imap.open_account(account.server, _password(account, settings, environ)) as connection:
        found = (account.drafts_folder,) if account.drafts_folder else connection.drafts_folders()
        if not found:
            raise FolderMissing(
                "there is no folder for drafts; `drafts_folder` in the configuration names it, `bouncefiler folders` "
                "lists those that there are, and `bouncefiler notice --print` needs none"
            )
        connection.append(found[0], draft, ("\\Draft", "\\Seen"), when=_now())
    return found[0]


# --- the service


def serve(path: Path | None, environ: Mapping[str, str]) -> int:
    """Work on all accounts until told to stop, and return the exit status. Raises ConfigError at the start only."""
    from bouncefiler import service  # noqa: PLC0415 - only the service needs its clock, and that takes long to load

    def load() -> list[service.Job]:
        settings = load_settings(path, environ)
        return [_job(account, settings, environ) for account in settings.accounts.values()]

    def _job(account: Account, settings: Settings, environ: Mapping[str, str]) -> service.Job:
        shift = _Shift(account, settings, environ)
        return service.Job(account.name, account.poll_interval, shift.work, shift.end)

    return service.run_service(load, notify=systemd.notify, watchdog_interval=systemd.watchdog_interval(environ))


@dataclass(slots=True)
class _Shift:
    """The service's work on one account: the desk is taken at the first run and kept until the end."""

    account: Account
    settings: Settings
    environ: Mapping[str, str]
    desk: Desk | None = None
    hurried: bool = False
    """Whether the run before was called for at its very end."""

    def work(self, tick: Tick) -> Watch | None:
        if self.desk is None:
            self.desk = take_desk(self.account, self.settings, self.environ, "bouncefiler run")
        onlooker = _Onlooker(tick, Brake())
        sent_watcher = _SentOnlooker(tick, time.monotonic() + SENT_SECONDS)
        if self.desk.quiet():
            if self.desk.sent_is_due():
                self.desk.index_sent(sent_watcher)
            self.desk.inquire(onlooker.stopping)
            self.desk.watch()
        else:
            report = self.desk.sweep(Scope(self.account.folders), onlooker, "run", sent_watcher)
            if report.moved or report.settled:
                log.info("%s: filed %d of %d new messages", self.account.name, report.moved, report.scanned)
        self.desk.deliver()
        return None if tick.stopping() else self._wait(self.desk)

    def _wait(self, desk: Desk) -> Watch | None:
        vigil = desk.idle()
        if vigil is not None and vigil.fileno is not None:
            self.hurried = False
            return Watch(IDLE_SECONDS, vigil.fileno)
        # Something has come already. Told so twice on end, rather wait for the next tick: the server may be confused.
        self.hurried = vigil is not None and not self.hurried
        return Watch(0.0) if self.hurried else None

    def end(self) -> None:
        if self.desk is not None:
            self.desk.leave()
            self.desk = None


@dataclass(frozen=True, slots=True)
class _Onlooker:
    """Tells the clock that the work goes on."""

    tick: Tick
    brake: Brake

    def check(self, plan: Plan) -> None:
        self.brake.check(plan)

    def done(self, _plan: Plan, _report: Report) -> None:
        self.tick.progress()

    def stopping(self) -> bool:
        self.tick.progress()
        return self.tick.stopping()


@dataclass(slots=True)
class _SentOnlooker:
    """Tells the clock that the work goes on, and ends it when its time is up: it must not keep filing waiting."""

    tick: Tick
    until: float

    def sent_read(self, _report: SentReport) -> None:
        self.tick.progress()

    def stopping(self) -> bool:
        return self.tick.stopping() or time.monotonic() >= self.until


# --- what the functions above are made of


def _as_it_was(mark: Watermark) -> FolderState:
    return FolderState(mark.folder, mark.uidvalidity, mark.last_uid + 1, exists=0)


def _task(account: Account, settings: Settings, scope: Scope) -> Task:
    tables = _Tables(lambda: rules_of(settings, account.name))
    recogniser = Recogniser(lean.suspect, lambda raw, cut: classify.examine(raw, cut, tables.rules), tables.prepare)
    return Task(scope, recogniser, account.filing)


class _Tables:
    """The rules, read when there is something to judge, and while the server is being waited for."""

    def __init__(self, load: Callable[[], Rulebook]) -> None:
        self._load = load
        self._reading: Thread | None = None

    def prepare(self) -> None:
        """Begin to read them, unless that has been done."""
        if self._reading is None:
            self._reading = Thread(target=self._load, name="tables", daemon=True)
            self._reading.start()

    @cached_property
    def rules(self) -> Rulebook:
        """The rules; waits until they have been read."""
        if self._reading is not None:
            self._reading.join()
        return self._load()


def _password(account: Account, settings: Settings, environ: Mapping[str, str]) -> str:
    hidden = settings.secret_variables
    return credentials.password(account.credential, account.name, account.server.user, environ, hidden=hidden)


def _state_file(account: Account, settings: Settings) -> Path:
    return settings.state_dir / f"{account.name}.sqlite3"


def _now() -> datetime:
    return datetime.now(UTC)
