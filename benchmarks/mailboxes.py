"""Mailboxes to measure with: the same seed gives the same mail, all of it our own, with reserved names and addresses.

Five in a hundred are bounces of a dozen kinds, 1.4 in a hundred look like bounces and are none. Headers are of the size
that mail has after three relays; bodies have a median of 20 KB, less where the mailbox would not fit on a disk.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import Enum
from pathlib import Path

from tests.dovecot import Mail

SAMPLES = Path(__file__).parents[1] / "tests" / "mail"

BOUNCES = 0.05
HARD_NEGATIVES = 0.014

_OF_POSTFIX = 0.5
_SAMPLED_BOUNCES = (
    "postfix/delayed",
    "exim/failed",
    "exim/delayed",
    "exchange/version-5-5",
    "gmail/failed",
    "gmail/delayed",
    "qmail/send",
    "sendmail/fatal",
    "sendmail/version-5",
    "sendmail/warning",
    "courier/notice",
    "opensmtpd/failed",
    "mdaemon/failed",
    "yahoo/sorry",
    "rfc3464/no-words-at-all",
    "rfc3464/one-delivered-one-failed",
)
_SAMPLED_NEGATIVES = (
    "lookalikes/autorespond",
    "lookalikes/challenge",
    "lookalikes/delay-of-a-train",
    "lookalikes/discussion",
    "lookalikes/forwarded-bounce",
    "lookalikes/list-held",
    "lookalikes/out-of-office",
    "lookalikes/parcel",
    "lookalikes/payment",
    "lookalikes/quota-warning",
    "lookalikes/read-receipt",
    "lookalikes/ticket",
    "imitations/daemon-bait",
    "imitations/dressed-newsletter",
    "rfc3464/delivered",
)
_SUBJECTS = (
    """
Lunch on Thursday|Minutes of the meeting|Re: Minutes of the meeting|Invoice 2026-{n}|Your order {n}|Re: holiday plans
Photos|Fwd: Photos|[dev] Re: patch {n}|[dev] release candidate {n}|What is new this week|Re: contract, second draft
Ticket {n}: printer on the third floor|Your booking {n}|Password changed|Happy birthday!|Re: Re: budget|Agenda
Build {n} passed|Build {n}: 3 tests are red|Reminder: dentist|Statement for account {n}|Welcome!|Re: question on the map
Offer for the roof|Slides|Re: Slides|Choir practice|Minutes, corrected|Your receipt {n}|Re: train on Friday
Newsletter {n}|Library: books are due|Re: keys|Parents' evening|Car inspection|Weekly digest {n}|Re: soup
Your parcel {n} will be delivered today|Notification of a new sign-in
""".strip()
    .replace("\n", "|")
    .split("|")
)
_SUBJECTS_ENCODED = ("Einladung zum Frühstück", "Reunião de sexta-feira", "Compte rendu de la réunion", "Приглашение")
_PEOPLE = ("ana", "bruno", "carla", "dieter", "elif", "fatima", "goran", "hana", "ivan", "karl", "lena", "marta")
_HOSTS = ("example.com", "example.net", "mail.example.com", "lists.example.net")
_WORDS = """
the of and a to in is you that it he was for on are as with his they at be this have from or one had by word but not
what all were we when your can said there use an each which she do how their if will up other about out many then them
letter garden window morning table river market paper music winter station bread number street bridge colour answer
"""
_START = datetime(2024, 1, 1, 8, 0, tzinfo=UTC)


class Kind(Enum):
    """What a message is to those who judge it."""

    ORDINARY = "ordinary"
    BOUNCE = "bounce"
    HARD_NEGATIVE = "looks like a bounce"


@dataclass(frozen=True, slots=True)
class Body:
    """How large bodies are: lognormal, cut off."""

    median: int
    sigma: float = 1.0
    most: int = 160_000

    def draw(self, dice: random.Random) -> int:
        """Return the size of one body."""
        return min(self.most, int(self.median * dice.lognormvariate(0.0, self.sigma)))


def body_for(size: int) -> Body:
    """Return bodies that a mailbox of so many messages has room for: some 0.4 GB at 10,000, never over 4 GB or so."""
    if size <= 20_000:
        return Body(20_000)
    if size <= 200_000:
        return Body(8_000, most=64_000)
    return Body(700, sigma=0.2, most=1_000)


def kinds(size: int, seed: int) -> list[Kind]:
    """Return what each message is; the first has UID 1."""
    bounces, negatives = round(size * BOUNCES), round(size * HARD_NEGATIVES)
    drawn = [Kind.BOUNCE] * bounces + [Kind.HARD_NEGATIVE] * negatives
    drawn += [Kind.ORDINARY] * (size - len(drawn))
    random.Random(seed).shuffle(drawn)  # noqa: S311 - the same mail each time is what is wanted
    return drawn


def recipe() -> str:
    """Return what tells apart mailboxes of the same size and seed that were made by other code or of other samples."""
    samples = [SAMPLES / f"{name}.eml" for name in (*_SAMPLED_BOUNCES, *_SAMPLED_NEGATIVES)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in (Path(__file__), *samples))).hexdigest()[:12]


def mails(drawn: list[Kind], seed: int) -> Iterator[Mail]:
    """Yield the messages."""
    dice = random.Random(seed + 1)  # noqa: S311 - as above
    writer = _Writer(dice, body_for(len(drawn)))
    for number, kind in enumerate(drawn, 1):
        when = _START + timedelta(minutes=7 * number % 1_000_000)
        flags = ("\\Seen",) if dice.random() < 0.8 else ()
        yield Mail(writer.write(kind, number, when), when, flags)


class _Writer:
    """Writes messages; keeps what is slow to make."""

    def __init__(self, dice: random.Random, body: Body) -> None:
        self._dice, self._body = dice, body
        self._text = _prose(dice, 1_000_000)
        self._base64 = base64.encodebytes(dice.randbytes(1_000_000))
        self._samples = {
            name: (SAMPLES / f"{name}.eml").read_bytes().replace(b"\r\n", b"\n")
            for name in (*_SAMPLED_BOUNCES, *_SAMPLED_NEGATIVES)
        }

    def write(self, kind: Kind, number: int, when: datetime) -> bytes:
        if kind is Kind.HARD_NEGATIVE:
            return self._sampled(self._dice.choice(_SAMPLED_NEGATIVES), number, when)
        if kind is Kind.ORDINARY:
            return self._ordinary(number, when)
        if self._dice.random() < _OF_POSTFIX:
            return self._of_postfix(number, when)
        return self._sampled(self._dice.choice(_SAMPLED_BOUNCES), number, when)

    def _ordinary(self, number: int, when: datetime) -> bytes:
        dice = self._dice
        sender = f"{dice.choice(_PEOPLE)}@{dice.choice(_HOSTS)}"
        fields = f"Return-Path: <{sender}>\n{self._trace(number, when)}{self._envelope(sender, number, when)}"
        size = self._body.draw(dice)
        if dice.random() < 0.4:
            head = "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n"
            return (fields + head).encode() + self._slice(self._text, size)
        mark = f"=_{number:x}_{dice.getrandbits(64):016x}"
        text, rest = self._slice(self._text, min(size // 3, 6_000)), self._slice(self._base64, size * 2 // 3)
        head = f'MIME-Version: 1.0\nContent-Type: multipart/mixed;\n\tboundary="{mark}"\n\n--{mark}\n'
        part = f"\n--{mark}\nContent-Type: image/jpeg\nContent-Transfer-Encoding: base64\n\n"
        head += "Content-Type: text/plain; charset=utf-8\n\n"
        return (fields + head).encode() + text + part.encode() + rest + f"\n--{mark}--\n".encode()

    def _envelope(self, sender: str, number: int, when: datetime) -> str:
        dice = self._dice
        subject = dice.choice(_SUBJECTS).format(n=number)
        if dice.random() < 0.15:
            subject = f"=?utf-8?B?{base64.b64encode(dice.choice(_SUBJECTS_ENCODED).encode()).decode()}?="
        return (
            f"From: {sender.partition('@')[0].title()} Example <{sender}>\nTo: you@example.org\nSubject: {subject}\n"
            f"Date: {format_datetime(when)}\nMessage-ID: <{number}.{dice.getrandbits(80):020x}@{dice.choice(_HOSTS)}>\n"
        )

    def _trace(self, number: int, when: datetime) -> str:
        """Return what relays put on top: Received, authentication, signatures, spam scores."""
        lines = ["Delivered-To: you@example.org\n"]
        lines += [
            f"Received: from relay{hop}.example.net (relay{hop}.example.net [198.51.100.{number % 250 + 1}])\n"
            f"\tby mx{hop}.example.org (Postfix) with ESMTPS id {number:08X}{hop}\n"
            "\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\n"
            f"\tfor <you@example.org>; {format_datetime(when - timedelta(seconds=hop))}\n"
            for hop in range(3)
        ]
        lines.append("Authentication-Results: mx0.example.org; spf=pass; dkim=pass header.d=example.net; dmarc=pass\n")
        for selector in ("s1", "s2"):
            signature = self._slice(self._base64, 340).replace(b"\n", b"\n\t ").decode().rstrip()
            lines.append(
                f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s={selector};\n"
                f"\th=from:to:subject:date:message-id; bh=RTh1cnNkYXk=;\n\tb={signature}\n"
            )
        lines.append(f"X-Spam-Status: No, score={number % 40 / 10:.1f} required=5.0 tests=DKIM_SIGNED,DKIM_VALID,SPF\n")
        return "".join(lines)

    def _sampled(self, name: str, number: int, when: datetime) -> bytes:
        """Return a sample as it would have come here: with the trace of our relays, and a Message-ID of its own."""
        raw = self._samples[name].replace(b"Message-ID: <", b"Message-ID: <%d." % number, 1)
        path, rest = b"", raw
        if raw.startswith(b"Return-Path:"):
            line, _, rest = raw.partition(b"\n")
            path = line + b"\n"
        return path + self._trace(number, when).encode() + rest

    def _of_postfix(self, number: int, when: datetime) -> bytes:
        """Return a report as Postfix writes it (RFC 6522, 3464), with the whole message that did not arrive."""
        person, mark = self._dice.choice(_PEOPLE), f"{number:08X}.1700000000/mx.example.org"
        original = self._envelope("you@example.org", 10_000_000 + number, when).encode()
        original += b"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n"
        original += self._slice(self._text, self._body.draw(self._dice))
        head = _POSTFIX.format(
            trace=self._trace(number, when), mark=mark, number=number, person=person, date=format_datetime(when)
        )
        return head.encode() + self._trace(number, when).encode() + original + f"\n--{mark}--\n".encode()

    def _slice(self, pool: bytes, size: int) -> bytes:
        at = self._dice.randrange(len(pool) - size)
        start = pool.find(b"\n", at) + 1
        return pool[start : start + size]


def _prose(dice: random.Random, size: int) -> bytes:
    words = _WORDS.split()
    lines, length = [], 0
    while length < size:
        lines.append(" ".join(dice.choices(words, k=12)))
        length += len(lines[-1]) + 1
    return "\n".join(lines).encode()


_POSTFIX = """\
Return-Path: <>
{trace}Received: by mx.example.org (Postfix)
\tid {number:08X}; {date}
Date: {date}
From: MAILER-DAEMON@mx.example.org (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: you@example.org
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="{mark}"
Message-Id: <{number:014d}@mx.example.org>

This is a MIME-encapsulated message.

--{mark}
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mx.example.org.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

For further assistance, please send mail to postmaster.

                   The mail system

<{person}{number}@example.com>: host mx.example.com[203.0.113.9] said: 550 5.1.1
    <{person}{number}@example.com>: Recipient address rejected: User unknown
    (in reply to RCPT TO command)

--{mark}
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org
X-Postfix-Queue-ID: {number:08X}
X-Postfix-Sender: rfc822; you@example.org
Arrival-Date: {date}

Final-Recipient: rfc822; {person}{number}@example.com
Original-Recipient: rfc822;{person}{number}@example.com
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.example.com
Diagnostic-Code: smtp; 550 5.1.1 <{person}{number}@example.com>: Recipient
    address rejected: User unknown

--{mark}
Content-Description: Undelivered Message
Content-Type: message/rfc822

"""
