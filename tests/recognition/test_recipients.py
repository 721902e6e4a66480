"""Whom a bounce in plain words is about."""

import pytest

from tests.recognition.samples import verdict_of

HEAD = """\
Return-Path: <>
From: Mail Delivery System <MAILER-DAEMON@mx.example.net>
To: {reader}
Subject: Mail delivery failed
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

"""
BELOW = """
----- Original message -----

Received: from a.example by b.example; Tue, 3 Mar 2026 09:00:00 +0000
Message-ID: <seeds-1@garden.example>
From: Ana <ana@garden.example>
To: {addressed}
Subject: Seeds for the spring

They have come!
"""
VERP = "list-bounces+no.body=example.com@lists.garden.example"


def recipients(said: str, *, reader: str = "ana@garden.example", addressed: str = "no.body@example.com") -> list[str]:
    raw = HEAD.format(reader=reader) + said + "\n" + BELOW.format(addressed=addressed)
    return [recipient.final_recipient for recipient in verdict_of(raw.encode()).recipients]


def test_author_of_the_returned_message_is_not_the_one_who_failed() -> None:
    """Also where the bounce goes to an address made for it, so that the author is not in To."""
    said = "A message from ana@garden.example to no.body@example.com could not be delivered: 550 5.1.1 User unknown"

    assert recipients(said, reader=VERP) == ["no.body@example.com"]


@pytest.mark.parametrize("helper", ["care@isp.example", "<care@isp.example>"])
def test_address_for_help_is_not_the_one_who_failed(helper: str) -> None:
    """Where any address would fit, one counts to which the returned message was addressed."""
    said = f"Your message could not be delivered. Write to {helper}.\n\nThe address no.body@example.com is unknown."

    assert recipients(said) == ["no.body@example.com"]


@pytest.mark.parametrize("address", ["josé@exämple.com", "анна@пример.example", '"no body"@example.com'])
def test_rarer_forms_are_found_whole(address: str) -> None:
    """Letters beyond ASCII (RFC 6531), and quoted local parts (RFC 5321, 4.1.2)."""
    said = f"Your message could not be delivered:\n\n    {address}\n      550 5.1.1 User unknown"

    assert recipients(said, addressed=address) == [address]


def test_address_in_a_sentence_without_blanks_is_not_glued_to_it() -> None:
    """Han has no blanks between words."""
    said = "Your message could not be delivered\n收件人no.body@example.com不存在: 550 5.1.1 User unknown"

    assert recipients(said) == ["no.body@example.com"]


def test_letter_to_oneself_names_oneself() -> None:
    """The reader of the bounce may be the one who failed."""
    said = "Your message could not be delivered to ana@garden.example: mailbox full"

    assert recipients(said, addressed="ana@garden.example") == ["ana@garden.example"]
