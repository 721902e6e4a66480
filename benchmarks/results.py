"""What runs have cost and done, as it is measured, before it is a table or a goal."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from benchmarks.contestants import Contestant
from benchmarks.proxy import Traffic
from benchmarks.stock import Outcome


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run has cost: seconds, and the program's largest memory."""

    wall: float
    cpu: float
    peak_mb: float
    failure: str = ""
    ended: bool = False
    """Whether the program was ended because it took too long; then it would have taken longer than `wall`."""


@dataclass(slots=True)
class Row:
    """What is known of one contestant."""

    contestant: Contestant
    costs: list[Cost] = field(default_factory=list)
    traffic: Traffic | None = None
    round_trips: float | None = None
    """For how many times the delay of a line a run waits in all, when there is a delay."""
    outcome: Outcome | None = None

    @property
    def name(self) -> str:
        """The contestant's name."""
        return self.contestant.name

    @property
    def done(self) -> list[Cost]:
        """The runs that came to their end."""
        return [cost for cost in self.costs if not cost.failure]

    @property
    def ended(self) -> float:
        """How long the program was let run without coming to its end, at most; 0 if that did not happen."""
        return max((cost.wall for cost in self.costs if cost.ended), default=0.0)

    def median(self, what: str) -> float:
        """Return the median of a figure over the runs that came to their end; there must be one."""
        return float(statistics.median(getattr(cost, what) for cost in self.done))

    def saw(self, outcome: Outcome) -> None:
        """Take note of what a run has done: a contestant is known by its worst run."""
        seen = (outcome,) if self.outcome is None else (self.outcome, outcome)
        self.outcome = max(seen, key=lambda one: (not one.safe, one.wrongly, one.missed))


@dataclass(frozen=True, slots=True)
class Series:
    """All runs with one mailbox over one line."""

    size: int
    wan: bool
    rows: tuple[Row, ...]

    def row(self, name: str) -> Row | None:
        """Return what is known of the contestant of this name, if it took part."""
        return next((row for row in self.rows if row.name == name), None)

    def done(self, name: str) -> Row | None:
        """Return the same if at least one of its runs came to its end."""
        row = self.row(name)
        return row if row and row.done else None

    def floor_of(self, row: Row) -> Row | None:
        """Return the floor that this one is to be compared with: what compresses, with the floor that does."""
        kind = row.name.partition(",")[2]
        return self.done(f"floor,{kind}" if kind else "floor")
