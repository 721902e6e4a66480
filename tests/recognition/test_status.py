"""Codes in free text."""

import pytest

from bouncefiler.recognition.status import EnhancedStatus, reply_code_in, reply_codes_in, status_in


@pytest.mark.parametrize(
    "text", ["550 5.1.1 no", "550-5.1.1 no", "(#5.1.1)", "status: 5.1.1", "ERROR_CODE :5.1.1", "<a@example.com>: 5.1.1"]
)
def test_status_is_found(text: str) -> None:
    """Wherever servers put it."""
    assert status_in(text) == EnhancedStatus(5, 1, 1)


@pytest.mark.parametrize(
    "text", ["192.0.2.5.1.1", "version 4.5.2-rc1", "v5.1.2", "5.10.2026", "5.1.1.example", "Postfix-4.2.1", "10.5.1.1"]
)
def test_no_status_in_addresses_versions_and_dates(text: str) -> None:
    """What looks like one need not be one."""
    assert status_in(text) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [("550 no", 550), ("smtp; 421 busy", 421), ("said: 554 no", 554), ("error (550)", 550), ("said: 451-4.7.1 x", 451)],
)
def test_reply_code_is_found(text: str, code: int) -> None:
    """By the grammar of RFC 5321, 4.2."""
    assert reply_code_in(text) == code


@pytest.mark.parametrize("text", ["a message of 550 bytes", "queued 421 minutes", "room 5500", "since 2026"])
def test_numbers_are_no_reply_codes(text: str) -> None:
    """A number needs the words of a reply behind it."""
    assert list(reply_codes_in(text)) == []
