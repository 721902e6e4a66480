"""Movers and journals that make the classic mistakes: the proofs have to catch them, or they prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bouncefiler.filing.plan import JournalEntry, Method, MoveBatch, uid_set
from bouncefiler.sweep import Account, Journal, Moved, Report, Task, clean
from tests.chaos.rounds import Onlooker, Patient


@dataclass
class _Mover:
    """An account that moves by a second session of its own, as a simple program would: COPY, \\Deleted, and then?"""

    account: Account
    patient: Patient

    method = Method.COPY

    def __getattr__(self, name: str) -> Any:
        return getattr(self.account, name)

    def ask(self, batch: MoveBatch, *commands: tuple[str, ...]) -> list[str]:
        patient, statuses = self.patient, []
        with patient.mailbox.session(patient.proxy.port) as client:
            client.select(patient.own(batch.source))
            for verb, *arguments in commands:
                status, _ = client.uid(verb, *arguments) if arguments else client.expunge()
                statuses.append(status)
        return statuses


@dataclass
class PlainExpunger(_Mover):
    """EXPUNGE without UIDs: other people's deleted mail goes too."""

    def begin_move(self, batch: MoveBatch) -> Callable[[], Moved]:
        uids = uid_set(batch.uids)
        mark = ("STORE", uids, "+FLAGS.SILENT", "(\\Deleted)")
        self.ask(batch, ("COPY", uids, self.patient.own(batch.to)), mark, ("EXPUNGE",))
        return Moved


@dataclass
class Hasty(_Mover):
    """Removes the originals whether or not they have been copied."""

    def begin_move(self, batch: MoveBatch) -> Callable[[], Moved]:
        uids = uid_set(batch.uids)
        mark = ("STORE", uids, "+FLAGS.SILENT", "(\\Deleted)")
        self.ask(batch, ("COPY", uids, self.patient.own(batch.to)), mark, ("EXPUNGE", uids))
        return Moved


@dataclass
class Forgetful:
    """A journal that keeps no intents: after a crash nobody knows of the copies that were made."""

    journal: Journal

    def __getattr__(self, name: str) -> Any:
        return getattr(self.journal, name)

    def open_entries(self) -> tuple[JournalEntry, ...]:
        return ()


Careless = Callable[[Account, Journal, Task, Onlooker], Report]


def with_mover(mover: Callable[[Account, Patient], Any], patient: Patient) -> Careless:
    """Return a sweep that moves by this mover."""
    return lambda account, journal, task, onlooker: clean(mover(account, patient), journal, task, onlooker)


def with_forgetful_journal(account: Account, journal: Journal, task: Task, onlooker: Onlooker) -> Report:
    """Sweep with a journal that forgets what was begun."""
    forgetful: Any = Forgetful(journal)
    return clean(account, forgetful, task, onlooker)
