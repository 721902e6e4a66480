"""Rule and Condition, and the tables that they are read from: ours in `rules/` and the user's, with one parser.

docs/rules.md tells how tables are written.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from typing import Any, Protocol, TypeVar

from bouncefiler.errors import ConfigError
from bouncefiler.recognition.index import Index, pieces_of
from bouncefiler.recognition.status import EnhancedStatus
from bouncefiler.recognition.text import fold
from bouncefiler.recognition.verdict import Cause, Kind

MESSAGE_FIELDS = frozenset(
    {
        "from", "from_address", "to", "reply_to", "subject", "return_path", "message_id", "content_type", "auto_submitted", "text",
        "attachment", "link", "reporting_mta", "original_from", "original_to", "original_subject", "original_message_id",
    }
)  # fmt: skip
RECIPIENT_FIELDS = frozenset(
    {"final_recipient", "original_recipient", "action", "status", "reply_code", "diagnostic_code", "remote_mta"}
)
FIELDS = MESSAGE_FIELDS | RECIPIENT_FIELDS
_HEADER = "header."
_DEAR = ("text", "attachment", "link")
"""Fields whose value has to be worked out from the body: looked at last."""


class Operator(StrEnum):
    """How a condition compares. All but `matches` look at folded text: no case, no accents, single blanks."""

    IS = "is"
    CONTAINS = "contains"
    STARTS = "starts"
    MATCHES = "matches"
    PRESENT = "present"


class Pattern(Protocol):
    """A compiled regular expression, of `re` or of google-re2."""

    def search(self, text: str, /) -> Any:
        """Return a match of the pattern anywhere in `text`, or None."""


Compile = Callable[[str], Pattern]


class Facts:
    """The values of fields that conditions ask for, worked out when first asked for."""

    __slots__ = ("_folded", "_lookup", "_pieces", "_texts")

    def __init__(self, lookup: Callable[[str], str], folded: Mapping[str, str] | None = None) -> None:
        self._lookup = lookup
        self._texts: dict[str, str] = {}
        self._folded: dict[str, str] = dict(folded or {})
        self._pieces: dict[str, frozenset[str]] = {}

    def text(self, name: str) -> str:
        """Return the value of a field; empty when the message has none."""
        if name not in self._texts:
            self._texts[name] = self._lookup(name)
        return self._texts[name]

    def folded(self, name: str) -> str:
        """Return the value of a field as it is compared."""
        if name not in self._folded:
            self._folded[name] = fold(self.text(name))
        return self._folded[name]

    def pieces(self, name: str) -> frozenset[str]:
        """Return the pieces of that by which an index finds literals."""
        if name not in self._pieces:
            self._pieces[name] = frozenset(pieces_of(self.folded(name)))
        return self._pieces[name]


@dataclass(frozen=True, slots=True)
class Condition:
    """One field, one operator, and the values of which one must fit."""

    field: str
    operator: Operator
    values: tuple[str, ...]
    patterns: tuple[Pattern, ...] = ()

    def find(self, facts: Facts) -> str | None:
        """Return what fits, or None."""
        match self.operator:
            case Operator.CONTAINS:
                text = facts.folded(self.field)
                return next((value for value in self.values if value in text), None)
            case Operator.STARTS:
                text = facts.folded(self.field)
                return next((value for value in self.values if text.startswith(value)), None)
            case Operator.IS:
                text = facts.folded(self.field)
                return text if text in self.values else None
            case Operator.MATCHES:
                text = facts.text(self.field)
                found = (pattern.search(text) for pattern in self.patterns)
                return next((match.group(0) for match in found if match), None)
            case Operator.PRESENT:
                text = facts.text(self.field)
                return (text or "(absent)") if bool(text) == (self.values == ("true",)) else None


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

    def find(self, facts: Facts) -> tuple[str, str] | None:
        """Return (field, excerpt) of the last condition when all hold, else None."""
        found = None
        for condition in self.when:
            excerpt = condition.find(facts)
            if excerpt is None:
                return None
            found = (condition.field, excerpt)
        if any(condition.find(facts) is not None for condition in self.unless):
            return None
        return found

    @property
    def places(self) -> frozenset[str]:
        """Which parts of a message its conditions look at: two signs of one place count as one."""
        return _places(self.when)

    @property
    def needles(self) -> tuple[str, tuple[str, ...]] | None:
        """The field and literals by which an index finds it."""
        literal = [c for c in self.when if c.operator in (Operator.CONTAINS, Operator.STARTS)]
        dear = any(c.field not in _DEAR for c in self.when)  # then the text is only looked at when the header fields fit
        return next(((c.field, c.values) for c in literal if not (dear and c.field in _DEAR)), None)


@lru_cache(maxsize=4096)
def _places(when: tuple[Condition, ...]) -> frozenset[str]:
    return frozenset(_PLACES.get(condition.field, "sender") for condition in when)


_PLACES = {"subject": "subject", "text": "text", "content_type": "structure", "attachment": "structure", "link": "text"} | dict.fromkeys(
    RECIPIENT_FIELDS, "text"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """How one program lays out a bounce: where the recipients stand, and what is said of each."""

    rule: Rule
    format: str
    begin: tuple[str, ...] = ()
    """Recipients stand behind the first of these; anywhere when there are none, or none is found."""
    end: tuple[str, ...] = ()
    """… and before the first of these."""
    recipient: re.Pattern[str] | None = None
    """Groups final_recipient, and perhaps diagnostic_code, remote_mta, status, original_recipient."""
    diagnostic: str = "after"
    """What is said of a recipient: the text `after` it up to the next one, its `line`, the text `before` it, or the `area`."""


class Table:
    """Rules in the order in which they are asked."""

    __slots__ = ("_index", "rules")

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._index = Index(self.rules)

    def fitting(self, facts: Facts) -> Iterator[tuple[Rule, tuple[str, str]]]:
        """Yield the rules that hold, in their order, with the field and excerpt that decided."""
        for number in self._index.candidates(facts):
            rule = self.rules[number]
            if found := rule.find(facts):
                yield rule, found


_NO_RULES = Table(())


@dataclass(frozen=True, slots=True)
class Rulebook:
    """All that is known, ready to be asked."""

    user: tuple[Rule, ...] = ()
    first_lookalikes: Table = _NO_RULES
    """Asked before anything else."""
    lookalikes: Table = _NO_RULES
    """Asked when the message is no bounce."""
    outer_signs: Table = _NO_RULES
    """Signs in header fields."""
    text_signs: Table = _NO_RULES
    outer_layouts: Table = _NO_RULES
    """Layouts that a header field gives away, too."""
    text_layouts: Table = _NO_RULES
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    """By the name of the rule."""
    hosts: Table = _NO_RULES
    phrases: Table = _NO_RULES
    """In the order of causes.toml."""
    weak_phrases: Table = _NO_RULES
    marks: Mapping[str, str] = field(default_factory=dict)
    """Lines behind which a returned message stands: folded text to row."""
    statuses: Mapping[tuple[int, int], Rule] = field(default_factory=dict)
    replies: Mapping[int, Rule] = field(default_factory=dict)
    _advice: Mapping[tuple[Cause, str], tuple[str, str]] = field(default_factory=dict)

    def advice(self, cause: Cause, language: str = "en") -> str:
        """Return one plain sentence on what the sender can do; in English when there is none in `language`."""
        return self._words(cause, language)[1]

    def label(self, cause: Cause, language: str = "en") -> str:
        """Return what people call this cause; in English when there is no word in `language`."""
        return self._words(cause, language)[0]

    def _words(self, cause: Cause, language: str) -> tuple[str, str]:
        short = language.replace("_", "-").partition("-")[0].lower()
        return self._advice.get((cause, short)) or self._advice[cause, "en"]

    def status_rule(self, status: EnhancedStatus) -> Rule | None:
        """Return the row of this status, whatever its class, unless that is success."""
        return self.statuses.get((status.subject, status.detail)) if status.class_ != 2 else None


def user_rules(tables: Sequence[Mapping[str, object]], where: str, compile_pattern: Compile = re.compile) -> tuple[Rule, ...]:
    """Read the user's [[rule]] tables. Raises ConfigError naming file, rule, key and what is expected."""
    seen: set[str] = set()
    rules = []
    for number, table in enumerate(tables, start=1):
        at = f"{where}: rule {number}"
        name = table.get("name")
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f'{at}: name: give the rule a name, such as name = "refusals"')
        at = f'{at} "{_short(name)}"'
        if name in seen:
            raise ConfigError(f"{at}: name: another rule has this name; names must differ")
        seen.add(name)
        rules.append(_rule(table, name, at, compile_pattern, _USER_THEN))
    return tuple(rules)


def _short(name: str) -> str:
    return name if len(name) <= 40 else name[:39] + "…"


_USER_THEN = frozenset({"kind", "cause", "file_to", "leave"})
_OUR_THEN = frozenset({"kind", "cause", "weak", "first", "exact"})
_ROW_KEYS = frozenset({"name", "when", "unless", "then", "source"})


def _rule(table: Mapping[str, object], name: str, at: str, compile_pattern: Compile, then_keys: frozenset[str]) -> Rule:
    _known(table, _ROW_KEYS, at, "")
    then = _table(table.get("then", {}), f"{at}: then")
    _known(then, then_keys, at, "then.")
    when = tuple(_conditions(table.get("when"), f"{at}: when", compile_pattern))
    if not when:
        raise ConfigError(f'{at}: when: name at least one field, such as when = {{ subject = {{ contains = ["…"] }} }}')
    unless = tuple(_conditions(table.get("unless", {}), f"{at}: unless", compile_pattern))
    return Rule(
        name=name,
        when=when,
        unless=unless,
        kind=_word(then.get("kind"), Kind, f"{at}: then.kind"),
        cause=_word(then.get("cause"), Cause, f"{at}: then.cause"),
        weak=then.get("weak") is True,
        first=then.get("first") is True,
        exact=then.get("exact") is True,
    )


def _conditions(value: object, at: str, compile_pattern: Compile) -> Iterator[Condition]:
    """Yield the conditions of a `when` table, those that cost little first."""
    table = _table(value, at)
    for name in sorted(table, key=lambda key: (key in _DEAR, list(table).index(key))):
        lower = name.lower()
        if lower not in FIELDS and not (lower.startswith(_HEADER) and len(lower) > len(_HEADER)):
            raise ConfigError(f"{at}.{name}: unknown field{_hint(lower, FIELDS)}")
        operators = _table(table[name], f"{at}.{name}")
        if not operators:
            raise ConfigError(f"{at}.{name}: say how to compare: {', '.join(Operator)}")
        for operator, wanted in operators.items():
            if operator not in tuple(Operator):
                raise ConfigError(f"{at}.{name}.{operator}: unknown comparison{_hint(operator, Operator)}")
            yield _condition(lower, Operator(operator), wanted, f"{at}.{name}.{operator}", compile_pattern)


def _condition(name: str, operator: Operator, wanted: object, at: str, compile_pattern: Compile) -> Condition:
    if operator is Operator.PRESENT:
        if not isinstance(wanted, bool):
            raise ConfigError(f"{at}: expected true or false")
        return Condition(name, operator, (str(wanted).lower(),))
    values = (wanted,) if isinstance(wanted, str | int) and not isinstance(wanted, bool) else wanted
    if not isinstance(values, list | tuple) or not values or not all(isinstance(v, str | int) and str(v) for v in values):
        raise ConfigError(f'{at}: expected a list of texts, such as ["…"]')
    texts = tuple(str(value) for value in values)
    if operator is Operator.MATCHES:
        return Condition(name, operator, texts, tuple(_pattern(text, at, compile_pattern) for text in texts))
    return Condition(name, operator, tuple(fold(text) for text in texts))


def _pattern(source: str, at: str, compile_pattern: Compile) -> Pattern:
    try:
        return compile_pattern(f"(?im){source}")
    except Exception as exc:  # noqa: BLE001 - re and re2 share no class of error
        raise ConfigError(f"{at}: not a regular expression ({exc}): {_short(source)}") from exc


def _table(value: object, at: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{at}: expected a table such as {{ … = … }}")
    return value


def _known(table: Mapping[str, object], keys: Iterable[str], at: str, prefix: str) -> None:
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


def load(user: tuple[Rule, ...] = ()) -> Rulebook:
    """Return the package's own tables, read and compiled once, with the user's rules before them."""
    return replace(_package_tables(), user=user) if user else _package_tables()


@lru_cache(maxsize=1)
def _package_tables() -> Rulebook:
    root = resources.files("bouncefiler.recognition") / "rules"
    tables: dict[str, Mapping[str, Any]] = {}
    for folder in (root, root / "formats", root / "languages"):
        for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if file.name.endswith(".toml"):
                tables[f"{'formats/' * (folder.name == 'formats')}{file.name[:-5]}"] = tomllib.loads(file.read_text("utf-8"))
    return read_tables(tables)


def read_tables(tables: Mapping[str, Mapping[str, Any]]) -> Rulebook:
    """Build a rulebook from parsed tables, by file stem ("formats/qmail", "pt"). Raises ConfigError naming the row."""
    order = {Cause(word): place for place, word in enumerate(tables["causes"]["order"])}
    rows = {kind: tuple(_rows(tables, kind)) for kind in ("lookalike", "sign", "host", "phrase", "status", "reply")}
    layouts = tuple(layout for stem, table in tables.items() for layout in _layouts(stem, table))
    phrases = sorted(rows["phrase"], key=lambda rule: order[rule.cause or Cause.UNKNOWN])
    return Rulebook(
        first_lookalikes=Table(rule for rule in rows["lookalike"] if rule.first),
        lookalikes=Table(rule for rule in rows["lookalike"] if not rule.first),
        outer_signs=Table(rule for rule in rows["sign"] if "text" not in rule.places),
        text_signs=Table(rule for rule in rows["sign"] if "text" in rule.places),
        outer_layouts=Table(layout.rule for layout in layouts if layout.rule.places != {"text"}),
        text_layouts=Table(layout.rule for layout in layouts if layout.rule.places == {"text"}),
        layouts={layout.rule.name: layout for layout in layouts},
        hosts=Table(rows["host"]),
        phrases=Table(rule for rule in phrases if not rule.weak),
        weak_phrases=Table(rule for rule in phrases if rule.weak),
        marks=dict(_marks(tables)),
        statuses={_status_key(rule.when[0].values[0]): rule for rule in rows["status"]},
        replies={int(rule.when[0].values[0]): rule for rule in rows["reply"]},
        _advice={
            (Cause(row["name"]), language): (row["label"][language], row["advice"][language])
            for row in tables["causes"]["cause"]
            for language in row["advice"]
        },
    )


def _rows(tables: Mapping[str, Mapping[str, Any]], kind: str) -> Iterator[Rule]:
    for stem, table in tables.items():
        for row in table.get(kind, ()):
            yield _our_rule(row, stem)


def _our_rule(row: Mapping[str, Any], stem: str) -> Rule:
    name = f"{stem.rpartition('/')[2]}.{row.get('name', '?')}"
    return _rule(row, name, f"{stem}.toml: {name}", re.compile, _OUR_THEN)


def _status_key(code: str) -> tuple[int, int]:
    _, subject, detail = code.split(".")
    return int(subject), int(detail)


def _marks(tables: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for stem, table in tables.items():
        for row in table.get("mark", ()):
            yield from ((fold(text), f"{stem.rpartition('/')[2]}.{row['name']}") for text in row["line"])


_LAYOUT_KEYS = frozenset({"begin", "end", "recipient", "diagnostic"})


def _layouts(stem: str, table: Mapping[str, Any]) -> Iterator[Layout]:
    for row in table.get("layout", ()):
        find = _table(row.get("find", {}), f"{stem}.toml: find")
        rule = _our_rule({key: value for key, value in row.items() if key != "find"}, stem)
        _known(find, _LAYOUT_KEYS, f"{stem}.toml: {rule.name}", "find.")
        yield Layout(
            rule,
            stem.rpartition("/")[2],
            begin=_texts(find.get("begin", ())),
            end=_texts(find.get("end", ())),
            recipient=re.compile(f"(?im){find['recipient']}") if "recipient" in find else None,
            diagnostic=find.get("diagnostic", "after"),
        )


def _texts(value: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(text.lower() for text in ((value,) if isinstance(value, str) else value))
