"""Whom a bounce is about: from the report, from a layout, from the text, in this order of trust."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

from bouncefiler.recognition import dsn
from bouncefiler.recognition.addresses import ADDRESS, addresses_near_failure, clean
from bouncefiler.recognition.case import Case
from bouncefiler.recognition.rulebook import Layout
from bouncefiler.recognition.status import reply_code_in, status_in
from bouncefiler.recognition.verdict import Recipient

MAX_RECIPIENTS = 100


def recipients_of(case: Case, layout: Layout | None) -> tuple[Recipient, ...]:
    """The recipients, from the most reliable source that names any; the text fills in what a report lacks."""
    reported = case.status.recipients
    if reported and all(map(_lacks_nothing, reported)):
        return tuple(_unique(reported))
    spoken = tuple(_from_layout(case, layout)) if layout and layout.recipient else ()
    if any(recipient.final_recipient for recipient in reported):
        return _completed(reported, spoken)
    if not spoken:
        spoken = tuple(
            Recipient(address, diagnostic_code=_said_of(case.human, address))
            for address in named(case) or _of_original(case)
        )
    if reported and len(spoken) == 1:
        return (replace(_filled(reported[0], spoken[0]), final_recipient=spoken[0].final_recipient),)
    return spoken or tuple(reported) or (Recipient(""),)


def named(case: Case) -> tuple[str, ...]:
    """The recipients that headers or text name, without the help of a layout."""
    failed = clean(ADDRESS.findall(" ".join(case.message.headers.all("x-failed-recipients"))))
    return failed or addresses_near_failure(case.human, _bystanders(case), _addressed(case))


def _bystanders(case: Case) -> frozenset[str]:
    """Addresses that are in every bounce and are not the failed one: its reader, its sender, its postmaster.

    Where the bounce goes to an address made for it (VERP), the reader is who wrote the returned message.
    """
    fields = " ".join(case.message.headers.text(name) for name in ("to", "from", "delivered-to", "reply-to"))
    author = case.original.from_ if case.original else ""
    return _addresses_in(f"{fields} {author}")


def _addressed(case: Case) -> frozenset[str]:
    return _addresses_in(case.original.to) if case.original else frozenset()


def _addresses_in(fields: str) -> frozenset[str]:
    return frozenset(address.lower() for address in ADDRESS.findall(fields))


def _completed(reported: Iterable[Recipient], spoken: tuple[Recipient, ...]) -> tuple[Recipient, ...]:
    by_address = {recipient.final_recipient.lower(): recipient for recipient in reversed(spoken)}
    return tuple(
        _filled(recipient, by_address[recipient.final_recipient.lower()])
        if recipient.final_recipient.lower() in by_address
        else recipient
        for recipient in _unique(reported)
    )


def _filled(recipient: Recipient, spoken: Recipient) -> Recipient:
    return replace(
        recipient,
        status=recipient.status or spoken.status,
        reply_code=recipient.reply_code or spoken.reply_code,
        diagnostic_code=recipient.diagnostic_code or spoken.diagnostic_code,
        remote_mta=recipient.remote_mta or spoken.remote_mta,
    )


def _lacks_nothing(recipient: Recipient) -> bool:
    """Whether the text has nothing to add."""
    return bool(
        recipient.final_recipient
        and recipient.status
        and recipient.reply_code
        and recipient.diagnostic_code
        and recipient.remote_mta
    )


def _unique(recipients: Iterable[Recipient]) -> Iterator[Recipient]:
    seen: set[tuple[str, str | None]] = set()
    for recipient in recipients:
        key = (recipient.final_recipient.lower(), recipient.action)
        if key not in seen:
            seen.add(key)
            yield recipient


def _of_original(case: Case) -> tuple[str, ...]:
    """Where nobody names a recipient: whom the returned message was for, if that was one address."""
    found = clean(ADDRESS.findall(case.original.to)) if case.original else ()
    return found if len(found) == 1 else ()


def _from_layout(case: Case, layout: Layout) -> Iterator[Recipient]:
    text = _area(case.human, layout)
    assert layout.recipient is not None  # noqa: S101 - for the type checker; the caller looked
    matches = [
        (dsn.address(match["final_recipient"]), match)
        for match in islice(layout.recipient.compiled.finditer(text), MAX_RECIPIENTS)
    ]
    found = {address.lower(): (address, match) for address, match in reversed(matches)}
    named_once = [(address, match) for address, match in reversed(found.values()) if address]
    for index, (address, match) in enumerate(named_once):
        groups = match.groupdict()
        until = named_once[index + 1][1].start() if index + 1 < len(named_once) else len(text)
        before = named_once[index - 1][1].end() if index else 0
        said = groups.get("diagnostic_code") or _said(text, match, before, until, layout.diagnostic)
        said = " ".join(said.split())[: dsn.MAX_DIAGNOSTIC_CHARS]
        yield Recipient(
            address,
            original_recipient=groups.get("original_recipient"),
            status=status_in(groups.get("status") or said),
            reply_code=reply_code_in(said),
            diagnostic_code=said,
            remote_mta=groups.get("remote_mta"),
        )


def _area(text: str, layout: Layout) -> str:
    lower = text.lower()
    starts = [at + len(mark) for mark in layout.begin if (at := lower.find(mark)) >= 0]
    start = min(starts, default=0)
    ends = [at for mark in layout.end if (at := lower.find(mark, start)) >= 0]
    return text[start : min(ends, default=len(text))]


def _said(text: str, match: re.Match[str], before: int, until: int, how: str) -> str:
    match how:
        case "before":
            return text[before : match.end()]
        case "line":
            return text[match.end() : (text.find("\n", match.end()) + 1 or len(text) + 1) - 1]
        case "area":
            return text
    return text[match.end() : until]


def _said_of(text: str, address: str) -> str:
    """What the text says of an address: from its line on, up to 600 characters."""
    at = text.lower().find(address.lower())
    if at < 0:
        return ""
    start = text.rfind("\n", 0, at) + 1
    return " ".join(text[start : start + 600].split())
