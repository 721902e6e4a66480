"""What gives mail away that is dressed as a bounce: the fields of imitations.toml.

A true bounce shows a trace of the attempt to deliver, comes with the null reverse-path, and holds nothing but what a
server puts into it. These fields say how far a message is from that; the rows of the table say how far is too far.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from urllib.parse import unquote

from bouncefiler.recognition.case import Case, from_address
from bouncefiler.recognition.recipients import named
from bouncefiler.recognition.rule import IMITATION_FIELDS, Facts
from bouncefiler.recognition.rulebook import Layout
from bouncefiler.recognition.status import reply_codes_in, status_in

MAX_LINKS = 100
MAX_SHOWN = 5


def facts(case: Case, signs: frozenset[str], layout: Layout | None) -> Facts:
    """Return what rows of imitations.toml look at: their own fields, and those of any message."""

    def own(name: str) -> str:
        match name:
            case "signs":
                return " ".join(sorted(signs))
            case "trace":
                return " ".join(_trace(case, layout))
            case "envelope":
                return _envelope(case)
            case "whom":
                return _shown(named(case))
        return _shown(_foreign_things(case, name))

    return Facts(own, IMITATION_FIELDS, case)


def _shown(values: Iterable[str]) -> str:
    return " ".join(islice(values, MAX_SHOWN))


def _foreign_things(case: Case, field: str) -> Iterable[str]:
    """Return what a field of imitations.toml that begins with foreign_ asks for."""
    if field == "foreign_link":
        return _foreign(case, case.message.links)
    if field == "foreign_url":
        return _foreign(case, (*case.message.links, *_urls(case.human)))
    return _foreign_files(case) if case.message.files else ()


def _trace(case: Case, layout: Layout | None) -> Iterator[str]:
    """What shows that a server tried to deliver something, always in this order."""
    if case.status.recipients:
        yield "report"
    if case.original:
        yield "returned"
    if status_in(case.human) or next(reply_codes_in(case.human), None):
        yield "reply"
    if layout:
        yield "layout"
    if _names_recipient(case):
        yield "named"


def _names_recipient(case: Case) -> bool:
    """Whether the words for people speak of an address that the report calls failed."""
    words = case.human.lower()
    reported = (
        address.lower()
        for recipient in case.status.recipients
        for address in (recipient.final_recipient, recipient.original_recipient)
        if address
    )
    return any(address in words for address in reported)


_DAEMON = re.compile(r"\A(?:mailer-daemon|postmaster|mail-daemon|mdaemon|double-bounce)(?:@|\Z)")


def _envelope(case: Case) -> str:
    """Who the Return-Path says has sent it: null, a daemon, a list that passed it on, other; "" where there is none."""
    null = case.null_reverse_path
    if null is None:
        return ""
    if null:
        return "null"
    if _DAEMON.match(from_address(case.message.headers.text("return-path"))):
        return "daemon"
    headers = case.message.headers
    listed = any(name in headers for name in ("list-id", "list-post", "x-beenthere", "x-mailing-list", "x-mlserver"))
    return "list" if listed else "other"


def by_a_daemon(case: Case) -> bool:
    """Whether nothing in the envelope speaks against a daemon: the reverse-path is not that of a person."""
    return _envelope(case) != "other"


def by_a_program(case: Case) -> bool:
    """Whether the reverse-path is not that of a person, nor that of the postmaster, who may be one."""
    return by_a_daemon(case) and not from_address(case.message.headers.text("return-path")).startswith("postmaster@")


def calls_itself_daemon(case: Case) -> bool:
    """Whether the From field has the address of a daemon."""
    return bool(_DAEMON.match(case.folded("from_address")))


_URL = re.compile(r"(?:https?://|\bwww\.)[^\s<>\"']{3,500}", re.IGNORECASE)
_HOST = re.compile(r"(?:[a-z][a-z0-9+.-]{1,20}:)?[/\\]{2,9}([^/\\?#\s]{1,300})", re.IGNORECASE)
_NO_PLACE = re.compile(r"(?:mailto|smtp|tel|cid|sip):|#|\Z", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x20\x7f]{1,99}")


def _urls(text: str) -> Iterator[str]:
    if "://" not in text and "www." not in text.lower():
        return
    for match, _ in zip(_URL.finditer(text), range(MAX_LINKS), strict=False):
        url = match[0].rstrip(".,;:!?)]}*")
        yield url if "://" in url else f"http://{url}"


def _foreign(case: Case, links: tuple[str, ...]) -> Iterator[str]:
    """Those that lead neither to a server's own help nor where the report itself points, or the refusal it quotes."""
    if not links:
        return
    reported = case.message.report
    for link in dict.fromkeys(links):
        if not _harmless(case, link) and not (reported and link in reported):
            yield link


def _harmless(case: Case, link: str) -> bool:
    plain = _CONTROL.sub("", unquote(html.unescape(link)))
    if _NO_PLACE.match(plain):
        return True
    hosts = [match[1].rpartition("@")[2].partition(":")[0] for match in _HOST.finditer(plain)]
    return bool(hosts) and all(case.rulebook.harmless.host(host) for host in hosts)


def _foreign_files(case: Case) -> Iterator[str]:
    """Files that no server attaches, wherever they stand outside the returned message."""
    harmless = case.rulebook.harmless
    for part in case.message.files:
        name = part.file_name.lower()
        if not part.content_type.startswith(harmless.files) or (name and not name.endswith(harmless.names)):
            yield f"{part.content_type} {name}".strip()
