"""Short texts around an alert: its brief form for a chat, a test of the channels, and a letter to one's contacts.

The texts are in `words/`, one file a language. (What an alert itself says is in `advice`.)
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime

from bouncefiler.backscatter.advice import WIDTH, Alert, Level
from bouncefiler.backscatter.wording import words

BRIEF_CHARS = 700
"""How much is told in a chat when the whole text is in INBOX."""

LONGER_CHARS = 1_700
"""… and when it is nowhere else. Discord takes 2,000 characters in a message, most others more."""

MAX_TITLE_CHARS = 200


@dataclass(frozen=True, slots=True)
class Brief:
    """An alert for a place where little is read: plain text without any mark-up, and nobody is called by it."""

    title: str
    body: str


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail that the person may send, as they like it."""

    subject: str
    body: str
    """A paragraph is one line."""


def brief(alert: Alert, language: str, *, in_inbox: bool) -> Brief:
    """Return the first paragraphs of the alert, and say where the rest is."""
    limit = BRIEF_CHARS if in_inbox else LONGER_CHARS
    text, _, _ = alert.body.partition("\n\n--\n")
    paragraphs = [_inert(_unwrapped(paragraph)) for paragraph in text.strip("\n").split("\n\n")]
    told = paragraphs[0][:limit]
    number = 1
    while number < len(paragraphs) and len(told) + 2 + len(paragraphs[number]) <= limit:
        told += "\n\n" + paragraphs[number]
        number += 1
    if told != "\n\n".join(paragraphs):
        told += "\n\n" + str(words(language, "letters")["brief"]["inbox" if in_inbox else "cut"])
    return Brief(_inert(alert.subject)[:MAX_TITLE_CHARS], told)


def _unwrapped(paragraph: str) -> str:
    """Undo the line breaks that were put in where the next word had no room: a chat breaks lines itself."""
    first, *lines = paragraph.split("\n")
    joined, before = first, first
    for line in lines:
        word, _, _ = line.lstrip().partition(" ")
        filled = len(before) + 1 + len(word) > WIDTH and not _ITEM.match(line)
        joined += (" " if filled else "\n") + line.lstrip()
        before = line
    return joined


_ITEM = re.compile(r"\d\. ")

_CALLS = re.compile(r"(?<![\w.+-])@(?=\w)|@(?=(?:everyone|here|channel|all)\b)", re.IGNORECASE)

_MARKS = str.maketrans({"<": "‹", ">": "›", "`": "'", "\u200b": None})


def _inert(text: str) -> str:
    """Take away what a chat acts upon: calls of everybody, mark-up of links and tags, and addresses to click on.

    The texts are ours, but the names, addresses and servers in them may be anybody's.
    """
    text = text.translate(_MARKS).replace("](", "] (").replace("://", ": //")
    return _CALLS.sub("@ ", text)


def trial(language: str, address: str, now: datetime) -> Alert:
    """Write an alert that says that it is a test; `now` tells it from an earlier one."""
    texts = words(language, "letters")["trial"]
    key = f"test {now.astimezone(UTC):%Y%m%dT%H%M%S.%f}"
    lines = texts["body"].format(address=address).split("\n")
    body = "\n".join(textwrap.fill(line, WIDTH, break_on_hyphens=False) for line in lines)
    return Alert(key, Level.INFO, texts["subject"], body.strip("\n") + "\n")


def notice(language: str, address: str, *, hacked: bool) -> Letter:
    """Write a letter to one's contacts: the address is being forged, or somebody was in the account."""
    texts = words(language, "letters")["notice"]["hacked" if hacked else "forged"]
    return Letter(texts["subject"], texts["body"].format(address=address))
