"""What is said about an error, and how often."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field

from bouncefiler.errors import BouncefilerError
from bouncefiler.service.clock import HOUR

LONGEST_LINE = 500
LONGEST_TRACEBACK = 4_000


def one_line(text: str) -> str:
    """Make one line of the text without any control, direction or invisible character."""
    joined = " | ".join(stripped for line in text.splitlines() if (stripped := line.strip()))
    return "".join(character if character.isprintable() else "?" for character in joined)


def describe(error: BaseException) -> str:
    """Return the line for a person; of an error that nobody has foreseen also where it came from, without values."""
    if isinstance(error, BouncefilerError):
        return one_line(str(error))[:LONGEST_LINE]
    trace = traceback.TracebackException.from_exception(error, limit=-12, lookup_lines=False)
    return "unexpected " + one_line("\n".join(_story(trace)))[:LONGEST_TRACEBACK]


def briefly(error: BaseException) -> str:
    """Return what the service manager is told about it."""
    return describe(error) if isinstance(error, BouncefilerError) else f"unexpected {type(error).__name__}, see the log"


def _story(trace: traceback.TracebackException) -> Iterator[str]:
    yield one_line("".join(trace.format_exception_only()))[:LONGEST_LINE]
    yield from (f"at {frame.filename}:{frame.lineno} in {frame.name}" for frame in reversed(trace.stack))
    if cause := trace.__cause__ or (None if trace.__suppress_context__ else trace.__context__):
        yield "because of"
        yield from _story(cause)


def kind(error: BaseException) -> str:
    """Return what makes two errors the same trouble; of our own the class, as texts of servers vary."""
    name = type(error).__name__
    if isinstance(error, BouncefilerError):
        return name
    places = traceback.extract_tb(error.__traceback__, limit=-1)
    return f"{name} {places[0].filename}:{places[0].lineno}" if places else name


@dataclass(slots=True)
class Hush:
    """Lets the same trouble of the same account be said once an hour, and counts in between."""

    said: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)

    def may_say(self, account: str, kind: str, now: float) -> str | None:
        """Return None to keep quiet, else what to add about the times that were not said."""
        self.said = {key: (at, times) for key, (at, times) in self.said.items() if now - at < 2 * HOUR}
        at, times = self.said.get((account, kind), (-HOUR, 0))
        if now - at < HOUR:
            self.said[account, kind] = (at, times + 1)
            return None
        self.said[account, kind] = (now, 0)
        return f" (and {times} more like it since the last time)" if times else ""
