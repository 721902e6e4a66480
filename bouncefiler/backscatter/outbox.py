"""Which of the waiting alerts go out now: nobody reads a flood, and old news is no news."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bouncefiler.backscatter.advice import Level
from bouncefiler.backscatter.incident import Notice

DOSES = ((timedelta(hours=1), 6), (timedelta(days=1), 20))
"""So many alerts go through one channel in such a time. What is held back is told by the next one."""

MAX_WAITING = 50
"""So many alerts wait for one channel; of more, the oldest are given up, first those that later ones make moot."""

_LOUD = frozenset({Notice.OPENED, Notice.REOPENED})


@dataclass(frozen=True, slots=True)
class Waiting:
    """An alert that has not been delivered through `channel` yet; those with a higher id came later."""

    id: int
    channel: str
    key: str
    level: Level
    due: datetime
    """When it is to be tried, or tried again."""


@dataclass(frozen=True, slots=True)
class Turn:
    """An alert that is to be delivered now, and those that are moot when it has been, by their ids."""

    id: int
    instead_of: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Turns:
    """What is to become of waiting alerts. Those that are not named go on waiting."""

    now: tuple[Turn, ...] = ()
    """Oldest first."""
    given_up: tuple[int, ...] = ()


def take_turns(waiting: Sequence[Waiting], sent: Mapping[str, Sequence[datetime]], now: datetime) -> Turns:
    """Say which alerts are to be delivered now, and which not at all.

    `sent`: when alerts were delivered, by channel, for the last day at least. Of several about one incident only the
    newest is delivered: it tells what has become of it. But one that says that somebody may be in the account is only
    replaced by another one that says so. That, and the first news of an incident, are never held back.
    """
    turns: list[Turn] = []
    given_up: list[int] = []
    for channel, whole in _by_channel(waiting).items():
        queue, surplus = _cut(whole)
        given_up += surplus
        room = _room(sent.get(channel, ()), now)
        for one in queue:
            if _replaced(one, queue) or one.due > now:
                continue
            moot = [other for other in queue if _makes_moot(one, other)]
            if room > 0 or any(map(_is_loud, (one, *moot))):
                turns.append(Turn(one.id, tuple(other.id for other in moot)))
                room -= 1
    return Turns(tuple(sorted(turns, key=lambda turn: turn.id)), tuple(given_up))


def _by_channel(waiting: Sequence[Waiting]) -> Mapping[str, Sequence[Waiting]]:
    queues: dict[str, list[Waiting]] = defaultdict(list)
    for one in sorted(waiting, key=lambda one: one.id):
        queues[one.channel].append(one)
    return queues


def _cut(queue: Sequence[Waiting]) -> tuple[Sequence[Waiting], Sequence[int]]:
    """Return what may wait on, and the ids of what is too much."""
    excess = max(0, len(queue) - MAX_WAITING)
    surplus = {one.id for one in sorted(queue, key=lambda one: (not _replaced(one, queue), one.id))[:excess]}
    return [one for one in queue if one.id not in surplus], sorted(surplus)


def _replaced(one: Waiting, queue: Sequence[Waiting]) -> bool:
    return any(_makes_moot(other, one) for other in queue)


def _makes_moot(later: Waiting, one: Waiting) -> bool:
    if later.id <= one.id or _incident(later.key) != _incident(one.key):
        return False
    return one.level is not Level.CRITICAL or later.level is Level.CRITICAL


def _incident(key: str) -> str:
    """Return which incident an alert is about: `advice` writes a key as the notice, the incident, and the moment."""
    parts = key.split(" ")
    return parts[1] if len(parts) == 3 else key


def _is_loud(one: Waiting) -> bool:
    return one.level is Level.CRITICAL or one.key.split(" ", 1)[0] in _LOUD


def _room(sent: Sequence[datetime], now: datetime) -> int:
    """Return how many more may go out. What was sent in the future, by a clock that was fast, does not count."""
    return min(most - sum(now - span < at <= now for at in sent) for span, most in DOSES)
