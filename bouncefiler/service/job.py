"""What is run for each account, and what it is handed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from bouncefiler.doorbell import Watch


def nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What a run is handed, and may call from its thread at any time."""

    stopping: Callable[[], bool]
    """Whether to end after the batch in hand: the service stops, or the account's configuration was replaced."""
    progress: Callable[[], None]
    """Say that the work goes on. A run that is silent for `Limits.patience` seconds counts as hung."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to do for one account. Its calls come from changing threads, but never two at a time."""

    name: str
    """The account's name; unique."""
    interval: timedelta
    run: Callable[[Tick], Watch | None]
    close: Callable[[], None] = nothing
    """Let go of what the runs have kept open: called when the account is not run any more, or not until a reload."""
