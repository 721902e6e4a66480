"""A whole clean on servers with the habits of the big providers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bouncefiler.edge import imap
from bouncefiler.edge.store import Store, open_for_reading, open_store
from bouncefiler.errors import CannotMove, Throttled
from bouncefiler.sweep import Report, clean, pages
from tests.chaos import world
from tests.chaos.rounds import TASK, Onlooker
from tests.providers import PROVIDERS, Box
from tests.scripted import Scripted, playing

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAILS = (world.letter(1), world.bounce(2), world.bounce(3), world.letter(4), world.bounce(5))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "home.sqlite3", holder="test") as opened:
        opened.begin_run("clean", NOON)
        yield opened


def sweep(scripted: Scripted, store: Store) -> Report:
    with imap.open_account(scripted.server(), "secret") as account:
        return clean(account, store, TASK, Onlooker())


def inbox(box: Box) -> list[int]:
    return sorted(box.folders["INBOX"])


def filed(box: Box) -> list[bytes]:
    return [held.raw for _, held in sorted(box.folders.get(world.FOLDER, {}).items())]


@pytest.mark.parametrize("name", ["Gmail", "iCloud", "163", "Zimbra"])
def test_the_bounces_are_filed(name: str, store: Store) -> None:
    """Slowed down, without MOVE, without an answer to RFC822, or only for those who introduce themselves first."""
    box = Box.of(*MAILS)
    with playing(PROVIDERS[name].part(box)) as scripted:
        report = sweep(scripted, store)

    assert (report.moved, inbox(box)) == (3, [1, 4])
    assert filed(box) == [MAILS[1], MAILS[2], MAILS[4]]
    assert world.forbidden(scripted.commands()) == []


def test_microsofts_pause_is_obeyed_and_the_rest_done_later(store: Store) -> None:
    """The wait is told in milliseconds, then the connection ends; what it refused is not asked for again."""
    box = Box.of(*MAILS)
    with playing(PROVIDERS["Microsoft 365"].part(box)) as scripted:
        with pytest.raises(Throttled) as throttled:
            sweep(scripted, store)
        asked = [command for command in scripted.commands() if "<0." in command]
        report = sweep(scripted, store)

    assert throttled.value.retry_after == 92.415
    assert len(asked) == 1
    assert (report.moved, inbox(box)) == (3, [1, 4])


def test_what_yahoo_does_not_give_stays_and_the_rest_is_filed(store: Store) -> None:
    """It is no reason to give up, nor to ask for it for ever; SEARCH is not needed."""
    box = Box.of(*MAILS)
    with playing(PROVIDERS["Yahoo"].part(box)) as scripted:
        report = sweep(scripted, store)
        asked = len(scripted.heard)
        again = sweep(scripted, store)

    assert (report.moved, inbox(box)) == (2, [1, 2, 4])
    assert (again.scanned, again.moved) == (0, 0)
    assert not any("SEARCH" in command for command in scripted.commands())
    assert not any("FETCH" in command for command in scripted.commands()[asked:])


def test_hmailserver_is_read_and_nothing_there_is_touched(store: Store, tmp_path: Path) -> None:
    """Without UIDPLUS no single message can be removed: clean says so, preview still shows what there is."""
    box = Box.of(*MAILS)
    with playing(PROVIDERS["hMailServer"].part(box)) as scripted:
        with pytest.raises(CannotMove, match="UIDPLUS"):
            sweep(scripted, store)
        with imap.open_reader(scripted.server(), "secret") as reader:
            found = [len(plan.moves) for plan in pages(reader, open_for_reading(tmp_path / "none"), TASK)]

    assert inbox(box) == [1, 2, 3, 4, 5]
    assert filed(box) == []
    assert sum(found) == 3
    assert not any(command.startswith(("UID COPY", "UID STORE", "EXPUNGE")) for command in scripted.commands())
