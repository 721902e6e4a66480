"""A message under examination: its fields as rules see them, its text and original told apart, and what was found."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from bouncefiler.recognition import dsn
from bouncefiler.recognition.dsn import DeliveryStatus
from bouncefiler.recognition.message import MAX_HEADER_OCTETS, Message, header_block_at, original_of
from bouncefiler.recognition.once import once
from bouncefiler.recognition.rule import Facts, header_of
from bouncefiler.recognition.rulebook import Rulebook
from bouncefiler.recognition.tables import Candidates, Heard, Table
from bouncefiler.recognition.text import fold
from bouncefiler.recognition.verdict import Evidence, Original

MAX_EXCERPT_CHARS = 160
MAX_MARK_CHARS = 120
MAX_ANSWERS = 10
MAX_WORDS_CHARS = 16_384
"""Words are looked for in this much of the text for people: a bounce comes to the point."""

_INLINE_FIELD = re.compile(r"\n[ \t]{0,8}(?:Final-Recipient|Original-Recipient)[ \t]?:", re.IGNORECASE)
_INLINE_OTHER = re.compile(r"\n[ \t]{0,8}(?:Action|Status|Diagnostic-Code|Reporting-MTA)[ \t]?:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Split:
    """The text for people, what is in it, and what stands below it."""

    human: str
    below: str
    heard: Heard


class Case(Facts):
    """A message under examination: what conditions look at, and what was found so far, in order."""

    def __init__(self, message: Message, rulebook: Rulebook) -> None:
        super().__init__()
        self.message = message
        self.rulebook = rulebook
        self.evidence: list[Evidence] = []

    def value(self, name: str) -> str:
        """See Facts. A function to look things up would hold the case that holds it: no message would be let go."""
        if work_out := _WORKED_OUT.get(name):
            return work_out(self)
        header = header_of(name)
        if name.startswith("header."):
            return " ".join(self.message.headers.all(header))
        return self.message.headers.text(header) if header else ""

    @once
    def outer(self) -> Mapping[Table, Candidates]:
        """The rules that may fit, of those that look at header fields."""
        return self.rulebook.outer.candidates(self, self.message.headers.names)

    @property
    def inner(self) -> Mapping[Table, Candidates]:
        """The rules that may fit, of those that look at the text alone."""
        return self._split.heard.candidates

    @once
    def _split(self) -> _Split:
        """The text for people, and the returned message that stands in it below them."""
        text = self.message.text
        at = header_block_at(text)
        human, below = (text, "") if at < 0 else (text[:at], text[at:])
        folded = fold(human)
        heard = self.rulebook.text.heard(folded)
        start, end = self._marked(human) if heard.marks else (-1, -1)
        if start >= 0:
            human, below = text[:start], text[end:]
        if start >= 0 or len(human) > MAX_WORDS_CHARS:
            folded = fold(human[:MAX_WORDS_CHARS])
            heard = self.rulebook.text.heard(folded)
        self.worked_out("text", folded)
        self.absent = heard.absent
        return _Split(human, below, heard)

    def _marked(self, text: str) -> tuple[int, int]:
        """Return where the first line that announces a returned message begins and ends, or (-1, -1)."""
        lines = text.split("\n")
        folded = [fold(line) if 0 < len(line) < MAX_MARK_CHARS else "" for line in lines]
        whole = "\n".join(folded)
        marks = self.rulebook.marks_in(whole)
        if not marks:
            return -1, -1
        number = next(at for at, line in enumerate(folded) if any(mark in line for mark in marks))
        mark = next(mark for mark in marks if mark in folded[number])
        self.note(self.rulebook.marks[mark], "text", lines[number])
        start = sum(map(len, lines[:number])) + number
        return start, start + len(lines[number])

    @property
    def below(self) -> str:
        """The returned message, where it stands in the text."""
        return self._split.below

    @property
    def human(self) -> str:
        """What the server says in words, without the returned message."""
        return self._split.human

    @once
    def original(self) -> Original | None:
        """What is known of the returned message, from its part, from below a mark, or from an attached text."""
        part = self.message.returned
        octets = part.octets(MAX_HEADER_OCTETS) if part else self.below[:MAX_HEADER_OCTETS].encode("utf-8", "replace")
        if octets and (found := original_of(octets)):
            return found
        for part in self.message.parts[1:]:
            text = part.octets(MAX_HEADER_OCTETS) if part.content_type == "text/plain" else b""
            begins = text and header_block_at(text[:300].decode("latin-1").lstrip()) == 0
            if begins and (found := original_of(text)):
                return found
        return None

    @once
    def status(self) -> DeliveryStatus:
        """The delivery-status part, or its fields where somebody put them into the text."""
        if self.message.has_report:
            found = dsn.parse(self.message.report)
            if found.recipients:
                return found
        text = "\n" + self.human
        if (found_field := _INLINE_FIELD.search(text)) and (other := _INLINE_OTHER.search(text)):
            return dsn.parse(text[min(other.start(), found_field.start()) + 1 :])
        return DeliveryStatus(())

    @once
    def whole_text(self) -> str:
        """All that is said in words: text and subject."""
        return f"{self.human[:MAX_WORDS_CHARS]}\n{self.message.headers.text('subject')}"

    @once
    def folded_text(self) -> str:
        """The same as it is compared."""
        if self.whole_text.isascii():  # else folding may join what stands on both sides
            return f"{self.folded('text')} {self.folded('subject')}".strip()
        return fold(self.whole_text)

    @property
    def inline(self) -> bool:
        """Whether the fields came from the text."""
        return bool(self.status.recipients) and not self.message.has_report

    @once
    def null_reverse_path(self) -> bool | None:
        """Whether Return-Path is <>; None when none was recorded."""
        if "return-path" not in self.message.headers:
            return None
        return self.message.headers.raw("return-path").strip() in (b"<>", b"", b"< >", b"<null>")

    @property
    def answers(self) -> tuple[str, ...]:
        """Message-IDs that the message is an answer to, at most MAX_ANSWERS."""
        headers = self.message.headers
        said = f"{headers.text('in-reply-to')} {headers.text('references')}"
        return tuple(dict.fromkeys(_MESSAGE_ID.findall(said)))[:MAX_ANSWERS]

    @property
    def sent_to(self) -> str:
        """Address that the message was delivered to; empty when nobody has written it down."""
        headers = self.message.headers
        return next((to for name in _DELIVERED_TO if (to := from_address(headers.text(name)))), "")

    def note(self, rule: str, where: str, excerpt: str) -> None:
        """Keep a fact that the verdict rests on."""
        make = _remembered_evidence if len(excerpt) <= MAX_EXCERPT_CHARS else _evidence_of
        self.evidence.append(make(rule, where, excerpt))


def _evidence_of(rule: str, where: str, excerpt: str) -> Evidence:
    flat = " ".join(excerpt.split())
    return Evidence(rule, where, flat if len(flat) <= MAX_EXCERPT_CHARS else flat[: MAX_EXCERPT_CHARS - 1] + "…")


_remembered_evidence = lru_cache(1_024)(_evidence_of)
"""The bounces of one server show the same signs."""


def from_address(value: str) -> str:
    """Return the address of a From field, lower case; empty when it has none."""
    inner = value.rpartition("<")[2].partition(">")[0] if "<" in value else value
    return (_COMMENTS.sub(" ", inner) if "(" in inner else inner).strip().strip('"').lower()


_DELIVERED_TO = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "to")
_MESSAGE_ID = re.compile(r"<[^<>\s]{1,250}@[^<>\s]{1,250}>")
_COMMENTS = re.compile(r"\([^()]{0,200}\)")


def _of_original(name: str) -> Callable[[Case], str]:
    return lambda case: str(getattr(case.original, name)) if case.original else ""


_WORKED_OUT: Mapping[str, Callable[[Case], str]] = {
    "text": lambda case: case.human[:MAX_WORDS_CHARS],
    "from_address": lambda case: from_address(case.message.headers.text("from")),
    "part": lambda case: " ".join(part.content_type for part in case.message.parts),
    "attachment": lambda case: " ".join(case.message.attachments),
    "link": lambda case: " ".join(case.message.links),
    "reporting_mta": lambda case: case.status.reporting_mta or "",
    "original_from": _of_original("from_"),
    "original_to": _of_original("to"),
    "original_subject": _of_original("subject"),
    "original_message_id": _of_original("message_id"),
}
"""Fields of rules that are no header fields."""
