"""The fields of a delivery status notification (DSN, RFC 3464, 2; RFC 6533 for addresses in UTF-8), dialects included.

A DSN describes one message and some recipients of it. Many servers write it in their own way: groups without a blank
line between them, no Final-Recipient, comments behind values, addresses without a type or within angle brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bouncefiler.recognition.status import reply_code_in, status_in
from bouncefiler.recognition.verdict import Recipient

MAX_RECIPIENTS = 200
MAX_DIAGNOSTIC_CHARS = 2_000

ACTIONS = ("failed", "delayed", "delivered", "relayed", "expanded")

_LINE = re.compile(r"^[> \t]{0,9}([A-Za-z][A-Za-z-]{1,40})[ \t]{0,9}:[ \t]*(.*)$")
_PER_MESSAGE = frozenset(
    {"reporting-mta", "dsn-gateway", "received-from-mta", "arrival-date", "original-envelope-id", "x-postfix-queue-id"}
)
_ADDRESS_TYPE = re.compile(r"\A\s{0,99}(?:[A-Za-z0-9_.-]{1,20}\s{0,9};)\s{0,99}")
_COMMENT = re.compile(r"\([^()]{0,500}\)")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_UNITEXT = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.){1,64}"@[^\s<>,;]{1,255}')
_ACTION = re.compile(r"failed|failure|fail|delayed|delay|delivered|relayed|relay|expanded", re.IGNORECASE)
_ACTION_WORDS = {"failure": "failed", "fail": "failed", "delay": "delayed", "relay": "relayed"}


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """What a delivery-status part says."""

    recipients: tuple[Recipient, ...]
    reporting_mta: str | None = None


def parse(text: str) -> DeliveryStatus:
    """Read the fields. Never raises; lines that are no fields are folded into the one before, or dropped."""
    groups = tuple(_groups(_fields(text)))
    reporting_mta = next((_mta(group["reporting-mta"]) for group in groups if "reporting-mta" in group), None)
    recipients = tuple(_recipients(groups))
    return DeliveryStatus(recipients, reporting_mta)


def _fields(text: str) -> Iterable[tuple[str, str]]:
    """Yield (lower-case name, value); an empty name stands for a blank line."""
    name, value = "", ""
    for line in text.split("\n"):
        bare = line.strip()
        if not bare:
            yield name, value
            name, value = "", ""
        elif line[0] in " \t" and name and len(value) < MAX_DIAGNOSTIC_CHARS:
            value += " " + bare
        elif match := _LINE.match(line):
            yield name, value
            name, value = match[1].lower(), match[2].strip()
        elif name and len(value) < MAX_DIAGNOSTIC_CHARS:  # a diagnostic folded without the blank that RFC 5322 wants
            value += " " + bare
    yield name, value
    yield "", ""


def _groups(fields: Iterable[tuple[str, str]]) -> Iterable[dict[str, str]]:
    """Gather fields into the per-message group and one group a recipient, with or without blank lines between them."""
    group: dict[str, str] = {}
    for name, value in fields:
        begins = name in group and name in ("final-recipient", "original-recipient", "action")
        turns = name == "final-recipient" and "reporting-mta" in group and "final-recipient" not in group
        if (not name and (group and not _only_preamble(group))) or begins:
            yield group
            group = {}
        if turns:
            yield {key: group[key] for key in group if key in _PER_MESSAGE}
            group = {key: group[key] for key in group if key not in _PER_MESSAGE}
        if name and name not in group:
            group[name] = value
    if group:
        yield group


def _only_preamble(group: dict[str, str]) -> bool:
    """Whether a blank line splits a recipient's group: its address came alone (seen from Domino and gateways)."""
    return set(group) <= {"original-recipient"}


_OF_A_RECIPIENT = frozenset(
    {"final-recipient", "action", "status", "diagnostic-code", "original-recipient", "x-actual-recipient"}
)


def _recipients(groups: Iterable[dict[str, str]]) -> Iterable[Recipient]:
    count = 0
    for group in groups:
        if not _OF_A_RECIPIENT.isdisjoint(group):
            recipient = _recipient(group)
            if recipient is not None:
                count += 1
                yield recipient
            if count >= MAX_RECIPIENTS:
                return


def _recipient(group: dict[str, str]) -> Recipient | None:
    get = group.get
    diagnostic = _diagnostic(get("diagnostic-code", ""))
    original = address(get("original-recipient", "")) or None
    final = address(get("final-recipient", ""))
    action = _action(get("action", ""))
    # Some put the code beside the action, or the whole reply into Status.
    status = status_in(get("status", "")) or status_in(get("action", "")) or status_in(diagnostic)
    reply = reply_code_in(diagnostic) or reply_code_in(get("status", ""))
    if not (final or original or "x-actual-recipient" in group or action or status or diagnostic):
        return None
    better = address(get("x-actual-recipient", "")) or original
    return Recipient(
        final_recipient=better if better and not _is_mail_address(final) else final or original or "",
        original_recipient=original,
        action=action,
        status=status,
        reply_code=reply,
        diagnostic_code=diagnostic or _words_of(get("status", "")),
        remote_mta=_mta(get("remote-mta", "")) or None,
    )


def _is_mail_address(address: str) -> bool:
    return "@" in address and not address.startswith("/")  # a slash begins an X.400 address


def _diagnostic(value: str) -> str:
    """Return the diagnostic without its type; but that of a program keeps it, "x-unix; 127" says more than "127"."""
    return value[:MAX_DIAGNOSTIC_CHARS] if value[:6].lower() == "x-unix" else _strip_type(value)[:MAX_DIAGNOSTIC_CHARS]


def _words_of(status: str) -> str:
    """Return the comment of a Status field, "5.1.1 (unknown user)", where it says more than the number."""
    return status if len(status) > 12 else ""


def _action(value: str) -> str | None:
    """Return the action (RFC 3464, 2.3.3) without comments, or None."""
    match = _ACTION.search(_without_comments(value)[:200])
    if match is None:
        return None
    word = match[0].lower()
    return _ACTION_WORDS.get(word, word)


def _mta(value: str) -> str:
    return _without_comments(_strip_type(value)[:300]).strip().rstrip(".").strip("[]<> ") or ""


def _strip_type(value: str) -> str:
    """Return `value` without its type ("rfc822;", "smtp;", "dns;", "X-Postfix;") and the blanks round it."""
    kind = _ADDRESS_TYPE.match(value) if ";" in value else None
    return value[kind.end() :].strip() if kind else value.strip()


def _without_comments(value: str) -> str:
    return _COMMENT.sub(" ", value) if "(" in value else value


def address(value: str) -> str:
    """Return the address of a recipient field: type, comments, brackets, xtext (RFC 3461, 4) and unitext undone."""
    text = value[:1_000]
    if not text:
        return ""
    kind = text.partition(";")[0].strip().lower()
    text = _strip_type(text)
    if "\\x" in text:
        text = _UNITEXT.sub(lambda match: _character(match[1]), text)
    if "+" in text and kind in ("rfc822", "utf-8"):
        text = _XTEXT.sub(lambda match: chr(int(match[1], 16)) if match[1] in ("2B", "3D", "40") else match[0], text)
    if "<" in text and "@" in text.partition("<")[2]:
        text = text.partition("<")[2].partition(">")[0]
    if '"' in text and (quoted := _QUOTED.search(text)):
        return quoted[0]
    text = _without_comments(text).strip().strip("<>\"' ,;").removeprefix("mailto:").removeprefix("SMTP:")
    words = text.split(None, 1)
    return words[0] if words else ""


def _character(digits: str) -> str:
    code = int(digits, 16)
    return chr(code) if code < 0x11_0000 and not 0xD800 <= code < 0xE000 else ""
