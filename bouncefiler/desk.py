"""Where one account is worked on: its state, its one connection, and all that is done with both."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bouncefiler import sent
from bouncefiler.backscatter import advice, volume
from bouncefiler.backscatter.domains import Limitable
from bouncefiler.edge import alerts, credentials, imap
from bouncefiler.edge.store import KEPT, Store, open_store
from bouncefiler.errors import (
    AccountError,
    BrakePulled,
    CredentialError,
    LoginRefused,
    Throttled,
    TokenRefused,
    Unreachable,
)
from bouncefiler.filing.plan import Watermark
from bouncefiler.filing.undo import FiledMessage, Undo
from bouncefiler.lookout import Lookout
from bouncefiler.parts import (
    NOTIFY,
    language_of,
    name_service,
    notify_channels,
    password_of,
    present,
    state_file,
    task_of,
)
from bouncefiler.restore import of_message_id, plan_return, put_back, tie_up
from bouncefiler.sent import SentReport, SentWatcher
from bouncefiler.settings import Account, Settings
from bouncefiler.sweep import FolderState, Report, Scope, Watcher, clean

MAX_REFUSALS = 2
"""A refused password is tried no more than this often: servers lock accounts, or ban the address, after a few more."""

LONG_LIVED = 300.0
"""A connection that has lasted for so many seconds may end without being called trouble."""

MAX_CUT_SHORT = 3
"""So many connections in a row that end soon, while they wait for news, and no more are made to wait."""

IDLE_SECONDS = 480.0
"""How long to wait for news over a connection without a word: below the nine minutes after which some routers forget
it, and with the 60 seconds of a command enough to notice within ten minutes that it is dead."""

SENT_AGAIN = timedelta(hours=1)
"""After so long sent mail is looked at even if nothing has come; and not before, if there was trouble with it."""

EPOCH = datetime.fromtimestamp(0, UTC)

_IMPATIENT = credentials.Patience(command=10, keyring=10)
"""The service has mail to file."""

log = logging.getLogger("bouncefiler")


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
    store = open_store(state_file(account, settings), holder=holder)
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
        self.store.begin_run(command, present())
        report = Report()
        try:
            with self._noted(), self._connected(scope.folders[0]) as connection:
                report = clean(connection, self.store, task_of(self.account, self.settings, scope), watcher)
        finally:
            self.store.end_run(present(), report)
        try:
            self.index_sent(sent_watcher)
            self.inquire(watcher.stopping)
        finally:
            self.watch()
            self.store.tidy(present())
        return report

    def index_sent(self, watcher: SentWatcher) -> None:
        """Read what was sent since the last time, then older sent mail, until the watcher says stop.

        Trouble with it is said in the log, and sent mail is left alone for a while. Raises Throttled, StoreBroken.
        """
        now = present()
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
        return left or self.sent_at is None or present() >= self.sent_at + SENT_AGAIN

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
        self.store.begin_run("undo", present())
        report = Report()
        try:
            with self._connected() as connection:
                report = put_back(undo, connection, self.store, stopping)
        finally:
            self.store.end_run(present(), report)
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

        def elsewhere(message_ids: Sequence[str]) -> frozenset[str] | None:
            try:
                with self._connected() as connection:
                    return connection.find_in_all_mail(message_ids)
            except Throttled:
                raise
            except AccountError as exc:
                log.warning("%s: not looked for in all mail: %s", self.account.name, " ".join(str(exc).split()))
                return None

        self._lookout().inquire(elsewhere, present(), stopping)

    def watch(self) -> None:
        """Look whether there are more bounces than usual, or no longer are; put what there is to say in the outbox."""
        self.raised = self._lookout().watch(present())

    def past_waves(self, since: datetime | None) -> tuple[volume.Wave, ...]:
        """Return the waves of bounces that ended after `since` and over a day ago, oldest first; none for None."""
        if since is None:
            return ()
        now = present()
        waves = volume.past_waves(self.store.past(now - KEPT), now)
        return tuple(wave for wave in waves if wave.last >= since)

    def _lookout(self) -> Lookout:
        spoken = language_of(self.account, self.settings, self.environ)
        reader = advice.Reader(self.account.address, self.account.filing.bounce_folder, spoken)
        return Lookout(self.account, self.store, self._name_service, reader, self.account.alert_channels)

    def _name_service(self) -> Limitable:
        if self._names is None:
            self._names = self.make_names(self.settings)
        return self._names

    def deliver(self, *, reachable: bool = True) -> None:
        """Deliver the alerts that are due. A channel that fails is tried again at a later call. Raises StoreBroken.

        While the server is not `reachable`, what is for the INBOX waits.
        """
        channels = {"log": alerts.to_log, "inbox": self._to_inbox}
        notified = {NOTIFY: self._notified} if NOTIFY in self.account.alert_channels else {}
        alerts.deliver(self.store, channels, present(), notified, later=() if reachable else ("inbox",))

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
            self.store.looked(present(), str(exc).partition("\n")[0])
            raise
        self.store.looked(present())

    @contextmanager
    def _connected(self, first: str = "") -> Iterator[imap.ImapAccount]:
        """Be connected; `first` is the folder that will be opened first, if known."""
        if self.connection is None:
            self.connection = self._log_in(first)
        try:
            yield self.connection
        except BaseException:
            # Whatever went wrong, what is still on its way over this connection can't be trusted any more.
            self.hang_up()
            raise

    def _log_in(self, first: str) -> imap.ImapAccount:
        server = self.account.server
        password = password_of(self.account, self.settings, self.environ)
        secret = f"{server.host}\0{server.user}\0{password}"
        if self.store.refused_any() and self.store.refusals(self.store.key_for(secret)) >= MAX_REFUSALS:
            raise LoginRefused(
                f"{server.host} has refused this password of {server.user} {MAX_REFUSALS} times, so it is not tried "
                f"again: the account could be locked. Set a new one (`bouncefiler login {self.account.name}`)"
            )
        try:
            connection = imap.open_account(server, password, first=first)
        except TokenRefused:
            raise
        except LoginRefused:
            self.store.login_refused(self.store.key_for(secret), present())
            raise
        self.store.login_accepted()
        self.logged_in = time.monotonic()
        return connection

    def _to_inbox(self, alert: advice.Alert) -> None:
        message = alerts.as_message(alert, self.account.address, present())
        with self._connected() as connection:
            connection.append("INBOX", message, when=present())

    def _notified(self) -> Mapping[str, alerts.Channel]:
        return notify_channels(self.account, self.settings, self.environ, self.store, _IMPATIENT)


def _as_it_was(mark: Watermark) -> FolderState:
    return FolderState(mark.folder, mark.uidvalidity, mark.last_uid + 1, exists=0)
