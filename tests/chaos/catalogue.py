"""Which faults there are, aimed at the commands of an undisturbed run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random

from tests.chaos.proxy import Fault, Harm, Moment

EVERY_HARM: tuple[tuple[Harm, Moment], ...] = (
    *((harm, moment) for harm in (Harm.CUT, Harm.RESET, Harm.BYE) for moment in Moment),
    *((harm, moment) for harm in (Harm.NO, Harm.BAD, Harm.STALL) for moment in (Moment.BEFORE, Moment.DONE)),
    (Harm.TWICE, Moment.AFTER),
    (Harm.PIECES, Moment.BEFORE),
    (Harm.SLOW, Moment.BEFORE),
)

TELLING: tuple[tuple[Harm, Moment], ...] = (
    (Harm.CUT, Moment.BEFORE),
    (Harm.CUT, Moment.DONE),
    (Harm.RESET, Moment.WITHIN),
    (Harm.BYE, Moment.AFTER),
    (Harm.NO, Moment.BEFORE),
    (Harm.NO, Moment.DONE),
)
"""Those that leave the most to be found out, for the short proof."""

_CHANGING = re.compile(r"CREATE|UID (?:MOVE|COPY|STORE|EXPUNGE)").match


def changing(commands: Sequence[str]) -> list[int]:
    """Return which commands change the account."""
    return [number for number, command in enumerate(commands) if _CHANGING(command)]


def telling(commands: Sequence[str]) -> Iterator[Fault]:
    """Yield the faults of the short proof: around the commands that make the folder and move the last batch."""
    create, *moving = changing(commands)
    last = max(at for at in moving if commands[at].startswith(("UID MOVE", "UID COPY")))
    for at in (create, *(at for at in moving if at >= last)):
        for harm, moment in TELLING:
            yield Fault(harm, moment, at, octets=20)


def any_fault(commands: Sequence[object], random: Random) -> Fault:
    """Return some harm at some command; WITHIN is after so many octets as chance will have it."""
    harm, moment = random.choice(EVERY_HARM)
    return Fault(harm, moment, random.randrange(len(commands)), random.choice((1, 10, 30, 100, 1_000)))
