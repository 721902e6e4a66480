"""The page: what has happened to the mailbox, for somebody who is worried and knows nothing of mail.

Only here is jinja2 known. Everything that goes into the template is cleaned and escaped there, whatever it is; only the
charts come as they are, and they escape for themselves. The page loads nothing and runs nothing, and says so to the
browser.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from bouncefiler import __version__
from bouncefiler.backscatter.incident import Incident
from bouncefiler.backscatter.provenance import Provenance
from bouncefiler.backscatter.volume import Wave
from bouncefiler.recognition.verdict import Cause, Kind
from bouncefiler.render import clean_text
from bouncefiler.report import charts
from bouncefiler.report.charts import Bar, Chart, Series
from bouncefiler.report.chronicle import GROUPS, Chronicle, Group, State, states
from bouncefiler.report.speech import Speech, through
from bouncefiler.report.status import began, state_lines

if TYPE_CHECKING:
    from jinja2 import Template

MARK = '<meta name="generator" content="bouncefiler '
"""By this a page of ours is known."""

MAX_NOTICES = 12
"""So many times that the owner was told of one incident, the latest."""

MAX_CHARS = 2_000

_WHOSE = (Provenance.FORGED, Provenance.UNKNOWN, Provenance.GENUINE)
_STEP = re.compile(r"\d\. ")
_TONES = {
    State.COMPROMISED: "alarm",
    State.TROUBLE: "alarm",
    State.WELL: "good",
    State.NEW: "calm",
    State.OWN_MAILING: "calm",
}


@dataclass(frozen=True, slots=True)
class Health:
    """How things are: a sentence, what to do, and the steps of it, if there are any."""

    tone: str
    sentence: str
    advice: tuple[str, ...]
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """An incident, or a wave of the past."""

    title: str
    ended: str
    text: str
    numbers: str
    told: tuple[tuple[str, str], ...] = ()
    """When, and what."""
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart, with its legend and the table that says the same."""

    svg: str
    legend: tuple[tuple[str, str], ...]
    """A sample of each series, and what it is."""
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """One account, in the words of its language."""

    id: str
    lang: str
    text: Any
    account: str
    address: str
    watched: str
    health: tuple[Health, ...]
    blank: bool
    """Whether nothing at all is known yet."""
    undelivered: tuple[str, ...]
    stories: tuple[Story, ...]
    waves: tuple[str, ...]
    daily: tuple[str, ...]
    by_whose: Picture | None
    whose: tuple[tuple[str, str, str], ...]
    by_group: Picture | None
    causes: tuple[tuple[str, str, str], ...]
    dead: tuple[tuple[str, ...], ...]
    dead_cut: str
    strangers: bool
    filed: tuple[tuple[str, str, str], ...]


def page(chronicles: Sequence[Chronicle], *, zone: tzinfo | None = None) -> str:
    """Write the whole page, one section for each account; at least one."""
    sections = tuple(
        _section(f"account-{number}", told, Speech(told.language, zone)) for number, told in enumerate(chronicles, 1)
    )
    speech = Speech(chronicles[0].language, zone)
    written = speech.texts["page"]["written"].format(now=speech.when(chronicles[0].now))
    return _template().render(
        lang=speech.tag, text=speech.texts["page"], version=__version__, written=written, sections=sections
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - only a report needs it, and it takes 40 ms

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=_finalized, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files(__package__).joinpath("templates", "report.html.j2").read_text("utf-8")
    return environment.from_string(source)


def _finalized(value: object) -> object:
    """Clean what is about to be escaped; what is markup already, a chart or a macro's, stays as it is."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    before = " " if value[:1].isspace() else ""
    after = " " if value[-1:].isspace() else ""
    return f"{before}{clean_text(value, MAX_CHARS)}{after}"


def _section(id_: str, told: Chronicle, speech: Speech) -> Section:
    text = speech.texts["page"]
    holds = states(told)
    watched = told.watched_since
    return Section(
        id=id_,
        lang=speech.tag,
        text=text,
        account=clean_text(told.account, 60),
        address=clean_text(told.address, 100),
        watched=text["watched"].format(since=speech.day(watched)) if watched else "",
        health=tuple(_health(state, told, speech) for state in holds),
        blank=State.NEW in holds and not (told.daily or told.incidents or told.filed),
        undelivered=tuple(_undelivered(told, speech)),
        stories=tuple(_story(incident, told, speech) for incident in told.incidents),
        waves=tuple(_wave(wave, speech) for wave in reversed(told.waves)),
        daily=tuple(_daily(told, speech)),
        by_whose=_by_whose(id_, told, speech),
        whose=tuple(_whose(told, speech)),
        by_group=_by_group(id_, told, speech),
        causes=tuple(_causes(told, speech)),
        dead=tuple(_dead(told, speech)),
        dead_cut=_dead_cut(told, speech),
        strangers=any(not dead.sent_by_you for dead in told.dead),
        filed=tuple((filed.folder, speech.number(filed.count), speech.short_date(filed.last)) for filed in told.filed),
    )


def _health(state: State, told: Chronicle, speech: Speech) -> Health:
    sentence, *advice = state_lines(state, told, speech)
    steps = {State.COMPROMISED: "hacked", State.BACKSCATTER: "forged"}.get(state)
    listed = speech.alerts["advice"][steps].format(folder=clean_text(told.folder, 60)).split("\n") if steps else ()
    if "steps" in speech.texts["state"][state]:
        advice.append(speech.texts["state"][state]["steps"])
    return Health(
        _TONES.get(state, "warning"),
        sentence,
        tuple(advice),
        tuple(line[found.end() :] for line in listed if (found := _STEP.match(line))),
    )


def _undelivered(told: Chronicle, speech: Speech) -> Iterator[str]:
    for alert in told.undelivered:
        yield speech.texts["page"]["undelivered"]["item"].format(
            subject=clean_text(alert.subject, 150),
            channel=through(alert.channel),
            times=speech.counted(speech.texts, "times", alert.attempts),
            why=clean_text(alert.why, 300),
        )


def _story(incident: Incident, told: Chronicle, speech: Speech) -> Story:
    text = speech.texts["page"]
    facts = {
        "began": speech.day(began(incident)),
        "ended": speech.day(incident.last_seen),
        "total": speech.bounces(incident.total),
        "count": speech.number(incident.count),
        "peak": speech.number(incident.peak),
        "usual": speech.usual(incident.usual),
    }
    notices = [each for each in told.told if each.incident == incident.id]
    going_on = incident.closed is None
    return Story(
        title=speech.texts["diagnosis"][incident.diagnosis],
        ended=text["going"]["open" if going_on else "closed"],
        text=text["story"][incident.diagnosis] if not going_on else speech.texts["state"][incident.diagnosis]["is"],
        numbers=text["story"]["since" if going_on else "from-to"].format_map(facts),
        told=tuple(
            (
                speech.when(each.at),
                text["notice"][each.notice].format(count=speech.bounces(each.count), total=speech.bounces(each.total)),
            )
            for each in notices[-MAX_NOTICES:]
        ),
        cut=len(notices) > MAX_NOTICES,
    )


def _wave(wave: Wave, speech: Speech) -> str:
    text = speech.texts["page"]["going"]
    first, last = speech.day(wave.first), speech.day(wave.last)
    facts = {"first": first, "last": last, "total": speech.bounces(wave.bounces), "peak": speech.number(wave.peak)}
    return str(text["wave" if first != last else "wave-day"].format(day=speech.day(wave.peak_day), **facts))


def _daily(told: Chronicle, speech: Speech) -> Iterator[str]:
    text = speech.texts["page"]["daily"]
    by_day = told.by(lambda total: total.day)
    facts = {"days": speech.counted(speech.texts, "days", len(told.days())), "total": speech.bounces(by_day.total())}
    if by_day:
        day, most = max(by_day.items(), key=lambda item: (item[1], item[0]))
        form = text["one" if by_day.total() == 1 else "few" if most == 1 else "lead"]
        yield form.format(day=speech.day(day), most=speech.number(most), **facts)
        yield text["week-note" if charts.by_week(told) else "day-note"]
    else:
        yield text["none"].format_map(facts)
    if delayed := sum(total.count for total in told.daily if total.kind is Kind.DELAYED):
        yield text["delayed"].format(delayed=speech.counted(text, "delay-warnings", delayed))


def _by_whose(id_: str, told: Chronicle, speech: Speech) -> Picture | None:
    labels = speech.texts["page"]["provenance"]
    series = tuple(Series(provenance.value, labels[provenance]) for provenance in _WHOSE)
    found = charts.bars(told, lambda total: total.provenance, _WHOSE)
    text = speech.texts["page"]["daily"]
    return _picture(
        f"{id_}-whose", text["chart-week" if charts.by_week(told) else "chart"], series, found, told, speech
    )


def _by_group(id_: str, told: Chronicle, speech: Speech) -> Picture | None:
    text = speech.texts["page"]
    groups = tuple(Group)
    series = tuple(Series(group.value, text["group"][group]) for group in groups)
    found = charts.bars(told, lambda total: GROUPS[total.cause], groups)
    title = text["why"]["chart-week" if charts.by_week(told) else "chart"]
    return _picture(f"{id_}-why", title, series, found, told, speech)


def _picture(
    name: str, title: str, series: tuple[Series, ...], found: tuple[Bar, ...], told: Chronicle, speech: Speech
) -> Picture | None:
    total = sum(bar.total for bar in found)
    if not total:
        return None
    text = speech.texts["page"]["daily"]
    about = text["describe"].format(
        total=speech.bounces(total),
        first=speech.day(told.since),
        last=speech.day(told.until),
        most=speech.number(max(bar.total for bar in found)),
    )
    shown = [place for place in range(len(series)) if any(bar.counts[place] for bar in found)]
    chart = Chart(
        name,
        title,
        about,
        tuple(series[place] for place in shown),
        tuple(Bar(bar.start, tuple(bar.counts[place] for place in shown)) for bar in found),
    )
    return Picture(
        charts.draw(chart, speech.number, speech.short_day),
        tuple((charts.swatch(chart, place), each.label) for place, each in enumerate(chart.series)),
        (text["week" if charts.by_week(told) else "day"], *(each.label for each in chart.series), text["all"]),
        tuple(
            (speech.day(bar.start), *map(speech.number, bar.counts), speech.number(bar.total))
            for bar in reversed(chart.bars)
            if bar.total
        ),
    )


def _whose(told: Chronicle, speech: Speech) -> Iterator[tuple[str, str, str]]:
    counted = told.by(lambda total: total.provenance)
    for provenance in _WHOSE:
        number = counted[provenance]
        share = f"{speech.number(100 * number / counted.total())} %" if counted else "-"
        yield speech.texts["page"]["provenance"][provenance], speech.number(number), share


def _causes(told: Chronicle, speech: Speech) -> Iterator[tuple[str, str, str]]:
    text = speech.texts["page"]["group"]

    def told_as(cause: Cause) -> tuple[str, str]:
        return speech.cause(cause), text[GROUPS[cause]]

    for cause, number in told.by(lambda total: total.cause).most_common():
        yield *told_as(cause), speech.number(number)


def _dead(told: Chronicle, speech: Speech) -> Iterator[tuple[str, ...]]:
    labels = speech.texts["page"]["provenance"]
    for dead in told.dead:
        yield (
            clean_text(dead.address, 100),
            speech.cause(dead.cause),
            speech.short_date(dead.last),
            speech.number(dead.count),
            labels[dead.provenance],
        )


def _dead_cut(told: Chronicle, speech: Speech) -> str:
    shown = len(told.dead)
    if shown == told.dead_count:
        return ""
    text = speech.texts["page"]["dead"]["more"]
    return str(text.format(shown=speech.number(shown), n=speech.number(told.dead_count)))
