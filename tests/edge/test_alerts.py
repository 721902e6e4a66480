"""Alerts are delivered at least once, and look like what they are."""

from __future__ import annotations

import email
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.policy import default

import pytest

from bouncefiler.backscatter.advice import Alert, Level, Reader, write
from bouncefiler.backscatter.incident import Diagnosis, Incident, Notice
from bouncefiler.edge import alerts
from bouncefiler.errors import Unreachable
from bouncefiler.recognition import classify, rulebook
from bouncefiler.recognition.verdict import Cause, Kind

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALERT = Alert("wave 1", Level.WARNING, "347 devoluções em 24 horas", "Olá,\n\nalguém está usando o seu endereço.\n")


@dataclass
class Due:
    id: int
    channel: str
    alert: Alert = ALERT
    attempts: int = 0


@dataclass
class Outbox:
    due: list[Due]
    sent: list[int] = field(default_factory=list)
    failed: list[tuple[int, datetime, str]] = field(default_factory=list)

    def alerts_due(self, now: datetime) -> list[Due]:
        return self.due

    def alert_sent(self, id_: int, now: datetime) -> None:
        self.sent.append(id_)

    def alert_failed(self, id_: int, retry_at: datetime, why: str) -> None:
        self.failed.append((id_, retry_at, why))


def refuse(_alert: Alert) -> None:
    raise Unreachable("the line is dead\nsecond line")


def test_what_was_delivered_is_marked_as_sent() -> None:
    outbox, taken = Outbox([Due(1, "inbox")]), list[Alert]()

    alerts.deliver(outbox, {"inbox": taken.append}, NOON)

    assert (taken, outbox.sent, outbox.failed) == ([ALERT], [1], [])


def test_a_channel_that_fails_is_tried_again_and_keeps_nobody_from_their_turn() -> None:
    outbox, taken = Outbox([Due(1, "inbox"), Due(2, "log")]), list[Alert]()

    alerts.deliver(outbox, {"inbox": refuse, "log": taken.append}, NOON)

    assert outbox.failed == [(1, NOON + timedelta(minutes=1), "the line is dead second line")]
    assert outbox.sent == [2]


def test_a_channel_that_stumbles_over_an_alert_keeps_nobody_from_their_turn() -> None:
    """Whatever it raises, and however little it says."""

    def stumble(_alert: Alert) -> None:
        raise TimeoutError

    outbox, taken = Outbox([Due(1, "inbox"), Due(2, "log")]), list[Alert]()

    alerts.deliver(outbox, {"inbox": stumble, "log": taken.append}, NOON)

    assert outbox.failed == [(1, NOON + timedelta(minutes=1), "TimeoutError")]
    assert outbox.sent == [2]


def test_a_channel_that_has_to_time_out_does_so_once() -> None:
    """The others of that channel stay due, and come first when the first one is put off."""
    outbox = Outbox([Due(1, "inbox"), Due(2, "inbox"), Due(3, "inbox")])

    alerts.deliver(outbox, {"inbox": refuse}, NOON)

    assert [id_ for id_, _, _ in outbox.failed] == [1]


@pytest.mark.parametrize(("attempts", "minutes"), [(0, 1), (1, 2), (5, 32), (9, 360), (500, 360)])
def test_the_pause_grows_up_to_six_hours(attempts: int, minutes: int) -> None:
    outbox = Outbox([Due(1, "inbox", attempts=attempts)])

    alerts.deliver(outbox, {"inbox": refuse}, NOON)

    assert outbox.failed[0][1] == NOON + timedelta(minutes=minutes)


def test_an_alert_for_a_channel_that_is_no_more_waits() -> None:
    outbox = Outbox([Due(1, "pigeon")])

    alerts.deliver(outbox, {}, NOON)

    assert outbox.sent == []
    assert "pigeon" in outbox.failed[0][2]


def test_the_message_says_that_nobody_should_answer_and_reads_as_it_was_written() -> None:
    message = email.message_from_bytes(alerts.as_message(ALERT, "ana@example.org", NOON), policy=default)

    assert message["Subject"] == ALERT.subject
    assert message.get_content().replace("\r\n", "\n") == ALERT.body
    assert (message["To"], message["Auto-Submitted"]) == ("ana@example.org", "auto-generated")
    assert message["Date"].datetime == NOON


def test_the_same_alert_has_the_same_message_id_and_another_one_another() -> None:
    ids = {
        email.message_from_bytes(alerts.as_message(alert, "ana@example.org", when))["Message-ID"]
        for alert, when in [(ALERT, NOON), (ALERT, NOON + timedelta(hours=1))]
    }
    other = Alert("wave 2", Level.INFO, "x", "y")

    assert len(ids) == 1
    assert email.message_from_bytes(alerts.as_message(other, "ana@example.org", NOON))["Message-ID"] not in ids


@pytest.mark.parametrize("user", ["ana", "DOMAIN\\ana", "a b@example.org", "ana@", "joão@example.org", "x\r\nBcc: y@z"])
def test_a_login_name_that_is_no_address_stays_out_of_the_headers(user: str) -> None:
    message = email.message_from_bytes(alerts.as_message(ALERT, user, NOON), policy=default)

    assert message["To"] == "undisclosed-recipients:;"
    assert message["Bcc"] is None


WAVE = Incident(Diagnosis.BACKSCATTER, NOON, NOON, count=347, usual=0.3, total=400, peak=347)


@pytest.mark.parametrize("user", ["ana@example.org", "DOMAIN\\ana"])
@pytest.mark.parametrize("language", ["en", "pt"])
@pytest.mark.parametrize("notice", Notice)
def test_our_own_alert_is_no_bounce(notice: Notice, language: str, user: str) -> None:
    """However much it speaks of mail that could not be delivered."""
    causes = [(Cause.USER_UNKNOWN, 300), (Cause.MAILBOX_FULL, 47)]
    alert = write(notice, WAVE, Reader("ana@example.org", "Mail delivery failed", language), causes)
    verdict, _ = classify.examine(alerts.as_message(alert, user, NOON), False, rulebook.load())  # noqa: FBT003

    assert verdict.kind not in {Kind.FAILED, Kind.DELAYED, Kind.IMITATION}


def test_no_line_of_the_message_is_longer_than_it_may_be() -> None:
    """998 octets (RFC 5322, 2.1.1), all of them ASCII, so that any server takes it."""
    alert = write(Notice.OPENED, WAVE, Reader("ana@example.org", "Caixa de devoluções", "pt"))
    raw = alerts.as_message(alert, "ana@example.org", NOON)

    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 78


def test_the_log_gets_one_line_at_the_alerts_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        alerts.to_log(ALERT)

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [("WARNING", ALERT.subject)]
