"""The goals that the program has set itself, beside what a benchmark has measured. Ratios, all from one call.

A goal that the call cannot decide is not in what is returned: another size, another line, a program that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.idle import Idle
from benchmarks.results import Row, Series

OURS, OURS_COMPRESSED = "bouncefiler", "bouncefiler, compressed"

LARGE, LARGEST = 100_000, 1_000_000

LINEAR = 1.25
"""How much more wall time a message may take among ten times as many and still be said to grow linearly: between two
runs the same program differs by as much."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be reached, and what was measured."""

    what: str
    measured: float
    bound: float
    unit: str = ""
    at_least: bool = False
    """Whether `bound` is the least that will do, and not the most."""
    unfinished: bool = False
    """Whether the real figure is larger than `measured`, nobody knows by how much."""
    remark: str = ""

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound

    def __str__(self) -> str:
        if self.met:
            verdict = "met"
        elif self.unfinished and self.at_least:
            verdict = "not decided"
        else:
            verdict = f"missed by {abs(self.measured - self.bound):,.4g}{self.unit}"
        about = "at least " if self.unfinished else ""
        told = f"{about}{self.measured:,.4g}{self.unit}, goal {'>=' if self.at_least else '<='} {self.bound:,.4g}"
        return f"{verdict:<22} {self.what}: {told}{self.unit}{self.remark and f' ({self.remark})'}"


def of_series(all_series: Sequence[Series], start_up: float | None) -> Iterator[Goal]:
    """Yield the goals of clean-ups. `start_up`: seconds that cleaning an empty mailbox takes, if that was measured."""
    for series in all_series:
        yield from _of_every_size(series)
        if series.wan and series.size == 10_000:
            yield from _wall(series, OURS_COMPRESSED, 1.3)
        elif series.size == 10_000 and start_up is not None:
            yield from _wall(series, OURS, 2.0, start_up)
        elif series.size == LARGE and not series.wan:
            yield from _of_large(series)
    huge, large = (_on_loopback(all_series, size) for size in (LARGEST, LARGE))
    if huge and large:
        yield from _of_growth(large, huge)


def of_idleness(idle: Idle) -> Iterator[Goal]:
    """Yield the goals of doing nothing."""
    yield Goal("--help, over an empty interpreter", idle.help_over_nothing * 1e3, 100, " ms")
    yield Goal("poll of an unchanged mailbox", idle.poll_turns, 1, " turns")
    yield Goal("poll of an unchanged mailbox", idle.poll_octets, 150, " octets")


def _of_every_size(series: Series) -> Iterator[Goal]:
    for name in (OURS, OURS_COMPRESSED):
        row = series.row(name)
        if row is None:
            continue
        if series.size == LARGEST or len(row.done) < len(row.costs):
            yield Goal(
                _said(series, f"runs of {name} that came to their end"), len(row.done), len(row.costs), at_least=True
            )
        if row.outcome:
            wrong = row.outcome.wrongly + row.outcome.lost + row.outcome.doubled
            yield Goal(_said(series, f"{name}: moved wrongly, lost or doubled"), wrong, 0)
    row = series.row(OURS)
    if row and row.traffic and row.round_trips is not None:
        counted = f"{row.traffic.turns} turns counted"
        yield Goal(_said(series, "round trips"), row.round_trips, 10 + series.size / 20_000, remark=counted)


def _wall(series: Series, name: str, bound: float, start_up: float = 0.0) -> Iterator[Goal]:
    row = series.done(name)
    floor = row and series.floor_of(row)
    if row and floor:
        ratio = (row.median("wall") - start_up) / floor.median("wall")
        less = f" less start-up ({start_up:.2f} s)" if start_up else ""
        yield Goal(_said(series, f"wall of {name}{less} over that of {floor.name}"), ratio, bound, "x")


def _of_large(series: Series) -> Iterator[Goal]:
    yield from _wall(series, OURS, 1.2)
    ours = series.done(OURS)
    if ours is None:
        return
    wall = ours.median("wall")
    if imapfilter := series.done("imapfilter"):
        yield Goal(_said(series, "wall over that of imapfilter"), wall / imapfilter.median("wall"), 1.0, "x")
    if imapautofiler := series.row("imapautofiler"):
        yield from _faster_than(imapautofiler, wall, series)
    yield Goal(_said(series, "CPU for a message"), ours.median("cpu") / series.size * 1e6, 20, " µs")
    yield Goal(_said(series, "peak memory"), ours.median("peak_mb"), 60, " MB")


def _faster_than(other: Row, wall: float, series: Series) -> Iterator[Goal]:
    what = _said(series, f"faster than {other.name}")
    if other.done:
        yield Goal(what, other.median("wall") / wall, 50, "x", at_least=True)
    elif other.ended:
        remark = f"ended after {other.ended:.0f} s"
        yield Goal(what, other.ended / wall, 50, "x", at_least=True, unfinished=True, remark=remark)


def _of_growth(large: Series, huge: Series) -> Iterator[Goal]:
    before, after = large.done(OURS), huge.done(OURS)
    floor_before, floor_after = large.done("floor"), huge.done("floor")
    if not (before and after and floor_before and floor_after):
        return
    more = after.median("peak_mb") - before.median("peak_mb")
    yield Goal(_said(huge, f"peak memory over that at {LARGE:,}"), more, 15, " MB")
    times = huge.size / large.size
    growth, cpu = (after.median(what) / before.median(what) / times for what in ("wall", "cpu"))
    of_floor = floor_after.median("wall") / floor_before.median("wall") / times
    remark = f"the floor's: {of_floor:.2f}x; CPU: {cpu:.2f}x"
    yield Goal(_said(huge, f"wall for a message over that at {LARGE:,}"), growth, LINEAR, "x", remark=remark)


def _on_loopback(all_series: Sequence[Series], size: int) -> Series | None:
    return next((series for series in all_series if series.size == size and not series.wan), None)


def _said(series: Series, what: str) -> str:
    return f"{series.size:,}{', slow line' if series.wan else ''}: {what}"
