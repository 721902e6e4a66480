"""Message and Rulebook to Verdict, in five steps: look-alike? · delivery-status part? · layout? · cause · verdict.

A bounce needs signs of two different places (sender, subject, structure, text, returned message), or a complete report
(RFC 6522). Conjunctions of named signs, no scores: a score can neither be explained nor argued with. In doubt the
message is no bounce and stays where it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice

from bouncefiler.recognition import dsn
from bouncefiler.recognition.addresses import ADDRESS, addresses_near_failure, clean
from bouncefiler.recognition.dsn import DeliveryStatus
from bouncefiler.recognition.message import Message, header_block_at, original_of, read
from bouncefiler.recognition.rulebook import Facts, Layout, Rule, Rulebook
from bouncefiler.recognition.status import EnhancedStatus, reply_code_in, reply_codes_in, status_in, statuses_in
from bouncefiler.recognition.text import fold
from bouncefiler.recognition.verdict import Cause, Evidence, Kind, Original, Recipient, Verdict

MAX_EXCERPT_CHARS = 160
MAX_RECIPIENTS = 100
MAX_MARK_CHARS = 120
MAX_WORDS_CHARS = 16_384
"""Words are looked for in this much of the text for people: a bounce comes to the point."""

_GOOD = frozenset({"delivered", "relayed", "expanded"})
_INLINE_FIELD = re.compile(r"^[ \t]{0,8}(?:Final-Recipient|Original-Recipient)[ \t]?:", re.IGNORECASE | re.MULTILINE)
_INLINE_OTHER = re.compile(r"^[ \t]{0,8}(?:Action|Status|Diagnostic-Code|Reporting-MTA)[ \t]?:", re.IGNORECASE | re.MULTILINE)


def examine(raw: bytes, cut: bool, rulebook: Rulebook) -> tuple[Verdict, str]:  # noqa: FBT001 - mirrors how mail is read
    """Return the verdict on a message, and its decoded Subject. Never raises, whatever the octets."""
    message = read(raw, cut=cut)
    return classify(message, rulebook), message.headers.text("subject")


def classify(message: Message, rulebook: Rulebook) -> Verdict:
    """Say what the message is and how that is known. Never raises."""
    case = _Case(message, rulebook)
    verdict = _look_alike(case, first=True) or _bounce(case) or _look_alike(case, first=False) or _other(case)
    return _user_says(case, verdict)


@dataclass
class _Case:
    """A message under examination: what was found so far, in order."""

    message: Message
    rulebook: Rulebook
    evidence: list[Evidence] = field(default_factory=list)

    @cached_property
    def facts(self) -> Facts:
        return Facts(self._fact)

    def _fact(self, name: str) -> str:
        headers = self.message.headers
        match name:
            case "text":
                return self.human[:MAX_WORDS_CHARS]
            case "from_address":
                return from_address(headers.text("from"))
            case "attachment":
                return " ".join(self.message.attachments)
            case "link":
                return " ".join(self.message.links)
            case "reporting_mta":
                return self.status.reporting_mta or ""
            case "original_from" | "original_to" | "original_subject" | "original_message_id":
                return str(getattr(self.original, name.replace("from", "from_").removeprefix("original_"), "") or "")
        return " ".join(headers.all(name.removeprefix("header."))) if name.startswith("header.") else headers.text(name.replace("_", "-"))

    @cached_property
    def _split(self) -> tuple[str, str]:
        """The text for people, and the returned message that stands in it below them."""
        text = self.message.text
        at = header_block_at(text)
        start, end = self._marked(text[:at] if at >= 0 else text)
        if start >= 0:
            return text[:start], text[end:]
        return (text, "") if at < 0 else (text[:at], text[at:])

    def _marked(self, text: str) -> tuple[int, int]:
        """Return where the first line that announces a returned message begins and ends; (-1, -1) when there is none."""
        lines = text.split("\n")
        folded = [fold(line) if len(line) < MAX_MARK_CHARS else "" for line in lines]
        whole = "\n".join(folded)
        marks = [mark for mark in self.rulebook.marks if mark in whole]
        number = next((number for number, line in enumerate(folded) if any(mark in line for mark in marks)), -1) if marks else -1
        if number < 0:
            return -1, -1
        start = sum(map(len, lines[:number])) + number
        return start, start + len(lines[number])

    @property
    def human(self) -> str:
        """What the server says in words, without the returned message."""
        return self._split[0]

    @cached_property
    def original(self) -> Original | None:
        part = self.message.returned
        if part is not None:
            found = original_of(part.octets(65_536))
            if found is not None:
                return found
        if self._split[1]:
            return original_of(self._split[1][:65_536].encode("utf-8", "replace"))
        return next((found for part in self.message.parts[1:] if part.content_type == "text/plain" and header_block_at(part.text(300).lstrip()) == 0 and (found := original_of(part.octets(65_536)))), None)

    @cached_property
    def status(self) -> DeliveryStatus:
        """The delivery-status part, or its fields where somebody put them into the text."""
        if self.message.has_report:
            found = dsn.parse(self.message.report)
            if found.recipients:
                return found
        text = self.human
        if _INLINE_FIELD.search(text) and (at := _INLINE_OTHER.search(text)):
            return dsn.parse(text[min(at.start(), _INLINE_FIELD.search(text).start()) :])  # type: ignore[union-attr]
        return DeliveryStatus(())

    @cached_property
    def whole_text(self) -> str:
        """All that is said in words: text and subject."""
        return f"{self.human[:MAX_WORDS_CHARS]}\n{self.message.headers.text('subject')}"

    @cached_property
    def folded_text(self) -> str:
        return fold(self.whole_text)

    @property
    def inline(self) -> bool:
        """Whether the fields came from the text."""
        return bool(self.status.recipients) and not self.message.has_report

    @property
    def null_reverse_path(self) -> bool | None:
        if "return-path" not in self.message.headers:
            return None
        return self.message.headers.raw("return-path").strip() in (b"<>", b"", b"< >", b"<null>")

    def note(self, rule: str, where: str, excerpt: str) -> None:
        flat = " ".join(excerpt.split())
        self.evidence.append(Evidence(rule, where, flat if len(flat) <= MAX_EXCERPT_CHARS else flat[: MAX_EXCERPT_CHARS - 1] + "…"))


def from_address(value: str) -> str:
    """Return the address of a From field, lower case; empty when it has none."""
    inner = value.rpartition("<")[2].partition(">")[0] if "<" in value else value
    return _COMMENTS.sub(" ", inner).strip().strip('"').lower()


_COMMENTS = re.compile(r"\([^()]{0,200}\)")


# -- step 1: look-alikes


def _look_alike(case: _Case, *, first: bool) -> Verdict | None:
    table = case.rulebook.first_lookalikes if first else case.rulebook.lookalikes
    for rule, found in table.fitting(case.facts):
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


def _bounce(case: _Case) -> Verdict | None:
    if case.message.has_report and _all_good(case.status):
        case.note("rfc3464.action", "delivery-status", f"Action: {case.status.recipients[0].action}")
        return _verdict(case, Kind.DELIVERED, case.status.recipients)
    signs = _signs(case)
    if signs is None:
        return None
    recipients = _recipients(case, signs.layout)
    kind = _kind(case, signs, recipients)
    imitation = _imitation(case, signs, recipients)
    if imitation:
        case.note(*imitation)
        return _verdict(case, Kind.IMITATION)
    judged = tuple(_with_cause(case, recipient, signs.layout) for recipient in recipients if recipient.action not in _GOOD)
    return _verdict(case, kind, judged, signs.layout)


def _all_good(status: DeliveryStatus) -> bool:
    """Whether all recipients have their mail: by action, or where that is missing by a status of class 2."""
    return bool(status.recipients) and all(
        recipient.action in _GOOD or (recipient.action is None and recipient.status is not None and recipient.status.class_ == 2)
        for recipient in status.recipients
    )


def _signs(case: _Case) -> _Signs | None:
    """Look for signs, the cheap places first; None when they do not make a bounce."""
    book, facts = case.rulebook, case.facts
    rules = list(_noted(case, book.outer_signs.fitting(facts)))
    places = {place for rule in rules for place in rule.places}
    if case.null_reverse_path:
        case.note("rfc5321.null-reverse-path", "return_path", "<>")
        places.add("sender")
    if case.message.has_report:
        case.note("rfc3464.part", "structure", "message/delivery-status")
        places.add("report")
    layout = next(_noted(case, book.outer_layouts.fitting(facts)), None)
    if not places and not layout:
        return None  # the text alone could not make it a bounce: most ordinary mail ends here, unread
    layout = layout or next(_noted(case, book.text_layouts.fitting(facts)), None)
    rules += ([layout] if layout else []) + list(_noted(case, book.text_signs.fitting(facts)))
    places.update(place for rule in rules for place in rule.places)
    found = book.layouts[layout.name] if layout else None
    kinds = tuple(rule.kind for rule in rules if rule.kind)
    return _Signs(frozenset(places), kinds, found) if _enough(case, places, found) else None


def _noted(case: _Case, fitting: Iterable[tuple[Rule, tuple[str, str]]]) -> Iterator[Rule]:
    for rule, found in fitting:
        case.note(rule.name, *found)
        yield rule


def _enough(case: _Case, places: set[str], layout: Layout | None) -> bool:
    """Whether these signs make a bounce: a report, or signs of two places of which one speaks of a delivery."""
    if "report" in places:
        return case.message.content_type == "multipart/report" or len(places) >= 2
    if case.inline:
        case.note("rfc3464.fields", "text", case.status.recipients[0].final_recipient)
        places.add("text")
    if layout and len(places) >= 2:
        return True
    if "sender" not in places and "structure" not in places:
        return False
    if "text" in places:
        return len(places) >= 2 and (bool(_named(case)) or case.original is not None or "subject" in places)
    if len(places) >= 2 and case.original is not None:
        case.note("rfc6522.returned", "structure", "the returned message")
        return True
    return _speaks_smtp(case)


def _speaks_smtp(case: _Case) -> bool:
    """Whether the text quotes a server's refusal of a named recipient: a bounce in a language that we do not know."""
    if case.null_reverse_path is not True and "daemon" not in case.facts.folded("from_address"):
        return False
    code = next(reply_codes_in(case.human), None)
    if code is None or not _named(case):
        return False
    case.note("rfc5321.reply", "text", case.human[code[1] : code[1] + 100])
    return True


def _named(case: _Case) -> tuple[str, ...]:
    """The recipients that headers or text name, without the help of a layout."""
    failed = clean(ADDRESS.findall(" ".join(case.message.headers.all("x-failed-recipients"))))
    return failed or addresses_near_failure(case.human, _bystanders(case))


def _bystanders(case: _Case) -> frozenset[str]:
    """Addresses that are in every bounce and are not the failed one: its reader, its sender, its postmaster."""
    fields = " ".join(case.message.headers.text(name) for name in ("to", "from", "delivered-to", "reply-to"))
    return frozenset(address.lower() for address in ADDRESS.findall(fields))


def _kind(case: _Case, signs: _Signs, recipients: tuple[Recipient, ...]) -> Kind:
    actions = [recipient.action for recipient in recipients if recipient.action]
    if actions:
        case.note("rfc3464.action", "delivery-status" if not case.inline else "text", f"Action: {actions[0]}")
        return Kind.FAILED if "failed" in actions else Kind.DELAYED if "delayed" in actions else Kind.DELIVERED
    if signs.layout and signs.layout.rule.kind:
        return signs.layout.rule.kind
    return Kind.DELAYED if Kind.DELAYED in signs.kinds else Kind.FAILED


# -- who?


def _recipients(case: _Case, layout: Layout | None) -> tuple[Recipient, ...]:
    """The recipients, from the most reliable source that names any; the text fills in what a report lacks."""
    reported = case.status.recipients
    spoken = tuple(_from_layout(case, layout)) if layout and layout.recipient else ()
    if any(recipient.final_recipient for recipient in reported):
        return _completed(reported, spoken)
    if not spoken:
        spoken = tuple(Recipient(address, diagnostic_code=_said_of(case.human, address)) for address in _named(case) or _of_original(case))
    if reported and len(spoken) == 1:
        return (replace(_filled(reported[0], spoken[0]), final_recipient=spoken[0].final_recipient),)
    return spoken or tuple(reported) or (Recipient(""),)


def _completed(reported: Iterable[Recipient], spoken: tuple[Recipient, ...]) -> tuple[Recipient, ...]:
    by_address = {recipient.final_recipient.lower(): recipient for recipient in reversed(spoken)}
    return tuple(
        _filled(recipient, by_address[recipient.final_recipient.lower()]) if recipient.final_recipient.lower() in by_address else recipient
        for recipient in _unique(reported)
    )


def _filled(recipient: Recipient, spoken: Recipient) -> Recipient:
    return replace(
        recipient,
        status=recipient.status or spoken.status,
        reply_code=recipient.reply_code or spoken.reply_code,
        diagnostic_code=recipient.diagnostic_code or spoken.diagnostic_code,
        remote_mta=recipient.remote_mta or spoken.remote_mta,
    )


def _unique(recipients: Iterable[Recipient]) -> Iterator[Recipient]:
    seen: set[tuple[str, str | None]] = set()
    for recipient in recipients:
        key = (recipient.final_recipient.lower(), recipient.action)
        if key not in seen:
            seen.add(key)
            yield recipient


def _of_original(case: _Case) -> tuple[str, ...]:
    """Where nobody names a recipient: whom the returned message was for, if that was one address."""
    found = clean(ADDRESS.findall(case.original.to)) if case.original else ()
    return found if len(found) == 1 else ()


def _from_layout(case: _Case, layout: Layout) -> Iterator[Recipient]:
    text = _area(case.human, layout)
    assert layout.recipient is not None  # noqa: S101 - for the type checker; the caller looked
    found = {dsn.address(match["final_recipient"]).lower(): match for match in reversed(list(islice(layout.recipient.finditer(text), MAX_RECIPIENTS)))}
    matches = [match for address, match in reversed(found.items()) if address]
    for index, match in enumerate(matches):
        groups = match.groupdict()
        address = dsn.address(groups["final_recipient"])
        until = matches[index + 1].start() if index + 1 < len(matches) else len(text)
        before = matches[index - 1].end() if index else 0
        said = groups.get("diagnostic_code") or _said(text, match, before, until, layout.diagnostic)
        said = " ".join(said.split())[: dsn.MAX_DIAGNOSTIC_CHARS]
        yield Recipient(
            address,
            original_recipient=groups.get("original_recipient"),
            status=status_in(groups.get("status") or said),
            reply_code=reply_code_in(said),
            diagnostic_code=said,
            remote_mta=groups.get("remote_mta"),
        )


def _area(text: str, layout: Layout) -> str:
    lower = text.lower()
    starts = [at + len(mark) for mark in layout.begin if (at := lower.find(mark)) >= 0]
    start = min(starts, default=0)
    ends = [at for mark in layout.end if (at := lower.find(mark, start)) >= 0]
    return text[start : min(ends, default=len(text))]


def _said(text: str, match: re.Match[str], before: int, until: int, how: str) -> str:
    match how:
        case "before":
            return text[before : match.end()]
        case "line":
            return text[match.end() : (text.find("\n", match.end()) + 1 or len(text) + 1) - 1]
        case "area":
            return text
    return text[match.end() : until]


def _said_of(text: str, address: str) -> str:
    """What the text says of an address: from its line on, up to 600 characters."""
    at = text.lower().find(address.lower())
    if at < 0:
        return ""
    start = text.rfind("\n", 0, at) + 1
    return " ".join(text[start : start + 600].split())


# -- step 4: why?


def _with_cause(case: _Case, recipient: Recipient, layout: Layout | None) -> Recipient:
    cause, evidence = _cause(case, recipient, layout)
    if evidence is not None:
        case.evidence.append(evidence)
    return replace(recipient, cause=cause)


def _cause(case: _Case, recipient: Recipient, layout: Layout | None) -> tuple[Cause, Evidence | None]:
    """The first that answers. What is said of this recipient comes before what the text says of all."""
    book = case.rulebook
    facts = Facts(lambda name: _recipient_fact(case, recipient, name))
    codes = _statuses(recipient)
    text = Facts(lambda name: case.whole_text if name == "diagnostic_code" else facts.text(name), {"diagnostic_code": case.folded_text})
    speaks = _says_something(recipient.diagnostic_code)
    steps: tuple[Callable[[], _Answer], ...] = (
        lambda: _first((rule, found) for rule in book.user if rule.cause and (found := rule.find(facts))),
        lambda: _first(book.hosts.fitting(facts)),
        lambda: _by_status(book, codes, "exact"),
        lambda: _first(book.phrases.fitting(facts)),
        lambda: _by_status(book, codes, "plain"),
        lambda: _first(book.weak_phrases.fitting(facts)),
        lambda: None if speaks else _first(book.phrases.fitting(text)),
        lambda: _by_layout(layout),
        lambda: _by_status(book, codes, "weak"),
        lambda: _by_reply(book, recipient),
        lambda: _first((book.phrases if speaks else book.weak_phrases).fitting(text)),
    )
    return next((answer for step in steps if (answer := step())), (Cause.UNKNOWN, None))


_Answer = tuple[Cause, Evidence] | None


def _statuses(recipient: Recipient) -> tuple[EnhancedStatus, ...]:
    """The statuses that were given, that in the server's own words first: the Status field is often a translation of it."""
    given = (recipient.status,) if recipient.status else ()
    return tuple(dict.fromkeys((*statuses_in(recipient.diagnostic_code), *given)))[:5]


_WORDS = re.compile(r"[^\W\d_]{3,}")
_NO_WORDS = re.compile(r"<[^<>]{1,254}>|\S{1,254}@\S{1,254}|\bsmtp\b|\.\.\.", re.IGNORECASE)


def _says_something(diagnostic: str) -> bool:
    """Whether there are words beside addresses and codes."""
    words = _WORDS.findall(_NO_WORDS.sub(" ", diagnostic))
    return len(words) >= 2 or (bool(words) and not words[0].isascii())


def _first(fitting: Iterable[tuple[Rule, tuple[str, str]]]) -> _Answer:
    return next(((rule.cause, _evidence(rule, found)) for rule, found in fitting if rule.cause), None)


def _by_status(book: Rulebook, statuses: Iterable[EnhancedStatus], strength: str) -> _Answer:
    for status in statuses:
        rule = book.status_rule(status)
        if rule and rule.cause and strength == ("exact" if rule.exact else "weak" if rule.weak else "plain"):
            return rule.cause, _evidence(rule, ("status", str(status)))
    return None


def _by_layout(layout: Layout | None) -> _Answer:
    if layout is None or layout.rule.cause is None:
        return None
    return layout.rule.cause, Evidence(layout.rule.name, "text", "")


def _by_reply(book: Rulebook, recipient: Recipient) -> _Answer:
    rule = book.replies.get(recipient.reply_code or 0)
    return (rule.cause, _evidence(rule, ("reply_code", str(recipient.reply_code)))) if rule and rule.cause else None


def _recipient_fact(case: _Case, recipient: Recipient, name: str) -> str:
    match name:
        case "final_recipient":
            return recipient.final_recipient
        case "original_recipient":
            return recipient.original_recipient or ""
        case "action":
            return recipient.action or ""
        case "status":
            return str(recipient.status or "")
        case "reply_code":
            return str(recipient.reply_code or "")
        case "diagnostic_code":
            return recipient.diagnostic_code
        case "remote_mta":
            return recipient.remote_mta or ""
    return case.facts.text(name)


def _evidence(rule: Rule, found: tuple[str, str]) -> Evidence:
    return Evidence(rule.name, found[0], found[1][:MAX_EXCERPT_CHARS])


# -- imitations


def _imitation(case: _Case, signs: _Signs, recipients: tuple[Recipient, ...]) -> tuple[str, str, str] | None:
    """Return what gives a dressed-up message away, or None.

    A true bounce shows a trace of the attempt: a report, a reply of a server, the returned message, a layout of a known
    program. Without any, and with something to click on, it is bait. And mail with files or links of its own that does
    not come from a daemon is no bounce, whatever it is dressed as.
    """
    tried = bool(case.status.recipients or case.original or status_in(case.human) or next(reply_codes_in(case.human), None))
    baits = tuple(link for link in case.message.links if not _harmless(link))
    if not tried and baits and not (signs.layout and "sender" in signs.places):
        return "imitation.nothing-tried", "link", baits[0]
    from_daemon = case.null_reverse_path is True or "sender" in signs.places
    if not from_daemon and (baits or case.message.attachments):
        return "imitation.foreign-sender", "from", case.message.headers.text("from")
    return None


_HELP_PAGE = re.compile(
    r"\Ahttps?://(?:[a-z0-9-]{1,63}\.){0,5}(?:microsoft\.com|aka\.ms|office\.com|office365\.com|google\.com|outlook\.com|live\.com|yahoo\.com|zoho\.com|mail\.ru|yandex\.[a-z]{2,3}|ietf\.org)(?:[/:?]|\Z)",
    re.IGNORECASE,
)


def _harmless(link: str) -> bool:
    """Whether a link only leads to a provider's own help, or writes a mail."""
    return not link.lower().startswith("http") or bool(_HELP_PAGE.match(link))


# -- step 5: verdict


def _verdict(case: _Case, kind: Kind, recipients: tuple[Recipient, ...] = (), layout: Layout | None = None) -> Verdict:
    bounce = kind.is_bounce
    causes = [recipient.cause for recipient in recipients]
    known = next((cause for cause in causes if cause is not Cause.UNKNOWN), Cause.UNKNOWN)
    return Verdict(
        kind=kind,
        cause=known if bounce else None,
        recipients=tuple(recipient for recipient in recipients if recipient.final_recipient),
        reporting_mta=case.status.reporting_mta if bounce or kind is Kind.DELIVERED else None,
        null_reverse_path=case.null_reverse_path,
        original=case.original if bounce or kind is Kind.DELIVERED else None,
        format=layout.format if layout else None,
        evidence=tuple(case.evidence),
        incomplete=_incomplete(case, kind),
    )


def _other(case: _Case) -> Verdict:
    return _verdict(case, Kind.OTHER)


def _incomplete(case: _Case, kind: Kind) -> bool:
    """Whether what was cut off could change the verdict."""
    message = case.message
    if not message.cut:
        return False
    if not message.header_ended:
        return True
    if message.has_report:
        return not all(part.ended for part in message.parts if "delivery-status" in part.content_type)
    if kind is Kind.OTHER and not case.evidence and message.content_type != "multipart/report":
        return False
    below = bool(case._split[1])  # noqa: SLF001 - one thing
    return message.content_type.startswith("multipart/") or not (below or message.text_ended)


def _user_says(case: _Case, verdict: Verdict) -> Verdict:
    """Let the user's rules speak: about the message, and about each recipient."""
    matched: list[Rule] = []
    for rule in case.rulebook.user:
        subjects = (case.facts, *(Facts(lambda name, r=recipient: _recipient_fact(case, r, name)) for recipient in verdict.recipients))
        if any(rule.find(facts) for facts in subjects):
            matched.append(rule)
    if not matched:
        return verdict
    kind = next((rule.kind for rule in matched if rule.kind), verdict.kind)
    cause = next((rule.cause for rule in matched if rule.cause), verdict.cause)
    said = tuple(Evidence(rule.name, "user's rule", "") for rule in matched)
    return replace(
        verdict,
        kind=kind,
        cause=(cause or Cause.UNKNOWN) if kind.is_bounce else None,
        rules=tuple(rule.name for rule in matched),
        evidence=(*said, *verdict.evidence),
    )
