"""`make chaos`: the long proof. Rounds drawn by chance, on each server; a table at the end, and 1 if any did harm.

    python -m tests.chaos [ROUNDS] [SEED]

A round can be had again: its number and the seed say all about it.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom

from tests import dovecot, servers
from tests.chaos import acts
from tests.chaos.catalogue import any_fault
from tests.chaos.processes import Program
from tests.chaos.proxy import Fault, Harm, Moment, standing_before
from tests.chaos.rounds import Ending, Patient
from tests.dovecot import Dovecot, Variant

DOVECOTS = {
    "dovecot": Variant(),
    "dovecot without MOVE": Variant(move=False),
    "dovecot, INBOX.": Variant(prefix="INBOX.", separator="."),
    "dovecot, INBOX., without MOVE": Variant(move=False, prefix="INBOX.", separator="."),
}
ROUNDS = 400


@dataclass(slots=True)
class Ward:
    """A running server: what makes accounts on it, and what our program says to it when all is well."""

    admit: Callable[[], Patient]
    conversation: list[str] = field(default_factory=list)
    of_the_program: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.conversation = self.admit().rehearse()
        patient = self.admit()
        patient.proxy.arm(None)
        assert Program(patient).run("clean")[0] == 0
        patient.leave()
        self.of_the_program = patient.proxy.commands()


def faults(ward: Ward, random: Random) -> tuple[str, Ending]:
    """One fault, then perhaps another one in the run that recovers from it."""
    patient = ward.admit()
    chosen = [any_fault(ward.conversation, random) for _ in range(random.choice((1, 1, 2)))]
    for fault in chosen[:-1]:
        patient.proxy.arm(fault)
        patient.run()
    patient.proxy.arm(chosen[-1])
    return ", then ".join(map(str, chosen)), patient.recover(patient.run())


def interference(ward: Ward, random: Random) -> tuple[str, Ending]:
    """Somebody else is at the same mail, or at our state."""
    act = random.choice((*acts.MAILBOX, *acts.STATE))
    harm, moment = random.choice(((Harm.NONE, Moment.BEFORE), (Harm.NONE, Moment.DONE), (Harm.CUT, Moment.DONE)))
    fault = Fault(harm, moment, random.randrange(len(ward.conversation)))
    return f"{act.name}; {fault}", ward.admit().endure(fault, act)


def kill_at_a_command(ward: Ward, random: Random) -> tuple[str, Ending]:
    """`kill -9` around a command of the program."""
    patient = ward.admit()
    program = Program(patient)
    at, moment = random.randrange(len(ward.of_the_program)), random.choice([*Moment])
    program.interrupted(at, moment, program.kill, cut=True)
    return f"killed {moment} command {at}", patient.recover("killed")


def signal_at_any_instant(ward: Ward, random: Random) -> tuple[str, Ending]:
    """SIGKILL, SIGTERM, or SIGSTOP and SIGCONT, whatever the program is at."""
    patient = ward.admit()
    program = Program(patient)
    patient.proxy.arm(None)
    sent, after = random.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)), random.uniform(0.1, 0.8)
    process = program.start("clean")
    time.sleep(after)
    process.send_signal(sent)
    if sent is signal.SIGSTOP:
        time.sleep(0.2)
        process.send_signal(signal.SIGCONT)
    program.finish()
    return f"{sent.name} after {after:.3f} s", patient.recover(sent.name)


CAMPAIGNS: dict[str, tuple[int, Callable[[Ward, Random], tuple[str, Ending]]]] = {
    "faults": (5, faults),
    "interference": (3, interference),
    "kill at a command": (1, kill_at_a_command),
    "signal at any instant": (1, signal_at_any_instant),
}
"""Each with how often it is to be drawn."""


def rage(rounds: int, seed: int, place: Path) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """Play the rounds; return how many there were on each server of each sort, and how many of these did harm."""
    played: Counter[tuple[str, str]] = Counter()
    harmful: Counter[tuple[str, str]] = Counter()
    names = [name for name, (weight, _) in CAMPAIGNS.items() for _ in range(weight)]
    with ExitStack() as stack:
        wards = {name: _ward(dovecot.running(variant), place, stack) for name, variant in DOVECOTS.items()}
        for name, running in servers.OTHERS.items():
            if reason := servers.missing(name):
                say(f"not played on {name}: {reason}")
            else:
                wards[name] = _ward(running(), place, stack)
        for number in range(rounds):
            random = Random(f"{seed} {number}")  # noqa: S311 - no secret
            server, campaign = random.choice([*wards]), random.choice(names)
            what, ending = CAMPAIGNS[campaign][1](wards[server], random)
            played[server, campaign] += 1
            harmful[server, campaign] += bool(ending.violations)
            for violation in ending.violations:
                say(f"round {number} on {server}: {what} ({ending.first}): {violation}")
    return played, harmful


def _ward(server: AbstractContextManager[Dovecot], place: Path, stack: ExitStack) -> Ward:
    running = stack.enter_context(server)
    proxy = stack.enter_context(standing_before(running.port))
    return Ward(lambda: Patient(running, proxy, Path(tempfile.mkdtemp(dir=place)) / "home.sqlite3"))


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def table(played: Counter[tuple[str, str]], harmful: Counter[tuple[str, str]]) -> None:
    """Print what was played and what did harm."""
    names = dict.fromkeys(server for server, _ in sorted(played))
    width = max(map(len, names))
    say("\n" + "rounds / harmful".ljust(width) + "".join(f"  {name:>21}" for name in CAMPAIGNS))
    for server in names:
        cells = (f"{played[server, name]} / {harmful[server, name]}" for name in CAMPAIGNS)
        say(server.ljust(width) + "".join(f"  {cell:>21}" for cell in cells))


def main(arguments: list[str]) -> int:
    """Play the rounds and print the table; return 1 when any did harm."""
    rounds = int(arguments[0]) if arguments else ROUNDS
    seed = int(arguments[1]) if len(arguments) > 1 else SystemRandom().randrange(2**32)
    say(f"{rounds} rounds, seed {seed} (again: make chaos ROUNDS={rounds} SEED={seed})")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        played, harmful = rage(rounds, seed, Path(place))
    table(played, harmful)
    say(f"\n{played.total()} rounds in {time.monotonic() - began:.0f} s, {harmful.total()} of them did harm")
    return 1 if harmful.total() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
