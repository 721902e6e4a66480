"""`make soak`: the service at work for some minutes, while mail, bounces and faults keep coming; a table at the end.

    python -m tests.chaos.soak [MINUTES] [SEED]

It returns 1 when a message was lost, altered, doubled or is in the wrong folder, or when memory or descriptors grow.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom
from statistics import median

from tests import dovecot
from tests.chaos import world
from tests.chaos.__main__ import say
from tests.chaos.catalogue import any_fault
from tests.chaos.processes import Program
from tests.chaos.proxy import Harm, standing_before
from tests.chaos.rounds import Patient
from tests.dovecot import Mail, Variant

MINUTES = 5.0
STEP = 0.5
"""Seconds between two messages."""
SETTLING = 90.0
"""Seconds that the service has, at the end, for what is left."""
GROWTH_MB = 8.0
"""How much more memory the last third may take than the second."""
GROWTH_FILES = 3

_PAGE = os.sysconf("SC_PAGE_SIZE")
_FIRST = 1_000
_RECEIVED = "01-Mar-2026 12:00:00 +0000"


@dataclass(frozen=True, slots=True)
class Sample:
    """What the service takes at one moment."""

    megabytes: float
    descriptors: int


@dataclass(slots=True)
class Soak:
    """A service, its account, and all that has come."""

    patient: Patient
    program: Program
    random: Random
    samples: list[Sample] = field(default_factory=list)
    delivered: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)

    def go_on(self, seconds: float) -> None:
        """Let mail and faults come for so long."""
        end, number = time.monotonic() + seconds, _FIRST
        while time.monotonic() < end and self.program.process.poll() is None:
            number += 1
            self._deliver(number)
            if number % 4 == 0:
                self._something_happens()
            self.samples.append(self._sample())
            time.sleep(STEP)

    def settle(self) -> None:
        """Let nothing go wrong any more, and wait until the last bounce is filed."""
        self.patient.proxy.arm(None)
        end = time.monotonic() + SETTLING
        while self.left() and time.monotonic() < end and self.program.process.poll() is None:
            self.program.process.send_signal(signal.SIGHUP)
            time.sleep(2)

    def left(self) -> int:
        """Count the bounces that are not filed yet."""
        filed = sum(item.folder == world.FOLDER for item in self.patient.contents().elements())
        return self.bounces() - filed

    def bounces(self) -> int:
        """Count the bounces that are to be filed."""
        return sum(item.folder == world.FOLDER for item in self.patient.truth.items.elements())

    def _deliver(self, number: int) -> None:
        bounce = self.random.random() < 0.4
        raw = world.bounce(number) if bounce else world.letter(number)
        self.patient.mailbox.deliver(Mail(raw, world.NOON))
        self.delivered["bounces" if bounce else "letters"] += 1
        self.patient.truth.expect(raw, _RECEIVED, bounce=bounce)

    def _something_happens(self) -> None:
        if self.random.random() < 0.5:
            fault = any_fault(range(30), self.random)
            if fault.at or fault.harm not in {Harm.NO, Harm.BAD}:  # a refused login would rightly end the work
                self.patient.proxy.arm(fault)
                self.happened[f"{fault.harm}"] += 1
        self.program.process.send_signal(signal.SIGHUP)  # run now, whatever the timetable says
        self.happened["reload"] += 1

    def _sample(self) -> Sample:
        place = Path(f"/proc/{self.program.process.pid}")
        with suppress(OSError):
            resident = int((place / "statm").read_text().split()[1]) * _PAGE / 1e6
            return Sample(resident, len(list((place / "fd").iterdir())))
        return Sample(0.0, 0)


def faults_of(soak: Soak, status: int, said: str) -> list[str]:
    """Say what is wrong at the end."""
    now = soak.patient.contents()
    truth = soak.patient.truth
    found = [*truth.lost(now), *truth.misplaced(now)]
    if doubled := truth.doubled(now):
        found.append(f"{doubled} messages are there twice")
    if status != 0:
        found.append(f"the service ended with {status}: {said[-500:]}")
    if "Traceback" in said:
        found.append(f"the service said: {said[-2000:]}")
    _, second, last = thirds(soak.samples)
    grown = median(s.megabytes for s in last) - median(s.megabytes for s in second)
    if grown > GROWTH_MB:
        found.append(f"memory grew by {grown:.1f} MB")
    if max(s.descriptors for s in last) > max(s.descriptors for s in second) + GROWTH_FILES:
        found.append("descriptors grew")
    return found


def thirds(samples: list[Sample]) -> tuple[list[Sample], list[Sample], list[Sample]]:
    """Cut the samples in three."""
    cut = max(1, len(samples) // 3)
    return samples[:cut], samples[cut : 2 * cut] or samples, samples[2 * cut :] or samples


def table(soak: Soak) -> None:
    """Print what came and what it took."""
    say("delivered: " + ", ".join(f"{count} {what}" for what, count in sorted(soak.delivered.items())))
    say("happened:  " + ", ".join(f"{count} {what}" for what, count in sorted(soak.happened.items())))
    say(f"connections: {soak.patient.proxy.connections}")
    say("\n                 memory, MB (median / most)   descriptors (median / most)")
    for name, part in zip(("first third", "second third", "last third"), thirds(soak.samples), strict=True):
        memory, files = [s.megabytes for s in part], [s.descriptors for s in part]
        say(f"{name:<16} {median(memory):>17.1f} / {max(memory):.1f} {median(files):>22.0f} / {max(files)}")


def main(arguments: list[str]) -> int:
    """Run the service for so many minutes; return 1 when anything is wrong."""
    minutes = float(arguments[0]) if arguments else MINUTES
    seed = int(arguments[1]) if len(arguments) > 1 else SystemRandom().randrange(2**32)
    say(f"{minutes:g} minutes, seed {seed}")
    with (
        tempfile.TemporaryDirectory() as place,
        dovecot.running(Variant(move=False)) as running,
        standing_before(running.port) as proxy,
    ):
        patient = Patient(running, proxy, Path(place) / "home.sqlite3")
        program = Program(patient)
        soak = Soak(patient, program, Random(seed))  # noqa: S311 - no secret
        with (Path(place) / "said").open("w+") as said:
            program.start("run", said=said)
            try:
                soak.go_on(minutes * 60)
                soak.settle()
            finally:
                program.process.send_signal(signal.SIGTERM)
                status = program.process.wait(60)
            said.seek(0)
            found = faults_of(soak, status, said.read())
        patient.leave()
    table(soak)
    for fault in found:
        say(fault)
    say(f"\nfiled: {soak.bounces()} bounces, each once" if not found else "\nnot as it should be")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
