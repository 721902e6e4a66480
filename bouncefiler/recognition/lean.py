"""Which messages are worth reading: decided for each message of a folder from four header fields as they stand.

It may say yes too often, that costs 8 KiB; it must not say no to a bounce. Words are cut to their first five
letters and
looked up in a set: a regular expression with as many branches takes ten times as long, and this runs for every
message.
"""

from __future__ import annotations

import re

from bouncefiler.recognition.text import decode_header

_STEM = 5
_STEMS = frozenset(
    stem.encode()
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
    )
    for stem in (stem[:5],)
)  # fmt: skip

_MARKS = tuple(
    mark.encode()
    for mark in (
        "/report", "report-type", "mail system", "mail router", "mail service", "mail_service", "mailservice",
        "content-filter", "@sns.", "not member", "error in",
        "error sending", "mail error", "could not", "from: <>", 'from: ""', "mailer", "daemon", "postmaster",
        "post_master", "microsoftexchange", "microsoft outlook",
    )
)  # fmt: skip

_SPACED = bytes(octet if chr(octet).isalnum() and octet < 128 else 32 for octet in range(256))

_FOREIGN_MARKS = (
    "достав", "ошибка", "возврат", "поверн", "не вдалося",
    "退", "投", "送", "傳遞", "无法", "無法", "失败", "失敗", "配", "エラー", "届", "見つか",
    "배달", "반송", "전송", "실패", "전달",
    "παρ", "αποτυχ", "αδύνατ", "ส่ง", "ไม่สามารถ", "không", "gửi",
    "מסיר", "לא ניתן", "נמסר", "הודע", "تعذر", "فشل", "تسليم",
    "não", "échec", "nedoruč", "nie można", "nu s-a", "kézbes", "kézbesít", "levér", "olevererbar",
)  # fmt: skip

_EMPTY_FROM = re.compile(rb"^from:[^@\n]*<>|^from:[ \t]*\r?\n(?![ \t])|^from:\s*\Z", re.MULTILINE)


def suspect(fields: bytes) -> bool:
    """Say whether a message with these From, Subject, Content-Type and Message-ID fields may be a bounce."""
    lower = fields.lower()
    if _speaks(lower):
        return True
    if b"=?" in lower or b"\x1b$" in lower or not lower.isascii():
        return _foreign(fields)
    return _EMPTY_FROM.search(lower) is not None or b"from:" not in lower


def _speaks(lower: bytes) -> bool:
    stems = {word[:_STEM] for word in lower.translate(_SPACED).split()}
    return not _STEMS.isdisjoint(stems) or any(mark in lower for mark in _MARKS)


def _foreign(fields: bytes) -> bool:
    text = decode_header(fields).lower()
    if any(mark in text for mark in _FOREIGN_MARKS):
        return True
    return _speaks(text.encode())
