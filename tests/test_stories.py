"""What happens to people, on a real server with a Sent folder: each story gets its diagnosis, once, in the right words.

Told three times each: by bounces that return the whole message, its header only, and nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from bouncefiler.backscatter.advice import Alert, Level
from bouncefiler.backscatter.incident import Diagnosis
from bouncefiler.backscatter.provenance import Provenance
from bouncefiler.backscatter.volume import Wave, past_waves
from bouncefiler.desk import take_desk
from bouncefiler.edge.store import open_for_reading
from bouncefiler.filing.plan import Plan
from bouncefiler.settings import Account, EnvironmentVariable, Settings
from bouncefiler.sweep import Report, Scope
from tests import dovecot
from tests.dovecot import Dovecot, Mail
from tests.nameserver import Nameserver, serving
from tests.signing import signing_key

pytestmark = pytest.mark.dovecot

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ANA = "Ana Lima <ana@example.org>"
RETURNED = ["message", "header", "nothing"]


@dataclass(frozen=True)
class Letter:
    """A message that somebody sent, in Ana's name or not."""

    id: str
    to: tuple[str, ...]
    sent_at: datetime
    from_: str = ANA
    subject: str = "Minutes of the meeting"
    signed: str = ""
    """The domain that has signed it."""
    further: str = ""

    @property
    def raw(self) -> bytes:
        text = (
            f"From: {self.from_}\r\nTo: {', '.join(self.to)}\r\nSubject: {self.subject}\r\n"
            f"Date: {format_datetime(self.sent_at)}\r\nMessage-ID: {self.id}\r\n{self.further}\r\nGood morning.\r\n"
        ).encode()
        return signing_key().sign(text, domain=self.signed) if self.signed else text


def bounce(letter: Letter, received_at: datetime, returned: str, reply: str = "550 5.1.1 User unknown") -> Mail:
    """A failed delivery as Postfix reports it, with so much of the message as is said."""
    head = letter.raw.partition(b"\r\n\r\n")[0] + b"\r\n"
    parts = {
        "message": b"Content-Type: message/rfc822\r\n\r\n" + letter.raw,
        "header": b"Content-Type: text/rfc822-headers\r\n\r\n" + head,
        "nothing": b"",
    }
    end = b"--b1\r\n" + parts[returned] + b"\r\n--b1--\r\n" if returned != "nothing" else b"--b1--\r\n"
    status = re.findall(r"\d\.\d+\.\d+", reply)[0]
    raw = (
        f"Return-Path: <>\r\nDate: {format_datetime(received_at)}\r\nFrom: MAILER-DAEMON@mx.example.net\r\n"
        f"Subject: Undelivered Mail Returned to Sender\r\nTo: ana@example.org\r\nAuto-Submitted: auto-replied\r\n"
        f"Message-ID: <{received_at.timestamp()}.{letter.to[0]}@mx.example.net>\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: multipart/report; report-type=delivery-status; boundary=b1\r\n\r\n--b1\r\n\r\n"
        f"I'm sorry to have to inform you that your message could not be delivered.\r\n\r\n--b1\r\n"
        f"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\n\r\n"
        f"Final-Recipient: rfc822; {letter.to[0]}\r\nAction: failed\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: smtp; {reply}\r\n\r\n"
    ).encode()
    return Mail(raw + end, received_at)


class Nobody:
    """Looks on, and lets everything happen."""

    def check(self, plan: Plan) -> None: ...

    def done(self, plan: Plan, report: Report) -> None: ...

    def sent_read(self, report: object) -> None: ...

    def stopping(self) -> bool:
        return False


@dataclass
class Ana:
    """Somebody with an account, who has written some mail in the last two months."""

    server: Dovecot
    names: Nameserver
    home: Path
    address: str = "ana@example.org"
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    sent: list[Letter] = field(default_factory=list)
    received: list[Mail] = field(default_factory=list)
    user: str = ""

    def __post_init__(self) -> None:
        self.user = self.server.new_user()
        friends = [f"friend{n}@example.com" for n in range(25)]
        for day in range(60, 2, -1):
            to = (friends[day % 25], friends[day % 7])
            self.sent.append(Letter(f"<day-{day}@example.org>", to, self.now - day * DAY))

    def wave(self, letters: Iterable[Letter], since: timedelta, returned: str, reply: str = "") -> None:
        """Have these letters come back, evenly between that time ago and now."""
        told = list(letters)
        for number, letter in enumerate(told):
            at = self.now - since + number * since / len(told)
            self.received.append(bounce(letter, at, returned, reply or "550 5.1.1 User unknown"))

    def clean(self) -> tuple[Alert, ...]:
        """Have bouncefiler look at all this, twice; return what it told."""
        mailbox = self.server.mailbox(self.user)
        mailbox.store((Mail(letter.raw, letter.sent_at, ("\\Seen",)) for letter in self.sent), "Sent")
        mailbox.store(sorted(self.received, key=lambda mail: mail.received_at))
        return tuple(alert for _ in range(2) for alert in self.look())

    def look(self) -> tuple[Alert, ...]:
        account = Account(
            "home", self.server.server(self.user), EnvironmentVariable("PASSWORD"), addresses=(self.address,)
        )
        settings = Settings(self.home / "config.toml", {"home": account}, self.home / "state", "en")
        environ = {"PASSWORD": dovecot.PASSWORD}
        desk = take_desk(account, settings, environ, "clean", lambda _: self.names.resolver())
        try:
            desk.sweep(Scope(account.folders), Nobody(), "clean", Nobody())
            desk.deliver()
            return desk.raised
        finally:
            desk.leave()

    def past_waves(self) -> tuple[Wave, ...]:
        with open_for_reading(self.home / "state" / "home.sqlite3") as store:
            return past_waves(store.past(self.now - 60 * DAY), self.now)

    def incidents(self) -> list[Diagnosis]:
        with open_for_reading(self.home / "state" / "home.sqlite3") as store:
            rows = store._db.execute("SELECT diagnosis FROM incident ORDER BY id").fetchall()
        return [Diagnosis(diagnosis) for (diagnosis,) in rows]

    def counted(self, provenance: Provenance) -> int:
        with open_for_reading(self.home / "state" / "home.sqlite3") as store:
            return len(store.history(self.now - 400 * DAY, [provenance]))

    def told_in_inbox(self) -> list[str]:
        with self.server.mailbox(self.user).session() as client:
            client.select("INBOX", readonly=True)
            _, found = client.search(None, "SUBJECT", '"mail"')
            subjects = [client.fetch(n, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0] for n in found[0].split()]
        return [str(subject) for subject in subjects]


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with dovecot.running() as running:
        yield running


@pytest.fixture(scope="module")
def names() -> Iterator[Nameserver]:
    zone = {
        "k1._domainkey.example.org": {"TXT": [signing_key().record]},
        "k1._domainkey.yahoo.com.br": {"TXT": [signing_key().record]},
        "example.org": {"TXT": ["v=spf1 mx -all"], "MX": ["10 mail.example.org."]},
    }
    with serving(zone) as running:
        yield running


@pytest.fixture
def ana(server: Dovecot, names: Nameserver, tmp_path: Path) -> Ana:
    return Ana(server, names, tmp_path)


def words(alert: Alert) -> str:
    return " ".join(alert.body.split())


def forged(number: int, now: datetime) -> Iterator[Letter]:
    for n in range(number):
        yield Letter(f"<{n}@botnet.example>", (f"victim{n}@example.net",), now - 3 * HOUR, subject="You have won")


@pytest.mark.parametrize("returned", RETURNED)
def test_spam_in_anas_name(ana: Ana, returned: str) -> None:
    ana.wave(forged(80, ana.now), 3 * HOUR, returned)
    (alert,) = ana.clean()

    assert ana.incidents() == [Diagnosis.BACKSCATTER]
    assert alert.level is Level.WARNING
    assert "80 bounces" in alert.subject
    assert "In the last 24 hours ana@example.org received" in words(alert)
    assert "Somebody is sending junk mail and has put your address on it" in words(alert)
    assert "Change the password" not in words(alert)
    if returned == "nothing":
        assert "80 bounces do not show which messages they are about" in words(alert)
        assert "whom you have never written to" in words(alert)
    else:
        assert "None of the 80 returned messages that can be looked up is in your Sent folder" in words(alert)
        assert ana.counted(Provenance.FORGED) == 80
    assert "DMARC: there is no record" in words(alert)
    assert len(ana.told_in_inbox()) == 1


@pytest.mark.parametrize("returned", RETURNED)
def test_an_intruder_sends_spam_with_anas_program(ana: Ana, returned: str) -> None:
    """Copies of it are in Sent: four hundred strangers within two hours."""
    spam = [Letter(f"<x{n}@example.org>", (f"stranger{n}@example.net",), ana.now - 2 * HOUR) for n in range(400)]
    ana.sent.extend(spam)
    ana.wave(spam[::8], HOUR, returned)
    (alert,) = ana.clean()

    assert ana.incidents() == [Diagnosis.COMPROMISED]
    assert alert.level is Level.CRITICAL
    assert "Change the password" in words(alert)
    assert "went to 400 addresses. You had never written to 400 of them" in words(alert)
    assert "If you sent all of this yourself" in words(alert)


@pytest.mark.parametrize("returned", ["message", "header"])
def test_an_intruder_leaves_no_copies_and_the_signature_tells(ana: Ana, returned: str) -> None:
    """Nobody but the domain's own server can sign like that; and Ana has not sent it."""
    spam = [
        Letter(f"<y{n}@example.org>", (f"stranger{n}@example.net",), ana.now - 2 * HOUR, signed="example.org")
        for n in range(9)
    ]
    ana.wave(spam, HOUR, returned)
    (alert,) = ana.clean()

    assert ana.incidents() == [Diagnosis.COMPROMISED]
    assert ana.counted(Provenance.GENUINE) == 9
    assert "9 returned messages have the signature of your own domain" in words(alert)
    assert alert.level is Level.CRITICAL


@pytest.mark.parametrize(("number", "expected"), [(4, []), (9, [Diagnosis.COMPROMISED])])
def test_a_signature_of_a_provider_that_millions_share_proves_only_the_provider(
    server: Dovecot, names: Nameserver, tmp_path: Path, number: int, expected: list[Diagnosis]
) -> None:
    """It went through there, from whosever account: a few are no sign, more of them are one, and none is proof."""
    ana = Ana(server, names, tmp_path, address="ana@yahoo.com.br")
    spam = [
        Letter(
            f"<w{n}@yahoo.com.br>",
            (f"stranger{n}@example.net",),
            ana.now - 2 * HOUR,
            ana.address,
            signed="yahoo.com.br",
        )
        for n in range(number)
    ]
    ana.wave(spam, HOUR, "header")
    ana.clean()

    assert ana.incidents() == expected
    assert ana.counted(Provenance.GENUINE) == 0


def test_a_forged_signature_is_no_proof(ana: Ana) -> None:
    """The same nine, with another subject under the signature: forged, and too few to alarm about a hacked account."""
    for n in range(9):
        letter = Letter(f"<z{n}@example.org>", (f"stranger{n}@example.net",), ana.now - 2 * HOUR, signed="example.org")
        mail = bounce(letter, ana.now - n * timedelta(minutes=5), "header")
        ana.received.append(Mail(mail.raw.replace(b"Minutes of the meeting", b"You have won"), mail.received_at))
    ana.clean()

    assert Diagnosis.COMPROMISED not in ana.incidents()
    assert ana.counted(Provenance.FORGED) == 9


@pytest.mark.parametrize("returned", RETURNED)
def test_the_provider_says_that_the_account_is_blocked(
    server: Dovecot, names: Nameserver, tmp_path: Path, returned: str
) -> None:
    """One such word is enough, of the own provider."""
    ana = Ana(server, names, tmp_path, address="ana.lima@outlook.com")
    letter = Letter("<q@outlook.com>", ("bo@example.net",), ana.now - HOUR, from_="ana.lima@outlook.com")
    ana.wave([letter], HOUR / 2, returned, "550 5.1.8 Access denied, bad outbound sender AS(42004)")
    (alert,) = ana.clean()

    assert ana.incidents() == [Diagnosis.COMPROMISED]
    assert alert.level is Level.CRITICAL
    assert "Microsoft says that your account may send nothing more for now" in words(alert)


@pytest.mark.parametrize("returned", RETURNED)
def test_a_newsletter_to_dead_addresses(ana: Ana, returned: str) -> None:
    """No alarm: a list. Ana has written to most of these people before."""
    readers = [f"reader{n}@example.com" for n in range(300)]
    ana.sent.append(Letter("<spring@example.org>", tuple(readers), ana.now - 40 * DAY, subject="Spring"))
    summer = [Letter(f"<summer-{n}@example.org>", (readers[n],), ana.now - 3 * HOUR) for n in range(300)]
    ana.sent.extend(summer)
    ana.wave(summer[::12], 2 * HOUR, returned)
    (alert,) = ana.clean()

    assert ana.incidents() == [Diagnosis.OWN_MAILING]
    assert alert.level is Level.INFO
    assert "Nobody is doing you any harm" in words(alert)
    assert "   reader288@example.com\n" in alert.body
    assert "Change the password" not in words(alert)


@pytest.mark.parametrize("returned", RETURNED)
def test_a_quiet_year(ana: Ana, returned: str) -> None:
    """A mistyped address now and then: nothing to tell, and the mail is Ana's own."""
    for day in range(3, 360, 11):
        letter = Letter(f"<typo-{day}@example.org>", (f"tpyo{day}@example.com",), ana.now - day * DAY)
        ana.sent.append(letter)
        ana.received.append(bounce(letter, letter.sent_at + HOUR, returned))

    assert ana.clean() == ()
    assert ana.incidents() == []
    assert ana.counted(Provenance.GENUINE) == 33


@pytest.mark.parametrize("returned", RETURNED)
def test_an_old_wave(ana: Ana, returned: str) -> None:
    """It is over: filed, and told as the past, without an alarm."""
    for letter in forged(500, ana.now - 30 * DAY):
        at = ana.now - 30 * DAY + timedelta(seconds=40 * int(letter.id[1:].partition("@")[0]))
        ana.received.append(bounce(letter, at, returned))

    assert ana.clean() == ()
    assert ana.incidents() == []
    (wave,) = ana.past_waves()
    assert (wave.bounces, wave.first.date()) == (500, (ana.now - 30 * DAY).date())


def test_answers_to_mail_that_ana_never_sent(ana: Ana) -> None:
    """Out-of-office notes and challenges to forged mail are counted with the bounces; they stay where they are."""
    for n in range(40):
        at = ana.now - n * timedelta(minutes=4)
        raw = (
            f"Date: {format_datetime(at)}\r\nFrom: Person {n} <p{n}@example.net>\r\nTo: ana@example.org\r\n"
            f"Subject: Out of office: You have won\r\nAuto-Submitted: auto-replied\r\n"
            f"In-Reply-To: <{n}@botnet.example>\r\nMessage-ID: <r{n}@example.net>\r\n\r\nI am away until Monday.\r\n"
        )
        ana.received.append(Mail(raw.encode(), at))
    ana.wave(forged(3, ana.now), 3 * HOUR, "message")
    ana.clean()

    assert ana.incidents() == [Diagnosis.BACKSCATTER]
    assert len(ana.server.mailbox(ana.user).snapshot()["Bounces"]) == 3
