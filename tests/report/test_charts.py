"""The bars say what the numbers say, to those who see them and to those who don't."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.backscatter.provenance import Provenance
from bouncefiler.recognition.verdict import Cause
from bouncefiler.report.charts import MOST_DAYS, Bar, Chart, Series, bars, ceiling, draw, swatch
from bouncefiler.report.chronicle import GROUPS, Group
from tests.report.tales import DAY, NOON, QUIET, total

SVG = "{http://www.w3.org/2000/svg}"
SERIES = (Series("forged", "forged"), Series("unknown", "cannot be told"), Series("genuine", "sent by you"))


def chart(*found: Bar, series: tuple[Series, ...] = SERIES) -> Chart:
    return Chart("account-1-whose", "Bounces by day", "9 bounces", series, found)


def drawn(what: Chart) -> ET.Element:
    svg = draw(what, lambda number: f"{number:,.0f}", lambda day: f"{day:%d %B}")
    return ET.fromstring(svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))  # noqa: S314 - ours


totals = st.builds(
    total, st.integers(0, 400), st.integers(1, 20_000), st.sampled_from(Cause), st.sampled_from(Provenance)
)


@given(st.lists(totals, max_size=30), st.integers(1, 400))
def test_the_bars_add_up_to_all_that_came(daily: list, days: int) -> None:  # type: ignore[type-arg]
    since = NOON.date() - (days - 1) * DAY
    told = replace(QUIET, since=since, daily=tuple(each for each in daily if each.day >= since))
    everything = sum(each.count for each in told.daily)

    by_whose = bars(told, lambda each: each.provenance, tuple(Provenance))
    by_group = bars(told, lambda each: GROUPS[each.cause], tuple(Group))

    assert sum(bar.total for bar in by_whose) == sum(bar.total for bar in by_group) == everything
    assert [bar.total for bar in by_whose] == [bar.total for bar in by_group]
    assert len(by_whose) <= MOST_DAYS


@given(st.integers(0, 10**7))
def test_the_scale_is_not_below_the_highest_bar_and_can_be_halved(most: int) -> None:
    top = ceiling(most)

    assert most <= top < max(3, 2.5 * most + 1)
    assert top % 2 == 0


def test_the_heights_are_those_of_the_numbers() -> None:
    svg = drawn(chart(Bar(date(2026, 3, 1), (5, 0, 10)), Bar(date(2026, 3, 2), (0, 0, 0))))

    (group,) = svg.findall(f"{SVG}g")
    heights = [float(rect.attrib["height"]) for rect in group.findall(f"{SVG}rect")]
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.2)
    assert group.findtext(f"{SVG}title") == "01 March: 15 (forged: 5; sent by you: 10)"


def test_the_least_bounce_is_seen_beside_the_greatest_wave() -> None:
    svg = drawn(chart(Bar(date(2026, 3, 1), (1, 0, 0)), Bar(date(2026, 3, 2), (20_000, 0, 0))))

    assert min(float(rect.attrib["height"]) for rect in svg.iterfind(f"{SVG}g/{SVG}rect")) >= 2


def test_a_chart_has_a_name_and_a_description_for_those_who_cannot_see_it() -> None:
    svg = drawn(chart(Bar(date(2026, 3, 1), (5, 0, 10))))

    assert svg.attrib["role"] == "img"
    titled, described = (svg.find(f"{SVG}{tag}") for tag in ("title", "desc"))
    assert titled is not None
    assert described is not None
    assert svg.attrib["aria-labelledby"].split() == [titled.attrib["id"], described.attrib["id"]]
    assert (titled.text, described.text) == ("Bounces by day", "9 bounces")


def test_no_two_series_look_alike_without_colours() -> None:
    five = tuple(Series(group.value, group.value) for group in Group)
    svg = drawn(chart(Bar(date(2026, 3, 1), (1, 1, 1, 1, 1)), series=five))

    hatches = [pattern.findall(f"{SVG}path")[0].attrib["d"] for pattern in svg.iter(f"{SVG}pattern")]
    fills = [rect.attrib["fill"] for rect in svg.iterfind(f"{SVG}g/{SVG}rect")]
    assert len(set(hatches)) == len(set(fills)) == 5
    assert all(fill.partition("url(#")[2][:-1] in {p.attrib["id"] for p in svg.iter(f"{SVG}pattern")} for fill in fills)
    assert fills[2] in swatch(chart(series=five), 2)


def test_everything_in_a_chart_is_escaped() -> None:
    hostile = "</title><script>alert('1')</script>\x1b\u202e\""
    what = Chart(hostile, hostile, hostile, (Series(hostile, hostile),), (Bar(date(2026, 3, 1), (1,)),))

    svg = draw(what, lambda _: hostile, lambda _: hostile) + swatch(what, 0)

    assert "<script" not in svg
    assert not {"\x1b", "\u202e"} & set(svg)
    assert not re.search(r'="[^"]*[<>][^"]*"', svg)
    ET.fromstring(f"<x>{svg}</x>")  # noqa: S314 - ours
