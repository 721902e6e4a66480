"""Who sent what came back? The clues that wait are asked about, one batch after the other.

It comes after filing and never in its way. What it needs of the outside is stated here as protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Protocol

from bouncefiler.backscatter.proof import Outcome, Proof
from bouncefiler.backscatter.provenance import (
    Attribution,
    Clues,
    Coverage,
    Found,
    Known,
    Provenance,
    Reason,
    attribute,
    domain_of,
    lessons_of,
    usual_relays,
    usually_tagged,
    within,
)
from bouncefiler.recognition.identity import Fingerprint

PATIENCE = timedelta(days=2)
"""How long it may take until a message turns up among the sent mail: another device may be offline."""

SAVING = timedelta(hours=1)
"""… and usually takes: a mail program saves what it sends after it has sent it, and a bounce comes within seconds."""

AT_ONCE = 50
"""About so many Message-IDs the server is asked at a time."""

MAX_UNKNOWN = 50
"""So many that it does not know as sent, and the rest of what came is of the same flood: it is not asked on."""

MAX_ELSEWHERE = 500
"""So many it is asked about in one inquiry at most. What was not asked about may be next time."""

_MISSES = Reason.NOT_IN_SENT | Reason.NEVER_WROTE

MAX_LESSONS = 1_000
"""From so many returned messages on, the way that the owner's mail takes is known well enough."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A message whose provenance is open; `signed` is the returned header block, where it has a signature."""

    fingerprint: Fingerprint
    received_at: datetime
    noted: datetime
    """When it was first seen."""
    clues: Clues
    signed: bytes = b""


class Files(Protocol):
    """What is remembered of bounces and of sent mail. Every method raises StoreBroken."""

    def pending(self, now: datetime) -> Sequence[Pending]:
        """Return the next messages to be asked about; none when all have been asked about for now."""

    def attribute(self, found: Iterable[tuple[Pending, Attribution, bool]], now: datetime) -> None:
        """Write down who sent these; those that are not settled (False) come again later."""

    def sent_known(self, message_ids: Collection[str]) -> frozenset[str]:
        """Return those of the Message-IDs that are among the sent mail."""

    def written_to(self, addresses: Collection[str]) -> frozenset[str]:
        """Return those of the addresses that mail was sent to."""

    def habits(self, what: str) -> Mapping[str, int]:
        """Return what is usual in the owner's mail, each value with its number."""

    def learn(self, what: str, values: Iterable[str], now: datetime) -> None:
        """Count these values among what is usual."""

    def at_once(self) -> AbstractContextManager[None]:
        """Have what is written in this context written together, when it ends; nothing of it when that raises."""


@dataclass(frozen=True, slots=True)
class Owner:
    """What is known of the account's owner beforehand; all in lower case."""

    identities: frozenset[str] = frozenset()
    """The owner's addresses, as far as they are configured; others are learnt from sent mail."""
    also_sends: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()
    coverage: Coverage = field(default_factory=Coverage)


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Whom to ask."""

    prove: Callable[[bytes, Collection[str]], Sequence[Proof]]
    """Verifies the signatures of these domains over a header block."""
    elsewhere: Callable[[Sequence[str]], Collection[str] | None]
    """Returns those of at most AT_ONCE Message-IDs that the server knows as sent, though they are not among the sent
    mail; None when it cannot say, and is not to be asked again now."""
    is_shared: Callable[[str], bool]
    """Whether a domain, or one that it is under, is a large provider's, which millions share."""


def inquire(files: Files, owner: Owner, witnesses: Witnesses, now: datetime, stopping: Callable[[], bool]) -> int:
    """Ask about all that waits, until told to stop; return how many were asked about. Raises what `files` raises."""
    asked, elsewhere = 0, _Elsewhere(witnesses.elsewhere)
    while not stopping() and (batch := files.pending(now)):
        _ask(files, batch, _known(files, owner, witnesses), replace(witnesses, elsewhere=elsewhere), now)
        asked += len(batch)
    return asked


class _Elsewhere:
    """Asks the server about messages that are not among the sent mail, until the answers tell what the rest is."""

    def __init__(self, ask: Callable[[Sequence[str]], Collection[str] | None]) -> None:
        self._ask = ask
        self._left, self._unknown = MAX_ELSEWHERE, 0

    def __call__(self, ids: Sequence[str]) -> Collection[str]:
        found: set[str] = set()
        rest = list(dict.fromkeys(ids))
        while rest and self._left > 0 and self._unknown < MAX_UNKNOWN:
            part, rest = rest[:AT_ONCE], rest[AT_ONCE:]
            known = self._ask(part)
            if known is None:
                self._left = 0
                break
            found |= set(known)
            self._left -= len(part)
            self._unknown += len(part) - len(known)
        return found


def _known(files: Files, owner: Owner, witnesses: Witnesses) -> Known:
    chains = files.habits("chain")
    relays = usual_relays(files.habits("relay"), chains.get("all", 0))
    identities = owner.identities | files.habits("from").keys()
    domains = {domain_of(address) for address in identities}
    return Known(
        identities=identities,
        coverage=owner.coverage,
        id_domains=files.habits("id-domain"),
        id_shapes=files.habits("id-shape"),
        relays=relays,
        tagged=usually_tagged(chains.get("tagged", 0), chains.get("all", 0)),
        also_sends=owner.also_sends,
        providers=owner.providers,
        shared=frozenset(name for name in (*domains, *relays) if witnesses.is_shared(name)),
    )


def _ask(files: Files, batch: Sequence[Pending], known: Known, witnesses: Witnesses, now: datetime) -> None:
    ids = {id_ for pending in batch for id_ in pending.clues.ids}
    sent = files.sent_known(ids)
    missing = [id_ for id_ in _of_interest(batch, known) if id_ not in sent]
    if missing:
        sent |= set(witnesses.elsewhere(missing) or ())
    contacts = files.written_to({address for pending in batch for address in pending.clues.recipients})
    proofs = [_proofs(pending, known, witnesses) for pending in batch]
    found = [
        attribute(pending.clues, pending.received_at, known, Found(sent, contacts, proof))
        for pending, proof in zip(batch, proofs, strict=True)
    ]
    with files.at_once():
        _learn(files, zip(batch, found, strict=True), chain.from_iterable(proofs), known, now)
        files.attribute(
            ((pending, what, _settled(pending, what, now)) for pending, what in zip(batch, found, strict=True)), now
        )


def _of_interest(batch: Sequence[Pending], known: Known) -> list[str]:
    """Return the ids of messages that look as if they were the owner's: a flood would ask for a thousand others."""
    return [
        pending.clues.ids[0]
        for pending in batch
        if pending.clues.ids and (not pending.clues.from_ or pending.clues.from_ in known.identities)
    ]


def _proofs(pending: Pending, known: Known, witnesses: Witnesses) -> Sequence[Proof]:
    return witnesses.prove(pending.signed, known.domains) if pending.signed and known.domains else ()


def _settled(pending: Pending, what: Attribution, now: datetime) -> bool:
    """Whether it is of no use to ask again: proved, forged by more than a miss, or asked about for long enough."""
    if what.provenance is Provenance.GENUINE:
        return True
    waits = PATIENCE if what.provenance is Provenance.UNKNOWN else SAVING
    return now - pending.noted >= waits or (waits is SAVING and not what.reasons & _MISSES)


def _learn(
    files: Files,
    found: Iterable[tuple[Pending, Attribution]],
    proofs: Iterable[Proof],
    known: Known,
    now: datetime,
) -> None:
    """Learn from what is proved to be the owner's which way their mail takes, and by which keys it is signed."""
    keys = [
        f"{proof.selector}._domainkey.{proof.domain}"
        for proof in proofs
        if proof.outcome is Outcome.VALID and any(within(proof.domain, domain) for domain in known.domains)
    ]
    if keys:
        files.learn("selector", keys, now)
    if files.habits("chain").get("all", 0) >= MAX_LESSONS:
        return
    lessons = [lessons_of(p.clues) for p, what in found if Reason.IN_SENT in what.reasons and p.clues.relays]
    if lessons:
        files.learn("relay", [relay for lesson in lessons for relay in lesson.relays], now)
        files.learn("chain", ["all"] * len(lessons) + ["tagged"] * sum(lesson.tagged for lesson in lessons), now)
