"""Which messages are worth reading: many are looked at as one text, and none knows of another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.recognition.lean import suspect, suspects

PLAIN = b"From: Ana <ana@example.org>\r\nSubject: Lunch\r\nMessage-ID: <1@example.org>\r\n\r\n"

PIECES = st.sampled_from(
    [
        b"From: ", b"from:", b"From: a@example.org\r\n", b"\r\n", b"\n", b"\n ", b"<>", b"Subject: ", b"delivery",
        b"Fail", b"ed ", b"ure", b"mail ", b"System", b"=?utf-8?q?", b"=?utf-8?b?TWFpbCBkZWxpdmVyeSA=?=", b"?=", b"1",
        b"deliv=C3=A9r", b"\xd0\xb4\xd0\xbe\xd1\x81\xd1\x82\xd0\xb0\xd0\xb2", b"\x1b$B", b"\0", b"\0\n", b" ", b"x",
        b"@", b"/report",
    ]
)  # fmt: skip
MESSAGES = st.lists(PIECES, max_size=8).map(b"".join)


@pytest.mark.parametrize(
    "field",
    [
        b"Subject: Delivery of your mail",
        b"Subject: re:UNDELIVERABLE",
        b"Subject: aws",
        b"Subject: 1_failure",
        b"From: phpMailer <a@example.org>",
        b"Subject: From the Mail System",
        b"Subject: of Hotmail errors",
        b"Content-Type: multipart/report",
        b"Subject: =?utf-8?b?RGVs?= =?utf-8?b?aXZlcnk=?=",
        b"Subject: =?utf-8?q?Unzust=65llbar?=",
        b"Subject: =?utf-8?q?=C3=9Cberm?= =?UTF-8?Q?ittlung?=",
        b"Subject: =?iso-8859-1?q?R=FCckl=E4ufer?=",
        "Subject: Не доставлено".encode(),
        "Subject: Не доставлено".encode("koi8-r"),
    ],
)
def test_a_word_or_mark_makes_a_suspect(field: bytes) -> None:
    """Where a word begins, in any case; encoded, in pieces; marks also within words."""
    fields = b"From: a@example.org\r\n" + field + b"\r\n\r\n"

    assert suspects([PLAIN, fields, PLAIN]) == {1}


@pytest.mark.parametrize(
    "field",
    [
        b"Subject: redundant and belated",
        b"Subject: 1failure",
        b"Subject: awsome paws",
        b"Subject: Reporting",
        b"Subject: =?utf-8?q?Fr=C3=BChst=C3=BCck?=",
        b"Subject: =?utf-8?b?4oKs?= and =?utf-8?b?!?=",
        b"Subject: =?utf-7?q?+2AA-?=",
    ],
)
def test_other_words_do_not(field: bytes) -> None:
    """Not in the middle of a word, of which digits are a part; and a short word only as a whole."""
    assert not suspect(b"From: a@example.org\r\n" + field + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"", True),
        (b"Subject: x\r\n\r\n", True),
        (b"From:\r\nSubject: x\r\n\r\n", True),
        (b"From: \r\n \r\n", True),
        (b"From:\r\nSubject: =?utf-8?q?x?=\r\n\r\n", True),
        (b"From: Ana <>\r\n\r\n", True),
        (b"Subject: x\r\nFROM: <>\r\n\r\n", True),
        (b"From: \r\n a@example.org\r\n\r\n", False),
        (b"FROM: a@example.org\r\n\r\n", False),
    ],
)
def test_who_says_no_sender_is_a_suspect(fields: bytes, expected: bool) -> None:
    """Also when the message before or after it says two."""
    two = b"From: a@example.org\r\nFrom: b@example.org\r\n\r\n"

    assert suspects([two, fields, two]) == ({1} if expected else set())


@given(st.lists(MESSAGES, max_size=6))
def test_none_knows_of_another(messages: list[bytes]) -> None:
    """Whatever octets stand side by side, each message is what it would be alone."""
    together = suspects(messages)

    assert together == {place for place, fields in enumerate(messages) if suspect(fields)}
