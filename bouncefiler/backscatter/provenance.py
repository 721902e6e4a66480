"""Did the account's owner send the message that a bounce returns?

`clues_of` takes from a verdict what the bounce shows of that message; `attribute` weighs it against what is known of
the owner's own mail. A hit in the sent mail and a signature of the owner's own domain are proof; everything else is
evidence, weighed by the table below, and a message that was not found among the sent mail is weak evidence only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntFlag, StrEnum
from functools import cached_property, lru_cache

from bouncefiler.backscatter import domains
from bouncefiler.backscatter.proof import Outcome, Proof
from bouncefiler.recognition.message_id import normal, shape_of
from bouncefiler.recognition.verdict import Cause, Kind, Verdict

MAX_RELAYS = 20
MAX_RESULTS = 10
MAX_RECIPIENTS = 20
MAX_FAILURES = 200
"""Recipients of one bounce that are remembered as failed."""

IN_TRANSIT = timedelta(days=14)
"""A bounce comes no later than this after its message: five days is what RFC 5321, 4.5.4.1 has servers try."""

CLOCKS_APART = timedelta(minutes=5)
"""By how much the server's clock may be ahead of ours."""

HABIT = 20
"""So many sent messages tell what the owner's Message-IDs look like."""

CHAINS = 3
"""So many returned messages of the owner's tell which way their mail takes."""


class Provenance(StrEnum):
    """Did the account's owner send the returned message?"""

    GENUINE = "genuine"
    FORGED = "forged"
    UNKNOWN = "unknown"


class Reason(IntFlag):
    """What speaks for or against the owner as the sender. Kept as bits: only ever append."""

    NOTHING = 0
    HAS_ID = 1
    """The returned message has a Message-ID, or the report names the one that it is about."""
    IN_SENT = 2
    NOT_IN_SENT = 4
    """None of its ids is among the sent mail, which is known without a gap for the time in question."""
    SIGNED = 8
    """A DKIM signature of the owner's own domain verifies, From included (RFC 6376)."""
    PROVIDER_SIGNED = 16
    """One of the large provider that the address is at does: it went through there, from whosever account."""
    BROKEN_SIGNATURE = 32
    """One that claims the owner's domain does not verify: forged, or changed on the way."""
    REFUSED_AS_FORGED = 64
    """The refusing server says that SPF, DKIM or DMARC failed (RFC 7372)."""
    RESULTS_PASS = 128
    """The bouncing server wrote down that SPF, DKIM or DMARC passed for the owner's domain (RFC 8601)."""
    RESULTS_FAIL = 256
    OWN_RELAY = 512
    """It went by a server that the owner's mail goes by (RFC 5321, 4.4)."""
    SHARED_RELAY = 1_024
    """… which is one of a provider with millions of users."""
    OTHER_RELAYS = 2_048
    """None of the servers that it went by is one that the owner's mail has gone by."""
    TAGGED = 4_096
    """The bounce came to an address with a tag that only the owner's server puts on (BATV, SRS)."""
    UNTAGGED = 8_192
    """… which it always does, and there was none."""
    OTHER_SENDER = 16_384
    """Its From is none of the owner's addresses."""
    FOREIGN_ID = 32_768
    """Its Message-ID is of a host that no sent message has one of."""
    OTHER_SYSTEM = 65_536
    """It comes from a system that the configuration says sends in the owner's name."""
    BLOCKED = 131_072
    """The owner's provider says that the account may send no more."""
    MAILING = 262_144
    """It says itself that it went to many (List-Id, List-Unsubscribe)."""
    WROTE_TO = 524_288
    """There is no id, and a recipient who could not be reached is somebody whom the owner has written to."""
    NEVER_WROTE = 1_048_576
    """There is no id, and none of them is, in all sent mail. They may stand for others: mail is forwarded."""
    FOREIGN_SHAPE = 2_097_152
    """Its Message-ID is of a host that the owner's have, and made as none of these is: programs have their ways."""


_PROOF = int(Reason.IN_SENT | Reason.SIGNED)
_WEIGHTS: Mapping[Reason, int] = {
    Reason.NOT_IN_SENT: -1,
    Reason.PROVIDER_SIGNED: 1,
    Reason.BROKEN_SIGNATURE: -1,
    Reason.REFUSED_AS_FORGED: -2,
    Reason.RESULTS_PASS: 2,
    Reason.RESULTS_FAIL: -2,
    Reason.OWN_RELAY: 2,
    Reason.SHARED_RELAY: 1,
    Reason.OTHER_RELAYS: -2,
    Reason.TAGGED: 2,
    Reason.UNTAGGED: -2,
    Reason.OTHER_SENDER: -1,
    Reason.FOREIGN_ID: -1,
    Reason.OTHER_SYSTEM: 2,
    Reason.BLOCKED: 2,
    Reason.WROTE_TO: 2,
    Reason.NEVER_WROTE: -1,
    Reason.FOREIGN_SHAPE: -1,
}
_WEIGHED = tuple((int(reason), weight) for reason, weight in _WEIGHTS.items())  # arithmetic with flags is slow
_ENOUGH = 2


@dataclass(frozen=True, slots=True)
class Clues:
    """What a bounce shows of the message that it returns. Untrusted; addresses and host names in lower case."""

    ids: tuple[str, ...] = ()
    """Message-IDs of the returned message, or that the report says it is an answer to."""
    from_: str = ""
    sent_to: str = ""
    """Where the bounce was delivered to."""
    recipients: tuple[str, ...] = ()
    """Whom the message could not be delivered to."""
    relays: tuple[str, ...] = ()
    """Hosts that took it, newest first."""
    reporting: str = ""
    """The host that reports."""
    results: tuple[tuple[str, str, str, str], ...] = ()
    """What authentication said on its way: (the host that says so, method, result, domain)."""
    refused_as_forged: bool = False
    mailing: bool = False
    blocked_at: str = ""
    """The provider who says that the account that sent it is blocked."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """For which time the sent mail is known without a gap. Nothing is, by default."""

    since: datetime | None = None
    until: datetime | None = None
    complete: bool = False
    """Whether it is known down to its very beginning, as far as whom it was written to: ids are not kept for ever."""

    def holds(self, moment: datetime) -> bool:
        """Whether mail that a bounce of this moment returns would be known."""
        if self.since is None or self.until is None:
            return False
        return self.since <= moment - IN_TRANSIT and moment <= self.until + CLOCKS_APART


@dataclass(frozen=True)
class Known:
    """What is known of the owner's own mail; addresses, domains and hosts in lower case.

    Without slots: what follows from it is found out once for a thousand messages.
    """

    identities: frozenset[str] = frozenset()
    coverage: Coverage = field(default_factory=Coverage)
    id_domains: Mapping[str, int] = field(default_factory=dict)
    """Right sides of the Message-IDs of sent mail, with their numbers."""
    id_shapes: Mapping[str, int] = field(default_factory=dict)
    """What their left sides look like (message_id.shape_of), with their numbers."""
    relays: frozenset[str] = frozenset()
    tagged: bool = False
    """Whether bounces of the owner's mail come to tagged addresses."""
    also_sends: frozenset[str] = frozenset()
    """Domains of other systems that send in the owner's name, by the configuration."""
    providers: frozenset[str] = frozenset()
    """Names of the providers that the account is with."""
    shared: frozenset[str] = frozenset()
    """Which of the domains and relays here are those of large providers, which millions share."""

    @cached_property
    def domains(self) -> frozenset[str]:
        """The domains of the owner's addresses."""
        return frozenset(domain for address in self.identities if (domain := domain_of(address)))

    @cached_property
    def id_networks(self) -> frozenset[str]:
        """What the hosts in the owner's Message-IDs share with those beside them."""
        return frozenset(map(network, self.id_domains))

    @cached_property
    def knows_ids(self) -> bool:
        """Whether enough Message-IDs are known to say what is none of the owner's."""
        return sum(self.id_domains.values()) >= HABIT

    @cached_property
    def knows_shapes(self) -> bool:
        """Whether enough of them are known to say what they look like."""
        return sum(self.id_shapes.values()) >= HABIT


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who sent the returned message, and why that is believed."""

    provenance: Provenance = Provenance.UNKNOWN
    reasons: Reason = Reason.NOTHING


@dataclass(frozen=True, slots=True)
class Lessons:
    """What a returned message of the owner's tells of their mail: the networks that it went by, and a tag."""

    relays: tuple[str, ...]
    tagged: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """One recipient that could not be reached; `permanent` is whether trying again is of no use."""

    address: str
    cause: Cause
    permanent: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What was found out about a message, or about a batch of them."""

    sent: Collection[str] = ()
    """Message-IDs that are among the sent mail."""
    contacts: Collection[str] = ()
    """Addresses that were written to."""
    proofs: Sequence[Proof] = ()
    """What became of verifying the message's signatures."""


def attribute(clues: Clues, received_at: datetime, known: Known, found: Found) -> Attribution:
    """Weigh what a bounce shows against what is known."""
    bits = 0
    for reason in _reasons(clues, received_at, known, found):
        bits |= int(reason)
    return Attribution(_weigh(bits), Reason(bits))


def _weigh(bits: int) -> Provenance:
    if bits & _PROOF:
        return Provenance.GENUINE
    weight = sum(weight for bit, weight in _WEIGHED if bits & bit)
    if abs(weight) < _ENOUGH:
        return Provenance.UNKNOWN
    return Provenance.GENUINE if weight > 0 else Provenance.FORGED


def _reasons(clues: Clues, received_at: datetime, known: Known, found: Found) -> Iterator[Reason]:
    sent = any(id_ in found.sent for id_ in clues.ids)
    covered = known.coverage.holds(received_at)
    if clues.ids:
        yield Reason.HAS_ID
        if sent:
            yield Reason.IN_SENT
        elif covered:
            yield Reason.NOT_IN_SENT
    elif any(address in found.contacts for address in clues.recipients):
        yield Reason.WROTE_TO
    elif clues.recipients and covered and known.coverage.complete:
        yield Reason.NEVER_WROTE
    yield from _by_signature(clues, known, found.proofs)
    yield from _by_other_servers(clues, known)
    yield from _by_way(clues, known)
    yield from _by_look(clues, known)
    if clues.blocked_at and (clues.blocked_at in known.providers or sent):
        yield Reason.BLOCKED
    if clues.mailing:
        yield Reason.MAILING


def _by_signature(clues: Clues, known: Known, proofs: Sequence[Proof]) -> Iterator[Reason]:
    sender = domain_of(clues.from_)
    for proof in proofs:
        if not any(within(proof.domain, domain) or within(domain, proof.domain) for domain in known.domains):
            continue
        if proof.outcome is Outcome.INVALID:
            yield Reason.BROKEN_SIGNATURE
        elif proof.outcome is Outcome.VALID and proof.covers_from and aligned(proof.domain, sender):
            if proof.domain not in known.shared and sender not in known.shared:
                yield Reason.SIGNED
            elif clues.from_ in known.identities:
                yield Reason.PROVIDER_SIGNED


def _by_other_servers(clues: Clues, known: Known) -> Iterator[Reason]:
    if clues.refused_as_forged:
        yield Reason.REFUSED_AS_FORGED
    # Anybody can write such a field; it counts as the bouncing server's own word if it is in that server's name.
    told = {
        result
        for host, _, result, domain in clues.results
        if clues.reporting and aligned(host, clues.reporting) and domain in known.domains
    }
    if "pass" in told:
        yield Reason.RESULTS_PASS
    elif told & {"fail", "softfail", "permerror"}:
        yield Reason.RESULTS_FAIL


def _by_way(clues: Clues, known: Known) -> Iterator[Reason]:
    ways = [network(host) for host in clues.relays]
    ours = {way for way in ways if way in known.relays}
    if ours - known.shared:
        yield Reason.OWN_RELAY
    elif ours:
        yield Reason.SHARED_RELAY
    elif ways and known.relays:
        yield Reason.OTHER_RELAYS
    tagged = is_tagged(clues.sent_to)
    if tagged:
        yield Reason.TAGGED
    elif known.tagged and clues.sent_to:
        yield Reason.UNTAGGED


def _by_look(clues: Clues, known: Known) -> Iterator[Reason]:
    hosts = [*(host.lower() for id_ in clues.ids if (host := id_.rpartition("@")[2].rstrip(">"))), *clues.relays]
    if any(within(host, domain) for host in hosts for domain in known.also_sends):
        yield Reason.OTHER_SYSTEM
        return
    if clues.from_ and known.identities and clues.from_ not in known.identities:
        yield Reason.OTHER_SENDER
    of_ids = hosts[: len(hosts) - len(clues.relays)]
    if not of_ids or not known.knows_ids:
        return
    if not any(_usual(host, known) for host in of_ids):
        yield Reason.FOREIGN_ID
    elif known.knows_shapes and not any(shape_of(normal(id_)) in known.id_shapes for id_ in clues.ids):
        yield Reason.FOREIGN_SHAPE


def _usual(host: str, known: Known) -> bool:
    """Whether the owner's ids are of this host, or one beside it: programs write the name of the machine there."""
    return host in known.id_domains or network(host) in known.id_networks


# ── what a bounce shows ──────────────────────────────────────────────────────────────────────────────────────────────


def clues_of(verdict: Verdict) -> Clues:
    """Take from a verdict what tells who sent the returned message."""
    from bouncefiler.recognition.case import from_address  # noqa: PLC0415 - whoever has a verdict has loaded it

    original = verdict.original
    sender = from_address(original.from_) if original else ""
    own_id = _MESSAGE_ID.search(original.message_id) if original else None
    return Clues(
        ids=tuple(dict.fromkeys((own_id[0],) if own_id else verdict.answers)),
        from_=sender if "@" in sender else "",
        sent_to=verdict.sent_to,
        recipients=tuple(failure.address for failure in failures_of(verdict))[:MAX_RECIPIENTS],
        relays=tuple(_takers(original.received))[:MAX_RELAYS] if original else (),
        reporting=host_name(verdict.reporting_mta or ""),
        results=tuple(_results(original.authentication))[:MAX_RESULTS] if original else (),
        refused_as_forged=Cause.AUTH_FAILED in (verdict.cause, *(r.cause for r in verdict.recipients)),
        mailing=bool(original and original.mailing),
        blocked_at=verdict.blocked_at,
    )


def lessons_of(clues: Clues) -> Lessons:
    """Return what a bounce of a message that is known to be the owner's tells of the way of their mail."""
    ways = {network(host) for host in clues.relays if not aligned(network(host), clues.reporting)}
    return Lessons(tuple(sorted(ways)), is_tagged(clues.sent_to))


def usual_relays(counts: Mapping[str, int], chains: int) -> frozenset[str]:
    """Return the networks that at least half of the owner's mail goes by, of which `chains` messages came back."""
    return frozenset(way for way, number in counts.items() if chains >= CHAINS and 2 * number >= chains)


def usually_tagged(tagged: int, chains: int) -> bool:
    """Whether bounces of the owner's mail come to tagged addresses."""
    return chains >= CHAINS and 10 * tagged >= 9 * chains


def counts(kind: Kind) -> bool:
    """Whether messages of this kind tell of mail in the owner's name: bounces, and answers to what was not sent."""
    return kind.is_bounce or kind in (Kind.AUTOREPLY, Kind.CHALLENGE)


_FOR_GOOD = frozenset({Cause.USER_UNKNOWN, Cause.MAILBOX_DISABLED, Cause.DOMAIN_UNKNOWN, Cause.MOVED})


def failures_of(verdict: Verdict) -> tuple[Failure, ...]:
    """Return the recipients that could not be reached, at most MAX_FAILURES, each once."""
    if verdict.kind is not Kind.FAILED:
        return ()
    failed: dict[str, Failure] = {}
    for recipient in verdict.recipients:
        if recipient.action not in (None, "failed"):
            continue
        address = (recipient.original_recipient or recipient.final_recipient).strip("<> ").lower()
        if "@" in address:
            failed.setdefault(address, Failure(address, recipient.cause, recipient.cause in _FOR_GOOD))
    return tuple(failed.values())[:MAX_FAILURES]


_MESSAGE_ID = re.compile(r"<[^<>\s]{1,250}@[^<>\s]{1,250}>")
_BY = re.compile(r"\bby\s+\[?([A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?)\]?")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?")
_RESULT = re.compile(
    r"(?i)\b(spf|dkim|dmarc)\s{0,3}=\s{0,3}(\w{1,20})[^;]{0,300}?"
    r"(?:smtp\.mailfrom|smtp\.helo|header\.from|header\.d|header\.i|envelope-from)\s{0,3}=\s{0,3}\"?<?([^\s;>\"]{1,254})"
)
_SPF = re.compile(r"(?i)^received-spf:\s{0,9}(\w{1,20})\b")
_SPF_DOMAIN = re.compile(r"(?i)\benvelope-from=\"?<?([^\s;>\"]{1,254})")
_SPF_RECEIVER = re.compile(r"(?i)\breceiver=([a-z0-9.-]{1,253})|\(([a-z0-9.-]{1,253}): ")


def _takers(received: Iterable[str]) -> Iterator[str]:
    for line in received:
        if found := _BY.search(line):
            yield found[1].lower()


def _results(fields: Iterable[str]) -> Iterator[tuple[str, str, str, str]]:
    for line in fields:
        if found := _SPF.match(line):
            domain, receiver = _SPF_DOMAIN.search(line), _SPF_RECEIVER.search(line)
            if domain and receiver:
                yield (receiver[1] or receiver[2]).lower(), "spf", found[1].lower(), domain_of(domain[1])
            continue
        first = line.partition(":")[2].partition(";")[0]
        host = "" if "=" in first else host_name(first)  # Microsoft leaves out who says so
        for method, result, domain in _RESULT.findall(line):
            yield host, method.lower(), result.lower(), domain_of(domain)


# Who says that an account is blocked (`blocked_at` in recognition/rules/hosts.toml), and which hosts are theirs.
_HOSTS: Mapping[str, tuple[str, ...]] = {
    "Microsoft": ("office365.com", "outlook.com", "hotmail.com", "live.com", "msn.com"),
    "Google": ("gmail.com", "googlemail.com", "google.com"),
}


def providers_of(hosts: Iterable[str]) -> frozenset[str]:
    """Return the names of the providers that these hosts and domains are of."""
    known = tuple(host.lower() for host in hosts)
    return frozenset(
        name for name, domains in _HOSTS.items() if any(within(host, domain) for host in known for domain in domains)
    )


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────────

_TAGS = re.compile(r"^(?:prvs=[^=@]{1,20}=|btv1==|srs[01][=+-])", re.IGNORECASE)


def is_tagged(address: str) -> bool:
    """Whether the address has a tag of BATV (draft-levine-smtp-batv) or SRS on it."""
    return _TAGS.match(address) is not None


def domain_of(address: str) -> str:
    """Return the domain of an address, or the text itself when it has no "@"; lower case."""
    return address.rpartition("@")[2].strip("<> .").lower()


def host_name(text: str) -> str:
    """Return the host that a text begins with, such as that of Reporting-MTA ("dns; mx.example.org")."""
    found = _HOST.search(text.lower().rpartition(";")[2].strip())
    return found[0] if found else ""


def within(host: str, domain: str) -> bool:
    """Whether a host is the domain or below it."""
    return bool(domain) and (host == domain or host.endswith("." + domain))


def aligned(one: str, other: str) -> bool:
    """Whether two names are the same, or one is below the other, which has two labels at least (RFC 7489, 3.1.1)."""
    return "." in min(one, other, key=len) and domains.aligned(one, other)


_REGISTRY = re.compile(r"(?:com|net|org|gov|edu|ac|co|ne|or)\.[a-z]{2}")
"""Under which domains are sold in many countries: what stands above is no network of anybody's."""


@lru_cache(maxsize=1_000)  # the same few hosts, again and again
def network(host: str) -> str:
    """Return the name that a host shares with those beside it: without its first label, if a domain is left."""
    rest = host.partition(".")[2]
    return rest if "." in rest and not _REGISTRY.fullmatch(rest) else host
