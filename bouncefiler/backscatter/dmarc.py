"""DMARC (RFC 9989): what others are to do with mail that says it is a domain's and cannot show it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bouncefiler.backscatter.domains import NameService, Status
from bouncefiler.backscatter.records import tags

POLICIES = ("none", "quarantine", "reject")
"""From the weakest on."""

MAX_LABELS = 8
"""Of a longer name, the walk up the tree goes on with the last seven (RFC 9989, 4.10)."""

_VERSION = re.compile(r"v\s{0,9}=\s{0,9}DMARC1\s{0,9}(?:;|\Z)")


@dataclass(frozen=True, slots=True)
class Dmarc:
    """What holds for a domain. Texts are as published, so not fit to be shown as they are."""

    status: Status
    where: str = ""
    """The domain that publishes it: this one, or one above it."""
    records: tuple[str, ...] = ()
    """More than one is as good as none (RFC 9989, 4.10.1)."""
    inherited: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    """Those of the one record; none when it cannot be read."""

    @property
    def policy(self) -> str | None:
        """What is asked for with the domain's mail, one of POLICIES; None for what nobody understands."""
        asked = self.tags.get("p", "")
        return _policy(self.tags.get("sp", asked) if self.inherited else asked)

    @property
    def reports(self) -> bool:
        """Whether reports are asked for by mail (rua=)."""
        return "mailto:" in self.tags.get("rua", "").lower()

    @property
    def of_subdomains(self) -> str | None:
        """What is asked for with mail of names below."""
        return _policy(self.tags.get("sp", self.tags.get("p", "")))


def _policy(text: str) -> str | None:
    return text.lower() if text.lower() in POLICIES else None


def published(domain: str, names: NameService) -> Dmarc:
    """Look up what holds for the domain: its own record, else the one of the organisation it is part of."""
    own = _at(domain, names)
    if own.status is not Status.ABSENT:
        return own
    above = [_at(name, names) for name in _above(domain)]
    found = [record for record in above if record.status is Status.FOUND]
    if not found:
        return own if all(record.status is Status.ABSENT for record in above) else Dmarc(Status.UNKNOWN)
    chosen = _of_the_organisation(found)
    return Dmarc(Status.FOUND, chosen.where, chosen.records, inherited=True, tags=chosen.tags)


def changed(record: Dmarc, name: str, value: str) -> str:
    """Return the record with this tag in the place of the one that it has, or added."""
    return "; ".join(f"{tag}={text}" for tag, text in {**record.tags, name: value}.items())


def _at(domain: str, names: NameService) -> Dmarc:
    answer = names.txt(f"_dmarc.{domain}")
    records = tuple(value for value in answer.values if _VERSION.match(value))
    if not records:
        return Dmarc(Status.UNKNOWN if answer.status is Status.UNKNOWN else Status.ABSENT)
    read = tags(records[0]) if len(records) == 1 else None
    return Dmarc(Status.FOUND, domain, records, tags=read or {})


def _above(domain: str) -> Iterator[str]:
    labels = domain.split(".")
    first = max(1, len(labels) - MAX_LABELS + 1) if len(labels) > MAX_LABELS else 1
    for start in range(first, len(labels)):
        yield ".".join(labels[start:])


def _of_the_organisation(found: list[Dmarc]) -> Dmarc:
    """Choose among the records above a domain, the nearest first (RFC 9989, 4.10.2).

    One that says psd=n is the organisation's; else the highest is, apart from a public suffix's (psd=y).
    """
    for record in found:
        if record.tags.get("psd") == "n":
            return record
    return next((record for record in reversed(found) if record.tags.get("psd") != "y"), found[0])
