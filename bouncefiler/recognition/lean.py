"""Which messages are worth reading: decided for each message of a folder from four header fields as they stand.

It may say yes too often, that costs 8 KiB; it must not say no to a bounce. Automatic answers are worth it, too, as far
as their subject says what they are: those to mail that was never sent are signs of forgery. Words are cut to their
first five letters and looked up in a set, marks are looked for one by one: a regular expression with as many branches
takes ten times as long, and this runs for every message.
"""

from __future__ import annotations

import re

from bouncefiler.recognition.text import decode_header, fold

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
    for stem in (stem[:5],)
)  # fmt: skip

_MARKS = tuple(
    mark.encode()
    for mark in (
        "mailer", "daemon", "postmaster", "report-type", "could not", "from: <>", 'from: ""', "error in",
        "microsoftexchange", "mailservice", "autoreply",
    )
)  # fmt: skip

_MARKS_OF_STEMS = (
    b"/report", b"mail system", b"mail router", b"mail service", b"mail_service", b"content-filter", b"@sns.",
    b"not member", b"error sending", b"mail error", b"post_master", b"microsoft outlook", b"out of office",
    b"auto-reply",
)  # fmt: skip
"""Marks whose last word is long, or ends where a word ends: looked for only when a word begins as that one does."""

_SPACED = bytes(octet if chr(octet).isalnum() and octet < 128 else 32 for octet in range(256))

_MARKED_STEMS = frozenset(mark.translate(_SPACED).split()[-1][:_STEM] for mark in _MARKS_OF_STEMS)

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

_FOLDED_MARKS = tuple(fold(mark) for mark in _FOREIGN_MARKS)
_PLAIN_FOLDED_MARKS = tuple(mark for mark in _FOLDED_MARKS if mark.isascii())

_EMPTY_FROM = re.compile(rb"\nfrom:(?:[^@\n]*<>|[ \t]*\r?\n(?![ \t])|\s*\Z)")


def suspect(fields: bytes) -> bool:
    """Say whether a message with these From, Subject, Content-Type and Message-ID fields may be a bounce."""
    lower = fields.lower()
    if _speaks(lower):
        return True
    if b"=?" in lower or b"\x1b$" in lower or not lower.isascii():
        return _foreign(fields)
    return b"from:" not in lower or _EMPTY_FROM.search(b"\n" + lower) is not None


def _speaks(lower: bytes) -> bool:
    stems = [word[:_STEM] for word in lower.translate(_SPACED).split()]
    if not _STEMS.isdisjoint(stems):
        return True
    for mark in _MARKS:
        if mark in lower:
            return True
    return not _MARKED_STEMS.isdisjoint(stems) and any(mark in lower for mark in _MARKS_OF_STEMS)


def _foreign(fields: bytes) -> bool:
    text = fold(decode_header(fields))  # words may come with accents, without, or in pieces
    if any(mark in text for mark in (_PLAIN_FOLDED_MARKS if text.isascii() else _FOLDED_MARKS)):
        return True
    return _speaks(text.encode())
