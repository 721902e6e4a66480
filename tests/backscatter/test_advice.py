"""What a person is told reads well, in their language, whatever the figures."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bouncefiler.backscatter.advice import Level, Reader, write
from bouncefiler.backscatter.incident import Diagnosis, Incident, Notice

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WAVE = Incident(
    Diagnosis.BACKSCATTER,
    opened=NOON,
    last_seen=NOON,
    count=1_347,
    usual=0.31,
    total=2_000,
    peak=1_500,
    notified=NOON,
    began=NOON - timedelta(days=2),
)
ANA = Reader("ana@example.org", "Devoluções", "en")


@pytest.mark.parametrize("language", ["en", "pt_BR.UTF-8"])
@pytest.mark.parametrize("diagnosis", Diagnosis)
@pytest.mark.parametrize("notice", Notice)
def test_every_alert_is_whole(notice: Notice, diagnosis: Diagnosis, language: str) -> None:
    """No name is left unfilled, no line is wider than a window, and no paragraph runs into the next."""
    alert = write(notice, replace(WAVE, diagnosis=diagnosis, closed=NOON), replace(ANA, language=language))

    assert not set("{}") & set(alert.subject + alert.body)
    assert max(map(len, alert.body.splitlines())) <= 128
    assert "\n\n\n" not in alert.body
    assert alert.body.endswith(".\n")
    assert "\n" not in alert.subject


def test_figures_are_written_as_the_language_does() -> None:
    english = write(Notice.OPENED, WAVE, ANA)
    portuguese = write(Notice.OPENED, WAVE, replace(ANA, language="pt"))

    assert "1,347 bounces" in english.subject
    assert "about 0.3 a day" in " ".join(english.body.split())
    assert "1.347 devoluções" in portuguese.subject
    assert "cerca de 0,3 por dia" in " ".join(portuguese.body.split())


@pytest.mark.parametrize(
    ("usual", "said"),
    [(None, "not known yet"), (0.0, "hardly ever one"), (2.0, "about 2 a day"), (12.4, "about 12 a day")],
)
def test_what_is_usual_is_said_as_far_as_it_is_known(usual: float | None, said: str) -> None:
    body = " ".join(write(Notice.OPENED, replace(WAVE, usual=usual), ANA).body.split())

    assert said in body


def test_a_single_bounce_is_not_written_as_many() -> None:
    assert "1 bounce in" in write(Notice.REOPENED, replace(WAVE, count=1), ANA).subject


def test_a_hacked_account_is_told_louder_than_a_forged_address_and_a_mailing_not_at_all() -> None:
    levels = {diagnosis: write(Notice.OPENED, replace(WAVE, diagnosis=diagnosis), ANA).level for diagnosis in Diagnosis}

    assert levels == {
        Diagnosis.OWN_MAILING: Level.INFO,
        Diagnosis.BACKSCATTER: Level.WARNING,
        Diagnosis.COMPROMISED: Level.CRITICAL,
    }


def test_the_same_news_has_the_same_key_and_other_news_another() -> None:
    later = replace(WAVE, notified=NOON + timedelta(hours=6))
    keys = [
        write(notice, wave, ANA).key
        for notice, wave in [(Notice.OPENED, WAVE), (Notice.REMINDER, WAVE), (Notice.REMINDER, later)]
    ]

    assert len(set(keys)) == 3
    assert write(Notice.OPENED, replace(WAVE, count=9, total=9), ANA).key == keys[0]


def test_nobody_is_told_to_block_or_answer_bounces() -> None:
    body = " ".join(write(Notice.OPENED, WAVE, ANA).body.split())

    assert "Do not answer the bounces" in body
    assert "do not block" in body
