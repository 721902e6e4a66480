"""A mailbox in which a careless mover would lose something, and what must be true of it whatever has happened."""

from __future__ import annotations

import hashlib
import imaplib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from tests.dovecot import Mail, Mailbox

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEYWORD = "$Forwarded"
FOLDER = "Bounces"

_BOUNCE = """\
Return-Path: <>
Received: from mx.example.net by mail.example.org with ESMTP id {number}; Sun, 1 Mar 2026 12:00:00 +0000
From: Mail Delivery System <mailer-daemon@mx.example.net>
To: ann@example.org
Subject: Undelivered Mail Returned to Sender
Message-ID: <{identity}@mx.example.net>
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

Your mail to bob{number}@example.com could not be delivered: no such user.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; bob{number}@example.com
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--b
Content-Type: text/rfc822-headers

From: ann@example.org
To: bob{number}@example.com
Subject: Minutes {number}

--b--
"""
_LETTER = """\
Received: from mx.example.com by mail.example.org with ESMTP id {number}; Sun, 1 Mar 2026 12:00:00 +0000
From: Bob <bob@example.com>
To: ann@example.org
Subject: Minutes {number}
Message-ID: <{identity}@mx.example.net>

Dear Ann, here they are: {number}.
"""


def bounce(number: int, identity: int | None = None) -> bytes:
    """Return a bounce; two with the same numbers are the same to the octet."""
    return _filled(_BOUNCE, number, identity)


def letter(number: int, identity: int | None = None) -> bytes:
    """Return a letter."""
    return _filled(_LETTER, number, identity)


def _filled(text: str, number: int, identity: int | None) -> bytes:
    return text.format(number=number, identity=number if identity is None else identity).replace("\n", "\r\n").encode()


def inbox() -> list[Mail]:
    r"""Return the mailbox: twins to the octet, one Message-ID on several messages, and what others marked \Deleted."""
    raws: list[tuple[bytes, tuple[str, ...]]] = [
        (letter(1), ()),
        (bounce(2), ("\\Seen",)),
        (bounce(3), ()),
        (letter(4), ("\\Deleted", "\\Seen")),
        (bounce(3), ()),
        (bounce(6), ("\\Deleted",)),
        (letter(7), ("\\Answered",)),
        (letter(7), ("\\Answered",)),
        (bounce(9), ("\\Flagged",)),
        (bounce(10, 2), ()),
        (letter(11, 2), ()),
        (bounce(3), ()),
        (letter(13), ("\\Flagged", "\\Deleted")),
        (bounce(14), ()),
        (bounce(3), ()),
    ]
    return [Mail(raw, NOON - timedelta(hours=n % 9), flags) for n, (raw, flags) in enumerate(raws)]


KEYWORDED = "2,9"
"""UIDs of the mailbox that get a keyword besides."""


@dataclass(frozen=True, slots=True)
class Item:
    """A message where it is: all of it that must not change."""

    folder: str
    sha256: str
    received_at: str
    flags: frozenset[str]

    @property
    def itself(self) -> Itself:
        """What the message is, wherever it is."""
        return self.sha256, self.received_at, self.flags

    @property
    def key(self) -> Key:
        """What of it nobody can change."""
        return self.sha256, self.received_at


Key = tuple[str, str]
Itself = tuple[str, str, frozenset[str]]
Contents = Counter[Item]


def contents(mailbox: Mailbox, session: imaplib.IMAP4) -> Contents:
    """Look at an account over a session of our own; folders go by the names that a user writes."""
    variant = mailbox.dovecot.variant
    return Counter(
        Item(
            name.removeprefix(variant.prefix).replace(variant.separator, "/"),
            held.sha256,
            held.received_at,
            held.flags,
        )
        for name, messages in mailbox.look(session).items()
        for held in messages
    )


@dataclass(slots=True)
class Truth:
    """What must be in an account (`items`, each in the folder where it belongs when all is done).

    Of a message that somebody else was at, in the middle of our run, it is known only that there must be one at
    `least`, which `flags` it may have, and that it may be in any folder: which of two copies on their way did they get?
    """

    items: Contents
    least: Counter[Key]
    most: Counter[Key]
    flags: dict[Key, set[frozenset[str]]]
    touched: set[Key] = field(default_factory=set)

    @classmethod
    def of(cls, before: Contents) -> Truth:
        r"""Take it from the account as it is at first: bounces belong in their folder, unless marked \Deleted."""
        keys = Counter(item.key for item in before.elements())
        flags: dict[Key, set[frozenset[str]]] = defaultdict(set)
        for item in before:
            flags[item.key].add(item.flags)
        return cls(Counter(map(_in_its_place, before.elements())), keys, Counter(keys), flags)

    def follow(self, before: Contents, after: Contents, *, twins: bool = False) -> None:
        """Take over what somebody else has done between these two looks; with `twins`, twins may be anywhere now."""
        changed = (before - after) + (after - before)
        for item in changed:
            self.touched.add(item.key)
            if item in after:
                self.flags[item.key].add(item.flags)
        was, now = (Counter(item.key for item in look.elements()) for look in (before, after))
        self.least = self.least - (was - now) + (now - was)
        self.most += now - was
        if twins:
            messages = Counter(item.sha256 for item in before.elements())
            self.touched |= {key for key in self.most if messages[key[0]] > 1}

    def expect(self, raw: bytes, received_at: str, *, bounce: bool) -> None:
        """Add a message that has been delivered into INBOX."""
        item = Item(FOLDER if bounce else "INBOX", hashlib.sha256(raw).hexdigest(), received_at, frozenset())
        self.items[item] += 1
        self.least[item.key] += 1
        self.most[item.key] += 1
        self.flags[item.key].add(item.flags)

    def lost(self, now: Contents) -> list[str]:
        """Name what is no more, or is not what it was. At no moment may there be any."""
        there = Counter(item.key for item in now.elements())
        found = [f"lost: {count} of {key}" for key, count in (self.least - there).items()]
        missing = _selves(self.items) - _selves(now)
        found += [
            f"altered: {count} of {itself}" for itself, count in missing.items() if itself[:2] not in self.touched
        ]
        altered = [item for item in now if item.key in self.touched and item.flags not in self.flags[item.key]]
        return found + [f"altered: {item}" for item in altered if "\\Deleted" not in item.flags]

    def misplaced(self, now: Contents) -> list[str]:
        """Name what is not where it belongs, when all is done."""
        missing = [item for item in (self.items - now).elements() if item.key not in self.touched]
        return [f"not in its place: {item}; but there are {list(now - self.items)}" for item in missing]

    def doubled(self, now: Contents) -> int:
        """Count the messages that are there once more than they should be."""
        return (Counter(item.key for item in now.elements()) - self.most).total()


_BOUNCES = frozenset(hashlib.sha256(mail.raw).hexdigest() for mail in inbox() if b"delivery-status" in mail.raw)


def _in_its_place(item: Item) -> Item:
    belongs = item.sha256 in _BOUNCES and "\\Deleted" not in item.flags
    return replace(item, folder=FOLDER) if belongs else item


def _selves(items: Contents) -> Counter[Itself]:
    return Counter(item.itself for item in items.elements())


_HARMFUL = re.compile(r"(?i)(?:EXPUNGE|CLOSE|DELETE|RENAME)\b")
_CHANGING = re.compile(
    r"(?i)(?:UID )?(?:STORE|COPY|MOVE|EXPUNGE|APPEND|CREATE|DELETE|RENAME|SUBSCRIBE|UNSUBSCRIBE|CLOSE|SELECT|SETACL)\b"
)
_SEEN = re.compile(r"(?i)UID FETCH .*\b(?:RFC822(?!\.(?:SIZE|HEADER)\b)|BODY\[)")


def forbidden(commands: Iterable[str], *, looking: bool = False) -> list[str]:
    r"""Name the commands that must never be sent; with `looking`, also those that change anything.

    EXPUNGE without UIDs and CLOSE take other people's \Deleted mail along; APPEND as a move loses the time of arrival.
    """
    return [
        command
        for command in commands
        if _HARMFUL.match(command)
        or command.upper().startswith("APPEND")
        or _SEEN.match(command)
        or (looking and _CHANGING.match(command))
    ]
