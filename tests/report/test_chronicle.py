"""Whether all is well, and how that is said on a terminal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

import pytest

from bouncefiler.backscatter.incident import Diagnosis
from bouncefiler.backscatter.provenance import Provenance
from bouncefiler.recognition.verdict import Cause
from bouncefiler.render import Document, Look, lay_out, to_json
from bouncefiler.report import chronicle
from bouncefiler.report.chronicle import GROUPS, AtWork, Chronicle, State, Undelivered, states
from bouncefiler.report.status import sparkline, status, status_json
from tests.report.tales import DAY, HOUR, NOON, QUIET, WAVE, total

HOSTILE = "\x1b[2J\u202egnihsihp\x00 <script>alert(1)</script>"
HACKED = replace(WAVE, diagnosis=Diagnosis.COMPROMISED)
MAILING = replace(WAVE, diagnosis=Diagnosis.OWN_MAILING)
UNTOLD = Undelivered("inbox", "Many bounces", "INBOX is over quota", 3, NOON + HOUR)
IN_THE_WAY = chronicle.Look(NOON - DAY, "the password was refused", NOON - HOUR)


def text(told: Chronicle, width: int | None = None) -> str:
    document: Document = status(told, zone=UTC)
    return lay_out(document, Look(width))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (QUIET, (State.WELL,)),
        (replace(QUIET, incidents=(replace(WAVE, closed=NOON),)), (State.WELL,)),
        (replace(QUIET, incidents=(WAVE,)), (State.BACKSCATTER,)),
        (replace(QUIET, incidents=(MAILING, HACKED)), (State.COMPROMISED, State.OWN_MAILING)),
        (replace(QUIET, look=IN_THE_WAY, incidents=(WAVE,)), (State.TROUBLE, State.BACKSCATTER)),
        (replace(QUIET, look=chronicle.Look(NOON - 3 * DAY)), (State.STALE,)),
        (replace(QUIET, look=replace(IN_THE_WAY, at=NOON - 3 * DAY)), (State.TROUBLE,)),
        (replace(QUIET, undelivered=(UNTOLD,)), (State.UNDELIVERED,)),
        (replace(QUIET, look=chronicle.Look()), (State.NEW,)),
    ],
)
def test_the_worst_is_said_first(told: Chronicle, expected: tuple[State, ...]) -> None:
    assert states(told) == expected


def test_every_cause_belongs_to_a_group() -> None:
    assert set(GROUPS) == set(Cause)


@pytest.mark.parametrize("language", ["en", "pt_BR"])
@pytest.mark.parametrize("state", State)
def test_every_state_is_told_in_every_language_with_nothing_left_to_fill_in(state: State, language: str) -> None:
    of_state = {
        State.COMPROMISED: replace(QUIET, incidents=(HACKED,)),
        State.TROUBLE: replace(QUIET, look=IN_THE_WAY),
        State.BACKSCATTER: replace(QUIET, incidents=(WAVE,)),
        State.STALE: replace(QUIET, look=chronicle.Look(NOON - 3 * DAY)),
        State.UNDELIVERED: replace(QUIET, undelivered=(UNTOLD,)),
        State.NEW: replace(QUIET, look=chronicle.Look()),
        State.OWN_MAILING: replace(QUIET, incidents=(MAILING,)),
        State.WELL: QUIET,
    }
    told = replace(of_state[state], language=language)

    assert states(told)[0] is state
    assert "{" not in text(told)
    assert text(replace(told, language="en")) != text(replace(told, language="pt"))


def test_status_shows_the_numbers() -> None:
    told = replace(
        QUIET,
        incidents=(WAVE,),
        daily=(total(3, 4, provenance=Provenance.GENUINE), total(0, 347, provenance=Provenance.FORGED)),
        at_work=AtWork("run", 4711, NOON - DAY),
        filed_day=347,
        undelivered=(UNTOLD,),
    )

    shown = text(told)

    assert "351 in 30 days, at most 347 in a day" in shown
    assert "forged 347, your own 4, not known 0" in shown
    assert "347 in 24 hours, 20,000 in all, at most 19,000 in 24 hours" in shown
    assert "`bouncefiler run` (process 4711), since 28 February 2026, 12:00" in shown
    assert "INBOX is over quota" in shown
    assert sparkline([0] * 26 + [4, 0, 0, 347]) in shown


def test_status_fits_on_one_screen_of_eighty_columns() -> None:
    many = tuple(replace(UNTOLD, subject=f"Number {n}") for n in range(50))
    told = replace(QUIET, incidents=(HACKED, MAILING), daily=(total(0, 9_999_999),), look=IN_THE_WAY, undelivered=many)

    lines = text(told, width=80).splitlines()

    assert max(map(len, lines)) <= 80
    assert not any(line.endswith("…") for line in lines)
    assert len(lines) <= 50


def test_nothing_hostile_reaches_the_terminal() -> None:
    told = replace(
        QUIET,
        account=HOSTILE,
        address=HOSTILE,
        look=chronicle.Look(NOON, HOSTILE, NOON),
        at_work=AtWork(HOSTILE, 1, NOON),
        undelivered=(Undelivered(HOSTILE, HOSTILE, HOSTILE, 1, NOON),),
    )

    assert not {"\x1b", "\u202e", "\x00"} & set(text(told))
    assert to_json(status_json(told)).isprintable()


def test_a_sparkline_shows_the_least_bounce_beside_the_greatest_wave() -> None:
    assert sparkline([0, 1, 20_000]) == "·▁█"
    assert sparkline([0, 1, 20_000], "ascii") == "._@"
    assert sparkline([0, 0]) == "··"
    assert sparkline([5, 10]) == "▄█"


def test_a_bounce_from_the_future_came_today() -> None:
    told = replace(QUIET, daily=(total(-30_000, 7),))

    assert told.by(lambda each: each.day) == {NOON.date(): 7}
    assert len(told.days()) == 30


def test_programs_get_every_day_and_the_state() -> None:
    told = status_json(replace(QUIET, incidents=(WAVE,), daily=(total(1, 3),)))

    assert told["state"] == "backscatter"
    assert isinstance(told["bounces"], dict)
    assert (len(told["bounces"]), told["bounces"]["2026-02-28"], told["bounces"]["2026-03-01"]) == (30, 3, 0)
