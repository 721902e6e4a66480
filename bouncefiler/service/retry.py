"""When to run again after an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from bouncefiler.errors import (
    ConfigError,
    CredentialError,
    FolderRenumbered,
    LoginRefused,
    NoToken,
    OverQuota,
    StoreBroken,
    StoreBusy,
    Throttled,
    TokenRefused,
    Unreachable,
    Untrusted,
)
from bouncefiler.service.clock import DAY, HOUR, JITTER

FIRST_RETRY = 60.0
LONGEST_RETRY = HOUR

LONGEST_DEMAND = DAY
"""The longest wait that a server can ask for; Gmail's lock-out, the longest known, takes 24 h."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Run again after so many seconds, `demanded` of which not even a reload or a resume may shorten."""

    after: float
    demanded: float = 0.0


class Then(Enum):
    """The other two answers."""

    AS_USUAL = auto()
    """Run again at the next tick."""
    HALT = auto()
    """Don't run again until a person has done something about it."""


def react(error: BaseException | None, failures: int, draw: Callable[[], float]) -> Retry | Then:
    """Decide when to run again after `error`, the `failures`-th in a row; `draw` gives numbers from [0, 1)."""
    match error:
        case Throttled(retry_after=seconds):
            demanded = _demanded(seconds) * (1 + JITTER * draw())
            return Retry(max(demanded, back_off(failures, draw)), demanded)
        case OverQuota():
            return Retry(HOUR * (1 + JITTER * draw()))
        case FolderRenumbered() if failures == 1:
            return Retry(0.0)
        case Unreachable() | StoreBusy() | StoreBroken() | FolderRenumbered() | TokenRefused() | NoToken():
            return Retry(back_off(failures, draw))
        case LoginRefused() | CredentialError() | Untrusted() | ConfigError():
            return Then.HALT
        case _:
            return Then.AS_USUAL


def back_off(failures: int, draw: Callable[[], float]) -> float:
    """Return how many seconds to wait: twice as long each time, up to an hour, and between half and all of that."""
    longest = min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(failures - 1, 10))
    return longest * (1 + draw()) / 2


def _demanded(seconds: float) -> float:
    # NaN compares false with everything, and so ends as 0: the server did not say.
    return min(seconds, LONGEST_DEMAND) if seconds > 0 else 0.0
