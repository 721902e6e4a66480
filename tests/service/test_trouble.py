"""What is said about an error, and how often."""

from __future__ import annotations

from collections.abc import Callable
from inspect import getfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.errors import FolderMissing, Unreachable
from bouncefiler.service.trouble import Hush, describe, one_line
from tests.service.bench import HOUR, Account, Bench


class Panic(BaseException):
    """As pyo3's, which is no Exception."""


@pytest.mark.parametrize("error", [ZeroDivisionError("by nothing"), Panic("at the disco"), SystemExit(3)])
def test_unforeseen_error_costs_one_run(bench: Bench, lines: Callable[[], list[str]], error: BaseException) -> None:
    """Whatever a run raises is logged as one line with the place it came from, and the next run comes at its time."""
    account = bench.watch(raises=error)

    bench.start(1_000)

    assert len(account.runs) >= 3
    (line,) = lines()
    assert line.startswith("home: unexpected ")
    assert type(error).__name__ in line
    assert str(error) in line
    assert f"at {getfile(Account)}:" in line
    assert "in run" in line


def test_traceback_shows_no_values() -> None:
    """A password in a variable of a failing function is not in the log."""
    secret = "s3cr3t!"

    def fail(password: str) -> None:
        raise ValueError(len(password))

    with pytest.raises(ValueError, match="7") as caught:
        fail(secret)

    assert "in fail" in describe(caught.value)
    assert secret not in describe(caught.value)


def test_same_trouble_is_said_once_an_hour(bench: Bench, lines: Callable[[], list[str]]) -> None:
    """A long outage costs a line an hour, and its end one line."""
    account = bench.watch(raises=FolderMissing("no folder 'INBOX'"))
    bench.start(5.5 * HOUR)
    account.raises = None

    bench.pass_time(HOUR)

    said = lines()
    assert len(said) == 7
    assert said[0] == "home: no folder 'INBOX'"
    assert "more like it" in said[1]
    assert said[-1] == "home: works again"


def test_flapping_account_does_not_flood_the_log(bench: Bench, lines: Callable[[], list[str]]) -> None:
    """Trouble that comes and goes is still said once an hour."""
    account = bench.watch()
    bench.service.begin()
    for number in range(24):
        account.raises = Unreachable("gone") if number % 2 else None
        bench.pass_time(301)

    assert len(lines()) <= 6


def test_other_trouble_is_said_at_once() -> None:
    """Only the same trouble of the same account is kept quiet."""
    hush = Hush()

    assert hush.may_say("home", "Unreachable", 0.0) == ""
    assert hush.may_say("home", "Unreachable", 3_599.0) is None
    assert hush.may_say("home", "OverQuota", 3_599.0) == ""
    assert hush.may_say("work", "Unreachable", 3_599.0) == ""
    assert hush.may_say("home", "Unreachable", 3_600.0) == " (and 1 more like it since the last time)"


def test_text_of_a_server_cannot_forge_a_line(bench: Bench, lines: Callable[[], list[str]]) -> None:
    """Line ends, escape sequences and direction marks in an error are not passed on to log or status."""
    bench.watch(raises=Unreachable("BYE\r\nREADY=1\x1b[2J\u202egnp\x00\u2028x"))

    bench.start()

    (line,) = lines()
    assert line.startswith("home: BYE | READY=1?[2J?gnp? | x; next try at ")
    assert all(note.isprintable() for note in bench.notes)


@given(st.text())
def test_one_line_is_one_printable_line(text: str) -> None:
    """Whatever the text, what comes out can be shown on a terminal."""
    assert one_line(text).isprintable()
