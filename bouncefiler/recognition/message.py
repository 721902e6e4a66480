"""Octets to Message: header fields, human text, machine-readable part, returned original. Never raises.

A reader of its own instead of the `email` package, which is slower by a factor of ten, recurses, and raises on damaged
mail. It follows RFC 5322 and 2045-2047 for what matters here and forgives everything else: any line ends, a leading
mbox "From " line, missing boundaries, wrong charsets, and mail that was cut short.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import NamedTuple

from bouncefiler.recognition.once import once
from bouncefiler.recognition.text import decode, decode_header, from_base64, from_quoted_printable, strip_html
from bouncefiler.recognition.verdict import Original

MAX_HEADER_OCTETS = 65_536
MAX_SIGNED_OCTETS = 32_768
MAX_TEXT_CHARS = 65_536
MAX_REPORT_OCTETS = 262_144
MAX_DEPTH = 20
MAX_PARTS = 200
MAX_LINE = 2_000

_FIELD = re.compile(rb"^([!-9;-~]{1,80}+)[ \t]{0,9}+:[ \t]*+(.*+(?:\n[ \t].*+)*+)", re.MULTILINE)
_PARAMETER = re.compile(
    rb"""[;\s]\s{0,99}([!-:<-~]{1,40}?)\*?\s{0,9}=\s{0,9}(?:"((?:[^"\\]|\\.){0,300})|([^;\s"]{1,300}))"""
)
_RETURNED = frozenset(
    {
        "message/rfc822",
        "message/global",
        "text/rfc822-headers",
        "message/rfc822-headers",
        "message/global-headers",
        "text/rfc822",
    }
)
_REPORTS = frozenset({"message/delivery-status", "message/global-delivery-status"})
_REPORT_NAME = b"delivery-status"
_SOON_READ = 65_536
_RECEIPTS = frozenset({"message/disposition-notification", "message/global-disposition-notification"})
_KNOWN = _RETURNED | _REPORTS | _RECEIPTS
_PREAMBLE = re.compile(
    rb"(?:\s{0,9}This is a (?:multi-?part message|MIME)[^\n]{0,80}(?=\n))?\n{0,9}(?=\n|)", re.IGNORECASE
)
_LOST_BOUNDARY = re.compile(
    rb"(?:\A|\n|^)--([^\n]{1,99}?)[ \t]*\n(?:[!-9;-~]{1,80}:[^\n]*\n){0,9}?content-", re.IGNORECASE
)


class _Names(dict[bytes, str]):
    """The names of header fields in lower case, as text: the same few come in all mail."""

    def __missing__(self, name: bytes) -> str:
        lower = name.decode("ascii").lower()
        if len(self) < _REMEMBERED:
            self[name] = lower
        return lower


_REMEMBERED = 1_024
_LOWER = _Names()


class Headers:
    """The fields of a header block, by lower-case name, in their order."""

    __slots__ = ("_decoded", "_fields", "_first")

    def __init__(self, block: bytes) -> None:
        self._fields: list[tuple[bytes, bytes]] = _FIELD.findall(block)
        self._first = {_LOWER[name]: value for name, value in reversed(self._fields)}
        self._decoded: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._first

    def __len__(self) -> int:
        return len(self._first)

    @property
    def names(self) -> AbstractSet[str]:
        """The names that occur."""
        return self._first.keys()

    def raw(self, name: str) -> bytes:
        """Return the first field of this name as it stands; empty when there is none."""
        return self._first.get(name, b"")

    def text(self, name: str) -> str:
        """Return the first field of this name, unfolded and decoded; empty when there is none."""
        text = self._decoded.get(name)
        if text is None:
            text = self._decoded[name] = decode_header(self._first[name][:8_000]) if name in self._first else ""
        return text

    def all(self, name: str) -> tuple[str, ...]:
        """Return all fields of this name, at most 50."""
        if name not in self._first:
            return ()
        values = [value for found, value in self._fields if _LOWER[found] == name]
        return tuple([decode_header(value[:8_000]) for value in values[:50]])


class Part(NamedTuple):
    """A leaf of the MIME tree. `ended` is false when the octets stop inside it."""

    headers: Headers
    content_type: str
    body: bytes
    ended: bool
    alternative: int = 0
    """Which multipart/alternative it belongs to; 0 for none."""

    @property
    def attached(self) -> bool:
        """Whether it is a file rather than something to be read."""
        return self.headers.raw("content-disposition").lower().lstrip().startswith(b"attachment")

    @property
    def file_name(self) -> str:
        """The name that a reader would save it under; empty when it has none."""
        disposition = parameter(self.headers.raw("content-disposition"), b"filename")
        name = disposition or parameter(self.headers.raw("content-type"), b"name")
        return decode_header(name.encode("latin-1", "replace")).strip()

    def octets(self, limit: int) -> bytes:
        """Return the body with its transfer encoding undone (RFC 2045, 6), of about `limit` octets at most."""
        match self.headers.raw("content-transfer-encoding").strip().lower()[:20]:
            case b"base64":
                return from_base64(self.body[: limit * 4 // 3 + limit // 20])
            case b"quoted-printable":
                return from_quoted_printable(self.body[: limit * 3])
        return self.body[:limit]

    def text(self, limit: int) -> str:
        """Return the body as text."""
        return decode(self.octets(limit), parameter(self.headers.raw("content-type"), b"charset"))


def parameter(value: bytes, name: bytes) -> str:
    """Return a parameter of a field such as Content-Type, quoted (RFC 2045, 5.1), in pieces (RFC 2231), or ""."""
    if b"=" not in value:
        return ""
    return _remembered_parameter(value, name) if len(value) <= _SHORT else _parameter(value, name)


def _parameter(value: bytes, name: bytes) -> str:
    pieces: list[bytes] = []
    for match in _PARAMETER.finditer(value[:2_000]):
        found_name, _, number = match[1].lower().partition(b"*")
        if found_name == name:
            found = match[2] if match[2] is not None else match[3]
            pieces.append(found.replace(b"\\", b""))
            if not number:
                break
    return b"".join(pieces).decode("latin-1").split("''")[-1]


_SHORT = 200
_remembered_parameter = lru_cache(_REMEMBERED)(_parameter)
"""The parts of all mail have the same few types, and the boundary is asked for more than once."""


class Message:
    """A message, parsed as far as asked: the header block at once, the rest when first looked at."""

    def __init__(self, raw: bytes, *, cut: bool) -> None:
        if raw.startswith((b"From ", b">From ")):
            raw = raw.partition(b"\n")[2]
        block, found, self.body = raw.lstrip(b"\n").partition(b"\n\n")
        self.headers = Headers(block[:MAX_HEADER_OCTETS])
        self.cut = cut
        self._html: dict[int, tuple[int, tuple[str, tuple[str, ...]]]] = {}
        self.header_ended = bool(found)
        self.content_type = media_type(self.headers.raw("content-type"))

    @once
    def parts(self) -> tuple[Part, ...]:
        """The leaves of the MIME tree in their order. What is inside a message/rfc822 is the original, not ours."""
        return tuple(self._walk.leaves)

    @once
    def _walk(self) -> _Walk:
        walk = _Walk()
        walk.visit(Part(self.headers, self.content_type, self.body, not self.cut), 0, 0)
        return walk

    def first(self, types: frozenset[str]) -> Part | None:
        """Return the first part of one of these types."""
        for part in self.parts:
            if part.content_type in types:
                return part
        return None

    @once
    def report(self) -> str:
        """The fields of the delivery-status parts (RFC 3464, 6533), empty when there is none."""
        parts = [part for part in self.parts if part.content_type in _REPORTS]
        return "\n\n".join(part.text(MAX_REPORT_OCTETS) for part in parts[:10])[:MAX_REPORT_OCTETS]

    @once
    def has_report(self) -> bool:
        """Whether there is a delivery-status part."""
        named = "report" in self.content_type or self.content_type in _REPORTS or len(self.body) > _SOON_READ
        if not named and _REPORT_NAME not in self.body.lower():
            return False  # most that is no bounce need not be taken apart
        return self.first(_REPORTS) is not None

    @once
    def returned(self) -> Part | None:
        """The part that holds the returned message or its headers."""
        return self.first(_RETURNED)

    @once
    def files(self) -> tuple[Part, ...]:
        """The parts that are neither text, report nor returned message."""
        others = [part for part in self.parts if part.content_type not in _KNOWN]
        return tuple([part for part in others if part.attached or not part.content_type.startswith("text/")])

    @property
    def begun(self) -> tuple[str, ...]:
        """Of a multipart that was cut behind the header of the returned message: the types of the parts so far.

        Empty for anything else: then more could be missing than further parts.
        """
        if not (self.cut and self.header_ended and self.content_type.startswith("multipart/")):
            return ()
        parts = self._outermost
        if not parts or parts[-1].ended or parts[-1].content_type not in _RETURNED:
            return ()
        if b"\n\n" not in parts[-1].octets(MAX_HEADER_OCTETS).lstrip(b"\n> \t"):
            return ()
        return tuple(part.content_type for part in parts)

    @property
    def _outermost(self) -> Sequence[Part]:
        """The parts of the multipart that the message itself is, by the boundary that its header declares."""
        boundary = parameter(self.headers.raw("content-type"), b"boundary").encode("latin-1")
        if boundary and boundary == self._walk.boundary and len(self.parts) < MAX_PARTS:
            return self._walk.outermost
        if not boundary:
            return ()
        return [_part(chunk, ended=ended) for chunk, ended in split(self.body, boundary, ended=not self.cut)]

    @property
    def attachments(self) -> tuple[str, ...]:
        """Their media types."""
        return tuple(part.content_type for part in self.files)

    @once
    def _words(self) -> tuple[Part, ...]:
        """The parts for people: all that stand before the returned message."""
        words: list[Part] = []
        for part in self.parts:
            if part.content_type in _RETURNED:
                break
            if part.content_type in ("text/plain", "text/html", "text/x-plain", "text") and (
                not part.attached or not words
            ):
                words.append(part)
        return tuple(words)

    @once
    def _texts(self) -> tuple[Part, ...]:
        """The same, of alternatives the plain one."""
        words = self._words
        plain = {part.alternative for part in words if part.content_type != "text/html" and part.body.strip()} - {0}
        return tuple(part for part in words if part.content_type != "text/html" or part.alternative not in plain)

    @once
    def text(self) -> str:
        """The text for people, HTML stripped, at most 64 Ki characters; may hold a returned message at its end."""
        out: list[str] = []
        room = MAX_TEXT_CHARS
        for part in self._texts:
            text = part.text(room)
            out.append(self._stripped(part, text)[0] if _is_html(part, text) else text)
            room -= len(out[-1])
            if room <= 0:
                break
        return _bound_lines("\n\n".join(out)[:MAX_TEXT_CHARS])

    @property
    def text_ended(self) -> bool:
        """Whether all of the text that stands before the returned message has been reached."""
        return not self.cut or (bool(self._texts) and all(part.ended for part in self._texts))

    @once
    def links(self) -> tuple[str, ...]:
        """What the HTML parts link to, also those that stand beside a plain alternative."""
        out: list[str] = []
        room = MAX_TEXT_CHARS
        for part in self._words:
            text = part.text(room) if room > 0 else ""
            room -= len(text)
            if _is_html(part, text):
                out.extend(self._stripped(part, text)[1])
        return tuple(out)

    def _stripped(self, part: Part, source: str) -> tuple[str, tuple[str, ...]]:
        """Return the words and links of an HTML part, worked out once."""
        if id(part) not in self._html or self._html[id(part)][0] != len(source):
            self._html[id(part)] = (len(source), strip_html(source))
        return self._html[id(part)][1]


def media_type(value: bytes) -> str:
    """Return type/subtype of a Content-Type field, lower case; text/plain when it has none (RFC 2045, 5.2)."""
    kind = value[:200].split(b";", 1)[0].strip().lower()
    return kind.decode("latin-1") if kind else "text/plain"


class _Walk:
    """Collects the leaves of a MIME tree, bounded in depth and number."""

    def __init__(self) -> None:
        self.leaves: list[Part] = []
        self.outermost: list[Part] = []
        """What stands at depth 1, between lines with this boundary."""
        self.boundary = b""
        self._alternatives = 0

    def visit(self, part: Part, depth: int, alternative: int) -> None:
        boundary = self._boundary(part) if depth < MAX_DEPTH else b""
        if not boundary:
            content_type = "text/plain" if part.content_type.startswith("multipart/") else part.content_type
            same = content_type is part.content_type and not alternative
            self.leaves.append(part if same else Part(part.headers, content_type, part.body, part.ended, alternative))
            return
        if part.content_type == "multipart/alternative":
            self._alternatives += 1
            alternative = self._alternatives
        elif part.content_type != "multipart/related":
            alternative = 0
        for chunk, ended in split(part.body, boundary, ended=part.ended):
            if len(self.leaves) >= MAX_PARTS:
                return
            child = _part(chunk, ended=ended)
            if not depth:
                self.boundary = boundary
                self.outermost.append(child)
            self.visit(child, depth + 1, alternative)

    @staticmethod
    def _boundary(part: Part) -> bytes:
        """Return the boundary of a multipart; also where the header lost it, as old list software did."""
        multipart = part.content_type.startswith("multipart/")
        declared = parameter(part.headers.raw("content-type"), b"boundary").encode("latin-1") if multipart else b""
        if declared and b"--" + declared in part.body:
            return declared
        if multipart:
            lost = _LOST_BOUNDARY.search(part.body[:8_000])
            return lost[1] if lost else b""
        if "content-type" not in part.headers:
            preamble = _PREAMBLE.match(part.body)
            lost = _LOST_BOUNDARY.match(part.body[:8_000], preamble.end() if preamble else 0)
            return lost[1] if lost else b""
        return b""


def split(body: bytes, boundary: bytes, *, ended: bool) -> Iterator[tuple[bytes, bool]]:
    """Yield the parts between the boundary lines (RFC 2046, 5.1.1), and whether each came to its end."""
    delimiter = b"\n--" + boundary
    body = b"\n" + body
    start = -1
    at = body.find(delimiter)
    while at >= 0:
        after = at + len(delimiter)
        tail = body[after : after + 2]
        if tail[:1] in b"\n \t" or tail == b"--" or not tail:
            if start >= 0:
                yield body[start:at], True
            if tail == b"--":
                return
            line_end = body.find(b"\n", after)
            start = line_end + 1 if line_end >= 0 else len(body)
        at = body.find(delimiter, after)
    if 0 <= start < len(body):
        yield body[start:], ended


def _part(chunk: bytes, *, ended: bool) -> Part:
    if chunk.startswith(b"\n"):
        return Part(Headers(b""), "text/plain", chunk[1:], ended)
    block, found, body = chunk.partition(b"\n\n")
    if not found and ended and not _FIELD.match(chunk):
        block, body = b"", chunk
    headers = Headers(block[:MAX_HEADER_OCTETS])
    return Part(headers, media_type(headers.raw("content-type")), body, ended)


def _is_html(part: Part, text: str) -> bool:
    """Whether it is HTML, also where it is called plain text."""
    return part.content_type == "text/html" or text[:300].lstrip()[:6].lower() in ("<html>", "<html ", "<!doct")


def _bound_lines(text: str) -> str:
    if len(text) <= MAX_LINE or max(map(len, text.split("\n"))) <= MAX_LINE:
        return text
    return "\n".join(line[:MAX_LINE] for line in text.split("\n"))


def read(raw: bytes, *, cut: bool = False) -> Message:
    """Read a message, `cut` saying that `raw` is only its beginning. Never raises, whatever the octets."""
    if b"\r" in raw:
        bare = raw.replace(b"\r", b"")  # nearly always the same, in half the time
        paired = bare.replace(b"\n", b"\r\n") == raw
        raw = bare if paired else raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return Message(raw, cut=cut)


_FOLDED = r" ?.*(?:\n[ \t]+\S.*)*\n"
_COMMON = r"from|to|date|message-id|subject|mime-version|content-type|reply-to"
_HEADER_BLOCK = re.compile(  # at its start the line's end rather than ^: that is looked for ten times as fast
    r"\n>? ?(?:"
    r"(?:received|return-path|delivered-to|x-originating-ip|dkim-signature|arc-seal|x-google-smtp-source|x-received) ?:"
    rf"|(?:{_COMMON}|x-mailer|organization) ?:{_FOLDED}(?:{_COMMON}|received|sender|cc|x-[a-z-]{{1,40}}) ?:{_FOLDED}"
    r"[a-z][a-z-]{1,40}:"
    r")",
    re.IGNORECASE,
)


def header_block_at(text: str) -> int:
    """Return where the first lines of `text` that look like a header block begin; -1 when there are none."""
    match = _HEADER_BLOCK.search("\n" + text)
    return match.start() if match else -1


def original_of(octets: bytes) -> Original | None:
    """Return what is known of the returned message that begins here; None when it has none of the fields."""
    block = octets.lstrip(b"\n> \t")[:MAX_HEADER_OCTETS].partition(b"\n\n")[0]
    headers = Headers(block)
    if _NAMED.isdisjoint(headers.names):
        return None
    text = headers.text
    return Original(
        message_id=text("message-id"),
        from_=text("from"),
        to=text("to"),
        subject=text("subject"),
        date=text("date"),
        received=headers.all("received"),
        authentication=tuple([f"{name}: {value}" for name in _AUTHENTICATION for value in headers.all(name)]),
        mailing=not _MAILING.isdisjoint(headers.names) or text("precedence").lower() in {"bulk", "list"},
        signed=block[:MAX_SIGNED_OCTETS] if "dkim-signature" in headers else b"",
    )


_AUTHENTICATION = ("authentication-results", "received-spf")
_NAMED = frozenset({"message-id", "from", "to", "subject", "date", "received"})
_MAILING = frozenset({"list-id", "list-unsubscribe", "feedback-id", "x-campaign-id"})
