"""What a person is told reads well, in their language, whatever the figures."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bouncefiler.backscatter.advice import MAX_ADDRESS, MAX_CAUSES, WIDTH, Level, Reader, write
from bouncefiler.backscatter.diagnosis import Burst, Sign, Tally
from bouncefiler.backscatter.evidence import Findings
from bouncefiler.backscatter.incident import Diagnosis, Incident, Notice
from bouncefiler.recognition.verdict import Cause

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
    assert not re.search(r"[a-zé][0-9A-Z]\w", alert.body)
    assert max(map(len, alert.body.splitlines())) <= WIDTH
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
    [(None, "not known yet"), (0.0, "hardly any"), (2.0, "about 2 a day"), (12.4, "about 12 a day")],
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


def text(notice: Notice, incident: Incident, reader: Reader = ANA) -> str:
    return " ".join(write(notice, incident, reader).body.split())


def test_nobody_is_told_to_block_or_answer_bounces() -> None:
    body = text(Notice.OPENED, WAVE)

    assert "Do not answer the bounces" in body
    assert "do not block" in body


def test_as_long_as_it_is_not_known_which_all_three_explanations_are_given_with_how_to_tell() -> None:
    body = text(Notice.OPENED, WAVE)

    assert "Open your Sent folder" in body
    assert "your address is only being forged" in body
    assert "Change the password" in body
    assert "you have just written to many people" in body


def test_a_hacked_account_is_told_nothing_else_and_also_when_the_bounces_have_stopped() -> None:
    hacked = replace(WAVE, diagnosis=Diagnosis.COMPROMISED)

    assert "Change the password" in text(Notice.OPENED, hacked)
    assert "only being forged" not in text(Notice.OPENED, hacked)
    assert "Change the password" in text(Notice.CLOSED, hacked)
    assert "You need not do anything" not in text(Notice.CLOSED, hacked)


def test_the_end_has_the_totals_and_the_day_on_which_it_all_began() -> None:
    """After it was reopened too."""
    wave = replace(WAVE, closed=NOON, opened=NOON - timedelta(days=9), earlier=600)

    body = text(Notice.CLOSED, wave, replace(ANA, language="pt_BR"))

    assert "Desde 20 de fevereiro de 2026" in body
    assert "recebeu 2.000 devoluções. O máximo em 24 horas foi 1.500." in body


def test_days_are_those_of_the_readers_clock() -> None:
    evening = replace(WAVE, closed=NOON, began=datetime(2026, 3, 1, 1, 30, tzinfo=UTC))

    assert "Since 1 March 2026" in text(Notice.CLOSED, evening)
    assert "Since 28 February 2026" in text(Notice.CLOSED, evening, replace(ANA, zone=ZoneInfo("America/Sao_Paulo")))


def test_causes_are_told_most_frequent_first_and_only_a_few() -> None:
    counted = [(cause, number) for number, cause in enumerate(Cause, 1_000)]
    body = " ".join(write(Notice.OPENED, WAVE, ANA, Findings(causes=tuple(counted))).body.split())

    assert body.count("(1,0") == MAX_CAUSES
    assert body.index("(1,015)") < body.index("(1,014)")
    assert "Why the mail came back" not in text(Notice.OPENED, WAVE)


@pytest.mark.parametrize("language", ["en", "pt"])
@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_words(cause: Cause, language: str) -> None:
    body = write(Notice.OPENED, WAVE, replace(ANA, language=language), Findings(((cause, 7),))).body

    assert " (7)." in " ".join(body.split())


SHOWN = Findings(tally=Tally(bounces=347, forged=330, with_id=312, not_in_sent=312, refused_as_forged=41))
HACKED = replace(WAVE, diagnosis=Diagnosis.COMPROMISED)


def told(incident: Incident, findings: Findings, notice: Notice = Notice.OPENED, language: str = "en") -> str:
    return " ".join(write(notice, incident, replace(ANA, language=language), findings).body.split())


class TestEvidence:
    def test_forged_mail_is_called_that_and_shown_in_numbers(self) -> None:
        body = told(WAVE, SHOWN)

        assert "None of the 312 returned messages that can be looked up is in your Sent folder" in body
        assert "41 times the server that refused the mail says that it did not really come from you" in body
        assert "Nothing shows that somebody is in your account" in body
        assert "Find out which it is" not in body
        assert "To be quite sure" in body

    @pytest.mark.parametrize(
        "tally",
        [
            Tally(bounces=347, with_id=312),
            Tally(bounces=347, forged=2, with_id=2, not_in_sent=2),
            Tally(bounces=347, forged=330, in_sent=1, with_id=312, not_in_sent=311),
            Tally(bounces=347, forged=100, with_id=100, not_in_sent=100),
            Tally(bounces=347, forged=330, with_id=312, not_in_sent=312, provider_signed_unsent=1),
            Tally(bounces=347, forged=330, with_id=312, not_in_sent=312, wrote_to=1),
        ],
    )
    def test_as_long_as_something_speaks_against_it_the_reader_is_asked_to_look(self, tally: Tally) -> None:
        assert "Find out which it is" in told(WAVE, Findings(tally=tally))

    def test_a_message_that_is_in_sent_is_told_beside_those_that_are_not(self) -> None:
        body = told(WAVE, Findings(tally=Tally(bounces=9, with_id=9, in_sent=1, not_in_sent=8)))

        assert "One of the returned messages is in your Sent folder; 8 are not." in body

    @pytest.mark.parametrize(
        ("findings", "said"),
        [
            (Findings(tally=Tally(bounces=9, never_wrote=8)), "8 bounces do not show"),
            (Findings(tally=Tally(bounces=9, wrote_to=1)), "It names somebody whom you have written to"),
            (Findings(tally=Tally(bounces=9)), "do not show which messages they are about"),
            (Findings(tally=Tally(bounces=9, with_id=9), looked_up=False), "Sent folder could not be read"),
        ],
    )
    def test_what_could_not_be_compared_is_said(self, findings: Findings, said: str) -> None:
        assert said in told(WAVE, findings)

    @pytest.mark.parametrize("language", ["en", "pt"])
    @pytest.mark.parametrize("sign", Sign)
    def test_every_sign_of_an_intruder_has_words(self, sign: Sign, language: str) -> None:
        tally = Tally(bounces=70, signed_unsent=47, provider_signed_unsent=47, blocked=1)
        findings = Findings(tally=tally, signs=(sign,), provider="Provider 47", burst=Burst(400, 447, 447, 3.0))
        plain, shown = told(HACKED, Findings(), language=language), told(HACKED, findings, language=language)

        assert "47" in shown
        assert "47" not in plain.replace("1,347", "").replace("1.347", "")

    def test_somebody_who_has_sent_it_all_is_told_that_it_may_be_that(self) -> None:
        tally = Tally(bounces=70, in_sent=70, with_id=70)

        assert "If you sent all of this yourself" in told(HACKED, Findings(tally=tally, signs=(Sign.BURST,)))
        assert "If you sent all of this yourself" not in told(HACKED, Findings(tally=tally, signs=(Sign.BLOCKED,)))

    def test_nothing_of_it_is_said_when_it_is_over(self) -> None:
        assert "Sent folder" not in told(replace(WAVE, closed=NOON), SHOWN, Notice.CLOSED)


class TestOwnMailing:
    MAILING = replace(WAVE, diagnosis=Diagnosis.OWN_MAILING, closed=NOON)

    @pytest.mark.parametrize("notice", [Notice.OPENED, Notice.CLOSED])
    def test_dead_addresses_are_listed_and_the_rest_counted(self, notice: Notice) -> None:
        body = write(notice, self.MAILING, ANA, Findings(dead=tuple(f"r{n}@example.net" for n in range(26)))).body

        assert "\n   r0@example.net\n" in body
        assert "r20@example.net" not in body
        assert "and 6 more. `bouncefiler export --dead` lists them all" in " ".join(body.split())

    def test_an_address_out_of_a_strangers_mail_is_shown_as_plain_text(self) -> None:
        hostile = "{address}\x1b[31m\u202e@example.net\r\nSubject: x" + "a" * 300
        body = write(Notice.OPENED, self.MAILING, ANA, Findings(dead=(hostile,))).body

        assert "{address}?[31m?" not in body
        assert "?address??" in body
        assert max(map(len, body.splitlines())) <= 3 + MAX_ADDRESS
        assert not set("\x1b\u202e\r") & set(body)


def test_the_posture_stands_beside_what_can_be_done_about_it() -> None:
    body = write(Notice.OPENED, WAVE, ANA, replace(SHOWN, posture=("SPF: published {as} it is", "DMARC: none"))).body

    assert "\nSPF: published {as} it is\nDMARC: none\n" in body
    assert "SPF: published" not in write(Notice.OPENED, HACKED, ANA, replace(SHOWN, posture=("SPF: published",))).body


@pytest.mark.parametrize("language", ["de_DE.UTF-8", "C", "", "POSIX"])
def test_other_languages_are_told_in_english(language: str) -> None:
    assert write(Notice.OPENED, WAVE, replace(ANA, language=language)) == write(Notice.OPENED, WAVE, ANA)


def tables(language: str) -> dict[str, Any]:
    files = resources.files("bouncefiler.backscatter")
    return tomllib.loads(files.joinpath("words", f"{language}.toml").read_text("utf-8"))


def leaves(table: Any, path: str = "") -> Iterator[tuple[str, str]]:
    match table:
        case dict():
            for name, part in table.items():
                yield from leaves(part, f"{path}.{name}")
        case list():
            for number, part in enumerate(table):
                yield from leaves(part, f"{path}.{number}")
        case _:
            yield path, str(table)


def names(text: str) -> set[str]:
    return set(re.findall(r"{(\w*)}", text))


def test_both_languages_say_the_same() -> None:
    """Each text is there in both, and fills in the same names."""
    english, portuguese = dict(leaves(tables("en"))), dict(leaves(tables("pt")))

    assert english.keys() == portuguese.keys()
    assert {path: names(text) for path, text in english.items()} == {
        path: names(text) for path, text in portuguese.items()
    }


@pytest.mark.parametrize("language", ["en", "pt"])
def test_sentences_are_short(language: str) -> None:
    """Read aloud to somebody who is worried, a sentence has 25 words at most."""
    for path, part in leaves(tables(language)):
        for sentence in re.split(r"[.:;?!]\s|\n", part):
            assert len(sentence.split()) <= 25, f"{path}: {sentence}"
