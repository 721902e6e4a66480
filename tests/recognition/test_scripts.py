"""Bounces in other scripts than the Latin: charsets, subjects as mail programs write them, and what hangs on words."""

import base64
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bouncefiler.recognition.lean import suspect
from bouncefiler.recognition.rule import Facts
from bouncefiler.recognition.rulebook import Rulebook, load, read_tables
from bouncefiler.recognition.tables import Tables
from bouncefiler.recognition.text import decode, decode_header, fold
from bouncefiler.recognition.verdict import Kind
from tests.recognition.samples import Sample, all_samples, verdict_of

RULES = Path(__file__).parents[2] / "bouncefiler" / "recognition" / "rules"
LANGUAGES = ("ar", "bg", "el", "he", "hi", "ja", "ko", "ru", "th", "uk", "zh")

CHARSETS = {  # what mail calls it, and what Python does
    "koi8-r": ("koi8-r", "Недоставленное сообщение"),
    "koi8-u": ("koi8-u", "Не вдалося доставити: Протокол зборів"),
    "windows-1251": ("cp1251", "Не удается доставить: Протокол"),
    "iso-8859-7": ("iso8859-7", "Μη παραδοτέο: Πρακτικά"),
    "windows-1253": ("cp1253", "Η παράδοση απέτυχε"),
    "windows-1255": ("cp1255", "לא ניתן למסירה: פרוטוקול"),
    "iso-8859-8-i": ("iso8859-8", "ההודעה הוחזרה לשולח"),
    "windows-1256": ("cp1256", "تعذر التسليم: محضر"),
    "iso-8859-6": ("iso8859-6", "فشل تسليم الرسالة"),
    "tis-620": ("cp874", "ไม่สามารถส่งได้: รายงาน"),
    "windows-874": ("cp874", "การส่งอีเมลล้มเหลว: รายงานการประชุม"),
    "gb2312": ("gb2312", "系统退信"),
    "gbk": ("gbk", "邮件投递失败通知"),
    "gb18030": ("gb18030", "无法送达: 会议记录"),
    "big5": ("big5", "無法傳遞: 會議記錄"),
    "euc-kr": ("euc-kr", "배달되지 않음: 회의록"),
    "ks_c_5601-1987": ("cp949", "메일 발송 실패 안내"),
    "shift_jis": ("cp932", "メールを配信できません"),
    "euc-jp": ("euc-jp", "メールを配信できません"),
    "iso-2022-jp": ("iso2022-jp", "メールを配信できません"),
    "utf-8": ("utf-8", "संदेश वितरित नहीं हुआ"),
}
each_charset = pytest.mark.parametrize("charset", CHARSETS)


def table(language: str) -> dict[str, list[dict[str, dict[str, dict[str, list[str]]]]]]:
    """Return the rows of a language."""
    return tomllib.loads((RULES / "languages" / f"{language}.toml").read_text("utf-8"))


def literals(rows: list[dict[str, dict[str, dict[str, list[str]]]]], field: str) -> Iterator[tuple[str, str]]:
    """Yield (row, literal) of what rows look for in a field."""
    for row in rows:
        yield from ((str(row["name"]), literal) for literal in row["when"].get(field, {}).get("contains", ()))


def without_languages() -> Rulebook:
    """Return our tables as they would be if nobody had written down any language."""
    files = (*RULES.glob("*.toml"), *(RULES / "formats").glob("*.toml"))
    return read_tables(
        {
            f"{'formats/' * (file.parent.name == 'formats')}{file.stem}": tomllib.loads(file.read_text("utf-8"))
            for file in sorted(files)
        }
    )


# -- charsets


@each_charset
@pytest.mark.parametrize("encoding", ["B", "Q"])
def test_subject_is_understood_wherever_its_encoded_words_are_cut(charset: str, encoding: str) -> None:
    """Many senders cut a subject every so many octets, also within a character (against RFC 2047, 5)."""
    codec, subject = CHARSETS[charset]
    octets = subject.encode(codec)

    for cut in range(1, len(octets)):
        words = [
            base64.b64encode(part) if encoding == "B" else b"".join(b"=%02X" % octet for octet in part)
            for part in (octets[:cut], octets[cut:])
        ]
        field = b"\n ".join(b"=?" + charset.encode() + b"?" + encoding.encode() + b"?" + word + b"?=" for word in words)
        assert decode_header(field) == subject, f"cut after {cut} octets"
        assert suspect(b"From: x@example.org\nSubject: " + field + b"\n")


@each_charset
def test_subject_that_nobody_encoded_is_understood(charset: str) -> None:
    """Old programs put the octets into the field as they are, and nothing says of which charset they are."""
    codec, subject = CHARSETS[charset]
    octets = subject.encode(codec)

    assert decode_header(octets) == subject
    assert suspect(b"From: x@example.org\nSubject: " + octets + b"\n")


@each_charset
@pytest.mark.parametrize("declared", ["us-ascii", "iso-8859-1", "utf-8", "", "unknown-8bit"])
def test_text_of_a_wrong_charset_is_understood(charset: str, declared: str) -> None:
    """Gateways label what they do not know as something western."""
    codec, subject = CHARSETS[charset]

    assert decode(subject.encode(codec), declared) == subject


@pytest.mark.parametrize(
    "text",
    [
        "Notificação",
        "não é possível",
        "Échec de la remise",
        "Grüße",
        "café",
        "à côté déjà vu",
        "É À Ô",
        "“Olá” – ça va",
    ],
)
def test_western_text_stays_western(text: str) -> None:
    """Accents in pairs are no Chinese, and capitals with accents no Thai."""
    assert decode(text.encode("cp1252")) == text


@pytest.mark.parametrize(
    "octets",
    [b"\xc3\xa1", b"\xc2\xb0\xc3\xa4", b"caf\xe9"],
)
def test_declared_charset_comes_before_utf8_that_it_only_resembles(octets: bytes) -> None:
    """Two octets of EUC can be UTF-8 of an accented letter; and one octet at the end is no cut character."""
    declared = "euc-kr" if octets != b"caf\xe9" else "iso-8859-1"

    assert decode(octets, declared) == octets.decode("euc-kr" if declared == "euc-kr" else "latin-1")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("לֹא נִמְסְרָה", "לא נמסרה"),
        ("تعذّر التسليمُ", "تعذر التسليم"),
        ("تعــذر", "تعذر"),
        ("\u200fלא ניתן\u200e למסירה\u202c", "לא ניתן למסירה"),
        ("邮件无法\n送达", "邮件无法送达"),
        ("元のメッセージ ヘッダー", "元のメッセージヘッダー"),
        ("ＭＡＩＬ　ＥＲＲＯＲ", "mail error"),
        ("Ёлка ЁЖ", "елка еж"),
    ],
)
def test_what_readers_do_not_see_does_not_count(written: str, meant: str) -> None:
    """Points and lengthening strokes, directions, and where a line of Chinese was broken."""
    assert fold(written) == fold(meant)


# -- tables


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("field", ["subject", "from"])
def test_every_sign_in_a_header_field_is_suspected(language: str, field: str) -> None:
    """What the scan of four fields passes over, nobody ever looks at."""
    passed_over = [
        (row, literal)
        for row, literal in literals(table(language)["sign"], field)
        if not suspect(
            f"From: {literal if field == 'from' else 'x'} <x@example.org>\n"
            f"Subject: {literal if field == 'subject' else 'x'}\n".encode()
        )
    ]

    assert passed_over == []


@cache
def all_phrases() -> Tables:
    """Return the phrases of all languages, the weak ones last."""
    return Tables(load().phrases, load().weak_phrases)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_phrase_says_its_cause(language: str) -> None:
    """No phrase is hidden by one of another cause, of this or of another language."""
    phrases = all_phrases()
    wrong = []
    for row, literal in literals(table(language)["phrase"], "diagnostic_code"):
        facts = Facts({"diagnostic_code": literal}.get)  # type: ignore[arg-type]
        spoke = [rule for rule, _ in phrases.fitting(facts)]
        own = next(rule for rule in spoke if rule.name == f"{language}.{row}")
        if spoke[0].cause is not own.cause:
            wrong.append((row, literal, spoke[0].name))

    assert wrong == []


# -- structure

REPORTS = tuple(
    sample
    for sample in all_samples()
    if sample.folder == "rfc3464" and sample.expected["kind"] in {"failed", "delayed"}
)


@pytest.mark.parametrize("sample", REPORTS, ids=lambda sample: sample.name)
def test_report_needs_no_words(sample: Sample) -> None:
    """Take all languages away, and a report is still a bounce of the same recipients."""
    book = without_languages()
    verdict, bare = verdict_of(sample.raw), verdict_of(sample.raw, rulebook=book)

    assert bare.kind is verdict.kind
    assert [recipient.final_recipient for recipient in bare.recipients] == [
        recipient.final_recipient for recipient in verdict.recipients
    ]


def test_refusal_by_a_daemon_needs_no_words() -> None:
    """Nor does a plain text in which a daemon quotes the reply of a server about a recipient."""
    sample = next(sample for sample in all_samples() if sample.name == "generic/unwritten-language")

    assert verdict_of(sample.raw, rulebook=without_languages()).kind is Kind.FAILED


@pytest.mark.parametrize("folder", ["lookalikes", "imitations", "ordinary"])
def test_nothing_becomes_a_bounce_for_want_of_words(folder: str) -> None:
    """Look-alikes do not turn into bounces when the tables that know them are gone."""
    book = without_languages()
    bounces = [
        sample.name
        for sample in all_samples()
        if sample.folder == folder
        and not Kind(sample.expected["kind"]).is_bounce
        and verdict_of(sample.raw, rulebook=book).kind.is_bounce
    ]

    assert bounces == []


@pytest.mark.parametrize(
    ("prefix", "answer"),
    [
        ("无法送达:", "自动回复:"),
        ("無法傳遞:", "自動回覆:"),
        ("配信不能:", "自動応答:"),
        ("배달되지 않음:", "자동 회신:"),
        ("Не удается доставить:", "Автоматический ответ:"),
        ("Не вдалося доставити:", "Автоматична відповідь:"),
        ("Недоставено:", "Автоматичен отговор:"),
        ("Μη παραδοτέο:", "Αυτόματη απάντηση:"),
        ("לא ניתן למסירה:", "תשובה אוטומטית:"),
        ("تعذر التسليم:", "رد تلقائي:"),
        ("ไม่สามารถส่งได้:", "ตอบกลับอัตโนมัติ:"),
    ],
)
def test_bounce_of_an_automatic_answer_is_a_bounce(prefix: str, answer: str) -> None:
    """And the answer alone is none, though it comes without a reverse-path and names somebody else's address."""
    text = "\n\n550 5.1.1 <bo@example.com>: user unknown\n"
    bounce = f"Return-Path: <>\nFrom: MAILER-DAEMON@mx.example.net\nSubject: {prefix} {answer} Minutes{text}"
    alone = f"Return-Path: <>\nFrom: Bo <bo@example.com>\nSubject: {answer} Minutes{text}"

    assert verdict_of(bounce.encode()).kind is Kind.FAILED
    assert verdict_of(alone.encode()).kind is Kind.AUTOREPLY
