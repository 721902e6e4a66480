"""Bars by day, drawn as SVG that stands in the page itself, with a pattern to each colour."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape

from bouncefiler.render import clean_text
from bouncefiler.report.chronicle import Chronicle, DayTotal

MOST_DAYS = 100
"""With more days than this, a bar is a week."""

WIDTH, HEIGHT = 560, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 12, 26
_LEAST = 2.0
"""A bar that is not nothing is at least so high."""

# Lines over the colour, in a cell of 6 x 6, so that the bars differ without colours; the empty one is the colour alone.
_PATTERNS = ("", "M0 6L6 0M-1 1L1 -1M5 7L7 5", "M0 3H6", "M3 2V4", "M0 0V6M3 0V6")


@dataclass(frozen=True, slots=True)
class Series:
    """One sort of bounces: the name of its colour in the page's style, and what people call it."""

    key: str
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A day, or the week that begins with it, and how many of each series came."""

    start: date
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars whose parts are the series, from the bottom up; `title` and `description` are for who cannot see them."""

    name: str
    """An id of its own in the page."""
    title: str
    description: str
    series: tuple[Series, ...]
    bars: tuple[Bar, ...]


def by_week(told: Chronicle) -> bool:
    """Whether a bar is a week."""
    return len(told.days()) > MOST_DAYS


def bars(told: Chronicle, what: Callable[[DayTotal], Hashable], sorts: Sequence[Hashable]) -> tuple[Bar, ...]:
    """Count the failed deliveries of each day, or week, by sort."""
    counted = told.by(lambda total: (total.day, what(total)))
    days = told.days()
    step = 7 if by_week(told) else 1
    return tuple(
        Bar(days[start], tuple(sum(counted[day, sort] for day in days[start : start + step]) for sort in sorts))
        for start in range(0, len(days), step)
    )


def draw(chart: Chart, number: Callable[[float], str], day: Callable[[date], str]) -> str:
    """Return the SVG; `number` and `day` write those as the reader's language does."""
    return "".join(_parts(chart, number, day))


def _parts(chart: Chart, number: Callable[[float], str], day: Callable[[date], str]) -> Iterator[str]:
    name = _text(chart.name)
    yield f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" aria-labelledby="{name}-title {name}-about">'
    yield f'<title id="{name}-title">{_text(chart.title)}</title>'
    yield f'<desc id="{name}-about">{_text(chart.description)}</desc>'
    yield f"<defs>{''.join(_pattern(chart, place) for place in range(len(chart.series)))}</defs>"
    top = ceiling(max((bar.total for bar in chart.bars), default=0))
    yield from _grid(top, number)
    yield from _columns(chart, top, number, day)
    yield from _dates(chart.bars, day)
    yield "</svg>"


def ceiling(most: int) -> int:
    """Return the lowest of 2, 4, 10, 20, 40, 100, … that is not below: it can be halved."""
    top = 1
    while True:
        for factor in (2, 4, 10):
            if most <= top * factor:
                return top * factor
        top *= 10


def swatch(chart: Chart, place: int) -> str:
    """Return a small sample of a series, for the legend."""
    fill = _fill(chart, place)
    return f'<svg class="swatch" viewBox="0 0 16 16" aria-hidden="true"><rect width="16" height="16" {fill}/></svg>'


def _pattern(chart: Chart, place: int) -> str:
    key, lines = chart.series[place].key, _PATTERNS[place]
    return (
        f'<pattern id="{_text(chart.name)}-{place}" width="6" height="6" patternUnits="userSpaceOnUse">'
        f'<rect width="6" height="6" class="fill-{_text(key)}"/><path d="{lines}" class="hatch"/></pattern>'
    )


def _fill(chart: Chart, place: int) -> str:
    return f'fill="url(#{_text(chart.name)}-{place})"'


def _grid(top: int, number: Callable[[float], str]) -> Iterator[str]:
    for value in (0, top // 2, top):
        y = _y(value, top)
        yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>'
        yield f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_text(number(value))}</text>'


def _y(value: float, top: int) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _BOTTOM - _TOP) * value / top


def _columns(chart: Chart, top: int, number: Callable[[float], str], day: Callable[[date], str]) -> Iterator[str]:
    slot = (WIDTH - _LEFT - _RIGHT) / max(1, len(chart.bars))
    wide = min(0.8 * slot, 22)
    for index, bar in enumerate(chart.bars):
        if not bar.total:
            continue
        x, y = _LEFT + index * slot + (slot - wide) / 2, _y(0, top)
        told = (f"{s.label}: {number(n)}" for s, n in zip(chart.series, bar.counts, strict=True) if n)
        yield f"<g><title>{_text(day(bar.start))}: {_text(number(bar.total))} ({_text('; '.join(told))})</title>"
        for place, count in enumerate(bar.counts):
            if count:
                high = max(_LEAST, _y(0, top) - _y(count, top))
                y -= high
                yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" '
                yield f"{_fill(chart, place)}/>"
        yield "</g>"


def _dates(shown: Sequence[Bar], day: Callable[[date], str]) -> Iterator[str]:
    if not shown:
        return
    y = HEIGHT - 7
    yield f'<text class="tick" x="{_LEFT}" y="{y}">{_text(day(shown[0].start))}</text>'
    if len(shown) > 2:
        middle = (len(shown) - 1) // 2
        x = _LEFT + (WIDTH - _LEFT - _RIGHT) * (middle + 0.5) / len(shown)
        yield f'<text class="tick" x="{x:.1f}" y="{y}" text-anchor="middle">{_text(day(shown[middle].start))}</text>'
    if len(shown) > 1:
        yield f'<text class="tick" x="{WIDTH - _RIGHT}" y="{y}" text-anchor="end">{_text(day(shown[-1].start))}</text>'


def _text(text: str) -> str:
    return escape(clean_text(text, 500))
