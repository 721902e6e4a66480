"""Mail that is made to hurt whoever reads it, or whoever reads about it."""

from __future__ import annotations

from collections.abc import Callable

_HEAD = b"Return-Path: <>\nFrom: MAILER-DAEMON@mx.example.net\nSubject: Undelivered Mail Returned to Sender\n"
_STATUS = (
    b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n\n"
    b"Final-Recipient: rfc822; bo@example.com\nAction: failed\nStatus: 5.1.1\n"
)
_WORDS = b"Your message to <bo@example.com> could not be delivered: 550 5.1.1 user unknown\n"

CONTROLS = "\x1b]0;pwned\x07\x1b[2J\x1b[31m\x9b1m\x08\x00\x7f\u202e\u2066\u200b\ufeff\u2028"
"""What a terminal, a log or a reader's eye would obey: escape sequences, BEL, C1, NUL, bidi, zero width, a line end."""

MEGABYTE = 1_000_000


def _nested(media_type: bytes, depth: int) -> bytes:
    levels = (b"--b%d\nContent-Type: %s; boundary=b%d\n\n" % (level, media_type, level + 1) for level in range(depth))
    return _HEAD + b"Content-Type: multipart/mixed; boundary=b0\n\n" + b"".join(levels) + _WORDS


def _attached(depth: int) -> bytes:
    return _HEAD + b"Content-Type: message/rfc822\n\n" * depth + _WORDS


def _parts(number: int) -> bytes:
    head = _HEAD + b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
    return head + b"--b\nContent-Type: text/plain\n\nx\n" * number + b"--b\n" + _STATUS + b"--b--\n"


def _recipients(number: int) -> bytes:
    head = _HEAD + b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n"
    blocks = b"".join(
        b"\nFinal-Recipient: rfc822; bo%d@example.com\nAction: failed\nStatus: 5.1.1\n" % n for n in range(number)
    )
    return head + b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n" + blocks + b"--b--\n"


def _continued(number: int) -> bytes:
    pieces = b"".join(b'; filename*%d*="%%41%d"' % (n, n) for n in range(number))
    return (
        _HEAD + b"Content-Disposition: attachment" + pieces + b"\nContent-Type: text/plain" + pieces + b"\n\n" + _WORDS
    )


def _charsets() -> bytes:
    names = (
        b"zlib_codec",
        b"idna",
        b"unicode_escape",
        b"undefined",
        b"utf-7",
        b"base64",
        b"rot13",
        b"x" * 5_000,
        b"\0",
    )
    words = b" ".join(b"=?%s?B?eJxLSkoGAAJNAScA?= =?%s?Q?=FF=00?=" % (name, name) for name in names)
    parts = b"".join(b"--b\nContent-Type: text/plain; charset=%s\n\n\xff\xfe\x00" % name + _WORDS for name in names)
    return _HEAD + b"X: " + words + b"\nContent-Type: multipart/mixed; boundary=b\n\n" + parts + b"--b--\n"


def _dressed(text: str) -> bytes:
    """Put the text wherever something of a mail is shown: subject, recipient, diagnosis, names."""
    raw = text.encode("utf-8", "surrogateescape")
    return (
        b"Return-Path: <>\nFrom: MAILER-DAEMON@mx.example.net\nSubject: Undelivered Mail " + raw + b"\n"
        b"Message-ID: <" + raw + b"@x>\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
        b"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; " + raw + b"\n\n"
        b"Final-Recipient: rfc822; " + raw + b"@example.com\nAction: failed\nStatus: 5.1.1\n"
        b"Diagnostic-Code: smtp; 550 5.1.1 " + raw + b"\nRemote-MTA: dns; " + raw + b"\n--b--\n"
    )


HOSTILE: dict[str, Callable[[], bytes]] = {
    "10,000 nested multiparts": lambda: _nested(b"multipart/mixed", 10_000),
    "10,000 nested messages": lambda: _attached(10_000),
    "100,000 parts": lambda: _parts(100_000),
    "100,000 recipients": lambda: _recipients(100_000),
    "5,000 RFC 2231 pieces": lambda: _continued(5_000),
    "a header field of 50 MB": lambda: _HEAD + b"X-Long: " + b"a" * (50 * MEGABYTE) + b"\n\n" + _WORDS,
    "50 MB of header fields": lambda: _HEAD + b"X-Many: y\n" * (5 * MEGABYTE) + b"\n" + _WORDS,
    "a folded field of 50 MB": lambda: _HEAD + b"X-Folded: y\n" + b" z\n" * (16 * MEGABYTE) + b"\n" + _WORDS,
    "100,000 encoded words": lambda: _HEAD + b"X-Words: " + b"=?utf-8?q?=41?= " * 100_000 + b"\n\n" + _WORDS,
    "a subject of encoded words": lambda: (
        b"Subject: " + b"=?utf-8?b?QUFB?=\n " * 50_000 + b"\n" + _HEAD + b"\n" + _WORDS
    ),
    "NULs": lambda: b"\0".join(_HEAD.split(b" ")) + b"\n\0" + b"\0".join(_WORDS.split(b" ")) + b"\0" * MEGABYTE,
    "odd charsets": _charsets,
    "20 MB on one line": lambda: _HEAD + b"\n" + _WORDS + b"<" * (20 * MEGABYTE),
    "addresses without end": lambda: _HEAD + b"To: " + b"a@b.example, " * MEGABYTE + b"\n\n" + _WORDS,
    "control characters": lambda: _dressed(CONTROLS.replace("\u2028", "")),
    "CR in header fields": lambda: _dressed("x\rBcc: eve@example.com\rX: y"),
    "HTML": lambda: _dressed("<script>alert(1)</script><img src=x onerror=alert(1)>"),
    "a formula": lambda: _dressed("=cmd|'/c calc'!A1"),
    "lone surrogates": lambda: _dressed("\udcff\udcfe\udc80"),
}
"""By name, what makes each: some are large."""
