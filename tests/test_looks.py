"""It is written down when an account was looked into, and what was in the way: `status` tells it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bouncefiler.errors import BouncefilerError
from tests.test_desk import desk_at, sweep

REFUSED = {'SELECT "INBOX"': "TAG NO [UNAVAILABLE] not\tnow\x1b[2J"}


def now() -> datetime:
    return datetime.now(UTC)


def test_a_sweep_that_ends_well_is_a_look(tmp_path: Path) -> None:
    with desk_at({}, tmp_path) as (desk, _):
        assert desk.store.last_look().at is None
        sweep(desk)

        look = desk.store.last_look()
        assert look.at is not None
        assert now() - look.at < timedelta(minutes=1)
        assert look.trouble == ""


def test_what_was_in_the_way_of_a_sweep_is_kept_in_one_line(tmp_path: Path) -> None:
    with desk_at(REFUSED, tmp_path) as (desk, _):
        with pytest.raises(BouncefilerError):
            sweep(desk)

        look = desk.store.last_look()
        assert look.at is None
        assert look.trouble
        assert look.trouble.isprintable()
        assert look.trouble_since is not None


def test_an_account_in_which_nothing_has_come_was_looked_into(tmp_path: Path) -> None:
    with desk_at({}, tmp_path) as (desk, _):
        sweep(desk)
        desk.store.looked(now(), "no connection")

        desk.quiet()

        assert desk.store.last_look().trouble == ""
