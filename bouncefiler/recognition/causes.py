"""Why delivery to a recipient failed."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bouncefiler.recognition.case import MAX_EXCERPT_CHARS, Case
from bouncefiler.recognition.rule import RECIPIENT_FIELDS, Facts, Rule
from bouncefiler.recognition.rulebook import Layout, Rulebook
from bouncefiler.recognition.status import EnhancedStatus, statuses_in
from bouncefiler.recognition.tables import Candidates, fitting
from bouncefiler.recognition.verdict import Cause, Evidence, Recipient


def with_cause(case: Case, recipient: Recipient, layout: Layout | None) -> Recipient:
    """Return the recipient with its cause, and note what said so."""
    cause, evidence = _cause(case, recipient, layout)
    if evidence is not None:
        case.evidence.append(evidence)
    return recipient.because(cause)


def _cause(case: Case, recipient: Recipient, layout: Layout | None) -> tuple[Cause, Evidence | None]:
    """The first that answers. What is said of this recipient comes before what the text says of all."""
    book = case.rulebook
    facts = recipient_facts(case, recipient)
    said = book.spoken().candidates(facts, case.message.headers.names)
    codes = _statuses(recipient)
    return (
        _first([(rule, None) for rule in book.user if rule.cause], facts)
        or _first(said.get(book.hosts), facts)
        or _by_status(book, recipient, codes, "exact")
        or _first(said.get(book.phrases), facts)
        or _by_status(book, recipient, codes, "plain")
        or _first(said.get(book.weak_phrases), facts)
        or _by_text(case, recipient, facts, codes, layout)
    )


def text_names_cause(case: Case) -> bool:
    """Whether a phrase in the text for people says why mail fails, and note it if so."""
    facts = _facts_of_text(case, case)
    found = _first(
        case.rulebook.spoken().candidates(facts, case.message.headers.names).get(case.rulebook.phrases), facts
    )
    if found:
        case.evidence.append(found[1])
    return bool(found)


def _facts_of_text(case: Case, others: Facts) -> Facts:
    """Return facts in which the whole text stands in for what a server said."""
    text = Facts(lambda _: case.whole_text, ("diagnostic_code",), others)
    text.worked_out("diagnostic_code", case.folded_text)
    return text


def _by_text(
    case: Case, recipient: Recipient, facts: Facts, codes: Iterable[EnhancedStatus], layout: Layout | None
) -> tuple[Cause, Evidence | None]:
    """The same, where what is said of the recipient does not answer."""
    book = case.rulebook
    text = _facts_of_text(case, facts)
    said = book.spoken().candidates(text, case.message.headers.names)
    speaks = _says_something(recipient.diagnostic_code)
    return (
        (None if speaks else _first(said.get(book.phrases), text))
        or _by_layout(layout)
        or _by_status(book, recipient, codes, "weak")
        or _by_reply(book, recipient)
        or _first(said.get(book.phrases if speaks else book.weak_phrases), text)
        or (Cause.UNKNOWN, None)
    )


_Answer = tuple[Cause, Evidence] | None


def _statuses(recipient: Recipient) -> tuple[EnhancedStatus, ...]:
    """The statuses that were given, the one in the server's own words first: Status often is a translation of it."""
    said = statuses_in(recipient.diagnostic_code)
    if recipient.status and recipient.status not in said:
        said.append(recipient.status)
    return tuple(dict.fromkeys(said))[:5]


_WORDS = re.compile(r"[^\W\d_]{3,}")
_NO_WORDS = re.compile(r"<[^<>]{1,254}>|\S{1,254}@\S{1,254}|\bsmtp\b|\.\.\.", re.IGNORECASE)


def _says_something(diagnostic: str) -> bool:
    """Whether there are words beside addresses and codes."""
    words = _WORDS.findall(_NO_WORDS.sub(" ", diagnostic))
    return len(words) >= 2 or (bool(words) and not words[0].isascii())


def _first(candidates: Candidates | None, facts: Facts) -> _Answer:
    """What the first says that holds."""
    for rule, found in fitting(candidates, facts) if candidates else ():
        if rule.cause:
            return rule.cause, _evidence(rule, found)
    return None


def _by_status(book: Rulebook, recipient: Recipient, statuses: Iterable[EnhancedStatus], strength: str) -> _Answer:
    backed = recipient.reply_code is not None or recipient.action == "delayed"
    for status in statuses:
        rule = book.status_rule(status)
        if rule is None or rule.cause is None or not (rule.alone or backed):
            continue
        if strength == ("exact" if rule.exact else "weak" if rule.weak else "plain"):
            return rule.cause, _evidence(rule, ("status", str(status)))
    return None


def _by_layout(layout: Layout | None) -> _Answer:
    if layout is None or layout.rule.cause is None:
        return None
    return layout.rule.cause, Evidence(layout.rule.name, "text", "")


def _by_reply(book: Rulebook, recipient: Recipient) -> _Answer:
    rule = book.replies.get(recipient.reply_code or 0)
    return (rule.cause, _evidence(rule, ("reply_code", str(recipient.reply_code)))) if rule and rule.cause else None


def recipient_facts(case: Case, recipient: Recipient) -> Facts:
    """Return what conditions on a recipient look at; other fields are those of the message."""

    def own(name: str) -> str:
        value = getattr(recipient, name)
        return _joined(value) if name == "diagnostic_code" else str(value or "")

    return Facts(own, RECIPIENT_FIELDS, case)


_FIRST_CODE = re.compile(r"(?<!\d)([45]\d\d)(?:[- ]#?([45]\.\d{1,3}\.\d{1,3})|-)(?!\d)")


def _joined(diagnostic: str) -> str:
    """Return a reply of several lines as one sentence: the code that begins each line (RFC 5321, 4.2.1) only once."""
    first = _FIRST_CODE.search(diagnostic)
    if first is None:
        return diagnostic
    code, status = first.groups()
    if code not in diagnostic[first.end() :]:
        return diagnostic
    again = rf"\s{{1,9}}{code}[- ]#?{re.escape(status)}(?=\s|$)" if status else rf"\s{{1,9}}{code}[- ](?=\S)"
    return diagnostic[: first.end()] + re.sub(again, "" if status else " ", diagnostic[first.end() :])


def _evidence(rule: Rule, found: tuple[str, str]) -> Evidence:
    return Evidence(rule.name, found[0], found[1][:MAX_EXCERPT_CHARS])
