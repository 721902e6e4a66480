"""Delivery-status parts (RFC 3464) in the dialects that servers write."""

import pytest

from bouncefiler.recognition.dsn import address, parse
from bouncefiler.recognition.status import EnhancedStatus


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("rfc822; bo@example.com", "bo@example.com"),
        ("RFC822;<bo@example.com>", "bo@example.com"),
        ("bo@example.com", "bo@example.com"),
        ("rfc822; bo+40example.com (Bo)", "bo@example.com"),
        ("rfc822; bo+list@example.com", "bo+list@example.com"),
        ("utf-8; \\x{6D4B}@example.com", "测@example.com"),
        ("rfc822; mailto:bo@example.com", "bo@example.com"),
        ("", ""),
    ],
)
def test_address_of_a_recipient_field(field: str, wanted: str) -> None:
    """Type, brackets, comments and encodings are taken off; a plus sign of the address stays."""
    assert address(field) == wanted


def test_groups_without_blank_lines_are_told_apart() -> None:
    """A second Final-Recipient begins a second recipient."""
    status = parse(
        "Reporting-MTA: dns; mx.example.net\nFinal-Recipient: a@example.com\nAction: failed\n"
        "Final-Recipient: b@example.com\n"
    )

    assert [recipient.final_recipient for recipient in status.recipients] == ["a@example.com", "b@example.com"]
    assert status.reporting_mta == "mx.example.net"


def test_comment_behind_the_action_does_not_count() -> None:
    """`failed (delayed before)` is failed."""
    (recipient,) = parse("Final-Recipient: a@example.com\nAction: failed (delayed before)\n").recipients

    assert recipient.action == "failed"


def test_status_is_taken_from_the_diagnostic_where_its_field_is_missing() -> None:
    """The server's own words hold it, too."""
    (recipient,) = parse("Final-Recipient: a@example.com\nDiagnostic-Code: smtp; 550 5.2.2 full\n").recipients

    assert recipient.status == EnhancedStatus(5, 2, 2)
    assert recipient.reply_code == 550
    assert recipient.diagnostic_code == "550 5.2.2 full"


def test_folded_diagnostic_is_joined() -> None:
    """With the blank that RFC 5322 wants, and without it."""
    (recipient,) = parse("Final-Recipient: a@example.com\nDiagnostic-Code: smtp; 550\n user\nunknown\n").recipients

    assert recipient.diagnostic_code == "550 user unknown"


def test_original_recipient_stands_in_for_an_x400_name() -> None:
    """An address of another world is no use to a reader of mail."""
    (recipient,) = parse("Original-Recipient: rfc822;a@example.com\nFinal-Recipient: x400; /G=A/C=WW/\n").recipients

    assert recipient.final_recipient == "a@example.com"
