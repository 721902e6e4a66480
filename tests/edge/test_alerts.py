"""Alerts are delivered at least once, and look like what they are."""

from __future__ import annotations

import email
import logging
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.policy import default

import pytest

from bouncefiler.backscatter.advice import Alert, Level, Reader, write
from bouncefiler.backscatter.diagnosis import Sign, Tally
from bouncefiler.backscatter.evidence import Findings
from bouncefiler.backscatter.incident import Diagnosis, Incident, Notice
from bouncefiler.edge import alerts
from bouncefiler.errors import CredentialError, Unreachable
from bouncefiler.recognition import classify, rulebook
from bouncefiler.recognition.verdict import Cause, Kind

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ALERT = Alert("wave 1", Level.WARNING, "347 devoluções em 24 horas", "Olá,\n\nalguém está usando o seu endereço.\n")


@dataclass
class Waits:
    id: int
    channel: str
    alert: Alert = ALERT
    due: datetime = NOON
    attempts: int = 0


@dataclass
class Outbox:
    """What the store promises, in memory."""

    waiting: list[Waits]
    sent: list[tuple[int, datetime]] = field(default_factory=list)
    failed: list[tuple[int, datetime, str]] = field(default_factory=list)
    moot: list[int] = field(default_factory=list)
    channels: dict[int, str] = field(default_factory=dict)

    @property
    def sent_ids(self) -> list[int]:
        return [id_ for id_, _ in self.sent]

    def alerts_waiting(self) -> list[Waits]:
        return list(self.waiting)

    def alerts_sent(self, since: datetime) -> list[tuple[str, datetime]]:
        return [(self.channels[id_], at) for id_, at in self.sent if at >= since]

    def alert_sent(self, id_: int, now: datetime, instead_of: Collection[int] = ()) -> None:
        self.channels |= {one.id: one.channel for one in self.waiting}
        self.sent.append((id_, now))
        self.waiting = [one for one in self.waiting if one.id != id_]
        self.alerts_given_up(instead_of, now)

    def alert_failed(self, id_: int, retry_at: datetime, why: str) -> None:
        self.failed.append((id_, retry_at, why))
        self.waiting = [
            replace(one, due=retry_at, attempts=one.attempts + 1) if one.id == id_ else one for one in self.waiting
        ]

    def alerts_given_up(self, ids: Collection[int], now: datetime) -> None:
        self.moot += ids
        self.waiting = [one for one in self.waiting if one.id not in ids]

    def alert_parted(self, id_: int, channels: Collection[str], now: datetime) -> None:
        (whole,) = (one for one in self.waiting if one.id == id_)
        self.alerts_given_up((id_,), now)
        self.waiting += [Waits(id_ * 100 + n, channel, whole.alert, now) for n, channel in enumerate(channels)]


def refuse(_alert: Alert) -> None:
    raise Unreachable("the line is dead\nsecond line")


def test_what_was_delivered_is_marked_as_sent() -> None:
    outbox, taken = Outbox([Waits(1, "inbox")]), list[Alert]()

    alerts.deliver(outbox, {"inbox": taken.append}, NOON)

    assert (taken, outbox.sent_ids, outbox.failed) == ([ALERT], [1], [])


def test_a_channel_that_fails_is_tried_again_and_keeps_nobody_from_their_turn() -> None:
    outbox, taken = Outbox([Waits(1, "inbox"), Waits(2, "log")]), list[Alert]()

    alerts.deliver(outbox, {"inbox": refuse, "log": taken.append}, NOON)

    assert outbox.failed == [(1, NOON + timedelta(minutes=1), "the line is dead second line")]
    assert outbox.sent_ids == [2]


def test_a_channel_that_stumbles_over_an_alert_keeps_nobody_from_their_turn() -> None:
    """Whatever it raises, and however little it says."""

    def stumble(_alert: Alert) -> None:
        raise TimeoutError

    outbox, taken = Outbox([Waits(1, "inbox"), Waits(2, "log")]), list[Alert]()

    alerts.deliver(outbox, {"inbox": stumble, "log": taken.append}, NOON)

    assert outbox.failed == [(1, NOON + timedelta(minutes=1), "TimeoutError")]
    assert outbox.sent_ids == [2]


def test_a_channel_that_has_to_time_out_does_so_once() -> None:
    """The others of that channel stay due, and come first when the first one is put off."""
    outbox = Outbox([Waits(id_, "inbox", replace(ALERT, key=f"wave {id_}")) for id_ in (1, 2, 3)])

    alerts.deliver(outbox, {"inbox": refuse}, NOON)

    assert [id_ for id_, _, _ in outbox.failed] == [1]


@pytest.mark.parametrize(("attempts", "minutes"), [(0, 1), (1, 2), (5, 32), (9, 360), (500, 360)])
def test_the_pause_grows_up_to_six_hours(attempts: int, minutes: int) -> None:
    outbox = Outbox([Waits(1, "inbox", attempts=attempts)])

    alerts.deliver(outbox, {"inbox": refuse}, NOON)

    assert outbox.failed[0][1] == NOON + timedelta(minutes=minutes)


def test_an_alert_for_a_channel_that_is_no_more_is_given_up() -> None:
    """Whoever has taken the channel out of the configuration does not want it there."""
    outbox = Outbox([Waits(1, "pigeon")])

    alerts.deliver(outbox, {}, NOON)

    assert (outbox.sent, outbox.failed, outbox.moot) == ([], [], [1])


def test_of_several_about_one_incident_the_newest_is_delivered() -> None:
    opened, grown = replace(ALERT, key="opened 1 1"), replace(ALERT, key="escalated 1 2")
    outbox, taken = Outbox([Waits(1, "inbox", opened, NOON + HOUR), Waits(2, "inbox", grown)]), list[Alert]()

    alerts.deliver(outbox, {"inbox": taken.append}, NOON)

    assert (taken, outbox.moot, outbox.waiting) == ([grown], [1], [])


def test_an_alert_is_not_moot_before_the_newer_one_has_arrived() -> None:
    opened, grown = replace(ALERT, key="opened 1 1"), replace(ALERT, key="escalated 1 2")
    outbox = Outbox([Waits(1, "inbox", opened), Waits(2, "inbox", grown)])

    alerts.deliver(outbox, {"inbox": refuse}, NOON)

    assert ([id_ for id_, _, _ in outbox.failed], outbox.moot) == ([2], [])


def test_of_a_group_each_channel_gets_it_and_only_the_one_that_failed_gets_it_again() -> None:
    outbox, taken = Outbox([Waits(1, "notify")]), list[Alert]()
    group = {"notify:a": taken.append, "notify:b": refuse}

    alerts.deliver(outbox, {}, NOON, {"notify": lambda: group})
    assert (len(taken), len(outbox.failed)) == (1, 1)

    alerts.deliver(outbox, {}, NOON + HOUR, {"notify": lambda: {**group, "notify:b": taken.append}})
    alerts.deliver(outbox, {}, NOON + 2 * HOUR, {"notify": lambda: group})
    assert (len(taken), len(outbox.failed), outbox.waiting) == (2, 1, [])


def test_a_group_whose_secret_is_out_of_reach_is_asked_again_later() -> None:
    """Until then nothing is lost; and nobody is asked while there is nothing to say."""
    asked: list[str] = []

    def locked() -> dict[str, alerts.Channel]:
        asked.append("for the secret")
        raise CredentialError("the keyring is locked")

    outbox, taken = Outbox([Waits(1, "notify"), Waits(2, "log")]), list[Alert]()
    for when in (NOON, NOON):
        alerts.deliver(outbox, {"log": taken.append}, when, {"notify": locked})
    assert (len(asked), len(taken)) == (1, 1)
    assert outbox.failed == [(1, NOON + timedelta(minutes=1), "the keyring is locked")]

    alerts.deliver(outbox, {}, NOON + HOUR, {"notify": lambda: {"notify:a": taken.append}})
    assert len(taken) == 2


def test_an_alert_for_an_address_that_was_taken_out_is_given_up() -> None:
    outbox, taken = Outbox([Waits(1, "notify:old"), Waits(2, "notify:new")]), list[Alert]()

    alerts.deliver(outbox, {}, NOON, {"notify": lambda: {"notify:new": taken.append}})

    assert (len(taken), outbox.moot, outbox.waiting) == (1, [1], [])


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
    findings = Findings(
        causes=((Cause.USER_UNKNOWN, 300), (Cause.MAILBOX_FULL, 47)),
        tally=Tally(bounces=347, forged=330, with_id=312, not_in_sent=312, refused_as_forged=41, blocked=1),
        signs=tuple(Sign),
        provider="Microsoft",
        dead=("bo@example.net",),
    )
    alert = write(notice, WAVE, Reader("ana@example.org", "Mail delivery failed", language), findings)
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
