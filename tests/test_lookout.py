"""What the lookout knows by itself; tests/test_stories.py shows it at work."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bouncefiler.backscatter import advice
from bouncefiler.backscatter.domains import Limitable, Offline
from bouncefiler.edge.store import open_store
from bouncefiler.filing.plan import Arrival, Judged, Left, MessageRef, Plan
from bouncefiler.lookout import Lookout, is_shared
from bouncefiler.recognition.identity import Fingerprint
from bouncefiler.recognition.verdict import Cause, Kind, Original, Verdict
from bouncefiler.settings import Account, KeyringEntry, Server

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ANA = Account("home", Server("mail.example.org", 993, "ana@example.org"), KeyringEntry())


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        ("yahoo.com.br", True),
        ("mail.yahoo.com", True),
        ("gmail.com", True),
        ("google.com", True),  # nobody's address is there, but the mail of all customers goes by it
        ("outbound.protection.outlook.com", True),
        ("office365.com", True),
        ("example.org", False),
        ("notyahoo.com", False),
        ("yahoo.com.example.org", False),
        ("", False),
    ],
)
def test_what_millions_share_is_known_by_their_addresses_and_by_their_servers(name: str, *, shared: bool) -> None:
    assert is_shared(name) is shared


@pytest.mark.parametrize(
    ("signed", "asked"),
    [(b"", 0), (b"DKIM-Signature: v=1; d=other.example; s=k", 0), (b"DKIM-Signature: v=1; d=example.org; s=k", 1)],
)
def test_the_dns_is_asked_only_where_something_is_signed_by_the_owners_domain(
    tmp_path: Path, signed: bytes, asked: int
) -> None:
    """To load what asks it takes longer than all else at the end of a run."""
    made: list[Limitable] = []

    def names() -> Limitable:
        made.append(Offline())
        return made[-1]

    original = Original(message_id="<1@example.org>", from_="ana@example.org", signed=signed)
    verdict = Verdict(Kind.FAILED, Cause.USER_UNKNOWN, original=original)
    arrival = Arrival(MessageRef("INBOX", 1, 1), Fingerprint("0" * 32), NOW, 1_000)
    with open_store(tmp_path / "home.sqlite3", holder="test") as store:
        store.finish(Plan(left=(Left(Judged(arrival, verdict), "put back by you"),)))
        assert store.pending(NOW)
        lookout = Lookout(ANA, store, names, advice.Reader("ana@example.org", "Bounces", "en"), ("log",))
        lookout.inquire(lambda _: frozenset(), NOW, lambda: False)

    assert len(made) == asked
