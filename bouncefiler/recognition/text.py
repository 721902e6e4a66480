"""Octets to text: charsets (also mislabelled ones), encoded words (RFC 2047), HTML, and folding for comparison.

Nothing here raises, whatever the octets; everything is linear in its input.
"""

from __future__ import annotations

import binascii
import html
import re
import unicodedata
from functools import cache, lru_cache

_CODECS = {
    "utf-8": "utf_8",
    "utf8": "utf_8",
    "unicode-1-1-utf-8": "utf_8",
    "unicode-1-1-utf-7": "utf_7",  # the SMTP service of Windows writes its notices in it
    "us-ascii": "cp1252",
    "ascii": "cp1252",
    "ansi_x3.4-1968": "cp1252",
    # WHATWG Encoding Standard, 4.2: what mail calls ISO-8859-1 is windows-1252, and so on
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "latin1": "cp1252",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "tis-620": "cp874",
    "tis620": "cp874",
    "windows-874": "cp874",
    "x-windows-874": "cp874",
    "gb2312": "gb18030",
    "gb-2312": "gb18030",
    "gbk": "gb18030",
    "gb_2312-80": "gb18030",
    "chinese": "gb18030",
    "csgb2312": "gb18030",
    "euc-cn": "gb18030",
    "cn-gb": "gb18030",
    "x-gbk": "gb18030",
    "cp936": "gb18030",
    "ms936": "gb18030",
    "windows-936": "gb18030",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601-1989": "cp949",
    "ks_c_5601": "cp949",
    "ksc5601": "cp949",
    "ksc_5601": "cp949",
    "korean": "cp949",
    "cseuckr": "cp949",
    "euc-kr": "cp949",
    "euckr": "cp949",
    "uhc": "cp949",
    "cp949": "cp949",
    "ms949": "cp949",
    "windows-949": "cp949",
    "x-windows-949": "cp949",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "x-sjis": "cp932",
    "ms_kanji": "cp932",
    "cp932": "cp932",
    "ms932": "cp932",
    "windows-932": "cp932",
    "windows-31j": "cp932",
    "x-euc-jp": "euc_jp",
    "euc_jp": "euc_jp",
    "cseucpkdfmtjapanese": "euc_jp",
    "big5": "big5hkscs",
    "big-5": "big5hkscs",
    "x-big5": "big5hkscs",
    "cn-big5": "big5hkscs",
    "csbig5": "big5hkscs",
    "x-x-big5": "big5hkscs",
    "cp950": "big5hkscs",
    "windows-950": "big5hkscs",
    # Half-width katakana within ISO-2022-JP, which the names "ext" and "50221" stand for, are common in Japanese mail
    "iso-2022-jp": "iso2022_jp_ext",
    "iso-2022-jp-ms": "iso2022_jp_ext",
    "csiso2022jp": "iso2022_jp_ext",
    "cp50220": "iso2022_jp_ext",
    "cp50221": "iso2022_jp_ext",
    "x-windows-50221": "iso2022_jp_ext",
    "csiso2022kr": "iso2022_kr",
    # ISO 8859-6 and -8 with a note on who orders the letters (RFC 1556): visually, implicitly or explicitly
    "iso-8859-8-i": "iso8859_8",
    "iso-8859-8-e": "iso8859_8",
    "iso-8859-6-i": "iso8859_6",
    "iso-8859-6-e": "iso8859_6",
    "hebrew": "iso8859_8",
    "visual": "iso8859_8",
    "arabic": "iso8859_6",
    "asmo-708": "iso8859_6",
    "greek": "iso8859_7",
    "cyrillic": "iso8859_5",
    "koi8": "koi8_r",
    "koi": "koi8_r",
    "cskoi8r": "koi8_r",
    "koi8-ru": "koi8_u",
    "x-cp1251": "cp1251",
    "ibm866": "cp866",
    "x-mac-cyrillic": "mac_cyrillic",
    "x-mac-roman": "mac_roman",
    "macintosh": "mac_roman",
}
_ALLOWED = re.compile(
    r"(?:iso-?8859-?\d{1,2}|windows-?125\d|cp125\d|cp8\d\d|koi8-[rut]|gb18030|big5-?hkscs|euc-?jp|iso-2022-(?:jp(?:-[123])?|kr)|hz-gb-2312|utf-?7|utf-?16(?:le|be)?)"
)
_STATEFUL = frozenset(
    {"iso2022_jp", "iso2022_jp_ext", "iso2022_jp_1", "iso2022_jp_2", "iso2022_jp_3", "iso2022_kr", "hz", "utf_7"}
)
_WESTERN = frozenset({"cp1252", "utf_8"})
_DOUBLE = frozenset({"gb18030", "cp949", "cp932", "euc_jp", "big5hkscs"})


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
        return _seven_bit(octets, codec)
    if (text := _utf8(octets, codec)) is not None:
        return text
    if codec == "iso8859_2":
        codec = _central(octets)
    if codec is not None and codec not in _WESTERN:
        return _decode_as(octets, codec) or octets.decode("latin-1")
    return _decode_as(octets, _guess(octets)) or octets.decode("latin-1")


def _seven_bit(octets: bytes, codec: str | None) -> str:
    if codec in _STATEFUL:
        return _decode_as(octets, codec) or octets.decode("ascii")
    if b"\x1b$)C" in octets:  # RFC 1557
        return _decode_as(octets, "iso2022_kr") or octets.decode("ascii")
    if b"\x1b$" in octets:  # RFC 1468, whatever is declared
        return _decode_as(octets, "iso2022_jp_ext") or octets.decode("ascii")
    return octets.decode("ascii")


def _utf8(octets: bytes, codec: str | None) -> str | None:
    """Return the text if this is UTF-8, perhaps cut in the middle of a character."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        begun = codec == "utf_8" or not octets[: error.start].isascii()
        cut = error.reason == "unexpected end of data" and begun
        return octets[: error.start].decode("utf-8") if cut else None
    if codec in _DOUBLE and max(text) < "\u0800":  # a few words in EUC can pass for UTF-8 of Latin or Hebrew letters
        return _decode_strictly(octets, codec) or text
    return text


def _decode_as(octets: bytes, codec: str) -> str:
    try:
        return octets.decode(codec, "replace")
    except (UnicodeError, LookupError):
        return ""


def _decode_strictly(octets: bytes, codec: str) -> str:
    try:
        return octets.decode(codec)
    except UnicodeDecodeError:
        return ""


_HIGH = re.compile(rb"[\x80-\xff]+")
_LOOKED_AT = 2_000


def _word(letters: bytes) -> bytes:
    """A word of a script that has one octet for each letter: no Latin letter touches it."""
    return rb"(?<![A-Za-z\x80-\xff])(?:" + letters + rb")(?![A-Za-z\x80-\xff])"


def _pairs(characters: bytes) -> bytes:
    """A run of characters of two octets each."""
    return rb"(?<![\x80-\xff])(?:" + characters + rb")(?![\x80-\xff])"


# How words look in each charset that people leave undeclared. Order is important where a word could be two things: the
# first that explains most octets is taken, and the scripts whose words have more rules come first.
_LOOKS = (
    # Hebrew has no letters of two cases; five have a form that stands only at the end of a word
    ("cp1255", _word(rb"(?:[\xe0-\xe9\xeb\xec\xee\xf0-\xf2\xf4\xf6-\xfa]){1,40}[\xe0-\xfa]")),
    # Cyrillic: a letter of any case, then small ones
    ("koi8_u", _word(rb"[\xa3\xa4\xa6\xa7\xad\xb3\xb4\xb6\xb7\xbd\xc0-\xff][\xa3\xa4\xa6\xa7\xad\xc0-\xdf]{1,40}")),
    ("cp1251", _word(rb"[\xa5\xa8\xaa\xaf\xb2-\xb4\xb8\xba\xbf\xc0-\xff][\xb3\xb4\xb8\xba\xbf\xe0-\xff]{1,40}")),
    # Greek: one accent in each word
    (
        "cp1253",
        _word(
            rb"[\xc1-\xd1\xd3-\xd9\xe1-\xfb]{0,20}[\xa2\xb8-\xba\xbc\xbe\xbf\xdc-\xdf\xfc-\xfe][\xe1-\xfb]{0,20}"
        ),
    ),
    # Arabic: windows-1256, ISO 8859-6; both without the octets in which the other has its commonest letters
    ("cp1256", _word(rb"[\xc1-\xd6\xd8-\xdf\xe1\xe3-\xe6\xec\xed]{2,40}")),
    ("iso8859_6", _word(rb"[\xc1-\xda\xe0-\xea]{2,40}")),
    # One character at least that begins with no letter of Latin: French has words such as "érée"
    (
        "cp932",
        _pairs(
            rb"(?:[\xe0-\xea][\x40-\x7e\x80-\xfc]){0,20}[\x81-\x83\x88-\x9f][\x40-\x7e\x80-\xfc]"
            rb"(?:[\x81-\x83\x88-\x9f\xe0-\xea][\x40-\x7e\x80-\xfc]){1,200}"
        ),
    ),
    # A Japanese sentence has kana in it
    (
        "euc_jp",
        _pairs(
            rb"(?:[\xa1\xb0-\xf3][\xa1-\xfe]){0,50}[\xa4\xa5][\xa1-\xf6](?:[\xa1\xa4\xa5\xb0-\xf3][\xa1-\xfe]){0,200}"
        ),
    ),
    ("cp949", _pairs(rb"(?:[\xa1\xb0-\xc8][\xa1-\xfe]){1,200}")),
    # Of the second half of GB 2312 people need few characters; of Big5 many have a second octet below 80
    (
        "gb18030",
        _pairs(
            rb"(?:[\xa1-\xa3\xb0-\xf7][\xa1-\xfe]){0,50}[\xa3\xb0-\xd7][\xa1-\xfe]"
            rb"(?:[\xa1-\xa3\xb0-\xf7][\xa1-\xfe]){0,200}"
        ),
    ),
    (
        "big5hkscs",
        _pairs(
            rb"(?:[\xa1\xa4-\xc6][\xa1-\xfe]){0,50}[\xa4-\xc6][\x40-\x7e]"
            rb"(?:[\xa1\xa4-\xc6\xc9-\xf9][\x40-\x7e\xa1-\xfe]){1,200}"
        ),
    ),
    # Thai: a vowel may stand before its consonant, vowels and tones above or below it
    ("cp874", _word(rb"(?:[\xe0-\xe4]?[\xa1-\xce][\xd1\xd4-\xda\xe7-\xee]{0,2}[\xd0\xd2\xd3\xe5\xe6]?){2,100}")),
)  # fmt: skip


@cache
def _looks() -> tuple[tuple[str, re.Pattern[bytes]], ...]:
    return tuple((codec, re.compile(pattern)) for codec, pattern in _LOOKS)


def _guess(octets: bytes) -> str:
    """Guess an undeclared 8-bit charset: the one in whose words most octets are; windows-1252 when few are."""
    sample = octets[:_LOOKED_AT]
    high = sum(map(len, _HIGH.findall(sample)))
    explained = {codec: sum(map(len, pattern.findall(sample))) for codec, pattern in _looks()}
    best = max(explained, key=lambda codec: explained[codec])
    if explained[best] * 2 > high:
        return best
    return _central(sample) if len(_CENTRAL.findall(sample)) * 20 >= high else "cp1252"


# What Polish and Czech have within words: in windows-1252 their ł is a raised 3, their ě a letter that ends words, and
# their ř one that comes before no accent
_CENTRAL = re.compile(
    rb"(?<=[A-Za-z\xe1\xe9\xed\xf3\xfd])[\xb1\xb3\xb6\xb9\xbe\xbf\xec](?=[a-z\xe1\xe9\xed\xf3\xfd])"
    rb"|[\xe8\xf8][\xe1\xe9\xec\xed\xf9\xfd]"
)
_WINDOWS_LETTERS = re.compile(rb"[\x8a\x8c-\x8f\x9a\x9c-\x9f]")


def _central(octets: bytes) -> str:
    """Return which of the two charsets of Central Europe this is: only one has letters among its control codes."""
    return "cp1250" if _WINDOWS_LETTERS.search(octets) else "iso8859_2"


_ENCODED_WORD = re.compile(r"=\?([!-)+->@-~]{1,60}?)(?:\*[^?]{0,20})?\?([bBqQ])\?([^?\n]{0,2000}?)\?=")
_BETWEEN_WORDS = re.compile(r"(\?=)\s{1,80}(?==\?)")


def decode_header(raw: bytes) -> str:
    """Return the value of a header field: unfolded, encoded words (RFC 2047) decoded, 8-bit text understood."""
    if b"=?" not in raw and b"\x1b" not in raw and raw.isascii():  # the most of them, in a third of the time
        return " ".join(raw.decode("ascii").split())
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
_LINKING = frozenset(("a", "area", "base", "form", "button", "input"))
_HREF = re.compile(r"""(?:href|action)\s{0,9}=\s{0,9}["']?\s{0,9}([^"'\s>]{1,500})""", re.IGNORECASE)


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
        elif name in _LINKING and len(links) < 50 and (href := _HREF.search(tag)):
            links.append(href[1])
        verbatim = (verbatim or name == "pre") and name != "/pre"
        if not silent:
            out.append(("\n" if name in _BREAKS else "") + (rest if verbatim else rest.replace("\n", " ")))
    text = "".join(out)
    return (html.unescape(text) if "&" in text else text), tuple(links)


# Accents; and what Hebrew and Arabic write above and below letters, and to make words longer
_MARKS = re.compile("[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u0640\u064b-\u065f\u0670]+")
_SIGNS = str.maketrans(
    {"’": "'", "‘": "'", "`": "'", "´": "'", "“": '"', "”": '"', "–": "-", "—": "-", "\xad": "", "ı": "i"}
    # Letters that Unicode does not take apart, and people without them on their keyboards do
    | dict(zip("łŁøØđĐßæÆœŒ", ("l", "l", "o", "o", "d", "d", "ss", "ae", "ae", "oe", "oe"), strict=True))
    # What cannot be seen: zero-width characters, directions (Unicode, UAX 9)
    | dict.fromkeys((*"\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u061c", *map(chr, range(0x202A, 0x202F))), "")
    | dict.fromkeys(map(chr, range(0x2066, 0x206A)), "")
)
_SIGN = re.compile(f"[{''.join(map(chr, _SIGNS))}]")
# Chinese and Japanese have no blanks: one between two such characters is where a line was broken
_HAN = "\u3001-\u30ff\u3400-\u9fff"
_BROKEN = re.compile(f"(?<=[{_HAN}]) (?=[{_HAN}])")


def fold(text: str) -> str:
    """Return `text` as it is compared: lower case, one space between words, none between Chinese ones, no accents."""
    if text.isascii():
        return " ".join(text.lower().split())
    words = [word.lower() if word.isascii() and "`" not in word else _folded(word) for word in text.split()]
    return _BROKEN.sub("", " ".join(" ".join(words).split()))


def _folded(word: str) -> str:
    plain = word.translate(_SIGNS) if _SIGN.search(word) else word  # to translate costs much, and seldom changes a word
    return _MARKS.sub("", unicodedata.normalize("NFKD", plain)).lower()
