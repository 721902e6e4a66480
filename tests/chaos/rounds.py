"""One round: a mailbox, a run in which something goes wrong, undisturbed runs after it, and what is there then."""

from __future__ import annotations

import imaplib
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from bouncefiler.edge import imap
from bouncefiler.edge.store import open_for_reading, open_store
from bouncefiler.errors import BouncefilerError
from bouncefiler.filing.plan import FilingPolicy, Plan
from bouncefiler.parts import recogniser
from bouncefiler.recognition import rulebook
from bouncefiler.settings import Compress, Security, Server
from bouncefiler.sweep import Account, Journal, Report, Scope, Task, clean, pages
from tests.chaos import world
from tests.chaos.proxy import Fault, Proxy
from tests.chaos.world import Contents, Truth
from tests.dovecot import Dovecot, Mailbox

WINDOW = 5
"""Messages in one scan: small, so that twins come in different plans."""

TIMEOUT = 1.0
"""Seconds after which a silent server is given up."""

MAX_RUNS = 2
"""After at most so many undisturbed runs everything is in its place."""

TASK = Task(Scope(("INBOX",)), recogniser(rulebook.load), FilingPolicy(bounce_folder=world.FOLDER), page=1)

Sweep = Callable[[Account, Journal, Task, "Onlooker"], Report]


@dataclass(slots=True)
class Onlooker:
    """Lets everything pass."""

    def check(self, plan: Plan) -> None:
        pass

    def done(self, plan: Plan, report: Report) -> None:
        pass

    def stopping(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of a round."""

    first: str
    """How the disturbed run ended: "done", or the kind of error."""
    violations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Act:
    """Something that somebody else does in the middle of a run."""

    name: str
    do: Callable[[Patient], None]
    doubles: int = 0
    """How many messages may be there twice afterwards, where mail is moved by COPY.

    That is one which both of us have copied; or a whole batch, as between COPY and the removal nothing but UIDs and our
    journal tells the copies and the originals from twins.
    """
    hides_twins: bool = False
    """Whether nothing tells twins apart after it: a bounce that has one may stay where it was."""


@dataclass(slots=True)
class Patient:
    """An account on a server behind a proxy, and our state for it."""

    dovecot: Dovecot
    proxy: Proxy
    state: Path
    sweep: Sweep = clean
    user: str = field(init=False)
    truth: Truth = field(init=False)
    error: BouncefilerError | None = field(default=None, init=False)
    """What ended the last run, if anything."""
    _open: ExitStack = field(default_factory=ExitStack, init=False)
    _session: imaplib.IMAP4 | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.user = self.dovecot.new_user()
        self.mailbox.store(world.inbox(), "INBOX")
        self.mailbox.flag("INBOX", world.KEYWORDED, world.KEYWORD)
        self.truth = Truth.of(self.contents())

    @property
    def mailbox(self) -> Mailbox:
        """The account, seen from the server's side."""
        return self.dovecot.mailbox(self.user)

    def contents(self) -> Contents:
        """Look at all of it, over a session that is kept until `leave`."""
        if self._session is None:
            self._session = self._open.enter_context(self.mailbox.session())
        return world.contents(self.mailbox, self._session)

    @property
    def server(self) -> Server:
        """How bouncefiler reaches it: through the proxy, which reads along."""
        return Server("127.0.0.1", self.proxy.port, self.user, Security.PLAIN, compress=Compress.NEVER, timeout=TIMEOUT)

    def own(self, folder: str) -> str:
        """Return the server's name of a folder."""
        variant = self.dovecot.variant
        return imap.Names(variant.prefix, variant.separator).to_server(folder)

    def leave(self) -> None:
        """End the session over which we look."""
        self._session = None
        self._open.close()

    def run(self, now: datetime = world.NOON) -> str:
        """Clean once; return "done", or what kind of error ended it."""
        self.error = None
        try:
            with closing(open_store(self.state, holder="chaos")) as store:
                store.begin_run("clean", now)
                with imap.open_account(self.server, self.dovecot.variant.password) as account:
                    account.window = WINDOW
                    self.sweep(account, store, TASK, Onlooker())
                store.tidy(now)
        except BouncefilerError as error:
            self.error = error
            return type(error).__name__
        return "done"

    def rehearse(self) -> list[str]:
        """Clean undisturbed, and return the commands of that: what faults are aimed at."""
        self.proxy.arm(None)
        assert self.run() == "done"
        self.leave()
        return self.proxy.commands()

    def preview(self) -> int:
        """Look what there is to file, as `bouncefiler preview` does; return how many messages would be moved."""
        with imap.open_reader(self.server, self.dovecot.variant.password) as reader:
            return sum(len(plan.moves) for plan in pages(reader, open_for_reading(self.state), TASK))

    def meanwhile(self, act: Act) -> Callable[[], None]:
        """Return a function that lets somebody else do something, and takes it for right."""

        def follow() -> None:
            before = self.contents()
            act.do(self)
            self.truth.follow(before, self.contents(), twins=act.hides_twins)

        return follow

    def endure(self, fault: Fault, act: Act | None = None) -> Ending:
        """Clean with this fault and this interference, look; clean undisturbed as often as it may take, look again."""
        allowed = act.doubles if act and not self.dovecot.variant.move else 0
        self.proxy.arm(replace(fault, meanwhile=self.meanwhile(act)) if act else fault)
        first = self.run()
        assert self.proxy.struck.wait(5), f"{fault} was never reached"
        return self.recover(first, allowed)

    def recover(self, first: str, allowed: int = 0) -> Ending:
        """Look at what a disturbed run has left, and what undisturbed runs make of it.

        `allowed` is how many messages may be there twice in the end.
        """
        violations = self._look("at once")
        for _ in range(MAX_RUNS):
            self.proxy.arm(None)
            outcome = self.run()
            violations += self._look("later")
        now = self.contents()
        self.leave()
        violations += self.truth.misplaced(now)
        doubled = self.truth.doubled(now)
        if doubled > allowed:
            violations.append(f"{doubled} messages are there twice")
        if outcome != "done":
            violations.append(f"an undisturbed run ended with {outcome}")
        return Ending(first, tuple(violations))

    def _look(self, when: str) -> list[str]:
        found = [*self.truth.lost(self.contents()), *world.forbidden(self.proxy.commands())]
        return [f"{when}: {one}" for one in found]
