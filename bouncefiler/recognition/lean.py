"""Which messages are worth reading: decided for each message of a folder from four header fields as they stand.

It may say yes too often, that costs 8 KiB; it must not say no to a bounce. Automatic answers are worth it, too, as far
as their subject says what they are: those to mail that was never sent are signs of forgery.

This runs for every message, so many are looked at in one go, as one text: there is no step in Python for a message
that says nothing. The beginnings of words are one regular expression, a tree of letters, on a text in which every word
has a capital and nothing else has: only there is it tried, and it goes on only where the next letter fits.
"""

from __future__ import annotations

import binascii
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from bouncefiler.recognition.text import decode_header, fold

_STEM = 5
_STEMS = frozenset(
    stem[:_STEM]
    for stem in (
        # From and Message-ID: daemons, and what servers call themselves
        "daemo", "postm", "poost", "maile", "mdaem", "admin", "ndr", "smtp", "antiv", "inetg", "couri", "dion",
        "auone",
        # Subject, in the languages of rules/languages
        "deliv", "undel", "nonde", "retur", "failu", "faile", "rejec", "delay", "canno", "unabl", "bounc", "block",
        "aws", "notif", "warni",
        "virus", "banne", "unkno", "notic", "redel", "devol", "devue", "entre", "falha", "falho", "rebot", "remis",
        "echec", "recap", "conse", "manca",
        "zuste", "unzus", "nicht", "fehlg", "bestel", "onbes", "bezor", "onbez", "lever", "olevere", "toimi",
        "dosta", "niedo", "nedor", "dorue",
        "tesli", "iletil", "ileti", "kezbe", "livra", "nelivr", "kohal", "zwrot", "kunne", "kunde", "nie", "oleve",
        "uleve", "ikke",
        "unzug", "uberm", "verzo", "ruckl", "rucks", "rueck",  # de
        "retar", "introuv",  # fr
        "rechaz", "demor", "retras", "fallid",  # es
        "respin", "ritar",  # it
        "afgel", "vertr", "geret",  # nl
        "forse", "fordr", "missl", "misly", "forsi",  # sv, da, nb
        "viivas", "palaut", "epaon", "voitu",  # fi
        "zwroc", "opozn", "doruc", "dorec", "vrace", "zpozd", "opozd", "nepod",  # pl, cs
        "vrate", "onesk",  # sk
        "sikertelen", "kesle", "vissza", "nelivr", "netrans", "intar", "esuat",  # hu, ro
        "gecik", "iade",  # tr
        "edast", "ebaon", "lliur", "endar",  # et, ca
        "atras", "adiad",  # pt
        # Subject: automatic answers and challenges, which count when they answer what was never sent
        "autom", "absen", "ausen", "abwes", "afwez", "spama", "boxbe", "blueb", "frava", "nieob", "nepri",
    )
)  # fmt: skip
"""What words begin with, or what they are if it is shorter than this: the first letters are enough."""

_MARKS = (b"mailer", b"daemon", b"postmaster", b"mailservice", b"autoreply", b"error in", b"microsoftexchange")
"""What may also stand within a word."""

_MARKS_OF_WORDS = (
    "/report", "mail system", "mail router", "mail service", "mail_service", "content-filter", "@sns.",
    "not member", "error sending", "mail error", "post_master", "microsoft outlook", "out of office",
    "auto-reply", "report-type", "could not", "from: <>", 'from: ""',
)  # fmt: skip
"""Marks whose last word begins where a word begins."""

_FOREIGN_MARKS = (
    # Russian, Ukrainian, Bulgarian
    "достав", "ошибк", "возвра", "поверн", "не удал", "не отправл", "не вдал", "отложен", "задерж", "затрим",
    "відкладен", "върна", "неуспеш", "забаве", "отклон", "отверг", "відхил", "почтовая сист", "почтовый роб",
    "поштова сист",
    # Chinese, Japanese, Korean
    "退", "投递", "投遞", "传递", "傳遞", "传输", "送达", "送達", "寄达", "邮件发送", "郵件傳送", "无法", "無法",
    "失败", "失敗", "未能", "延迟", "延遲", "送信", "返送", "配信", "配送", "配達", "未達", "不達", "遅延", "宛先不明",
    "エラー", "届", "見つか", "転送エ", "拒", "배달", "반송", "전송", "발송", "실패", "전달", "지연", "되돌아", "리턴",
    "거부",
    # Greek, Thai, Vietnamese, Hebrew, Arabic, Hindi
    "παραδ", "αποτυχ", "απετυχ", "αδυνα", "ανεπιδ", "σφαλμα", "επιστρ", "δεν στα", "καθυστ", "συστημα ηλεκ",
    "ไม่สามารถ", "ตีกลับ", "ส่งคืน", "ส่งกลับ", "ส่งไม่", "นำส่ง", "ระบบส่ง", "การส่ง", "ล้มเหลว", "ล่าช้า", "không", "gửi",
    "מסיר", "לא ניתן", "נמסר", "הודע", "הוחזר", "חוזר", "נכשל", "כשל", "שגיא", "עיכוב", "עוכב", "מושה", "מערכת הדואר",
    "מערכת דואר", "تعذر", "فشل", "تسليم", "توصيل", "لم يتم", "لم تصل", "مرتجع", "معاد", "إرجاع", "غير قابل", "متأخر",
    "مؤجل", "تأخير", "نظام البريد", "वितर", "सुपुर्द", "डिलीवर", "नहीं भेजा", "संदेश वापस", "विलंबित",
    # automatic answers
    "автоматич", "автоответ", "відсутн", "отсъств", "自动回复", "自動回覆", "自動返信", "自動応答", "不在",
    "자동", "부재",
    "αυτοματ", "อัตโนมัติ", "tự động", "אוטומט", "תגובה", "تلقائ", "آلي", "रद अन", "स्वचालित",
    "não", "échec", "nedoruč", "nie można", "nu s-a", "kézbes", "kézbesít", "levér", "olevererbar",
)  # fmt: skip

_APART = b"\0\n"
"""Stands before each message, and after the last one."""

_DIGITS_AS_LETTERS = bytes(ord("q") if octet in b"0123456789" else octet for octet in range(256))
"""For bytes.title a digit ends a word, for us it is a part of it. No word of ours has this letter."""


def _of_stem(stem: str) -> tuple[str, ...]:
    whole = () if len(stem) == _STEM else ("(?![a-z])",)
    return (*stem.title(), *whole)


def _of_mark(mark: str) -> tuple[str, ...]:
    """Return the letters of the mark's last word, then a look back at what comes before it, and what comes after."""
    ((before, word, after),) = _LAST_WORD(mark.title())
    first = f"[{before[0]}{before[0].lower()}]" if before else ""
    return (*word, f"(?<={first}{re.escape(before[1:])}{word}){re.escape(after)}")


def _tree(words: Iterable[Sequence[str]]) -> str:
    """Return an expression for these words, each in pieces, that looks at each letter once."""
    branches: dict[str, list[Sequence[str]]] = {}
    for first, *rest in words:
        branches.setdefault(first, []).append(rest)
    ways = [first + (_tree(rests) if all(rests) else "") for first, rests in sorted(branches.items())]
    return ways[0] if len(ways) == 1 else f"(?:{'|'.join(ways)})"


_LAST_WORD = re.compile(r"(.*?)([A-Za-z]+)([^A-Za-z]*)\Z").findall
_EMPTY_FROM = (*"From", r"(?<=\nFrom)(?=:(?:[^@\n]*<>|[ \t]*\r?\n(?![ \t])|\s*\0))")
_WORDS = re.compile(_tree((*map(_of_stem, _STEMS), *map(_of_mark, _MARKS_OF_WORDS), _EMPTY_FROM)).encode()).search
_BETWEEN_WORDS = re.compile(rb"\?=\s{1,80}=\?").sub
_UTF8_WORD = re.compile(rb"=\?utf-8\?(?:b\?([A-Za-z0-9+/]{0,2000}={0,2})|q\?([^?\n]{0,2000}))\?=", re.IGNORECASE).sub
_FOREIGN = re.compile(_tree([re.escape(letter) for letter in fold(mark)] for mark in _FOREIGN_MARKS)).search


def suspects(messages: Sequence[bytes]) -> set[int]:
    """Say which of these, by their place, may be bounces: each is given by From, Subject, Content-Type and Message-ID.

    The fields are as the server sent them. Never raises, whatever the octets.
    """
    text, ends = _together(messages)
    found, empty = _speaking(text, ends)
    coded = _coded(messages, text, ends) - found - empty
    empty.update(place for place, fields in enumerate(messages) if b"From:" not in fields and _lacks_from(fields))
    return found | empty | _foreign(messages, sorted(coded))


def suspect(fields: bytes) -> bool:
    """Say the same of a single message."""
    return bool(suspects((fields,)))


def _together(messages: Sequence[bytes]) -> tuple[bytes, list[int]]:
    """Return one text, and where in it each message ends."""
    lengths = (len(fields) + len(_APART) for fields in messages)
    return _APART.join((b"", *messages, b"")), list(accumulate(lengths, initial=len(_APART)))[1:]


def _speaking(text: bytes, ends: Sequence[int]) -> tuple[set[int], set[int]]:
    """Return which messages have a word or mark of ours, and which of the others a From field without an address."""
    found: set[int] = set()
    empty: set[int] = set()
    words = text.translate(_DIGITS_AS_LETTERS).title()
    at = 0
    while match := _WORDS(words, at):
        place, at = bisect_right(ends, match.start()), match.end()
        if match[0] == b"From":
            empty.add(place)
        else:
            found.add(place)
            at = ends[place]
    lower = text.lower()
    for mark in _MARKS:
        found.update(_places(lower, mark, ends))
    return found, empty


def _places(text: bytes, mark: bytes, ends: Sequence[int]) -> Iterator[int]:
    at = text.find(mark)
    while at >= 0:
        place = bisect_right(ends, at)
        yield place
        at = text.find(mark, ends[place])


def _coded(messages: Sequence[bytes], text: bytes, ends: Sequence[int]) -> set[int]:
    """Return which messages have more to say than can be read in them as they stand."""
    coded = {*_places(text, b"=?", ends), *_places(text, b"\x1b$", ends)}
    if not text.isascii():
        coded.update(place for place, fields in enumerate(messages) if not fields.isascii())
    return coded


def _lacks_from(fields: bytes) -> bool:
    return b"from:" not in fields.lower()


def _foreign(messages: Sequence[bytes], coded: Sequence[int]) -> set[int]:
    """Return which of these say something when they are decoded: words may come with accents, without, in pieces."""
    texts = [fold(_decoded(messages[place])) for place in coded]
    found, _ = _speaking(*_together([text.encode("utf-8", "replace") for text in texts]))
    found.update(number for number, text in enumerate(texts) if _FOREIGN(text))
    return {coded[number] for number in found}


def _decoded(fields: bytes) -> str:
    """Decode what is encoded, by a shorter way where that is UTF-8; the rest of the fields has been looked at."""
    if b"\x1b" in fields or not fields.isascii():
        return decode_header(fields)
    try:
        octets = _UTF8_WORD(_decoded_word, _BETWEEN_WORDS(b"?==?", _with_words(fields)))
        text = octets.decode()
    except ValueError:
        return decode_header(fields)
    return decode_header(fields) if b"=?" in octets or b"\x1b" in octets else text


def _decoded_word(word: re.Match[bytes]) -> bytes:
    return binascii.a2b_qp(word[2], header=True) if word[1] is None else binascii.a2b_base64(word[1])


def _with_words(fields: bytes) -> bytes:
    """Return the lines from the first encoded word to the last one."""
    start = fields.rfind(b"\n", 0, fields.find(b"=?")) + 1
    end = fields.find(b"\n", fields.rfind(b"?="))
    return fields[start : end if end > start else None]
