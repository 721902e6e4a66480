"""The program itself: killed, stopped, paused, started twice, without room, without memory."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from bouncefiler.errors import StoreBroken, StoreBusy
from tests.chaos import world
from tests.chaos.catalogue import changing
from tests.chaos.conftest import Rehearsed, Ward
from tests.chaos.processes import Program
from tests.chaos.proxy import Moment
from tests.dovecot import Variant

pytestmark = pytest.mark.dovecot

VARIANTS = {"MOVE": Variant(), "COPY": Variant(move=False)}
FULL_DISKS = (0, 4_096, 90_000, 130_000)
"""Largest file that may be written: from nothing at all to an empty state with no room for one intent."""


@pytest.mark.parametrize("moment", [Moment.BEFORE, Moment.DONE, Moment.AFTER])
@pytest.mark.parametrize("variant", VARIANTS)
def test_killed_at_any_change_it_harms_no_message(
    ward: Ward, performed: Rehearsed, variant: str, moment: Moment
) -> None:
    """`kill -9` just before a command reaches the server, when it is done, and when the answer has come."""
    found = []
    for at in changing(performed(VARIANTS[variant])):
        patient = ward(VARIANTS[variant])()
        program = Program(patient)
        status, _ = program.interrupted(at, moment, program.kill, cut=True)
        assert status == -signal.SIGKILL
        found += [f"{at}: {violation}" for violation in patient.recover("killed").violations]

    assert found == []


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_instant_it_harms_no_message(ward: Ward, seed: int) -> None:
    """Wherever it happens to be."""
    patient = ward(VARIANTS["COPY"])()
    program = Program(patient)
    patient.proxy.arm(None)
    program.start("clean")
    time.sleep(Random(seed).uniform(0.3, 0.8))  # noqa: S311 - no secret
    program.kill()
    program.finish()

    assert patient.recover("killed").violations == ()


@pytest.mark.parametrize("variant", VARIANTS)
def test_asked_to_stop_it_finishes_the_batch(ward: Ward, performed: Rehearsed, variant: str) -> None:
    """SIGTERM while the server works: the messages in hand are seen through, and the exit is an orderly one."""
    at = changing(performed(VARIANTS[variant]))[1]
    patient = ward(VARIANTS[variant])()
    program = Program(patient)

    status, said = program.interrupted(at, Moment.BEFORE, lambda: program.process.send_signal(signal.SIGTERM))

    assert status == 0, said
    assert patient.truth.misplaced(patient.contents()) == []
    assert patient.recover("stopped").violations == ()


def test_paused_while_somebody_else_works_it_harms_no_message(ward: Ward, performed: Rehearsed) -> None:
    """SIGSTOP, as when a laptop is closed; meanwhile mail that it was about to move is removed or marked."""
    at = changing(performed(VARIANTS["MOVE"]))[1]
    patient = ward(VARIANTS["MOVE"])()
    program = Program(patient)

    def pause() -> None:
        program.process.send_signal(signal.SIGSTOP)
        before = patient.contents()
        patient.mailbox.expunge("INBOX", "9")
        patient.mailbox.flag("INBOX", "10", "\\Deleted")
        patient.truth.follow(before, patient.contents())
        program.process.send_signal(signal.SIGCONT)

    status, said = program.interrupted(at, Moment.BEFORE, pause)

    assert status == 0, said
    assert patient.recover("paused").violations == ()


def test_a_second_one_says_who_is_at_work_and_sends_nothing(ward: Ward, performed: Rehearsed) -> None:
    """It does not even connect."""
    at = changing(performed(VARIANTS["MOVE"]))[1]
    patient = ward(VARIANTS["MOVE"])()
    first, second = Program(patient), Program(patient)
    said: list[tuple[int, str]] = []
    connections: list[int] = []

    def start_another() -> None:
        connections.append(patient.proxy.connections)
        said.append(second.run("clean"))
        connections.append(patient.proxy.connections)

    status, _ = first.interrupted(at, Moment.BEFORE, start_another)

    assert status == 0
    ((code, words),) = said
    assert code == StoreBusy.exit_code
    assert f"process {first.process.pid}" in words
    assert connections[0] == connections[1]
    assert patient.recover("done").violations == ()


@pytest.mark.parametrize("octets", FULL_DISKS)
def test_without_room_for_the_journal_nothing_is_moved(ward: Ward, octets: int) -> None:
    """The disk is full (a limit on the size of files stands for it): not one command that changes the account."""
    patient = ward(VARIANTS["COPY"])()
    patient.proxy.arm(None)

    status, said = Program(patient).run("clean", before=("prlimit", f"--fsize={octets}"))

    assert status == StoreBroken.exit_code, said
    assert "Traceback" not in said
    assert [command for command in patient.proxy.commands() if command.startswith("UID COPY")] == []
    assert patient.recover("full").violations == ()


def test_a_damaged_state_stops_everything_until_it_is_taken_away(ward: Ward, performed: Rehearsed) -> None:
    """Damaged while a move is under way: the next run moves nothing, says what to do, and doing that costs no mail."""
    at = changing(performed(VARIANTS["MOVE"]))[1]
    patient = ward(VARIANTS["MOVE"])()
    program = Program(patient)

    def damage() -> None:
        program.kill()
        for path in patient.state.parent.glob(f"{patient.state.name}*"):
            path.write_bytes(b"\x00 not a database " * max(1, path.stat().st_size // 16))

    program.interrupted(at, Moment.DONE, damage, cut=True)
    patient.proxy.arm(None)
    status, said = program.run("clean")

    assert status == StoreBroken.exit_code
    assert str(patient.state) in said
    assert "Traceback" not in said
    assert patient.proxy.commands() == []
    for path in patient.state.parent.glob(f"{patient.state.name}*"):
        path.unlink()
    assert patient.recover("damaged").violations == ()


def test_the_password_is_nowhere_to_be_seen(ward: Ward, performed: Rehearsed) -> None:
    """Not in the arguments of the process, in what it says, nor in what it keeps, whatever goes wrong."""
    at = changing(performed(VARIANTS["COPY"]))[1]
    secrets = [VARIANTS["COPY"].password.encode()]
    found: Counter[str] = Counter()
    for moment in (Moment.BEFORE, Moment.DONE):
        patient = ward(VARIANTS["COPY"])()
        program = Program(patient)
        arguments: list[bytes] = []

        def look() -> None:
            arguments.append(Path(f"/proc/{program.process.pid}/cmdline").read_bytes())  # noqa: B023 - called at once

        status, said = program.interrupted(at, moment, look, cut=True)
        assert status != 0
        kept = [path.read_bytes() for path in patient.state.parent.iterdir()]
        for place, texts in {"arguments": arguments, "output": [said.encode()], "state": kept}.items():
            assert texts
            found[place] += sum(secret in text for text in texts for secret in secrets)

    assert found.total() == 0, found


def test_a_preview_sends_no_command_that_changes_anything(ward: Ward) -> None:
    """The whole program, and not only while all is well."""
    patient = ward(VARIANTS["MOVE"])()
    before = patient.contents()
    patient.proxy.arm(None)

    status, said = Program(patient).run("preview", "--json")

    assert status == 0
    assert said.count('"what": "move"') == 8
    assert world.forbidden(patient.proxy.commands(), looking=True) == []
    assert patient.contents() == before
