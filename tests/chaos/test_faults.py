"""Whatever goes wrong between us and the server, no message is lost, doubled, altered or left in the wrong place.

This is the short proof, around the commands that change something; `make chaos` does the long one.
"""

from __future__ import annotations

import base64
import logging
import traceback
from datetime import timedelta

import pytest

from tests.chaos import acts, careless, world
from tests.chaos.catalogue import TELLING, changing, telling
from tests.chaos.conftest import Rehearsed, Ward
from tests.chaos.proxy import Fault, Harm, Moment
from tests.chaos.rounds import Act, Patient
from tests.dovecot import PASSWORD, Variant

pytestmark = pytest.mark.dovecot

MOVE, COPY = Variant(), Variant(move=False)
VARIANTS = {"MOVE": MOVE, "COPY": COPY}


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_fault_around_a_change_harms_a_message(ward: Ward, rehearsed: Rehearsed, variant: str) -> None:
    """Cut, reset, refused, said twice: before, in the middle of and after each command that changes the account."""
    admit = ward(VARIANTS[variant])
    found = []
    for fault in telling(rehearsed(VARIANTS[variant])):
        found += [f"{fault}: {violation}" for violation in admit().endure(fault).violations]

    assert found == []


@pytest.mark.parametrize("harm", [Harm.PIECES, Harm.SLOW])
def test_a_slow_server_is_no_fault(ward: Ward, harm: Harm) -> None:
    """Octet by octet or with pauses, from the greeting on."""
    ending = ward(MOVE)().endure(Fault(harm, Moment.BEFORE, 0))

    assert (ending.first, ending.violations) == ("done", ())


@pytest.mark.parametrize("moment", [Moment.BEFORE, Moment.DONE])
def test_a_server_that_falls_silent_is_left(ward: Ward, rehearsed: Rehearsed, moment: Moment) -> None:
    """Within the configured time; what it did or did not do is found out later."""
    at = changing(rehearsed(MOVE))[-1]

    ending = ward(MOVE)().endure(Fault(Harm.STALL, moment, at))

    assert (ending.first, ending.violations) == ("Unreachable", ())


@pytest.mark.parametrize("act", [*acts.MAILBOX, *acts.STATE], ids=lambda act: act.name)
@pytest.mark.parametrize("variant", ["MOVE", "COPY"])
def test_nobody_who_interferes_makes_us_harm_a_message(
    ward: Ward, rehearsed: Rehearsed, variant: str, act: Act
) -> None:
    """Another client at the same mail, a new numbering, our memory gone: while a move is asked for, or just done."""
    admit = ward(VARIANTS[variant])
    first = changing(rehearsed(VARIANTS[variant]))[1]  # after CREATE
    found = []
    for harm, moment in ((Harm.NONE, Moment.BEFORE), (Harm.CUT, Moment.DONE)):
        ending = admit().endure(Fault(harm, moment, first), act)
        found += [f"{moment}: {violation}" for violation in ending.violations]

    assert found == []


@pytest.mark.parametrize("jump", [timedelta(days=-1), timedelta(days=1), timedelta(days=500), timedelta(days=-9_000)])
def test_a_clock_that_jumps_is_no_fault(ward: Ward, rehearsed: Rehearsed, jump: timedelta) -> None:
    """Between the run that was cut off and the one that recovers; old records are tidied away by that clock, too."""
    at = changing(rehearsed(COPY))[-1]
    patient = ward(COPY)()
    patient.proxy.arm(Fault(Harm.CUT, Moment.BEFORE, at))
    patient.run()
    patient.proxy.arm(None)

    assert patient.run(world.NOON + jump) == "done"
    assert patient.recover("jumped").violations == ()


def test_the_password_is_in_no_log_and_no_traceback(
    ward: Ward, rehearsed: Rehearsed, caplog: pytest.LogCaptureFixture
) -> None:
    """At any level, whatever goes wrong: while logging in, or later. Nor is it in the state."""
    caplog.set_level(logging.DEBUG)
    commands = rehearsed(MOVE)
    told, errors = b"", 0
    for at in (0, changing(commands)[-1]):
        for harm, moment in TELLING:
            patient = ward(MOVE)()
            patient.proxy.arm(Fault(harm, moment, at, octets=20))
            patient.run()
            errors += patient.error is not None
            told += "".join(traceback.format_exception(patient.error)).encode() if patient.error else b""
            told += patient.state.read_bytes()
    told += caplog.text.encode()

    assert errors > len(TELLING)
    for secret in (PASSWORD.encode(), base64.b64encode(PASSWORD.encode()), base64.b64encode(b"\0" + PASSWORD.encode())):
        assert secret.rstrip(b"=")[:-2] not in told


class TestTheProofItself:
    """It catches those who make the classic mistakes."""

    def caught(self, patient: Patient, sweep: careless.Careless, fault: Fault | None = None) -> str:
        patient.sweep = sweep
        if fault:
            return " ".join(patient.endure(fault).violations)
        patient.proxy.arm(None)
        return " ".join(patient.recover(patient.run()).violations)

    def test_an_honest_run_passes(self, ward: Ward) -> None:
        assert ward(COPY)().recover("done").violations == ()

    def test_a_plain_expunge_is_seen_and_so_is_what_it_costs(self, ward: Ward) -> None:
        patient = ward(COPY)()

        caught = self.caught(patient, careless.with_mover(careless.PlainExpunger, patient))

        assert "at once: EXPUNGE" in caught
        assert "lost" in caught

    def test_removing_what_was_not_copied_is_seen(self, ward: Ward) -> None:
        """The server refuses the COPY."""
        patient = ward(COPY)()
        sweep = careless.with_mover(careless.Hasty, patient)
        patient.sweep = sweep
        at = next(n for n, command in enumerate(patient.rehearse()) if command.startswith("UID COPY"))
        fresh = ward(COPY)()

        caught = self.caught(fresh, careless.with_mover(careless.Hasty, fresh), Fault(Harm.NO, Moment.BEFORE, at))

        assert "at once: lost" in caught

    @pytest.mark.parametrize("careful", [True, False])
    def test_a_forgotten_journal_is_seen(self, ward: Ward, rehearsed: Rehearsed, *, careful: bool) -> None:
        """The connection ends between COPY and the removal: without the journal all is copied again."""
        at = next(n for n, command in enumerate(rehearsed(COPY)) if command.startswith("UID COPY"))
        patient = ward(COPY)()

        caught = self.caught(
            patient,
            patient.sweep if careful else careless.with_forgetful_journal,
            Fault(Harm.CUT, Moment.DONE, at),
        )

        assert ("there twice" in caught) is not careful


def test_a_preview_changes_nothing(ward: Ward) -> None:
    """It sends no command that could, whatever there is to file."""
    patient = ward(MOVE)()
    before = patient.contents()
    patient.proxy.arm(None)

    assert patient.preview() == 8

    assert patient.contents() == before
    assert world.forbidden(patient.proxy.commands(), looking=True) == []
    assert any(command.startswith("EXAMINE") for command in patient.proxy.commands())
