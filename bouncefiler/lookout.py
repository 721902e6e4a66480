"""Is somebody abusing the address? Asks who sent what came back, counts, names the diagnosis, writes what to tell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache

from bouncefiler import inquiry
from bouncefiler.backscatter import advice, diagnosis, incident, volume
from bouncefiler.backscatter.diagnosis import Burst, Sign, Tally
from bouncefiler.backscatter.domains import Limitable, NameService, Offline
from bouncefiler.backscatter.evidence import Findings
from bouncefiler.backscatter.incident import Background, Diagnosis, Incident, Notice
from bouncefiler.backscatter.proof import Proof, may_be_signed
from bouncefiler.backscatter.provenance import Coverage, Provenance, domain_of, providers_of, usual_relays
from bouncefiler.edge.store import Store
from bouncefiler.settings import Account

DAY = timedelta(days=1)

RECENT = 2 * DAY
"""What came within this is not taken for what is usual."""

EARLIER = 60 * DAY
"""… and what came within this before that is."""

SENT_BASE = 28
"""Days before the last one by which it is judged how much the owner usually sends."""

LEAST_SENT = 10
"""So many messages in these days have to be known for that."""

DNS_SECONDS = 10.0
"""How long keys are looked up for at a time, all in all."""

MAX_DEAD = 1_000

_NEW = frozenset({Notice.OPENED, Notice.REOPENED})
_TOLD_OF_MAILINGS = frozenset({Notice.OPENED, Notice.REOPENED, Notice.CLOSED})


@dataclass(frozen=True, slots=True)
class Lookout:
    """Looks out for one account, with what is remembered of it."""

    account: Account
    store: Store
    names: Callable[[], Limitable]
    """Whom to ask about domains, made when it is needed."""
    reader: advice.Reader
    """Who is told."""
    channels: tuple[str, ...]

    def inquire(
        self, elsewhere: Callable[[Sequence[str]], Collection[str] | None], now: datetime, stopping: Callable[[], bool]
    ) -> None:
        """Find out, as far as that is possible now, who sent what came back. Raises StoreBroken, and as `elsewhere`."""
        if not self.store.pending(now, limit=1):
            return
        names = cache(lambda: self.names().within(DNS_SECONDS))  # where nothing is signed, nobody is asked
        witnesses = inquiry.Witnesses(lambda header, domains: _prove(header, domains, names), elsewhere, is_shared)
        inquiry.inquire(self.store, self._owner(), witnesses, now, stopping)

    def _owner(self) -> inquiry.Owner:
        known = self.store.sent_coverage()
        user = self.account.server.user.lower()
        addresses = {address.lower() for address in (user, *self.account.addresses) if "@" in address}
        return inquiry.Owner(
            frozenset(addresses),
            frozenset(domain.lower() for domain in self.account.also_sends),
            self._providers(),
            Coverage(known.since, known.until, known.complete),
        )

    def _providers(self) -> frozenset[str]:
        relays = usual_relays(self.store.habits("relay"), self.store.habits("chain").get("all", 0))
        addresses = (self.account.server.user, *self.account.addresses)
        return providers_of((self.account.server.host, *map(domain_of, addresses), *relays))

    def watch(self, now: datetime) -> tuple[advice.Alert, ...]:
        """Look whether there are more bounces than usual, or no longer are; put what there is to say in the outbox."""
        alerts = [*self._watch_abuse(now), *self._watch_mailings(now)]
        return tuple(alerts)

    def _watch_abuse(self, now: datetime) -> Iterator[advice.Alert]:
        before = self.store.incident()
        findings = self._findings(now)
        suspected = diagnosis.diagnose(findings.signs)
        hacked = Diagnosis.COMPROMISED in (suspected, before and before.diagnosis)
        # What is sent from the account itself counts, too, when somebody else may be sending it.
        whose = tuple(Provenance) if hacked else (Provenance.UNKNOWN, Provenance.FORGED)
        past = self._past(now, whose)
        background = Background(self._known_since(now), suspected)
        step = incident.assess(past, now, self.account.watch, before, self.store.last_incident(), background)
        if step.incident is not None:
            findings = replace(findings, causes=self.store.causes(now - DAY, now, whose))
            if step.incident.diagnosis is Diagnosis.BACKSCATTER and _NEW & set(step.notices):
                findings = replace(findings, posture=self._posture(now))
            yield from self._tell(step.incident, step.notices, findings, now)

    def _watch_mailings(self, now: datetime) -> Iterator[advice.Alert]:
        """Look at what came back of the owner's own mail: no alarm, but a list of dead addresses."""
        abuse = self.store.incident()
        before = self.store.incident(own_mailing=True)
        if before is None and abuse is not None and abuse.diagnosis is Diagnosis.COMPROMISED:
            return
        past = self._past(now, (Provenance.GENUINE,))
        policy = replace(self.account.watch, threshold=None)
        background = Background(self._known_since(now), Diagnosis.OWN_MAILING)
        last = self.store.last_incident(own_mailing=True)
        step = incident.assess(past, now, policy, before, last, background)
        if step.incident is not None:
            notices = tuple(notice for notice in step.notices if notice in _TOLD_OF_MAILINGS)
            since = (step.incident.began or step.incident.opened) - DAY
            findings = Findings(
                causes=self.store.causes(now - DAY, now, (Provenance.GENUINE,)),
                tally=self._tally(now - DAY, now, (Provenance.GENUINE,)),
                dead=self.store.failed_for_good(since, MAX_DEAD) if notices else (),
            )
            yield from self._tell(step.incident, notices, findings, now)

    def _past(self, now: datetime, whose: Collection[Provenance]) -> volume.History:
        since = now - volume.HISTORY
        self.store.count_days(since, now - volume.GUARD_DAYS * DAY, whose)
        return self.store.past(since, whose)

    def _posture(self, now: datetime) -> tuple[str, ...]:
        """Say in a few lines how well others can tell the owner's mail from forged mail."""
        domain = self.account.domain
        if domain is None or isinstance(names := self.names(), Offline):
            return ()
        from bouncefiler.backscatter import posture  # noqa: PLC0415 - see is_shared

        found = posture.assess(domain, names.within(DNS_SECONDS), self.store.selectors(domain, now))
        return posture.summary(found, self.reader.language)

    def _tell(
        self, found: Incident, notices: tuple[Notice, ...], findings: Findings, now: datetime
    ) -> tuple[advice.Alert, ...]:
        alerts = tuple(advice.write(notice, found, self.reader, findings) for notice in notices)
        due = [(channel, alert) for alert in alerts for channel in self.channels]
        self.store.record(found, due, now, notices)
        return alerts

    def _findings(self, now: datetime) -> Findings:
        today = self._tally(now - DAY, now)
        if not today.bounces:
            return Findings(tally=today)
        earlier = self._tally(now - EARLIER, now - RECENT) if diagnosis.weighs_earlier(today) else Tally()
        burst = self._burst(now)
        found = diagnosis.signs(
            today, earlier, (now - RECENT - max(now - EARLIER, self._known_since(now))) / DAY, burst
        )
        blocked = Sign.BLOCKED in found
        return Findings(
            tally=today,
            signs=found,
            burst=burst,
            provider=next(iter(sorted(self._providers())), self.account.server.host) if blocked else "",
            looked_up=self.store.sent_coverage().until is not None,
        )

    def _known_since(self, now: datetime) -> datetime:
        """Return since when bounces have been counted: whosever mail it was."""
        known = (now, self.store.oldest(), self.store.watched_since())
        return max(now - volume.HISTORY, min(moment for moment in known if moment))

    def _tally(
        self, since: datetime, until: datetime, provenances: Collection[Provenance] = tuple(Provenance)
    ) -> Tally:
        return diagnosis.tally(row for row in self.store.tallied(since, until) if row[0] in provenances)

    def _burst(self, now: datetime) -> Burst:
        today = self.store.sent_burst(now - DAY, now)
        before = self.store.sent_burst(now - (SENT_BASE + 1) * DAY, now - DAY)
        known = before.messages >= LEAST_SENT and 2 * today.mailings <= today.messages
        usual = before.recipients / SENT_BASE if known else None
        return Burst(today.messages, today.recipients, today.strangers, usual)


def _prove(header: bytes, domains: Collection[str], names: Callable[[], NameService]) -> Sequence[Proof]:
    if not may_be_signed(header, domains):
        return ()
    from bouncefiler.edge import dkim  # noqa: PLC0415 - takes a tenth of a second to load

    return dkim.prove(header, names().txt, domains=domains, whole=False)


def is_shared(domain: str) -> bool:
    """Whether a domain is, or is below, one that millions have their addresses at or send by."""
    from bouncefiler.backscatter import posture  # noqa: PLC0415 - SPF, DMARC and all: only where mail came back

    return posture.shared_provider(domain) is not None or bool(providers_of((domain,)))
