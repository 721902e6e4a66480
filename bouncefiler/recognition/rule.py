"""Rule and Condition: a row of a table, ours or the user's, and the one parser that reads it.

docs/rules.md tells how tables are written.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from bouncefiler.errors import ConfigError
from bouncefiler.recognition.near import Near
from bouncefiler.recognition.text import fold
from bouncefiler.recognition.verdict import Cause, Kind

MESSAGE_FIELDS = frozenset(
    {
        "from", "from_address", "to", "reply_to", "subject", "return_path", "message_id", "content_type",
        "auto_submitted", "text", "part", "attachment", "link", "reporting_mta",
        "original_from", "original_to", "original_subject", "original_message_id",
    }
)  # fmt: skip
RECIPIENT_FIELDS = frozenset(
    {"final_recipient", "original_recipient", "action", "status", "reply_code", "diagnostic_code", "remote_mta"}
)
FIELDS = MESSAGE_FIELDS | RECIPIENT_FIELDS
IMITATION_FIELDS = frozenset({"signs", "trace", "envelope", "whom", "foreign_link", "foreign_url", "foreign_file"})
"""What only the rows of imitations.toml ask for; disguise.py works them out."""
_HEADER = "header."
_DEAR = ("text", "part", "attachment", "link")
"""Fields whose value has to be worked out from the body: looked at last."""

_COMMON = ("content_type", "return_path", "signs", "trace", "text")
"""Fields that say the same in most bounces or take long to go through: a rule is better found by another."""


ABSENT = "(absent)"


def header_of(name: str) -> str:
    """Return the header field (lower case) that a field is read from; empty where it is worked out from elsewhere."""
    if name.startswith(_HEADER):
        return name.removeprefix(_HEADER)
    return _HEADER_OF.get(name, "")


_HEADER_OF = {
    name: name.replace("_", "-")
    for name in ("from", "to", "reply_to", "subject", "return_path", "message_id", "content_type", "auto_submitted")
} | {"from_address": "from"}


class Operator(StrEnum):
    """How a condition compares. All but `matches` look at folded text: no case, no accents, single blanks."""

    IS = "is"
    CONTAINS = "contains"
    STARTS = "starts"
    NEAR = "near"
    MATCHES = "matches"
    PRESENT = "present"


class Pattern(Protocol):
    """A compiled regular expression, of `re` or of google-re2."""

    def search(self, text: str, /) -> Any:
        """Return a match of the pattern anywhere in `text`, or None."""


Compile = Callable[[str], Pattern]


class Facts:
    """The values of fields that conditions ask for, worked out when first asked for."""

    __slots__ = ("_folded", "_lookup", "_message", "_own", "_texts", "absent")

    def __init__(
        self, lookup: Callable[[str], str] | None = None, own: Container[str] = (), message: Facts | None = None
    ) -> None:
        """Take where values come from; with `message`, only those of `own` fields, and all others from there."""
        self._lookup = lookup
        self._own = own
        self._message = message
        self._texts: dict[str, str] = {}
        self._folded: dict[str, str] = {}
        self.absent: frozenset[int] = frozenset()
        """The id of conditions that are known not to hold."""

    def worked_out(self, name: str, folded: str) -> None:
        """Take what others have worked out already: the value of a field as it is compared."""
        self._folded[name] = folded

    def value(self, name: str) -> str:
        """Work out the value of a field."""
        return self._lookup(name) if self._lookup is not None else ""

    def text(self, name: str) -> str:
        """Return the value of a field; empty when the message has none."""
        text = self._texts.get(name)
        if text is None:
            others = self._message if name not in self._own else None
            text = self._texts[name] = others.text(name) if others is not None else self.value(name)
        return text

    def folded(self, name: str) -> str:
        """Return the value of a field as it is compared."""
        folded = self._folded.get(name)
        if folded is None:
            others = self._message if name not in self._own else None
            if others is not None:
                folded = others.folded(name)
            else:
                text = self.text(name)  # with which it may have been worked out
                folded = self._folded[name] if name in self._folded else fold(text)
            self._folded[name] = folded
        return folded


@dataclass(frozen=True, slots=True)
class Condition:
    """One field, one operator, and the values of which one must fit."""

    field: str
    operator: Operator
    values: tuple[str, ...]
    """Of `near`: what its first list begins with."""
    patterns: tuple[Pattern, ...] = ()
    runs: tuple[tuple[str, ...], ...] = ()
    """For each pattern, what plain_runs says of it."""
    near: Near | None = None

    finder: Callable[[Condition, Facts], str | None] = dataclasses.field(init=False, repr=False, compare=False)
    """Returns what of these facts fits the condition, or None."""

    def __post_init__(self) -> None:
        """Look up once how to compare: conditions are asked more often than anything else is done."""
        object.__setattr__(self, "finder", _FINDERS[self.operator])

    @property
    def literals(self) -> tuple[str, ...]:
        """Folded texts of which at least one is in any folded value that fits; empty when it can't be told."""
        if self.operator is Operator.MATCHES:
            return tuple(run for runs in self.runs for run in runs) if all(self.runs) else ()
        return () if self.operator is Operator.PRESENT else self.values


def _first_within(values: tuple[str, ...], text: str) -> str | None:
    for value in values:  # a plain loop: this is where recognition spends its time
        if value in text:
            return value
    return None


def _contains(condition: Condition, facts: Facts) -> str | None:
    text = facts.folded(condition.field)
    return None if id(condition) in facts.absent else _first_within(condition.values, text)


def _starts(condition: Condition, facts: Facts) -> str | None:
    text = facts.folded(condition.field)
    if text.startswith(condition.values):
        for value in condition.values:
            if text.startswith(value):
                return value
    return None


def _is(condition: Condition, facts: Facts) -> str | None:
    text = facts.folded(condition.field)
    return text if text in condition.values else None


def _matches(condition: Condition, facts: Facts) -> str | None:
    text, folded = facts.text(condition.field), facts.folded(condition.field)
    if id(condition) in facts.absent:
        return None
    for pattern, runs in zip(condition.patterns, condition.runs, strict=True):
        if (not runs or _first_within(runs, folded)) and (found := pattern.search(text)):
            return str(found.group(0))
    return None


def _near(condition: Condition, facts: Facts) -> str | None:
    if condition.near is None or id(condition) in facts.absent:
        return None
    return condition.near.find(facts.folded(condition.field))


def _present(condition: Condition, facts: Facts) -> str | None:
    text = facts.text(condition.field)
    return (text or ABSENT) if bool(text) == (condition.values == ("true",)) else None


_FINDERS: Mapping[Operator, Callable[[Condition, Facts], str | None]] = {
    Operator.CONTAINS: _contains,
    Operator.STARTS: _starts,
    Operator.NEAR: _near,
    Operator.IS: _is,
    Operator.MATCHES: _matches,
    Operator.PRESENT: _present,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of a table: when all its conditions hold, what it says of the message or of a recipient."""

    name: str
    """<table file stem>.<row name>; for a user's rule the name that the user gave it."""
    when: tuple[Condition, ...]
    unless: tuple[Condition, ...] = ()
    kind: Kind | None = None
    cause: Cause | None = None
    weak: bool = False
    """A phrase so general that any other phrase comes before it."""
    first: bool = False
    """A look-alike that is asked about even when there is a delivery-status part."""
    exact: bool = False
    """A status that means one thing whoever writes it: comes before phrases."""
    alone: bool = True
    """Whether a status may decide by itself; else there must be a reply code, or the delivery must be late."""
    blocked_at: str = ""
    """The provider who says by this that the sender's own account there may send no more."""
    places: frozenset[str] = dataclasses.field(init=False, repr=False, compare=False)
    """Which parts of a message its conditions look at: two signs of one place count as one."""
    fields: frozenset[str] = dataclasses.field(init=False, repr=False, compare=False)
    """All that its conditions look at."""
    texts: frozenset[int] = dataclasses.field(init=False, repr=False, compare=False)
    """The id of those that look at the text."""

    def __post_init__(self) -> None:
        """Work out once what its conditions look at."""
        places = frozenset(_PLACES.get(condition.field, "sender") for condition in self.when)
        object.__setattr__(self, "places", places)
        object.__setattr__(self, "fields", frozenset(condition.field for condition in (*self.when, *self.unless)))
        object.__setattr__(
            self, "texts", frozenset(id(condition) for condition in self.when if condition.field == "text")
        )

    def find(self, facts: Facts) -> tuple[str, str] | None:
        """Return (field, excerpt) of the last condition that has something to show, when all hold, else None."""
        found = None
        for condition in self.when:
            excerpt = condition.finder(condition, facts)
            if excerpt is None:
                return None
            if found is None or excerpt is not ABSENT:
                found = (condition.field, excerpt)
        for condition in self.unless:
            if condition.finder(condition, facts) is not None:
                return None
        return found

    @property
    def plain(self) -> bool:
        """Whether it asks for nothing but that some text is in a field."""
        return len(self.when) == 1 and self.when[0].operator is Operator.CONTAINS and not self.unless

    def may_fit(self, facts: Facts, fields: Iterable[str]) -> bool:
        """Whether it looks at one of these fields, and all that it asks of them holds, whatever the others say."""
        asked = [condition for condition in self.when if condition.field in fields]
        return bool(asked) and all(condition.finder(condition, facts) is not None for condition in asked)

    @property
    def outer_fields(self) -> frozenset[str]:
        """What it looks at, but for what has to be worked out from the body."""
        return self.fields.difference(_DEAR)

    @property
    def needles(self) -> Needles | None:
        """The field and literals by which an index finds it; without literals: the field that must be there."""
        # What has to be worked out from the body is only looked at when the header fields fit.
        outer = [c for c in self.when if c.field not in _DEAR and c.field not in IMITATION_FIELDS] or self.when
        telling = [c for c in outer if c.field not in _COMMON] or outer
        found = [(literals, condition) for condition in telling if (literals := condition.literals)]
        for operators in (_PLAIN, (Operator.MATCHES,)):
            for literals, condition in found:
                if condition.operator in operators:
                    return condition.field, literals
        return next(((c.field, ()) for c in telling if c.operator is Operator.PRESENT and c.values == ("true",)), None)


Needles = tuple[str, tuple[str, ...]]
_PLAIN = (Operator.CONTAINS, Operator.STARTS, Operator.IS, Operator.NEAR)


_ATOMS = re.compile(
    r"\\(?P<sign>[.()/:-])|(?P<other>\\.|\[\^?\]?(?:\\.|[^\]\\])*\])|(?P<open>\()|(?P<close>\))|(?P<either>\|)"
    r"|(?P<optional>[?*]|\{[\d,]*\})|(?P<plain>[A-Za-z0-9 !%&',/:;-])|.",
    re.DOTALL,
)
_LEAST_RUN = 4


def plain_runs(pattern: str) -> tuple[str, ...]:
    """Return runs of plain ASCII of which one, folded, is in all that a regular expression matches.

    Empty when that can't be told at a glance: only what stands outside all groups and sets is looked at.
    """
    branches: list[list[str]] = [[""]]
    depth = 0
    for atom in _ATOMS.finditer(pattern):
        kind, runs = atom.lastgroup, branches[-1]
        depth += (kind == "open") - (kind == "close")
        if kind == "either" and not depth:
            branches.append([""])
        elif kind in ("plain", "sign") and not depth:
            runs[-1] += atom[0][-1]
        else:
            if kind == "optional" and not depth:
                runs[-1] = runs[-1][:-1]
            runs.append("")
    longest = tuple(max((fold(run) for run in runs), key=len) for runs in branches)
    return longest if min(map(len, longest)) >= _LEAST_RUN else ()


_PLACES = {
    "subject": "subject",
    "text": "text",
    "content_type": "structure",
    "part": "structure",
    "attachment": "structure",
    "link": "text",
} | dict.fromkeys(RECIPIENT_FIELDS, "text")


def shortened(name: str) -> str:
    """Return `name` at a length that fits an error."""
    return name if len(name) <= 40 else name[:39] + "…"


_OPERATORS = {operator.value: operator for operator in Operator}
_TEXT = (str, int)
_ROW_KEYS = frozenset({"name", "when", "unless", "then", "source"})


def read_rule(
    table: Mapping[str, object],
    name: str,
    at: str,
    compile_pattern: Compile,
    then_keys: frozenset[str],
    fields: frozenset[str] = FIELDS,
) -> Rule:
    """Read one row; `at` says where it stands, `fields` what it may look at. Raises ConfigError."""
    known_keys(table, _ROW_KEYS, at, "")
    then = table_at(table.get("then", {}), f"{at}: then")
    known_keys(then, then_keys, at, "then.")
    when = tuple(_conditions(table.get("when"), f"{at}: when", compile_pattern, fields))
    if not when:
        raise ConfigError(f'{at}: when: name at least one field, such as when = {{ subject = {{ contains = ["…"] }} }}')
    unless = tuple(_conditions(table.get("unless", {}), f"{at}: unless", compile_pattern, fields))
    return Rule(
        name=name,
        when=when,
        unless=unless,
        kind=_word(then.get("kind"), Kind, f"{at}: then.kind"),
        cause=_word(then.get("cause"), Cause, f"{at}: then.cause"),
        weak=then.get("weak") is True,
        first=then.get("first") is True,
        exact=then.get("exact") is True,
        alone=then.get("alone") is not False,
        blocked_at=str(then.get("blocked_at", "")),
    )


def _conditions(value: object, at: str, compile_pattern: Compile, fields: frozenset[str]) -> Iterator[Condition]:
    """Yield the conditions of a `when` table, those that cost little first."""
    table = table_at(value, at)
    for name in sorted(table, key=_DEAR.__contains__):
        lower = name.lower()
        if lower not in fields and not (lower.startswith(_HEADER) and len(lower) > len(_HEADER)):
            raise ConfigError(f"{at}.{name}: unknown field{_hint(lower, fields)}")
        operators = table_at(table[name], f"{at}.{name}")
        if not operators:
            raise ConfigError(f"{at}.{name}: say how to compare: {', '.join(Operator)}")
        for operator, wanted in operators.items():
            if operator not in _OPERATORS:
                raise ConfigError(f"{at}.{name}.{operator}: unknown comparison{_hint(operator, Operator)}")
            yield _condition(lower, _OPERATORS[operator], wanted, f"{at}.{name}.{operator}", compile_pattern)


def _condition(name: str, operator: Operator, wanted: object, at: str, compile_pattern: Compile) -> Condition:
    if operator is Operator.PRESENT:
        if not isinstance(wanted, bool):
            raise ConfigError(f"{at}: expected true or false")
        return Condition(name, operator, (str(wanted).lower(),))
    if operator is Operator.NEAR:
        return _near_condition(name, wanted, at)
    values = (wanted,) if isinstance(wanted, _TEXT) and not isinstance(wanted, bool) else wanted
    if not isinstance(values, list | tuple) or not values or not all(isinstance(v, _TEXT) and str(v) for v in values):
        raise ConfigError(f'{at}: expected a list of texts, such as ["…"]')
    texts = tuple(map(str, values))
    if operator is Operator.MATCHES:
        patterns = tuple(_pattern(text, at, compile_pattern) for text in texts)
        return Condition(name, operator, texts, patterns, tuple(plain_runs(text) for text in texts))
    return Condition(name, operator, tuple(map(fold, texts)))


def _near_condition(name: str, wanted: object, at: str) -> Condition:
    lists = wanted if isinstance(wanted, list | tuple) else ()
    if len(lists) < 2 or not all(
        isinstance(each, list | tuple) and each and all(map(_is_stem, each)) for each in lists
    ):
        raise ConfigError(f'{at}: expected two lists of texts or more, such as [["mailbox"], ["full", "exceed"]]')
    near = Near(tuple(map(fold, each)) for each in lists)
    return Condition(name, Operator.NEAR, near.first, near=near)


def _is_stem(value: object) -> bool:
    return isinstance(value, str) and bool(fold(value).strip("_"))


def _pattern(source: str, at: str, compile_pattern: Compile) -> Pattern:
    try:
        return compile_pattern(f"(?im){source}")
    except Exception as exc:
        raise ConfigError(f"{at}: not a regular expression ({exc}): {shortened(source)}") from exc


def table_at(value: object, at: str) -> Mapping[str, Any]:
    """Return `value` if it is a table. Raises ConfigError."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{at}: expected a table such as {{ … = … }}")
    return value


def known_keys(table: Mapping[str, object], keys: Iterable[str], at: str, prefix: str) -> None:
    """Raise ConfigError when the table has other keys than these."""
    for key in table:
        if key not in keys:
            raise ConfigError(f"{at}: {prefix}{key}: unknown key{_hint(key, keys)}")


def _hint(word: str, known: Iterable[str]) -> str:
    words = sorted(known)
    longer = [name for name in words if name.startswith(f"{word}_")]
    near = longer or get_close_matches(word, words, n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else f" (known: {', '.join(words)})"


_Word = TypeVar("_Word", Kind, Cause)


def _word(value: object, words: type[_Word], at: str) -> _Word | None:
    if value is None:
        return None
    if value not in tuple(words):
        raise ConfigError(f"{at}: {value!r} is none of them{_hint(str(value), words)}")
    return words(str(value))
