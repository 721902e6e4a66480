"""What a domain publishes so that others can tell its mail from forged mail, and what is wrong with it.

SPF says which servers send its mail, DKIM publishes the keys of its signatures, DMARC says what to do with mail that
passes neither. Who shares a provider's domain with millions has nothing to do there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from importlib import resources
from itertools import islice

from bouncefiler.backscatter import dmarc, spf
from bouncefiler.backscatter.dmarc import POLICIES, Dmarc
from bouncefiler.backscatter.domains import Answer, NameService, Status, domain_name
from bouncefiler.backscatter.records import Key, key_of
from bouncefiler.backscatter.spf import Spf
from bouncefiler.backscatter.wording import words

MAX_SELECTORS = 10
MAX_SHOWN, MAX_IN_SUMMARY = 160, 60
"""Characters of foreign text in a finding, and in a line of the summary."""
MAX_SUGGESTED = 1_000
"""Characters of a record that is proposed; a longer one is no work for a program."""

SHORT_KEY, GOOD_KEY = 1_024, 2_048
"""Bits of an RSA key: RFC 8301, 3.2, forbids less than the one, and asks for the other."""

NULL_MX = "0 ."
"""RFC 7505: the domain takes no mail."""


class Severity(StrEnum):
    """How good or bad it is; from the best on."""

    OK = "ok"
    NOTE = "note"
    UNKNOWN = "unknown"
    WEAK = "weak"
    BAD = "bad"


class Code(StrEnum):
    """What was found; the word before the first dash is its area."""

    SPF_GOOD = "spf-good"
    SPF_UNKNOWN = "spf-unknown"
    SPF_ABSENT = "spf-absent"
    SPF_SEVERAL = "spf-several"
    SPF_SYNTAX = "spf-syntax"
    SPF_MISSING = "spf-missing"
    SPF_LOOP = "spf-loop"
    SPF_LOOKUPS = "spf-lookups"
    SPF_VOID = "spf-void"
    SPF_ANYBODY = "spf-anybody"
    SPF_WIDE = "spf-wide"
    SPF_NEUTRAL_ALL = "spf-neutral-all"
    SPF_NO_ALL = "spf-no-all"
    SPF_IGNORED = "spf-ignored"
    SPF_PTR = "spf-ptr"
    SPF_INCOMPLETE = "spf-incomplete"
    DKIM_GOOD = "dkim-good"
    DKIM_NOT_SEEN = "dkim-not-seen"
    DKIM_UNKNOWN = "dkim-unknown"
    DKIM_ABSENT = "dkim-absent"
    DKIM_REVOKED = "dkim-revoked"
    DKIM_DAMAGED = "dkim-damaged"
    DKIM_SHORT = "dkim-short"
    DKIM_WEAK = "dkim-weak"
    DKIM_TESTING = "dkim-testing"
    DMARC_GOOD = "dmarc-good"
    DMARC_UNKNOWN = "dmarc-unknown"
    DMARC_ABSENT = "dmarc-absent"
    DMARC_SEVERAL = "dmarc-several"
    DMARC_SYNTAX = "dmarc-syntax"
    DMARC_NONE = "dmarc-none"
    DMARC_PCT = "dmarc-pct"
    DMARC_TESTING = "dmarc-testing"
    DMARC_SUBDOMAINS = "dmarc-subdomains"
    DMARC_NO_REPORTS = "dmarc-no-reports"
    DMARC_INHERITED = "dmarc-inherited"
    MX_NULL = "mx-null"
    MX_NONE = "mx-none"
    DOMAIN_EMPTY = "domain-empty"

    @property
    def area(self) -> str:
        """What it is about: "spf", "dkim", "dmarc", "mx" or "domain"."""
        return self.value.partition("-")[0]


_OF_SEVERITY = {
    Severity.OK: (Code.SPF_GOOD, Code.DKIM_GOOD, Code.DMARC_GOOD),
    Severity.NOTE: (
        Code.SPF_PTR,
        Code.DKIM_REVOKED,
        Code.DMARC_NO_REPORTS,
        Code.DMARC_INHERITED,
        Code.MX_NULL,
        Code.MX_NONE,
    ),
    Severity.UNKNOWN: (
        *(Code.SPF_UNKNOWN, Code.SPF_INCOMPLETE, Code.DKIM_UNKNOWN, Code.DKIM_NOT_SEEN, Code.DMARC_UNKNOWN),
        Code.DOMAIN_EMPTY,
    ),
    Severity.WEAK: (
        *(Code.SPF_NEUTRAL_ALL, Code.SPF_NO_ALL, Code.SPF_IGNORED, Code.DKIM_ABSENT, Code.DKIM_WEAK, Code.DKIM_TESTING),
        *(Code.DMARC_NONE, Code.DMARC_PCT, Code.DMARC_TESTING, Code.DMARC_SUBDOMAINS),
    ),
    Severity.BAD: (
        *(Code.SPF_ABSENT, Code.SPF_SEVERAL, Code.SPF_SYNTAX, Code.SPF_MISSING, Code.SPF_LOOP, Code.SPF_LOOKUPS),
        *(Code.SPF_VOID, Code.SPF_ANYBODY, Code.SPF_WIDE, Code.DKIM_DAMAGED, Code.DKIM_SHORT),
        *(Code.DMARC_ABSENT, Code.DMARC_SEVERAL, Code.DMARC_SYNTAX),
    ),
}
SEVERITY: Mapping[Code, Severity] = {code: severity for severity, codes in _OF_SEVERITY.items() for code in codes}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found. `text` is foreign, but cleaned and cut: fit to be shown."""

    code: Code
    text: str = ""
    number: int = 0

    @property
    def severity(self) -> Severity:
        """How good or bad it is."""
        return SEVERITY[self.code]


class Step(StrEnum):
    """Why a record is proposed."""

    SPF_EXAMPLE = "spf-example"
    """There is none: what one may look like."""
    SPF_MERGED = "spf-merged"
    SPF_ENDED = "spf-ended"
    """The one that there is, with an end that says no to all others."""
    DMARC_WATCH = "dmarc-watch"
    """A first step, which only asks for reports."""
    DMARC_QUARANTINE = "dmarc-quarantine"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A TXT record to publish, once whoever looks after the domain has agreed."""

    step: Step
    name: str
    record: str


@dataclass(frozen=True, slots=True)
class Posture:
    """How a domain protects its mail against forgery, as others see it."""

    domain: str
    provider: str | None = None
    """Whose domain it is, when it is shared by all customers of a provider: then nothing was asked."""
    findings: tuple[Finding, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    published: tuple[tuple[str, str], ...] = ()
    """Names and the TXT records at them, cleaned and cut."""

    @property
    def worst(self) -> Severity:
        """The worst that was found."""
        return max((finding.severity for finding in self.findings), key=list(Severity).index, default=Severity.OK)


def shared_provider(domain: str) -> str | None:
    """Return whose domain this is, when it is one that a provider shares out to everybody, or is under such a one.

    As people call the provider: "Gmail (Google)". None when it is nobody's that we know of.
    """
    labels = (domain_name(domain) or "").split(".")
    names = (".".join(labels[start:]) for start in range(len(labels)))
    return next((provider for name in names if (provider := _providers().get(name))), None)


def assess(domain: str, names: NameService, selectors: Collection[str] = ()) -> Posture:
    """Look what the domain publishes.

    `selectors` are those of DKIM signatures that were seen in the domain's mail, of which the first ones are asked for;
    without them, no key can be. Raises ValueError when it is no domain's name; never for what the DNS says or doesn't.
    """
    name = domain_name(domain)
    if name is None:
        raise ValueError(f"{_shown(domain)!r} is not the name of a domain")
    if provider := shared_provider(name):
        return Posture(name, provider)
    senders, policy, mail = spf.published(name, names), dmarc.published(name, names), names.mx(name)
    if all(found.status is Status.ABSENT for found in (senders, policy, mail, names.addresses(name))):
        # Nobody has mail there. It is another name that is meant, or the DNS of this network says no to everything.
        return Posture(name, None, (Finding(Code.DOMAIN_EMPTY),))
    keys = [(selector, names.txt(at)) for selector, at in _key_names(name, selectors)]
    found_keys = [(selector, answer.status, key_of(answer.values)) for selector, answer in keys]
    return Posture(
        name,
        None,
        (*_of_spf(senders), *_of_dkim(found_keys), *_of_dmarc(policy), *_of_mx(mail)),
        (*_better_spf(name, senders, names), *_better_dmarc(name, policy)),
        tuple(_published(name, senders, policy, found_keys)),
    )


def summary(posture: Posture, language: str) -> tuple[str, ...]:
    """Say the most important of it in at most five lines, for an alert; English, or Portuguese for "pt" and "pt_BR"."""
    texts = words(language, "posture")
    short = texts["summary"]
    if posture.provider:
        return (short["provider"].format(domain=posture.domain, provider=posture.provider),)
    worst = _worst_by_area(posture)
    if any(finding.severity in {Severity.WEAK, Severity.BAD} for finding in worst):
        brief = (replace(finding, text=_cut(finding.text, MAX_IN_SUMMARY)) for finding in worst)
        return (*(sentence(finding, language) for finding in brief), short["more"])
    return (short["unknown" if worst else "good"].format(domain=posture.domain),)


def sentence(finding: Finding, language: str) -> str:
    """Say a finding in a sentence, its area before it."""
    texts = words(language, "posture")
    said = texts["finding"][finding.code].format(text=finding.text, number=finding.number)
    return f"{texts['area'][finding.code.area]}: {said}"


def _worst_by_area(posture: Posture) -> tuple[Finding, ...]:
    """Return the worst of each area; none of an area in order, nor that no selector has been seen yet."""
    ranks = list(Severity)
    areas: dict[str, Finding] = {}
    for finding in posture.findings:
        if finding.severity in {Severity.OK, Severity.NOTE} or finding.code is Code.DKIM_NOT_SEEN:
            continue
        before = areas.get(finding.code.area)
        if before is None or ranks.index(finding.severity) > ranks.index(before.severity):
            areas[finding.code.area] = finding
    return tuple(areas.values())


def _of_mx(mail: Answer) -> Iterator[Finding]:
    if NULL_MX in mail.values:
        yield Finding(Code.MX_NULL)
    elif mail.status is Status.ABSENT:
        yield Finding(Code.MX_NONE)


def _of_spf(found: Spf) -> Iterator[Finding]:
    if found.status is not Status.FOUND:
        yield Finding(Code.SPF_ABSENT if found.status is Status.ABSENT else Code.SPF_UNKNOWN)
        return
    if len(found.records) > 1:
        yield Finding(Code.SPF_SEVERAL, number=len(found.records))
        return
    wrong = (*_spoilt(found), *_lax(found))
    yield from wrong or (Finding(Code.SPF_GOOD, number=found.lookups),)
    if found.ptr:
        yield Finding(Code.SPF_PTR)


def _spoilt(found: Spf) -> Iterator[Finding]:
    """Say what makes servers take the record for none."""
    for code, texts in (
        (Code.SPF_SYNTAX, found.faults),
        (Code.SPF_MISSING, found.missing),
        (Code.SPF_LOOP, found.loops),
    ):
        if texts:
            yield Finding(code, _shown(", ".join(texts)), len(texts))
    if found.lookups > spf.MAX_LOOKUPS:
        yield Finding(Code.SPF_LOOKUPS, number=found.lookups)
    if found.void > spf.MAX_VOID:
        yield Finding(Code.SPF_VOID, number=found.void)


def _lax(found: Spf) -> Iterator[Finding]:
    """Say through what others slip, and what could not be seen."""
    if found.wide:
        yield Finding(Code.SPF_WIDE, _shown(", ".join(found.wide)))
    if found.all == "+":
        yield Finding(Code.SPF_ANYBODY)
    if found.all == "?":
        yield Finding(Code.SPF_NEUTRAL_ALL)
    if not found.all and not (found.unknown or found.missing or found.loops):
        yield Finding(Code.SPF_NO_ALL)
    if found.ignored:
        yield Finding(Code.SPF_IGNORED, _shown(" ".join(found.ignored)))
    if found.unknown:
        yield Finding(Code.SPF_INCOMPLETE, _shown(", ".join(found.unknown)))


_FoundKey = tuple[str, Status, Key | None]


def _key_names(domain: str, selectors: Collection[str]) -> list[tuple[str, str]]:
    """Return the first selectors that are names, and where their keys are."""
    below = f"._domainkey.{domain}"
    named = dict.fromkeys(at for selector in selectors if (at := domain_name(f"{selector}{below}")))
    return [(at.removesuffix(below), at) for at in islice(named, MAX_SELECTORS)]


def _of_dkim(keys: Collection[_FoundKey]) -> Iterator[Finding]:
    if not keys:
        yield Finding(Code.DKIM_NOT_SEEN)
    for selector, status, key in keys:
        yield Finding(_of_key(status, key), _shown(selector), (key.bits if key else None) or 0)
        if key and key.testing and not key.revoked:
            yield Finding(Code.DKIM_TESTING, _shown(selector))


def _of_key(status: Status, key: Key | None) -> Code:
    if status is not Status.FOUND:
        return Code.DKIM_ABSENT if status is Status.ABSENT else Code.DKIM_UNKNOWN
    if key is None or (key.type == "rsa" and key.bits is None and not key.revoked):
        return Code.DKIM_DAMAGED
    if key.revoked:
        return Code.DKIM_REVOKED
    if key.bits is None or key.bits >= GOOD_KEY:
        return Code.DKIM_GOOD
    return Code.DKIM_WEAK if key.bits >= SHORT_KEY else Code.DKIM_SHORT


def _of_dmarc(found: Dmarc) -> Iterator[Finding]:
    if found.status is not Status.FOUND:
        yield Finding(Code.DMARC_ABSENT if found.status is Status.ABSENT else Code.DMARC_UNKNOWN)
        return
    if found.inherited:
        yield Finding(Code.DMARC_INHERITED, _shown(found.where))
    if len(found.records) > 1:
        yield Finding(Code.DMARC_SEVERAL, number=len(found.records))
    elif found.policy is None:
        yield Finding(Code.DMARC_SYNTAX, _shown(found.records[0]))
    else:
        yield from _of_policy(found, found.policy)


def _of_policy(found: Dmarc, policy: str) -> Iterator[Finding]:
    if policy == "none":
        yield Finding(Code.DMARC_NONE)
    else:
        wrong = tuple(_softened(found, policy))
        yield from wrong or (Finding(Code.DMARC_GOOD, policy),)
    if not found.reports:
        yield Finding(Code.DMARC_NO_REPORTS)


def _softened(found: Dmarc, policy: str) -> Iterator[Finding]:
    """Say what takes away from a policy that is no mere watching."""
    share = found.tags.get("pct", "100")
    if share.isdecimal() and len(share) <= 3 and int(share) < 100:  # gone since RFC 9989, but many still heed it
        yield Finding(Code.DMARC_PCT, number=int(share))
    if found.tags.get("t", "n").lower() == "y":
        yield Finding(Code.DMARC_TESTING)
    below = found.of_subdomains
    if not found.inherited and below and POLICIES.index(below) < POLICIES.index(policy):
        yield Finding(Code.DMARC_SUBDOMAINS, below)


def _better_spf(domain: str, found: Spf, names: NameService) -> Iterator[Suggestion]:
    if found.status is Status.ABSENT:
        yield Suggestion(Step.SPF_EXAMPLE, domain, "v=spf1 mx ~all")
    several = len(found.records) > 1
    if not several and not (found.all in {"", "+", "?"} or found.ignored):
        return
    record = spf.merged(found.records)
    if record is None or not _fit_to_publish(record):
        return
    # What would still be wrong afterwards is not to be recommended.
    then = spf.walked(domain, (record,), names)
    if not any((*_spoilt(then), *_lax(then))):
        yield Suggestion(Step.SPF_MERGED if several else Step.SPF_ENDED, domain, record)


def _better_dmarc(domain: str, found: Dmarc) -> Iterator[Suggestion]:
    at, reports_to = f"_dmarc.{domain}", f"mailto:postmaster@{domain}"
    if found.status is Status.ABSENT:
        yield Suggestion(Step.DMARC_WATCH, at, f"v=DMARC1; p=none; rua={reports_to}")
    elif found.policy == "none" and not found.inherited:
        if found.reports:
            step, record = Step.DMARC_QUARANTINE, dmarc.changed(found, "p", "quarantine")
        else:
            step, record = Step.DMARC_WATCH, dmarc.changed(found, "rua", reports_to)
        if _fit_to_publish(record):
            yield Suggestion(step, at, record)


def _published(domain: str, senders: Spf, policy: Dmarc, keys: Collection[_FoundKey]) -> Iterator[tuple[str, str]]:
    yield from ((domain, _shown(record)) for record in senders.records)
    yield from ((f"{selector}._domainkey.{domain}", _shown(key.record)) for selector, _, key in keys if key)
    yield from ((f"_dmarc.{policy.where}", _shown(record)) for record in policy.records)


def _fit_to_publish(record: str) -> bool:
    return len(record) <= MAX_SUGGESTED and record.isascii() and record.isprintable()


def _shown(text: str) -> str:
    """Return foreign text as it may be shown: what is published about mail is printable ASCII, or wrong."""
    plain = "".join(char if " " <= char <= "~" else "?" for char in text[: MAX_SHOWN + 1])
    return _cut(plain, MAX_SHOWN)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


@cache
def _providers() -> Mapping[str, str]:
    text = resources.files(__package__).joinpath("providers.toml").read_text("utf-8")
    return {domain: name for name, domains in tomllib.loads(text)["providers"].items() for domain in domains}
