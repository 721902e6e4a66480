"""What the lookout knows by itself; tests/test_stories.py shows it at work."""

from __future__ import annotations

import pytest

from bouncefiler.lookout import is_shared


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
