"""The mailbox of the demo: a quiet year, ordinary mail, and a wave of backscatter today. All of it is made up.

The same `now` gives the same mailbox. Names are those of RFC 2606, addresses those of RFC 5737; the layouts are those
of real mail servers, in mail/bounces.
"""

from __future__ import annotations

from base64 import encodebytes
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.header import Header
from email.utils import format_datetime
from itertools import cycle
from pathlib import Path
from random import Random
from string import Template
from zlib import crc32

ME = "ana@garden.example"

MAIL = Path(__file__).parent / "mail"

TOPICS = (
    "Seed swap on Saturday",
    "Tomatoes that bear frost",
    "The greenhouse roof",
    "Purple carrots",
    "Compost: how warm is too warm",
    "Photos of the harvest",
)

FRIENDS = ("bia@example.com", "tom@example.net", "garden-club@example.org", "lena@example.com")

SPAM = (
    "You have been selected",
    "Cheap watches, today only",
    "Ihr Gewinn wartet auf Sie",
    "Votre colis est en attente",
    "Ganhe dinheiro em casa",
    "Su cuenta ha sido elegida",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A message and when it arrived (INTERNALDATE)."""

    received_at: datetime
    raw: bytes
    seen: bool
    cause: str | None = None
    """Why delivery failed, if this is a bounce."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the other side said."""

    code: int
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A delivery that failed, and in whose layout and language that is reported."""

    at: datetime
    recipient: str
    layout: str
    language: str
    refusal: Refusal
    topic: str
    """The Subject of the message that could not be delivered."""
    forged: bool = False


REFUSALS = {  # by cause
    "user-unknown": Refusal(550, "5.1.1", "<$recipient>: Recipient address rejected: User unknown"),
    "mailbox-full": Refusal(552, "5.2.2", "<$recipient>: Mailbox is full, over quota"),
    "sender-blocked": Refusal(
        554, "5.7.1", "Service unavailable; Client host [$ip] blocked using bl.blocklist.example"
    ),
    "content-rejected": Refusal(550, "5.7.1", "Message rejected: it looks like spam"),
    "auth-failed": Refusal(550, "5.7.26", "Unauthenticated mail from garden.example is refused: DMARC policy"),
    "unreachable": Refusal(421, "4.4.1", "Connection timed out"),
}

LANGUAGES = {  # the NDR of Exchange: what stands before the Subject, and what it says
    "en": ("Undeliverable:", "Your message to $recipient couldn't be delivered."),
    "de": ("Unzustellbar:", "Ihre Nachricht an $recipient konnte nicht zugestellt werden."),
    "es": ("No se puede entregar:", "No se pudo entregar su mensaje a $recipient."),
    "fr": ("Non remis :", "Votre message à $recipient n'a pas pu être remis."),
    "it": ("Non recapitabile:", "Impossibile recapitare il messaggio a $recipient."),
    "ja": ("配信不能:", "$recipient へのメッセージを配信できませんでした。"),
    "nl": ("Onbestelbaar:", "Uw bericht aan $recipient is niet bezorgd."),
    "pl": ("Niedostarczalne:", "Nie można dostarczyć wiadomości do $recipient."),
    "pt-BR": ("Não é possível entregar:", "Não foi possível entregar sua mensagem para $recipient."),
    "ru": ("Недоставлено:", "Ваше сообщение для $recipient не доставлено."),
}

YEAR = (  # days ago, layout, language, cause, recipient
    (351, "postfix", "en", "user-unknown", "carlos@example.com"),
    (338, "exim", "en", "mailbox-full", "hugo@example.net"),
    (309, "exchange", "de", "user-unknown", "petra@example.org"),
    (291, "delayed", "en", "unreachable", "ines@example.com"),
    (286, "gmail", "pt-BR", "mailbox-full", "joana@example.com"),
    (260, "qmail", "en", "user-unknown", "sales@example.net"),
    (233, "sendmail", "en", "user-unknown", "l.moreau@example.org"),
    (214, "exchange", "fr", "mailbox-full", "luc@example.org"),
    (187, "postfix", "en", "mailbox-full", "hugo@example.net"),
    (160, "gmail", "en", "user-unknown", "old.friend@example.com"),
    (155, "exchange", "it", "user-unknown", "chiara.c@example.org"),
    (121, "exim", "en", "user-unknown", "info@example.net"),
    (96, "delayed", "en", "unreachable", "bruno@example.net"),
    (64, "exchange", "pt-BR", "mailbox-full", "tiago@example.com"),
    (37, "postfix", "en", "user-unknown", "market@example.org"),
    (11, "qmail", "en", "mailbox-full", "hugo@example.net"),
)

ORDINARY = (  # template, first so many days ago, then every so many days (0: only once)
    ("newsletter", 364, 7),
    ("reply", 360, 9),
    ("list", 363, 4),
    ("invoice", 350, 30),
    ("bounce-newsletter", 90, 0),
    ("autoreply", 41, 0),
    ("receipt", 40, 0),
    ("ticket", 22, 0),
    ("delivered", 12, 0),
    ("parcel", 2, 0),
    ("phishing", 1, 0),
)

WAVE = 84
NAMES = ("info", "m.garcia", "office", "j.smith", "kontakt", "vendas")
HOSTS = ("example.com", "example.net", "example.org", "shop.example", "firma.example")
WAVE_LAYOUTS = ("exchange", "exchange", "postfix", "gmail", "exim", "qmail", "sendmail")
WAVE_CAUSES = (
    "user-unknown",
    "user-unknown",
    "content-rejected",
    "auth-failed",
    "user-unknown",
    "sender-blocked",
    "mailbox-full",
)


def mailbox(now: datetime) -> tuple[Sample, ...]:
    """Make the whole mailbox as it looks at `now` (an aware time), oldest first."""
    chance = Random(2606)  # noqa: S311 - it makes sample mail, not secrets
    samples = [*_year(now, chance), *_ordinary(now, chance), *_wave(now, chance)]
    return tuple(sorted(samples, key=lambda sample: sample.received_at))


def sent(now: datetime) -> tuple[Sample, ...]:
    """Make what Ana has sent by `now`, oldest first: a letter every few days, and those that came back."""
    chance = Random(2822)  # noqa: S311 - as above
    letters = [
        Failure(
            now - timedelta(days=days, minutes=chance.randrange(900)), recipient, "", "", REFUSALS["unreachable"], topic
        )
        for days, recipient, topic in zip(range(364, 0, -5), cycle(FRIENDS), cycle(TOPICS))
    ]
    letters += [failure for failure, _ in _failures(now, Random(2606))]  # noqa: S311
    return tuple(
        Sample(letter.at, _raw(_original(letter)["original"]), seen=True)
        for letter in sorted(letters, key=lambda letter: letter.at)
    )


def _year(now: datetime, chance: Random) -> Iterator[Sample]:
    for failure, cause in _failures(now, chance):
        yield Sample(failure.at, _bounce(failure, "garden.example", chance), seen=True, cause=cause)


def _failures(now: datetime, chance: Random) -> tuple[tuple[Failure, str], ...]:
    """Return Ana's own mails of the year that failed, and why."""
    found = []
    for days, layout, language, cause, recipient in YEAR:
        at = now - timedelta(days=days, minutes=chance.randrange(600))
        topic = chance.choice(TOPICS)
        found.append((Failure(at, recipient, layout, language, REFUSALS[cause], topic), cause))
    return tuple(found)


def _wave(now: datetime, chance: Random) -> Iterator[Sample]:
    for number, language in zip(range(WAVE), cycle(LANGUAGES)):
        at = now - timedelta(minutes=2) - timedelta(seconds=chance.randrange(5 * 3600))
        recipient = f"{chance.choice(NAMES)}{number}@{chance.choice(HOSTS)}"
        layout = WAVE_LAYOUTS[number % len(WAVE_LAYOUTS)]
        cause = chance.choice(WAVE_CAUSES)
        failure = Failure(at, recipient, layout, language, REFUSALS[cause], chance.choice(SPAM), forged=True)
        yield Sample(at, _bounce(failure, chance.choice(HOSTS), chance), seen=False, cause=cause)


def _ordinary(now: datetime, chance: Random) -> Iterator[Sample]:
    for name, first, every in ORDINARY:
        template = _template("ordinary", name)
        for days in range(first, 0, -every) if every else (first,):
            at = now - timedelta(days=days, minutes=chance.randrange(1200))
            words = {"me": ME, "date": format_datetime(at), "topic": chance.choice(TOPICS), **_numbers(chance)}
            yield Sample(at, _raw(template.substitute(words)), seen=days > 3)


def _bounce(failure: Failure, host: str, chance: Random) -> bytes:
    """Write the bounce that `host` sends about the failure."""
    domain = failure.recipient.partition("@")[2]
    about = {
        "recipient": failure.recipient,
        "domain": domain,
        "mx": f"mx.{domain}",
        "ip": f"192.0.2.{chance.randrange(1, 250)}",
    }
    prefix, text = LANGUAGES[failure.language]
    words = {
        "me": ME,
        "date": format_datetime(failure.at),
        "host": host,
        "code": str(failure.refusal.code),
        "status": failure.refusal.status,
        "reason": Template(failure.refusal.reason).substitute(about),
        "language": failure.language,
        "subject": Header(f"{prefix} {failure.topic}", "utf-8").encode(),
        "text": encodebytes(Template(text).substitute(about).encode()).decode().rstrip(),
    }
    words |= about | _numbers(chance) | _original(failure)
    return _raw(_template("bounces", failure.layout).substitute(words))


def _original(failure: Failure) -> dict[str, str]:
    """Write the message that could not be delivered: Ana's own, or what somebody sent in her name."""
    sent = format_datetime(failure.at - timedelta(seconds=20))
    domain = "promo.invalid" if failure.forged else "garden.example"
    relay = "promo.invalid ([203.0.113.199])" if failure.forged else "laptop.garden.example ([198.51.100.77])"
    number = crc32(f"{failure.at} {failure.recipient}".encode())
    message_id = f"<{number:08x}@{domain}>"
    headers = (
        f"Received: from {relay}; {sent}\n"
        f"From: Ana Prado <{ME}>\n"
        f"To: {failure.recipient}\n"
        f"Subject: {failure.topic}\n"
        f"Date: {sent}\n"
        f"Message-ID: {message_id}\n"
    )
    message = f"{headers}\nHello,\n\n{failure.topic}.\n"
    return {"sent": sent, "original_id": message_id, "original_headers": headers, "original": message}


def _numbers(chance: Random) -> dict[str, str]:
    return {"id": f"{chance.getrandbits(40):010X}", "number": str(chance.randrange(10_000, 99_999))}


def _template(folder: str, name: str) -> Template:
    return Template((MAIL / folder / f"{name}.eml").read_text(encoding="utf-8"))


def _raw(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()
