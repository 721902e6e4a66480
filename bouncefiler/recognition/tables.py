"""Tables of rules, and which of their rules may fit a message: found out for all of them at once, and remembered.

A mailbox's bounces come from few servers and say the same again and again, so what short values and texts lead to is
kept: bounded in number and length, and by the value itself, so that one message never answers for another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, count

from bouncefiler.recognition.index import Asks, Index, Literals
from bouncefiler.recognition.rule import Facts, Rule, header_of

_REMEMBERED = 1_024
"""Of so many values of at most _SHORT characters it is remembered what they say."""

_SHORT = 200

_REMEMBERED_TEXTS = 64
"""So many sets of literals that occur together are remembered: each comes with what does not occur."""

_NEVER_TWICE = frozenset({"content_type", "diagnostic_code"})
"""Fields that hold a boundary or an address: their values are not worth remembering."""


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
