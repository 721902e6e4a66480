"""Short texts say what is needed, and nothing in them can call, link or format."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from bouncefiler.backscatter.advice import WIDTH, Alert, Level, Reader, write
from bouncefiler.backscatter.incident import Diagnosis, Incident, Notice
from bouncefiler.backscatter.letters import BRIEF_CHARS, LONGER_CHARS, brief, notice, trial

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WAVE = Incident(Diagnosis.BACKSCATTER, NOON, NOON, count=347, usual=0.3, total=400, peak=347)


def alert(language: str = "en", folder: str = "Bounces", notice: Notice = Notice.OPENED) -> Alert:
    return write(notice, WAVE, Reader("ana@example.org", folder, language))


@pytest.mark.parametrize(
    ("language", "rest"), [("en", "The full text is in your INBOX."), ("pt_BR", "O texto completo")]
)
def test_the_brief_form_has_the_first_paragraphs_and_says_where_the_rest_is(language: str, rest: str) -> None:
    told = brief(alert(language), language, in_inbox=True)

    first, *_, last = told.body.split("\n\n")
    assert "347" in first
    assert "0.3" in first or "0,3" in first
    assert last.startswith(rest)
    assert len(told.body) <= BRIEF_CHARS + len(last) + 2


def test_more_is_told_where_there_is_no_inbox() -> None:
    told = brief(alert(), "en", in_inbox=False).body

    assert BRIEF_CHARS < len(told) <= LONGER_CHARS + 200
    assert "INBOX" in told.split("\n\n")[-1]


def test_what_is_short_is_told_whole_without_the_signature() -> None:
    told = brief(alert(notice=Notice.CLOSED), "en", in_inbox=True).body

    assert "INBOX" not in told
    assert "Written by" not in told
    assert "It is over." in told


@pytest.mark.parametrize("language", ["en", "pt"])
def test_a_chat_breaks_lines_itself_and_a_list_stays_a_list(language: str) -> None:
    lines = brief(alert(language), language, in_inbox=False).body.split("\n")

    assert max(map(len, lines)) > WIDTH
    assert [line[:2] for line in lines if re.match(r"\d\. ", line)] == ["1.", "2.", "3.", "4.", "5."]


@pytest.mark.parametrize(
    ("word", "harmless"),
    [
        ("@everyone", "@ everyone"),
        ("x@here", "x@ here"),
        ("<!channel>", "‹!channel›"),
        ("<@U024BE7LH>", "‹@ U024BE7LH›"),
        ("[Login](https://evil.example)", "[Login] (https: //evil.example)"),
        ("`rm`", "'rm'"),
        ("<b>", "‹b›"),
        ("ana@example.org", "ana@example.org"),
    ],
)
def test_no_word_of_a_mail_is_more_than_a_word(word: str, harmless: str) -> None:
    """Discord, Slack, Telegram and Matrix act upon these."""
    told = brief(Alert("k", Level.INFO, f"{word} came", f"It was {word} .\n"), "en", in_inbox=True)

    assert told.title == f"{harmless} came"
    assert told.body == f"It was {harmless} ."


@pytest.mark.parametrize(("language", "says"), [("en", "This is only a test."), ("pt", "Isto é só um teste.")])
def test_a_test_says_so_at_once_and_frightens_nobody(language: str, says: str) -> None:
    test = trial(language, "ana@example.org", NOON)

    assert test.level is Level.INFO
    assert test.body.startswith(says)
    assert test.subject == says[:-1]
    assert "ana@example.org" in test.body
    assert max(map(len, test.body.split("\n"))) <= WIDTH
    assert brief(test, language, in_inbox=True).body.count(says) == 1


def test_each_test_is_another_message() -> None:
    assert trial("en", "a@b", NOON).key != trial("en", "a@b", NOON + timedelta(microseconds=1)).key


@pytest.mark.parametrize("language", ["en", "pt_BR"])
@pytest.mark.parametrize("hacked", [True, False])
def test_the_letter_to_contacts_names_the_address_and_has_no_link(language: str, hacked: bool) -> None:
    letter = notice(language, "ana@example.org", hacked=hacked)

    assert "ana@example.org" in letter.body
    assert not re.search(r"[{}]|://|www\.", letter.subject + letter.body)
    assert letter != notice(language, "ana@example.org", hacked=not hacked)
    assert letter != notice("pt" if language == "en" else "en", "ana@example.org", hacked=hacked)


def test_a_letter_in_a_language_that_there_is_not_is_in_english() -> None:
    assert notice("fi", "a@b", hacked=False) == notice("en", "a@b", hacked=False)
