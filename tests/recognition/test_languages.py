"""Languages help and are not needed: words in any charset and spelling, and structure without any words."""

import tomllib
import unicodedata
from collections.abc import Mapping
from importlib import resources
from typing import Any

import pytest

from bouncefiler.recognition.rulebook import Rulebook, load, read_tables
from bouncefiler.recognition.text import fold
from bouncefiler.recognition.verdict import Cause, Kind
from tests.recognition.samples import Sample, all_samples, row_names, verdict_of

STRUCTURE = ("rfc3464/", "postfix/", "courier/", "opensmtpd/")
"""Folders of mail that a report, or the shape of its layout, gives away."""

_NOTICE = """Return-Path: <>
From: Postzentrale <postmaster@mx.example.net>
To: ana@example.org
Message-ID: <1@mx.example.net>
MIME-Version: 1.0
Content-Type: text/plain{charset}
Content-Transfer-Encoding: 8bit

"""
_WORDS = {
    "de": ("Ihre Nachricht konnte nicht zugestellt werden", "Empfänger unbekannt", "iso-8859-1"),
    "fr": ("Votre message n'a pas pu être remis", "la boîte aux lettres est pleine", "iso-8859-1"),
    "es": ("No se ha podido entregar su mensaje", "buzón lleno", "iso-8859-15"),
    "sv": ("Meddelandet kunde inte levereras till", "brevlådan är full", "iso-8859-1"),
    "da": ("Meddelelsen kunne ikke leveres til", "den vedhæftede fil er ikke tilladt", "iso-8859-1"),
    "pl": ("Wiadomość nie mogła zostać dostarczona", "skrzynka jest pełna", "iso-8859-2"),
    "cs": ("Zpráva nemohla být doručena", "schránka příjemce je plná", "cp1250"),
    "hu": ("Az üzenet nem kézbesíthető", "a postafiók megtelt", "iso-8859-2"),
    "tr": ("İletiniz alıcıya teslim edilemedi", "posta kutusu dolu", "iso-8859-9"),
    "vi": ("Thư của bạn không thể gửi đến", "hộp thư đã đầy", "utf-8"),
}


def notice(language: str, charset: str, said: str, *, in_pieces: bool = False) -> bytes:
    """Return a notice in `charset` that says it is in `said`, nothing when that is empty."""
    failed, why, _ = _WORDS[language]
    text = f"{failed}:\n\nbo@example.com\n{why}\n"
    text = unicodedata.normalize("NFD", text) if in_pieces else text
    head = _NOTICE.format(charset=f"; charset={said}" if said else "")
    return head.encode() + text.encode(charset)


def bare(language: str) -> bytes:
    """Return a notice by somebody who has none of these letters on the keyboard."""
    failed, why, _ = _WORDS[language]
    head = _NOTICE.format(charset="; charset=us-ascii")
    return f"{head}{fold(failed)}:\n\nbo@example.com\n{fold(why)}\n".encode("ascii")


def without_languages() -> Rulebook:
    """Return our tables but those of languages."""
    root = resources.files("bouncefiler.recognition") / "rules"
    tables: dict[str, Mapping[str, Any]] = {}
    for folder, prefix in ((root, ""), (root / "formats", "formats/")):
        for file in folder.iterdir():
            if file.name.endswith(".toml"):
                tables[prefix + file.name.removesuffix(".toml")] = tomllib.loads(file.read_text("utf-8"))
    return read_tables(tables)


@pytest.mark.parametrize("language", _WORDS)
@pytest.mark.parametrize("how", ["declared", "mislabelled", "as-latin", "silent", "decomposed", "bare"])
def test_words_are_understood_in_any_spelling(language: str, how: str) -> None:
    """Right charset, UTF-8 under a wrong name, a wrong name for UTF-8, no name, letters in pieces, no accents."""
    charset = _WORDS[language][2]
    raw = {
        "declared": lambda: notice(language, charset, charset),
        "mislabelled": lambda: notice(language, "utf-8", charset),
        "as-latin": lambda: notice(language, "utf-8", "iso-8859-1"),
        "silent": lambda: notice(language, "utf-8", ""),
        "decomposed": lambda: notice(language, "utf-8", "utf-8", in_pieces=True),
        "bare": lambda: bare(language),
    }[how]()
    verdict = verdict_of(raw)

    assert verdict.kind is Kind.FAILED
    assert verdict.cause not in (None, Cause.UNKNOWN)
    assert {fact.rule.partition(".")[0] for fact in verdict.evidence} & {language}


@pytest.mark.parametrize("language", [name for name, words in _WORDS.items() if words[2].startswith("iso-8859-1")])
def test_latin_octets_called_utf8_are_understood(language: str) -> None:
    """As programs write whose templates somebody saved in another editor."""
    verdict = verdict_of(notice(language, _WORDS[language][2], "utf-8"))

    assert verdict.kind is Kind.FAILED
    assert verdict.cause is not Cause.UNKNOWN


@pytest.mark.parametrize("said", ["", "us-ascii", "iso-8859-1", "iso-8859-2", "windows-1250"])
@pytest.mark.parametrize("charset", ["iso-8859-2", "cp1250"])
@pytest.mark.parametrize("language", ["pl", "cs"])
def test_charsets_of_central_europe_are_told_apart(language: str, charset: str, said: str) -> None:
    """Servers there write either and call it what they like, but for ISO octets that they call windows-1250."""
    if (charset, said) == ("iso-8859-2", "windows-1250"):
        said = "iso-8859-2"
    verdict = verdict_of(notice(language, charset, said))

    assert verdict.kind is Kind.FAILED
    assert verdict.cause is Cause.MAILBOX_FULL


STRUCTURAL = tuple(sample for sample in all_samples() if sample.name.startswith(STRUCTURE))


@pytest.mark.parametrize("sample", STRUCTURAL, ids=lambda sample: sample.name)
def test_kind_and_recipients_need_no_language(sample: Sample) -> None:
    """A report is understood in a language that nobody has written down."""
    rulebook = without_languages()
    with_words, without = verdict_of(sample.raw), verdict_of(sample.raw, rulebook=rulebook)

    assert without.kind is with_words.kind
    assert [who.final_recipient for who in without.recipients] == [who.final_recipient for who in with_words.recipients]


def test_tables_without_languages_have_no_words_of_any() -> None:
    """Or the promise above would be empty."""
    languages = resources.files("bouncefiler.recognition") / "rules" / "languages"
    stems = {file.name.removesuffix(".toml") for file in languages.iterdir()}

    assert not stems & {name.partition(".")[0] for name in row_names(without_languages())}
    assert stems <= {name.partition(".")[0] for name in row_names(load())}
