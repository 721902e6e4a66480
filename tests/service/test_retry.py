"""When a run comes again after an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.errors import (
    BouncefilerError,
    BrakePulled,
    CannotMove,
    ConfigError,
    CredentialError,
    FolderMissing,
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
from bouncefiler.service.retry import Retry, Then, back_off, react
from tests.service.bench import HOUR, Bench


def middle() -> float:
    return 0.5


WAIT_A_MINUTE = (30.0, 60.0)

REACTIONS = [
    (Unreachable("no route"), WAIT_A_MINUTE),
    (Throttled("slow down"), WAIT_A_MINUTE),
    (Throttled("slow down", 900.0), (900.0, 990.0)),
    (OverQuota("full"), (HOUR, 1.1 * HOUR)),
    (StoreBusy("held by 123"), WAIT_A_MINUTE),
    (StoreBroken("disk full"), WAIT_A_MINUTE),
    (FolderRenumbered("INBOX"), (0.0, 0.0)),
    (LoginRefused("wrong password"), Then.HALT),
    (CredentialError("no keyring"), Then.HALT),
    (Untrusted("expired"), Then.HALT),
    (ConfigError("rules"), Then.HALT),
    (FolderMissing("Bounces"), Then.AS_USUAL),
    (CannotMove("no UIDPLUS"), Then.AS_USUAL),
    (BrakePulled("too many"), Then.AS_USUAL),
    (TokenRefused("expired"), (30, 60)),
    (NoToken("no network"), (30, 60)),
    (ZeroDivisionError(), Then.AS_USUAL),
    (None, Then.AS_USUAL),
]


@pytest.mark.parametrize(("error", "meant"), REACTIONS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("drawn", [0.0, 0.5, 0.999])
def test_error_decides_when_to_run_again(
    error: BaseException | None, meant: Then | tuple[float, float], drawn: float
) -> None:
    """Each error means waiting, stopping, or going on as usual."""
    reaction = react(error, 1, lambda: drawn)

    if isinstance(meant, Then):
        assert reaction is meant
    else:
        assert isinstance(reaction, Retry)
        assert meant[0] <= reaction.after <= meant[1]


def test_back_off_doubles_up_to_an_hour() -> None:
    """The wait after trouble doubles, is never more than an hour, and differs from account to account."""
    longest = [back_off(failures, lambda: 1.0) for failures in range(1, 9)]

    assert longest == [60, 120, 240, 480, 960, 1_920, 3_600, 3_600]
    assert back_off(1_000_000, lambda: 1.0) == 3_600
    assert back_off(3, lambda: 0.0) == 120


@given(st.floats(), st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_throttled_account_waits_as_long_as_the_server_asks(asked: float, failures: int, drawn: float) -> None:
    """The wait is never shorter than asked for, up to a day; nonsense counts as not asked."""
    reaction = react(Throttled("wait", asked), failures, lambda: drawn)

    assert isinstance(reaction, Retry)
    assert reaction.after >= min(asked, 86_400) if asked > 0 else reaction.after <= HOUR
    assert 0 <= reaction.demanded <= reaction.after <= 1.1 * 86_400


def test_folder_renumbered_again_and_again_is_not_chased() -> None:
    """A server that renumbers at every look is asked ever less often."""
    waits = [react(FolderRenumbered("INBOX"), failures, middle) for failures in (1, 2, 3)]

    assert waits == [Retry(0.0), Retry(90.0), Retry(180.0)]


def test_unreachable_server_is_tried_ever_less_often_until_it_answers(bench: Bench) -> None:
    """Back-off grows up to an hour; the first success brings the usual interval back."""
    account = bench.watch(raises=Unreachable("no route to host"))
    bench.start(10 * HOUR)
    grown = account.gaps
    account.raises = None
    count = len(account.runs)

    bench.pass_time(3 * HOUR)

    assert grown[:7] == pytest.approx([45, 90, 180, 360, 720, 1_440, 2_700], abs=1)
    assert all(gap <= 3_600 for gap in grown)
    assert all(300 <= gap <= 331 for gap in account.gaps[count:])
    assert len(account.gaps[count:]) > 20

    account.raises = Unreachable("no route to host")
    bench.pass_time(HOUR)
    first = next(gap for gap in account.gaps[count:] if gap < 300)
    assert first == pytest.approx(45, abs=1)


def test_renumbered_folder_is_planned_again_at_once(bench: Bench) -> None:
    """What a renumbered folder made void is done again without waiting for the interval."""
    account = bench.watch(raises=FolderRenumbered("INBOX has new numbers"), times=1)

    bench.start(60)

    assert account.runs == [1_000.0, 1_000.0]


@pytest.mark.parametrize("error", [LoginRefused("wrong password"), CredentialError("none found"), Untrusted("expired")])
def test_refused_account_stops_and_the_others_go_on(bench: Bench, error: BouncefilerError) -> None:
    """An account that must not be tried again isn't, is closed, and troubles nobody else."""
    refused, other = bench.watch("refused", raises=error), bench.watch("other")

    bench.start(6 * HOUR)

    assert len(refused.runs) == 1
    assert len(refused.closed) == 1
    assert len(other.runs) > 60
    assert not bench.service.over()
    assert bench.status.startswith("STATUS=Watching 1 of 2 accounts. refused: ")


def test_service_ends_when_no_account_is_left_to_try(bench: Bench) -> None:
    """With every account refused, the service ends by itself with the last error's exit code."""
    bench.watch("first", raises=CredentialError("none found"))
    bench.watch("second", raises=LoginRefused("wrong password"))

    bench.start()

    assert bench.service.over()
    assert bench.service.exit_code == LoginRefused.exit_code == 77
    assert "STOPPING=1" in bench.notes
