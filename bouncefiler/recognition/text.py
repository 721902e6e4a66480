"""Octets to text: charsets (also mislabelled ones), encoded words (RFC 2047), HTML, and folding for comparison.

Nothing here raises, whatever the octets; everything is linear in its input.
"""

from __future__ import annotations

import binascii
import html
import re
import unicodedata
from functools import lru_cache

_CODECS = {
    "utf-8": "utf_8",
    "utf8": "utf_8",
    "unicode-1-1-utf-8": "utf_8",
    "us-ascii": "cp1252",
    "ascii": "cp1252",
    # WHATWG Encoding Standard, 4.2: what mail calls ISO-8859-1 is windows-1252, and so on
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "gb_2312-80": "gb18030",
    "x-gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "euc-kr": "cp949",
    "x-windows-949": "cp949",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "x-euc-jp": "euc_jp",
    "big5": "big5hkscs",
    "x-big5": "big5hkscs",
    "iso-8859-8-i": "iso8859_8",
    "x-mac-roman": "mac_roman",
    "macintosh": "mac_roman",
}
_ALLOWED = re.compile(
    r"(?:iso-?8859-?\d{1,2}|windows-?125\d|cp125\d|cp8\d\d|koi8-[rut]|gb18030|big5-?hkscs|euc-?jp|iso-2022-(?:jp(?:-[123])?|kr)|hz-gb-2312|utf-?7|utf-?16(?:le|be)?)"
)
_STATEFUL = frozenset({"iso2022_jp", "iso2022_jp_1", "iso2022_jp_2", "iso2022_jp_3", "iso2022_kr", "hz", "utf_7"})
_WESTERN = frozenset({"cp1252", "utf_8"})


@lru_cache(maxsize=256)
def _codec(charset: str) -> str | None:
    """Return Python's codec for a charset of mail; None for those that no mail needs (idna, zlib, rot13 …)."""
    name = charset.strip(" \t\"'").lower()
    if name in _CODECS:
        return _CODECS[name]
    if not _ALLOWED.fullmatch(name):
        return None
    if name.startswith("hz"):
        return "hz"
    name = name.replace("windows-", "cp").replace("windows", "cp")
    name = name.replace("iso-2022", "iso2022").replace("iso-8859", "iso8859")
    return name.replace("-", "_")


def decode(octets: bytes, charset: str = "") -> str:
    """Return the text of `octets`: ASCII, else valid UTF-8, else what is declared, else what it looks like."""
    codec = _codec(charset) if charset else None
    if octets.isascii():
        if codec in _STATEFUL:
            return _decode_as(octets, codec) or octets.decode("ascii")
        if b"\x1b$" in octets:
            return _decode_as(octets, "iso2022_jp_2") or octets.decode("ascii")
        return octets.decode("ascii")
    if (text := _utf8(octets)) is not None:
        return text
    if codec is not None and codec not in _WESTERN:
        return _decode_as(octets, codec) or octets.decode("latin-1")
    return _decode_as(octets, _guess(octets)) or octets.decode("latin-1")


def _utf8(octets: bytes) -> str | None:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":  # cut in the middle of a character
            return octets[: error.start].decode("utf-8")
        return None


def _decode_as(octets: bytes, codec: str) -> str:
    try:
        return octets.decode(codec, "replace")
    except (UnicodeError, LookupError):
        return ""


_HIGH = re.compile(rb"[\x80-\xff]+")


def _guess(octets: bytes) -> str:
    """Guess an undeclared 8-bit charset from how its octets are spread."""
    runs = _HIGH.findall(octets)[:500]
    high = b"".join(runs)
    pairs = sum(len(run) >= 2 for run in runs)
    if pairs * 2 < len(runs):
        return "cp1252"
    if sum(octet >= 0xC0 for octet in high) > len(high) * 0.95:  # Cyrillic letters; Chinese ones need more room
        return "koi8_r" if sum(octet < 0xE0 for octet in high) * 2 > len(high) else "cp1251"
    if any(0x82 <= octet <= 0x83 for octet in high):
        return "cp932"
    return "euc_jp" if high.count(0xA4) + high.count(0xA5) > len(high) / 5 else "gb18030"


_ENCODED_WORD = re.compile(r"=\?([!-)+->@-~]{1,60}?)(?:\*[^?]{0,20})?\?([bBqQ])\?([^?\n]{0,2000}?)\?=")
_BETWEEN_WORDS = re.compile(r"(\?=)\s{1,80}(?==\?)")


def decode_header(raw: bytes) -> str:
    """Return the value of a header field: unfolded, encoded words (RFC 2047) decoded, 8-bit text understood."""
    text = " ".join(decode(raw).split())
    if "=?" not in text:
        return text
    out: list[str] = []
    pending: list[tuple[str, bytes]] = []
    end = 0
    text = _BETWEEN_WORDS.sub(r"\1", text)
    for match in _ENCODED_WORD.finditer(text):
        if match.start() > end:
            out.append(_join(pending) + text[end : match.start()])
            pending = []
        word = _from_q(match[3]) if match[2] in "qQ" else _from_b(match[3])
        pending.append((match[1].lower(), word))
        end = match.end()
    out.append(_join(pending) + text[end:])
    return " ".join("".join(out).split())


def _join(words: list[tuple[str, bytes]]) -> str:
    """Decode neighbouring words of one charset together: many senders cut within a character (RFC 2047, 5)."""
    out, start = [], 0
    for index in range(1, len(words) + 1):
        if index == len(words) or words[index][0] != words[start][0]:
            out.append(decode(b"".join(word for _, word in words[start:index]), words[start][0]))
            start = index
    return "".join(out)


def _from_q(word: str) -> bytes:
    return binascii.a2b_qp(word.encode("utf-8", "replace"), header=True)


def _from_b(word: str) -> bytes:
    return from_base64(word.encode("ascii", "ignore"))


_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")


def from_base64(octets: bytes) -> bytes:
    """Decode base64 that may be damaged or cut short."""
    clean = _NOT_BASE64.sub(b"", octets)
    usable = len(clean) - (1 if len(clean) % 4 == 1 else 0)
    return binascii.a2b_base64(clean[:usable] + b"=" * (-usable % 4))


def from_quoted_printable(octets: bytes) -> bytes:
    """Decode quoted-printable (RFC 2045, 6.7)."""
    return binascii.a2b_qp(octets) if b"=" in octets else octets


_BREAKS = frozenset(
    {
        "br", "p", "/p", "div", "/div", "tr", "/tr", "li", "ul", "ol", "table", "/table", "td", "h1", "h2", "h3", "h4",
        "hr", "pre", "/pre", "blockquote", "dt", "dd", "title",
    }
)  # fmt: skip
_SILENT = frozenset(("style", "script", "!--"))
_TAG_NAME = re.compile(r"/?[a-z0-9!-]{1,12}")
_HREF = re.compile(r"""href\s{0,9}=\s{0,9}["']?([^"'\s>]{1,500})""", re.IGNORECASE)


def strip_html(source: str) -> tuple[str, tuple[str, ...]]:
    """Return the text that a reader of this HTML sees, line by line, and the addresses that it links to."""
    out: list[str] = []
    links: list[str] = []
    silent = ""
    verbatim = False
    first, *chunks = source.split("<")
    out.append(first.replace("\n", " "))
    for chunk in chunks:
        tag, closed, rest = chunk.partition(">")
        head = tag[:14].lower()
        if silent:
            if (silent == "!--" and "--" in tag) or head.startswith("/" + silent):
                silent = ""
                out.append(" " + rest)
            continue
        match = _TAG_NAME.match(head)
        name = match[0] if match else ""
        if "@" in tag and "=" not in tag and name not in _BREAKS:
            out.append(f"<{tag}{closed}{rest}")  # an address in angle brackets that nobody escaped
            continue
        if name.startswith("!--"):
            silent = "" if tag.endswith("--") else "!--"
        elif name in _SILENT:
            silent = name
        elif name == "a" and len(links) < 50 and (href := _HREF.search(tag)):
            links.append(href[1])
        verbatim = (verbatim or name == "pre") and name != "/pre"
        if not silent:
            out.append(("\n" if name in _BREAKS else "") + (rest if verbatim else rest.replace("\n", " ")))
    text = "".join(out)
    return (html.unescape(text) if "&" in text else text), tuple(links)


_MARKS = re.compile("[\u0300-\u036f]+")
_SIGNS = str.maketrans(
    {"’": "'", "‘": "'", "`": "'", "´": "'", "“": '"', "”": '"', "–": "-", "—": "-", "\u200b": "", "\xad": "", "ı": "i"}
)


def fold(text: str) -> str:
    """Return `text` as it is compared: lower case, one space between words, no accents on Latin, Greek, Cyrillic."""
    if not text.isascii():
        text = _MARKS.sub("", unicodedata.normalize("NFKD", text.translate(_SIGNS)))
    return " ".join(text.lower().split())
