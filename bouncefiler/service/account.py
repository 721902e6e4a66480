"""What the service knows of an account."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from threading import Event

from bouncefiler.doorbell import Sight
from bouncefiler.service.job import Job


class State(Enum):
    """Where an account is between its runs."""

    WAITING = auto()
    """Until the account of the same name from the old configuration is closed."""
    IDLE = auto()
    """In the timetable."""
    BUSY = auto()
    """In the hands of the workers, to be run or to be closed."""
    CLOSED = auto()


@dataclass(slots=True, eq=False)
class Account:
    """An account from the time that its job was loaded until it is closed. Changed in the service's own thread."""

    job: Job
    not_before: float = 0.0
    """By `Clock.boottime`: the server has asked for peace until then."""
    state: State = State.WAITING
    leaving: Event = field(default_factory=Event)
    tried: bool = False
    halted: bool = False
    missed: bool = False
    """A run was due while the last one was still going on."""
    failures: int = 0
    complained: bool = False
    trouble: str = ""
    running: bool = False
    """Set by the worker that has taken it up."""
    sign_of_life: float = 0.0
    """By `Clock.monotonic`. Set by the worker."""
    ended: float = 0.0
    """When the last run did, by `Clock.monotonic`."""
    sight: Sight | None = None
    """The socket that the doorbell watches."""
