"""SPF (RFC 7208): which servers may send mail for a domain, by a TXT record that others can ask for.

The record is walked through as a server would for mail that none of its entries fits, so all that it includes is
looked up: what a forged message costs, and whether it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Network, IPv6Network, NetmaskValueError

from bouncefiler.backscatter.domains import Answer, NameService, Status, domain_name

MAX_LOOKUPS = 10
"""RFC 7208, 4.6.4: with one more, servers give up, and the record protects nobody."""
MAX_VOID = 2
"""The same of look-ups that find nothing."""
ENOUGH = 40
"""Look-ups after which the walk stops, however much more there is."""
MAX_TERMS = 200

WIDE_4, WIDE_6 = 8, 16
"""Networks with a shorter prefix are more of the Internet than anybody sends from."""

_VERSION = re.compile(r"v=spf1(?: |\Z)", re.IGNORECASE)
_MECHANISM = re.compile(r"([+?~-]?)([A-Za-z][A-Za-z0-9_.-]*)(?:([:/])(.*))?")
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)")
_LENGTHS = re.compile(r"(.*?)(?:/(\d{1,2}))?(?://(\d{1,3}))?")


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a record: a mechanism with its qualifier, or a modifier, whose qualifier is "="."""

    text: str
    name: str
    qualifier: str
    value: str
    """What stands behind the colon, the slash or the equals sign."""


@dataclass(frozen=True, slots=True)
class Spf:
    """What a domain's SPF comes to. Texts are as published, so not fit to be shown as they are."""

    status: Status
    records: tuple[str, ...] = ()
    """The domain's own records; more than one is as good as none (RFC 7208, 4.5)."""
    all: str = ""
    """The qualifier of the `all` that decides in the end; empty when there is none."""
    lookups: int = 0
    void: int = 0
    faults: tuple[str, ...] = ()
    """Terms that no server understands; they spoil the record as a whole."""
    missing: tuple[str, ...] = ()
    """Names that are included and have no record, or several: servers give up there."""
    loops: tuple[str, ...] = ()
    """Names that include themselves."""
    wide: tuple[str, ...] = ()
    """Terms, also of what is included, that let almost anybody send."""
    ptr: bool = False
    ignored: tuple[str, ...] = ()
    """Mechanisms behind `all`, which nobody reads."""
    unknown: tuple[str, ...] = ()
    """Names that could not be asked for: there may be more of everything."""


def records_in(answer: Answer) -> tuple[str, ...]:
    """Return the SPF records among the TXT records."""
    return tuple(value for value in answer.values if _VERSION.match(value))


def terms(record: str) -> tuple[Term, ...]:
    """Part a record into its terms."""
    return tuple(_term(text) for text in record.split(" ")[1 : MAX_TERMS + 1] if text)


def published(domain: str, names: NameService) -> Spf:
    """Look up a domain's SPF record, and walk through it."""
    answer = names.txt(domain)
    records = records_in(answer)
    if not records:
        return Spf(Status.UNKNOWN if answer.status is Status.UNKNOWN else Status.ABSENT)
    return walked(domain, records, names)


def walked(domain: str, records: Sequence[str], names: NameService) -> Spf:
    """Walk through the record; of several none is."""
    if len(records) > 1:
        return Spf(Status.FOUND, tuple(records))
    walk, own = _Walk(names), terms(records[0])
    decided = walk.through(own, (domain,))
    _, _, behind = _parted(own)
    return Spf(
        Status.FOUND,
        tuple(records),
        decided,
        walk.lookups,
        walk.void,
        _once(walk.faults),
        _once(walk.missing),
        _once(walk.loops),
        _once(walk.wide),
        walk.ptr,
        tuple(term.text for term in behind if term.qualifier != "="),
        _once(walk.unknown),
    )


def merged(records: Iterable[str]) -> str | None:
    """Make one record of several, or of one that does not end as it should: all who may send, then "~all".

    None where nobody would be left, a term is not understood, or the record leads elsewhere (redirect): that is for
    its owner to say.
    """
    found = [term for record in records for term in terms(record)]
    if any(is_fault(term) or term.qualifier == "=" for term in found):
        return None
    kept = dict.fromkeys(term.text for term in found if term.name != "all")
    return " ".join(("v=spf1", *kept, "~all")) if kept else None


def is_fault(term: Term) -> bool:
    """Whether no server understands this term."""
    check = _CHECKS.get(term.name)
    if term.qualifier == "=":  # an unknown modifier is passed over (6), but not one that is a mechanism misspelt
        return check is not None or (term.name == "redirect" and not _is_spec(term.value))
    return check is None or not check(term.value)


def _once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _term(text: str) -> Term:
    if modifier := _MODIFIER.fullmatch(text):
        return Term(text, modifier[1].lower(), "=", modifier[2])
    if mechanism := _MECHANISM.fullmatch(text):
        qualifier, name, mark, value = mechanism.groups()
        return Term(text, name.lower(), qualifier or "+", f"/{value}" if mark == "/" else value or "")
    return Term(text, "", "", "")


def _is_spec(value: str) -> bool:
    """Whether it is a domain, or a macro that becomes one (7)."""
    return "%" in value or domain_name(value) is not None


def _is_host(value: str) -> bool:
    """Whether it is what may stand behind `a` and `mx`: a domain, or none, and lengths of prefixes."""
    host = _host(value)
    return not host or _is_spec(host)


def _host(value: str) -> str:
    found = _LENGTHS.fullmatch(value)
    return found[1] if found else value


def _network(value: str) -> IPv4Network | IPv6Network | None:
    if not re.fullmatch(r"[0-9A-Fa-f:.]{2,45}(?:/\d{1,3})?", value):
        return None
    try:
        return IPv6Network(value, strict=False) if ":" in value else IPv4Network(value, strict=False)
    except (AddressValueError, NetmaskValueError):
        return None


_CHECKS: Mapping[str, Callable[[str], bool]] = {  # the mechanisms (RFC 7208, 5), and what may stand behind each
    "all": lambda value: not value,
    "include": _is_spec,
    "a": _is_host,
    "mx": _is_host,
    "ptr": lambda value: not value or _is_spec(value),
    "ip4": lambda value: isinstance(_network(value), IPv4Network),
    "ip6": lambda value: isinstance(_network(value), IPv6Network),
    "exists": _is_spec,
}


def _parted(own: Sequence[Term]) -> tuple[Sequence[Term], Term | None, Sequence[Term]]:
    """Part the terms into those before `all`, it, and those behind."""
    place = next((place for place, term in enumerate(own) if term.name == "all" and term.qualifier != "="), None)
    return (own, None, ()) if place is None else (own[:place], own[place], own[place + 1 :])


@dataclass(slots=True)
class _Walk:
    """Goes through a record and all that it leads to, and notes what it sees."""

    names: NameService
    lookups: int = 0
    void: int = 0
    faults: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    loops: list[str] = field(default_factory=list)
    wide: list[str] = field(default_factory=list)
    ptr: bool = False
    unknown: list[str] = field(default_factory=list)

    def through(self, own: Sequence[Term], path: tuple[str, ...]) -> str:
        """Note what these terms come to, and return the qualifier of the `all` that decides; empty without one.

        `path` is the names that led here, the record's own last.
        """
        before, last, behind = _parted(own)
        for term in (*before, *behind):  # a fault spoils the record wherever it stands (4.6)
            if is_fault(term):
                self.faults.append(term.text)
        for term in before:
            if not is_fault(term):
                self._look_at(term, path)
        if last is not None:
            if last.qualifier == "+" and len(path) > 1:
                self.wide.append(f"{last.text} in {path[-1]}")
            return last.qualifier
        redirect = next((term for term in before if term.name == "redirect" and not is_fault(term)), None)
        return self._follow(redirect.value, path) if redirect else ""

    def _look_at(self, term: Term, path: tuple[str, ...]) -> None:
        match term.name:
            case "include":
                self._follow(term.value, path)
            case "a" | "exists":
                self._ask(self.names.addresses, _host(term.value) or path[-1])
            case "mx":
                self._ask(self.names.mx, _host(term.value) or path[-1])
            case "ptr":
                self.lookups += 1
                self.ptr = True
            case "ip4" | "ip6" if term.qualifier == "+":
                network = _network(term.value)
                if network and network.prefixlen < (WIDE_4 if network.version == 4 else WIDE_6):
                    self.wide.append(term.text)
            case _:
                pass

    def _ask(self, ask: Callable[[str], Answer], name: str) -> Answer | None:
        """Count a look-up, and do it; None where it is not to be done, or got no answer."""
        self.lookups += 1
        if "%" in name or self.lookups > ENOUGH:  # a macro is another name for each message
            return None
        answer = ask(name)
        if answer.status is Status.UNKNOWN:
            self.unknown.append(name)
            return None
        self.void += answer.status is Status.ABSENT
        return answer

    def _follow(self, value: str, path: tuple[str, ...]) -> str:
        """Go through the record that is included, or that this one leads to."""
        name = domain_name(value) or value
        if name in path:
            self.loops.append(name)
            return ""
        answer = self._ask(self.names.txt, name)
        if answer is None:
            return ""
        records = records_in(answer)
        if len(records) != 1:
            self.missing.append(name)
            return ""
        return self.through(terms(records[0]), (*path, name))
