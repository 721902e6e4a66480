"""Is all well? One screen of text, or an object for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, tzinfo

from bouncefiler.backscatter.incident import Incident
from bouncefiler.backscatter.provenance import Provenance
from bouncefiler.render import Block, Column, Document, Json, Paragraph, Table, Tone, clean_text
from bouncefiler.report.chronicle import AtWork, Chronicle, State, states
from bouncefiler.report.speech import Speech, through

MAX_TOLD = 5
"""So many alerts that could not be delivered are shown."""

_BLOCKS = "·▁▂▃▄▅▆▇█"
_ASCII = "._-:=+*#@"

_TONES = {
    State.COMPROMISED: Tone.ALARM,
    State.TROUBLE: Tone.ALARM,
    State.BACKSCATTER: Tone.WARNING,
    State.STALE: Tone.WARNING,
    State.UNDELIVERED: Tone.WARNING,
    State.NEW: Tone.TITLE,
    State.OWN_MAILING: Tone.TITLE,
    State.WELL: Tone.GOOD,
}


def status(told: Chronicle, *, encoding: str = "utf-8", zone: tzinfo | None = None) -> Document:
    """Say whether all is well, and show the few numbers that tell; the sparkline suits the encoding."""
    return tuple(_status(told, Speech(told.language, zone), encoding))


def _status(told: Chronicle, speech: Speech, encoding: str) -> Iterator[Block]:
    holds = states(told)
    worst = _state(holds[0], told, speech)
    yield Paragraph(f"{clean_text(told.account, 40)}: {worst[0]}", _TONES[holds[0]])
    yield Paragraph("\n".join(worst[1:]))
    if holds[1:]:
        title = speech.texts["also"]["title"]
        yield Paragraph("\n".join((title, *(f"- {_state(state, told, speech)[0]}" for state in holds[1:]))))
    yield Table(
        clean_text(told.address), (Column("", 20, 10), Column("", 100, 20)), tuple(_rows(told, speech, encoding))
    )
    yield from _undelivered(told, speech)


def state_lines(state: State, told: Chronicle, speech: Speech) -> tuple[str, ...]:
    """Say how things are, in one sentence; then what to do."""
    text = speech.texts["state"][state]
    look = told.look
    facts = {
        "trouble": clean_text(look.trouble, 300),
        "since": speech.when(look.trouble_since) if look.trouble_since else "",
        "looked": speech.when(look.at) if look.at else "",
    }
    return tuple(text[part].format_map(facts) for part in ("is", "do", "since") if part in text)


def _state(state: State, told: Chronicle, speech: Speech) -> tuple[str, ...]:
    lines = state_lines(state, told, speech)
    if state is State.COMPROMISED:
        return (*lines, speech.alerts["advice"]["hacked"].strip())
    if state is State.BACKSCATTER:
        return (lines[0], f"{lines[1]} {speech.texts['status']['report']}")
    return lines


def _rows(told: Chronicle, speech: Speech, encoding: str) -> Iterator[tuple[str, str]]:
    text = speech.texts["status"]
    yield text["looked"], speech.when(told.look.at) if told.look.at else speech.texts["never"]
    yield text["service"], _at_work(told.at_work, speech)
    yield from _bounces(told, speech, encoding)
    for incident in told.open_incidents:
        yield from _going_on(incident, speech)
    everything = sum(filed.count for filed in told.filed)
    day, week, whole = (speech.number(n) for n in (told.filed_day, told.filed_week, everything))
    yield text["filed"], text["filed-count"].format(day=day, week=week, all=whole)
    yield text["dead"], speech.number(told.dead_count)


def _at_work(at_work: AtWork | None, speech: Speech) -> str:
    text = speech.texts["status"]
    if at_work is None:
        return str(text["no-service"])
    form = text["at-work"] if at_work.pid is None else text["at-work-pid"]
    command = clean_text(at_work.command, 30)
    return str(form.format(command=command, pid=at_work.pid, since=speech.when(at_work.since)))


def _bounces(told: Chronicle, speech: Speech, encoding: str) -> Iterator[tuple[str, str]]:
    text = speech.texts["status"]
    by_day = told.by(lambda total: total.day)
    days = speech.counted(speech.texts, "days", len(told.days()))
    counts = [by_day[day] for day in told.days()]
    yield text["bounces"], sparkline(counts, encoding)
    if not by_day:
        yield "", text["per-day-none"].format(days=days)
        return
    total, most = speech.number(sum(counts)), speech.number(max(counts))
    yield "", text["per-day"].format(total=total, days=days, most=most)
    whose = told.by(lambda total: total.provenance)
    yield (
        "",
        text["whose"].format_map({provenance.value: speech.number(whose[provenance]) for provenance in Provenance}),
    )


def _going_on(incident: Incident, speech: Speech) -> Iterator[tuple[str, str]]:
    text = speech.texts["status"]
    diagnosis = speech.texts["diagnosis"][incident.diagnosis]
    yield text["incident"], text["going-on"].format(diagnosis=diagnosis, began=speech.day(began(incident)))
    numbers = {name: speech.number(getattr(incident, name)) for name in ("count", "total", "peak")}
    yield "", text["numbers"].format_map(numbers)


def began(incident: Incident) -> date:
    """Return when it began: with its first bounce, or when it was noticed first."""
    return min(incident.opened, incident.began or incident.opened)


def _undelivered(told: Chronicle, speech: Speech) -> Iterator[Paragraph]:
    text = speech.texts["status"]
    for alert in told.undelivered[-MAX_TOLD:]:
        facts = {
            "subject": clean_text(alert.subject, 100),
            "channel": through(alert.channel),
            "times": speech.counted(speech.texts, "times", alert.attempts),
            "due": speech.when(alert.due),
            "why": clean_text(alert.why, 200),
        }
        yield Paragraph(f"{text['undelivered']}: {text['told-through'].format_map(facts)}", Tone.WARNING)
    if (more := len(told.undelivered) - MAX_TOLD) > 0:
        yield Paragraph(text["more"].format(n=speech.number(more)))


def sparkline(counts: Sequence[int], encoding: str = "utf-8") -> str:
    """Draw the counts as a line of blocks, one character each, or of ASCII where the encoding has no blocks."""
    try:
        _BLOCKS.encode(encoding)
        levels = _BLOCKS
    except UnicodeEncodeError:
        levels = _ASCII
    most = max(counts, default=0) or 1
    steps = len(levels) - 1
    return "".join(levels[-(-count * steps // most)] for count in counts)


# --- for programs ----------------------------------------------------------------------------------------------------


def status_json(told: Chronicle) -> Json:
    """Say the same for programs. `state` is the first of `states`, the worst; "well" is when nothing is to be done."""
    holds = states(told)
    by_day = told.by(lambda total: total.day)
    whose = told.by(lambda total: total.provenance)
    look, at_work = told.look, told.at_work
    return {
        "what": "status",
        "account": told.account,
        "state": holds[0].value,
        "states": [state.value for state in holds],
        "watched_since": told.watched_since and told.watched_since.isoformat(),
        "looked_at": look.at and look.at.isoformat(),
        "trouble": look.trouble or None,
        "trouble_since": look.trouble_since and look.trouble_since.isoformat(),
        "at_work": at_work and {"command": at_work.command, "pid": at_work.pid, "since": at_work.since.isoformat()},
        "bounces": {day.isoformat(): by_day[day] for day in told.days()},
        "by_provenance": {provenance.value: whose[provenance] for provenance in Provenance},
        "incidents": [_incident_json(incident) for incident in told.open_incidents],
        "filed": {
            "day": told.filed_day,
            "week": told.filed_week,
            "folders": {filed.folder: filed.count for filed in told.filed},
        },
        "dead_addresses": told.dead_count,
        "undelivered": [
            {
                "channel": alert.channel,
                "subject": alert.subject,
                "why": alert.why,
                "attempts": alert.attempts,
                "due": alert.due.isoformat(),
            }
            for alert in told.undelivered
        ],
    }


def _incident_json(incident: Incident) -> Json:
    return {
        "diagnosis": incident.diagnosis.value,
        "began": began(incident).isoformat(),
        "opened": incident.opened.isoformat(),
        "last_seen": incident.last_seen.isoformat(),
        "count": incident.count,
        "total": incident.total,
        "peak": incident.peak,
        "usual": incident.usual,
    }
