"""The tables of `rules/`, and the user's rules before them: all that is known about bounces, ready to be asked.

docs/rules.md tells how tables are written.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from bouncefiler.errors import ConfigError
from bouncefiler.recognition.index import Literals
from bouncefiler.recognition.lasting import lasting
from bouncefiler.recognition.rule import (
    FIELDS,
    IMITATION_FIELDS,
    Compile,
    Rule,
    known_keys,
    read_rule,
    shortened,
    table_at,
)
from bouncefiler.recognition.status import EnhancedStatus
from bouncefiler.recognition.tables import Table, Tables, TextIndex
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
