"""The tables of `rules/`, and the user's rules before them: all that is known about bounces, ready to be asked.

docs/rules.md tells how tables are written.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import chain, count
from typing import Any

from bouncefiler.errors import ConfigError
from bouncefiler.recognition.index import Asks, Index, Literals
from bouncefiler.recognition.lasting import lasting
from bouncefiler.recognition.rule import (
    FIELDS,
    IMITATION_FIELDS,
    Compile,
    Facts,
    Rule,
    header_of,
    known_keys,
    read_rule,
    shortened,
    table_at,
)
from bouncefiler.recognition.status import EnhancedStatus
from bouncefiler.recognition.text import fold
from bouncefiler.recognition.verdict import Cause


class LatePattern:
    """A regular expression of ours, compiled when it is first needed: most mail needs few of them."""

    __slots__ = ("_compiled", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self._compiled: re.Pattern[str] | None = None

    @property
    def compiled(self) -> re.Pattern[str]:
        """The expression, ready to be asked. Raises re.error when it is none; a test compiles them all."""
        if self._compiled is None:
            self._compiled = re.compile(self.source)
        return self._compiled

    def search(self, text: str, /) -> re.Match[str] | None:
        """See rule.Pattern."""
        return self.compiled.search(text)


@dataclass(frozen=True, slots=True)
class Layout:
    """How one program lays out a bounce: where the recipients stand, and what is said of each."""

    rule: Rule
    format: str
    begin: tuple[str, ...] = ()
    """Recipients stand behind the first of these; anywhere when there are none, or none is found."""
    end: tuple[str, ...] = ()
    """… and before the first of these."""
    recipient: LatePattern | None = None
    """Groups final_recipient, and perhaps diagnostic_code, remote_mta, status, original_recipient."""
    diagnostic: str = "after"
    """What is said of a recipient: the text `after` it up to the next, `before` it, its `line`, or the whole `area`."""


@dataclass(frozen=True, slots=True)
class Harmless:
    """What may stand in a bounce beside its report and the returned message."""

    hosts: frozenset[str] = frozenset()
    """Where a server's own help is read; subdomains are included."""
    files: tuple[str, ...] = ()
    """How media types of files begin that servers attach."""
    names: tuple[str, ...] = ()
    """How names of files end whose media type says nothing."""

    def host(self, name: str) -> bool:
        """Whether a link to this host leads to a server's own help."""
        labels = name.lower().rstrip(".").split(".")
        return any(".".join(labels[at:]) in self.hosts for at in range(len(labels)))


class Table:
    """Rules in the order in which they are asked."""

    __slots__ = ("rules",)

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)


Found = tuple[str, str]
"""The field and the excerpt that decided."""

Candidates = Sequence[tuple[Rule, Found | None]]
"""Rules that may fit, in their order; with what was found, where one field alone has decided that they do."""


def fitting(candidates: Candidates, facts: Facts) -> Iterator[tuple[Rule, Found]]:
    """Yield the rules that hold."""
    for rule, known in candidates:
        if rule.texts and not rule.texts.isdisjoint(facts.absent):
            continue
        if found := known or rule.find(facts):
            yield rule, found


class _Said:
    """What the value of one field says: the numbers of the rules that may fit. Compared by identity: made once."""

    __slots__ = ("rows",)

    def __init__(self, rows: Sequence[tuple[int, Found | None]]) -> None:
        self.rows = rows


class Tables:
    """Tables that ask for the same fields: which of all their rules may fit is found out at once.

    What the short values of header fields say is remembered: a mailbox's bounces come from few servers, and say the
    same again and again.
    """

    __slots__ = (
        "_always",
        "_elsewhere",
        "_index",
        "_of_asks",
        "_of_headers",
        "_of_value",
        "_rows",
        "_together",
        "_whatever",
    )

    def __init__(self, *tables: Table) -> None:
        self._rows = tuple((table, rule) for table in tables for rule in table.rules)
        self._index = Index(rule for _, rule in self._rows)
        self._of_value = lru_cache(_REMEMBERED)(self._by_value)
        self._of_asks = lru_cache(_REMEMBERED)(self._by_asks)
        self._together = lru_cache(_REMEMBERED)(self._by_table)
        self._whatever: dict[str, list[int]] = defaultdict(list)
        """By field: what has to be asked of whatever its value is."""
        self._always: list[int] = []
        for number in self._index.always:
            fields = self._rows[number][1].fields
            (self._whatever[next(iter(fields))] if len(fields) == 1 else self._always).append(number)
        names = dict.fromkeys((*self._index.fields, *self._whatever))
        self._elsewhere = tuple(name for name in names if not header_of(name))
        self._of_headers = tuple((name, header_of(name), name in self._whatever) for name in names if header_of(name))
        """Fields, the header fields that they are read from, and whether even a missing one is asked for."""

    def candidates(self, facts: Facts, headers: AbstractSet[str]) -> Mapping[Table, Candidates]:
        """Return the rules that may fit a message that has these header fields (lower case) and no others."""
        said = []
        for name, header, always in self._of_headers:
            if header not in headers and not always:
                continue
            text = facts.text(name)
            if len(text) <= _SHORT and name not in _NEVER_TWICE:
                found = self._of_value(name, text)
            else:
                found = self._of_asks(name, self._index.asking(name, facts))
            if found.rows:
                said.append(found)
        said += [self._of_asks(name, self._index.asking(name, facts)) for name in self._elsewhere]
        return self._together(frozenset(said))

    def _by_table(self, said: Iterable[_Said]) -> Mapping[Table, Candidates]:
        always = [(number, None) for number in self._always]
        found = sorted((*always, *(row for each in said for row in each.rows)), key=_number)
        by_table: dict[Table, list[tuple[Rule, Found | None]]] = {}
        for number, known in found:
            table, rule = self._rows[number]
            by_table.setdefault(table, []).append((rule, known))
        return by_table

    def fitting(self, facts: Facts) -> Iterator[tuple[Rule, Found]]:
        """Yield the rules that hold, table by table, with the field and excerpt that decided."""
        return fitting([(self._rows[number][1], None) for number in self._index.candidates(facts)], facts)

    def _by_asks(self, name: str, asks: frozenset[int]) -> _Said:
        """Return the rules that may fit where these literals occur in a field, those decided that ask for no more."""
        found: dict[int, Found | None] = dict.fromkeys(self._whatever.get(name, ()))
        for number, literal in self._index.asks.of(sorted(asks)):
            if number not in found:  # the first that a row names is what it shows
                found[number] = (name, literal) if self._rows[number][1].plain else None
        return _Said(list(found.items()))

    def _by_value(self, name: str, text: str) -> _Said:
        """Return the rules that may fit where this field has this value, those decided that ask for nothing else."""
        facts = Facts(lambda _: text)
        found: list[tuple[int, Found | None]] = []
        for number, _ in self._by_asks(name, self._index.asking(name, facts)).rows:
            rule = self._rows[number][1]
            if rule.fields == {name}:
                if decided := rule.find(facts):
                    found.append((number, decided))
            elif rule.may_fit(facts, (name,)):
                found.append((number, None))
        return _Said(found)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a text may say, by the literals that occur in it."""

    marks: bool
    """Whether a mark occurs."""
    absent: frozenset[int]
    """The id of conditions on the text that do not hold."""
    candidates: Mapping[Table, Candidates]
    """The rules that may fit, of tables that are asked by the text."""


class TextIndex:
    """All that is looked for in the text for people, so that it is gone through once.

    Marks, the conditions on the text of some tables, and the rules of some that look at nothing else.
    """

    __slots__ = ("_asked", "_asks", "_by_condition", "_conditions", "_following", "_literals", "_rows", "_whatever")

    def __init__(self, marks: Iterable[str], asked: Iterable[Table], conditional: Iterable[Table]) -> None:
        asked = tuple(asked)
        self._rows = tuple((table, rule) for table in asked for rule in table.rules)
        self._conditions = tuple(
            condition
            for table in (*asked, *conditional)
            for rule in table.rules
            for condition in (*rule.when, *rule.unless)
            if condition.field == "text" and condition.literals
        )
        self._asks = Asks()
        """Which condition asks for which literal; marks come behind them."""
        for number, condition in enumerate(self._conditions):
            self._asks.add(number, condition.literals)
        literals = chain(self._asks.literals, marks)
        self._literals = Literals(zip(literals, count(), strict=False))
        self._asked = frozenset(map(id, self._conditions))
        self._following = lru_cache(_REMEMBERED_TEXTS)(self._follows)
        numbers = {id(condition): number for number, condition in enumerate(self._conditions)}
        by_condition: dict[int, list[int]] = defaultdict(list)
        for row, (_, rule) in enumerate(self._rows):
            first = next((numbers[id(c)] for c in rule.when if id(c) in numbers), None)
            by_condition[-1 if first is None else first].append(row)
        self._whatever = tuple(by_condition.pop(-1, ()))
        self._by_condition = dict(by_condition)

    def heard(self, folded: str) -> Heard:
        """Say what is in a folded text."""
        return self._following(frozenset(self._literals.hits(folded)))

    def _follows(self, hits: frozenset[int]) -> Heard:
        """Say what follows from these literals."""
        asks = sorted(hits)
        marks = bool(asks) and asks[-1] >= len(self._asks)
        held: dict[int, str] = {}
        for number, literal in self._asks.of(ask for ask in asks if ask < len(self._asks)):
            held.setdefault(number, literal)  # the first that a row names is what it shows
        rows: dict[int, Found | None] = dict.fromkeys(self._whatever)
        for number, literal in held.items():
            for row in self._by_condition.get(number, ()):
                rows[row] = ("text", literal) if self._rows[row][1].plain else None
        candidates: dict[Table, list[tuple[Rule, Found | None]]] = {}
        for row in sorted(rows):
            table, rule = self._rows[row]
            candidates.setdefault(table, []).append((rule, rows[row]))
        absent = self._asked.difference([id(self._conditions[number]) for number in held])
        return Heard(marks, absent, candidates)


def _number(candidate: tuple[int, Found | None]) -> int:
    return candidate[0]


_REMEMBERED = 1_024
"""So many values, that no more than …"""
_REMEMBERED_TEXTS = 64
"""So many sets of literals that occur together: each comes with what does not occur."""
_NEVER_TWICE = frozenset({"content_type", "diagnostic_code"})
"""Fields that hold a boundary or an address: their values are not worth remembering."""
_SHORT = 200
"""… so many characters long, are remembered."""

_NO_RULES = Table(())
_NO_LITERALS = Literals(())
_NO_TABLES = Tables()
_NO_TEXT = TextIndex((), (), ())


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
    outer: Tables = _NO_TABLES
    """Those of look-alikes, and those of signs and layouts in header fields."""
    text: TextIndex = _NO_TEXT
    """Marks, signs and layouts in the text, and what look-alikes and other layouts ask of it."""
    imitations: Table = _NO_RULES
    disguises: Tables = _NO_TABLES
    """Imitations, asked of every bounce: what gives a dressed-up message away."""
    harmless: Harmless = Harmless()
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    """By the name of the rule."""
    hosts: Table = _NO_RULES
    blocked_at: Mapping[str, str] = field(default_factory=dict)
    """Names of rows by which a provider says that an account of its own is blocked, to the provider."""
    phrases: Table = _NO_RULES
    """In the order of causes.toml."""
    weak_phrases: Table = _NO_RULES
    spoken: Callable[[], Tables] = lambda: _NO_TABLES
    """Hosts and phrases: what is said of a recipient. The largest by far, and most runs meet no bounce."""
    marks: Mapping[str, str] = field(default_factory=dict)
    """Lines behind which a returned message stands: folded text to row."""
    _marks_by_word: Literals = _NO_LITERALS
    _marks_in_order: tuple[str, ...] = ()
    statuses: Mapping[tuple[int, int], Rule] = field(default_factory=dict)
    replies: Mapping[int, Rule] = field(default_factory=dict)
    _advice: Mapping[tuple[Cause, str], tuple[str, str]] = field(default_factory=dict)

    def marks_in(self, folded: str) -> list[str]:
        """Return the marks that occur in a folded text, in their order."""
        found = set(self._marks_by_word.hits(folded))
        return [self._marks_in_order[number] for number in sorted(found)]

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


def user_rules(
    tables: Sequence[Mapping[str, object]], where: str, compile_pattern: Compile = re.compile
) -> tuple[Rule, ...]:
    """Read the user's [[rule]] tables. Raises ConfigError naming file, rule, key and what is expected."""
    seen: set[str] = set()
    rules = []
    for number, table in enumerate(tables, start=1):
        at = f"{where}: rule {number}"
        name = table.get("name")
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f'{at}: name: give the rule a name, such as name = "refusals"')
        at = f'{at} "{shortened(name)}"'
        if name in seen:
            raise ConfigError(f"{at}: name: another rule has this name; names must differ")
        seen.add(name)
        rules.append(read_rule(table, name, at, compile_pattern, _USER_THEN))
    return tuple(rules)


_USER_THEN = frozenset({"kind", "cause", "file_to", "leave"})
_OUR_THEN = frozenset({"kind", "cause", "weak", "first", "exact", "alone", "blocked_at"})


def load(user: tuple[Rule, ...] = ()) -> Rulebook:
    """Return the package's own tables, read and compiled once, with the user's rules before them."""
    return replace(_package_tables(), user=user) if user else _package_tables()


@lru_cache(maxsize=1)
@lasting
def _package_tables() -> Rulebook:
    return read_folder(resources.files("bouncefiler.recognition") / "rules")


def read_folder(root: Traversable) -> Rulebook:
    """Read the tables of a folder laid out as our `rules/`. Raises ConfigError naming file and row."""
    tables: dict[str, Mapping[str, Any]] = {}
    for folder in (root, root / "formats", root / "languages"):
        for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if file.name.endswith(".toml"):
                tables[f"{'formats/' * (folder.name == 'formats')}{file.name[:-5]}"] = _parsed(file)
    return read_tables(tables)


def _parsed(file: Traversable) -> Mapping[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{file.name}: not TOML in UTF-8: {exc}") from exc


def read_tables(tables: Mapping[str, Mapping[str, Any]]) -> Rulebook:
    """Build a rulebook from parsed tables, by file stem ("formats/qmail", "pt"). Raises ConfigError naming the row."""
    order = {Cause(word): place for place, word in enumerate(tables["causes"]["order"])}
    rows = {kind: tuple(_rows(tables, kind)) for kind in ("lookalike", "sign", "host", "phrase", "status", "reply")}
    layouts = tuple(layout for stem, table in tables.items() for layout in _layouts(stem, table))
    marks = dict(_marks(tables))
    phrases = sorted(rows["phrase"], key=lambda rule: order[rule.cause or Cause.UNKNOWN])
    first_lookalikes = Table(rule for rule in rows["lookalike"] if rule.first)
    lookalikes = Table(rule for rule in rows["lookalike"] if not rule.first)
    outer_signs = Table(rule for rule in rows["sign"] if "text" not in rule.places)
    text_signs = Table(rule for rule in rows["sign"] if "text" in rule.places)
    text_layouts = Table(layout.rule for layout in layouts if layout.rule.places == {"text"})
    outer_layouts = Table(layout.rule for layout in layouts if layout.rule.places != {"text"})
    imitations = Table(_rows(tables, "imitation", IMITATION_FIELDS | FIELDS))
    hosts = Table(rows["host"])
    plain_phrases = Table(rule for rule in phrases if not rule.weak)
    weak_phrases = Table(rule for rule in phrases if rule.weak)
    return Rulebook(
        first_lookalikes=first_lookalikes,
        lookalikes=lookalikes,
        outer_signs=outer_signs,
        text_signs=text_signs,
        outer_layouts=outer_layouts,
        text_layouts=text_layouts,
        outer=Tables(first_lookalikes, outer_signs, outer_layouts, lookalikes),
        text=TextIndex(marks, (text_layouts, text_signs), (first_lookalikes, lookalikes, outer_layouts)),
        imitations=imitations,
        disguises=Tables(imitations),
        harmless=_harmless(tables.get("imitations", {}).get("harmless", {})),
        layouts={layout.rule.name: layout for layout in layouts},
        hosts=hosts,
        blocked_at={rule.name: rule.blocked_at for rule in rows["host"] if rule.blocked_at},
        phrases=plain_phrases,
        weak_phrases=weak_phrases,
        spoken=cache(lasting(lambda: Tables(hosts, plain_phrases, weak_phrases))),
        marks=marks,
        _marks_in_order=tuple(marks),
        _marks_by_word=Literals((text, number) for number, text in enumerate(marks)),
        statuses={_status_key(rule.when[0].values[0]): rule for rule in rows["status"]},
        replies={int(rule.when[0].values[0]): rule for rule in rows["reply"]},
        _advice={
            (Cause(row["name"]), language): (row["label"][language], row["advice"][language])
            for row in tables["causes"]["cause"]
            for language in row["advice"]
        },
    )


def _rows(tables: Mapping[str, Mapping[str, Any]], kind: str, fields: frozenset[str] = FIELDS) -> Iterator[Rule]:
    for stem, table in tables.items():
        for row in table.get(kind, ()):
            yield _our_rule(row, stem, fields)


def _our_rule(row: Mapping[str, Any], stem: str, fields: frozenset[str] = FIELDS) -> Rule:
    name = f"{stem.rpartition('/')[2]}.{row.get('name', '?')}"
    return read_rule(row, name, f"{stem}.toml: {name}", LatePattern, _OUR_THEN, fields)


def _harmless(table: Mapping[str, Any]) -> Harmless:
    known_keys(table, ("hosts", "files", "names"), "imitations.toml", "harmless.")
    return Harmless(frozenset(table.get("hosts", ())), tuple(table.get("files", ())), tuple(table.get("names", ())))


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
        find = table_at(row.get("find", {}), f"{stem}.toml: find")
        rule = _our_rule({key: value for key, value in row.items() if key != "find"}, stem)
        known_keys(find, _LAYOUT_KEYS, f"{stem}.toml: {rule.name}", "find.")
        yield Layout(
            rule,
            stem.rpartition("/")[2],
            begin=_texts(find.get("begin", ())),
            end=_texts(find.get("end", ())),
            recipient=LatePattern(f"(?im){find['recipient']}") if "recipient" in find else None,
            diagnostic=find.get("diagnostic", "after"),
        )


def _texts(value: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(text.lower() for text in ((value,) if isinstance(value, str) else value))
