"""Message and Rulebook to Verdict, in five steps: look-alike? · delivery-status part? · layout? · cause · verdict.

A bounce needs signs of two different places (sender, subject, structure, text, returned message), or a complete report
(RFC 6522). Conjunctions of named signs, no scores: a score can neither be explained nor argued with. In doubt the
message is no bounce and stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from bouncefiler.recognition import disguise
from bouncefiler.recognition.case import Case
from bouncefiler.recognition.causes import recipient_facts, text_names_cause, with_cause
from bouncefiler.recognition.dsn import DeliveryStatus
from bouncefiler.recognition.message import Message, read
from bouncefiler.recognition.recipients import named, recipients_of
from bouncefiler.recognition.rule import Rule
from bouncefiler.recognition.rulebook import Layout, Rulebook
from bouncefiler.recognition.status import reply_codes_in
from bouncefiler.recognition.tables import fitting
from bouncefiler.recognition.verdict import Cause, Evidence, Kind, Recipient, Verdict

_GOOD = frozenset({"delivered", "relayed", "expanded"})


def examine(raw: bytes, cut: bool, rulebook: Rulebook) -> tuple[Verdict, str]:  # noqa: FBT001 - mirrors how mail is read
    """Return the verdict on a message, and its decoded Subject. Never raises, whatever the octets."""
    message = read(raw, cut=cut)
    return classify(message, rulebook), message.headers.text("subject")


def classify(message: Message, rulebook: Rulebook) -> Verdict:
    """Say what the message is and how that is known. Never raises."""
    case = Case(message, rulebook)
    verdict = _look_alike(case, first=True) or _bounce(case) or _look_alike(case, first=False) or _other(case)
    return _user_says(case, verdict)


# -- step 1: look-alikes


def _look_alike(case: Case, *, first: bool) -> Verdict | None:
    table = case.rulebook.first_lookalikes if first else case.rulebook.lookalikes
    for rule, found in fitting(case.outer.get(table, ()), case):
        if rule.kind is not None:
            case.note(rule.name, *found)
            return _verdict(case, rule.kind)
    return None


# -- steps 2 and 3: what says that this is a bounce?


@dataclass(frozen=True, slots=True)
class _Signs:
    """Where signs were found, what kinds they speak of, and by which layout."""

    places: frozenset[str]
    kinds: tuple[Kind, ...]
    layout: Layout | None


def _bounce(case: Case) -> Verdict | None:
    if case.message.has_report and _all_good(case.status):
        case.note("rfc3464.action", "delivery-status", f"Action: {case.status.recipients[0].action}")
        return _verdict(case, Kind.DELIVERED, case.status.recipients)
    signs = _signs(case)
    if signs is None:
        return None
    recipients = recipients_of(case, signs.layout)
    kind = _kind(case, signs, recipients)
    if any(_noted(case, case.rulebook.disguises.fitting(disguise.facts(case, signs.places, signs.layout)))):
        return _verdict(case, Kind.IMITATION)
    if _by_no_daemon(case, signs):
        return None
    failed = [recipient for recipient in recipients if recipient.action not in _GOOD]
    judged = tuple([with_cause(case, recipient, signs.layout) for recipient in failed])
    return _verdict(case, kind, judged, signs.layout)


def _all_good(status: DeliveryStatus) -> bool:
    """Whether all recipients have their mail: by action, or where that is missing by a status of class 2."""
    return bool(status.recipients) and all(
        recipient.action in _GOOD
        or (recipient.action is None and recipient.status is not None and recipient.status.class_ == 2)
        for recipient in status.recipients
    )


def _signs(case: Case) -> _Signs | None:
    """Look for signs, the cheap places first; None when they do not make a bounce."""
    book = case.rulebook
    rules = list(_noted(case, fitting(case.outer.get(book.outer_signs, ()), case)))
    places = _places(rules)
    if case.null_reverse_path:
        case.note("rfc5321.null-reverse-path", "return_path", "<>")
        places.add("sender")
    if case.message.has_report:
        case.note("rfc3464.part", "structure", "message/delivery-status")
        places.add("report")
    layout = next(_noted(case, fitting(case.outer.get(book.outer_layouts, ()), case)), None)
    if not places and not layout:
        return None  # the text alone could not make it a bounce: most ordinary mail ends here, unread
    layout = layout or next(_noted(case, fitting(case.inner.get(book.text_layouts, ()), case)), None)
    rules += ([layout] if layout else []) + list(_noted(case, fitting(case.inner.get(book.text_signs, ()), case)))
    places |= _places(rules)
    found = book.layouts[layout.name] if layout else None
    kinds = tuple(rule.kind for rule in rules if rule.kind)
    if not _enough(case, places, found) or (not layout and _only_quotes(case, rules, places)):
        return None
    return _Signs(frozenset(places), kinds, found)


def _places(rules: Iterable[Rule]) -> set[str]:
    return set[str]().union(*[rule.places for rule in rules])


def _noted(case: Case, holding: Iterable[tuple[Rule, tuple[str, str]]]) -> Iterator[Rule]:
    for rule, (where, excerpt) in holding:
        case.note(rule.name, where, excerpt)
        yield rule


def _enough(case: Case, places: set[str], layout: Layout | None) -> bool:
    """Whether these signs make a bounce: a report, or signs of two places of which one speaks of a delivery."""
    if "report" in places:
        return case.message.content_type == "multipart/report" or len(places) >= 2
    if case.inline:
        case.note("rfc3464.fields", "text", case.status.recipients[0].final_recipient)
        places.add("text")
    if layout and len(places) >= 2:
        return "sender" in places or layout.rule.places != {"text"} or _automatic(case)
    if "sender" not in places and "structure" not in places:
        return False
    if "text" in places:
        return len(places) >= 2 and _of_a_message(case, places)
    if len(places) >= 2 and case.original is not None:
        case.note("rfc6522.returned", "structure", "the returned message")
        return True
    return _speaks_smtp(case) or _says_why(case, places)


def _of_a_message(case: Case, places: set[str]) -> bool:
    """Whether words of failure are about a message: not those of a person who happens to be postmaster."""
    if "subject" in places:
        return True
    if case.original is not None:
        return disguise.by_a_daemon(case)
    return disguise.by_a_program(case) and bool(named(case))


def _automatic(case: Case) -> bool:
    """Whether a program has sent it: what names no daemon may as well be somebody who quotes a bounce."""
    headers = case.message.headers
    return headers.raw("auto-submitted")[:5].lower().startswith(b"auto-") or headers.raw(
        "precedence"
    ).strip().lower() in (b"bulk", b"junk")


def _only_quotes(case: Case, rules: Iterable[Rule], places: set[str]) -> bool:
    """Whether all that speaks for a bounce is words and the null reverse-path, which other programs' mail has as well.

    A ticket system quotes "my mail could not be delivered: 550 …" and names an address to write to; a parcel service
    says the same of a parcel, and does so in its subject.
    """
    return _only_words(case, places) and not any("sender" in rule.places for rule in rules)


def _by_no_daemon(case: Case, signs: _Signs) -> bool:
    """Whether somebody says in words that something failed who is no daemon by address and names nobody's mail.

    Who has a person's or a shop's reverse-path is none, whatever the name and whomever it names.
    """
    if signs.layout or not _only_words(case, signs.places):
        return False
    return not disguise.by_a_daemon(case) or not (disguise.calls_itself_daemon(case) or named(case))


def _only_words(case: Case, places: AbstractSet[str]) -> bool:
    return places <= {"sender", "subject", "text"} and not case.original and not case.inline


def _speaks_smtp(case: Case) -> bool:
    """Whether the text quotes a server's refusal of a named recipient: a bounce in a language that we do not know."""
    if case.null_reverse_path is not True and "daemon" not in case.folded("from_address"):
        return False
    code = next(reply_codes_in(case.human), None)
    if code is None or not named(case):
        return False
    case.note("rfc5321.reply", "text", case.human[code[1] : code[1] + 100])
    return True


def _says_why(case: Case, places: set[str]) -> bool:
    """Whether a daemon, by name and envelope, says in its subject that mail failed, and in the text whose and why."""
    if "subject" not in places or case.null_reverse_path is not True or not disguise.calls_itself_daemon(case):
        return False
    return bool(named(case)) and text_names_cause(case)


def _kind(case: Case, signs: _Signs, recipients: tuple[Recipient, ...]) -> Kind:
    actions = [recipient.action for recipient in recipients if recipient.action]
    if actions:
        case.note("rfc3464.action", "delivery-status" if not case.inline else "text", f"Action: {actions[0]}")
        return Kind.FAILED if "failed" in actions else Kind.DELAYED if "delayed" in actions else Kind.DELIVERED
    if signs.layout and signs.layout.rule.kind:
        return signs.layout.rule.kind
    return Kind.DELAYED if Kind.DELAYED in signs.kinds else Kind.FAILED


# -- step 5: verdict


def _verdict(case: Case, kind: Kind, recipients: tuple[Recipient, ...] = (), layout: Layout | None = None) -> Verdict:
    bounce = kind.is_bounce
    known = [recipient.cause for recipient in recipients if recipient.cause is not Cause.UNKNOWN]
    blocked_at = case.rulebook.blocked_at
    return Verdict(
        kind=kind,
        cause=(known[0] if known else Cause.UNKNOWN) if bounce else None,
        recipients=tuple([recipient for recipient in recipients if recipient.final_recipient]),
        reporting_mta=case.status.reporting_mta if bounce or kind is Kind.DELIVERED else None,
        null_reverse_path=case.null_reverse_path,
        original=case.original if bounce or kind is Kind.DELIVERED else None,
        format=layout.format if layout else None,
        evidence=tuple(case.evidence),
        answers=case.answers,
        sent_to=case.sent_to,
        blocked_at=next((blocked_at[found.rule] for found in case.evidence if found.rule in blocked_at), ""),
        incomplete=_incomplete(case, kind),
        begun=case.message.begun if bounce and case.message.cut else (),
    )


def _other(case: Case) -> Verdict:
    return _verdict(case, Kind.OTHER)


def _incomplete(case: Case, kind: Kind) -> bool:
    """Whether what was cut off could change the verdict."""
    message = case.message
    if not message.cut:
        return False
    if not message.header_ended:
        return True
    if message.has_report and not all(part.ended for part in message.parts if "delivery-status" in part.content_type):
        return True
    if kind.is_bounce and message.content_type.startswith("multipart/"):
        return True  # a file that no server attaches may still come, or the returned message
    if kind is Kind.OTHER and not case.evidence and message.content_type != "multipart/report":
        return any(
            found or rule.may_fit(case, rule.outer_fields)
            for rule, found in case.outer.get(case.rulebook.outer_layouts, ())
        )
    return message.content_type.startswith("multipart/") or not (case.below or message.text_ended)


def _user_says(case: Case, verdict: Verdict) -> Verdict:
    """Let the user's rules speak; the first that names a kind, and the first that names a cause, decide."""
    matched = tuple(_user_matches(case, verdict)) if case.rulebook.user else ()
    if not matched:
        return verdict
    kind = next((rule.kind for rule, _ in matched if rule.kind), verdict.kind)
    cause = next((rule.cause for rule, _ in matched if rule.cause), verdict.cause)
    return replace(
        verdict,
        kind=kind,
        cause=(cause or Cause.UNKNOWN) if kind.is_bounce else None,
        rules=tuple(rule.name for rule, _ in matched),
        evidence=(*(Evidence(rule.name, *found) for rule, found in matched), *verdict.evidence),
    )


def _user_matches(case: Case, verdict: Verdict) -> Iterator[tuple[Rule, tuple[str, str]]]:
    facts = tuple(recipient_facts(case, recipient) for recipient in verdict.recipients) or (case,)
    for rule in case.rulebook.user:
        if found := next((found for each in facts if (found := rule.find(each))), None):
            yield rule, found
