"""What a sent message tells by its header fields, and when two Message-IDs are one."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.recognition import message_id
from bouncefiler.recognition.outgoing import MAX_ADDRESS, MAX_CONTACTS, contact_key, read

STORED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def fields(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode()


# ── Message-IDs ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "<Ab.1@example.org>",
        "Ab.1@example.org",
        " <Ab.1@EXAMPLE.org> ",
        "<Ab.1@\r\n\texample.org>",
        "(comment) <Ab.1@example.org> <other@example.org>",
        "<Ab.1@example.org",
    ],
)
def test_one_id_however_it_is_written(text: str) -> None:
    assert message_id.normal(text) == "Ab.1@example.org"


@pytest.mark.parametrize("text", ["<ab.1@example.org>", "<Ab.1@example.com>", "<Ab.1>", ""])
def test_another_id(text: str) -> None:
    """The left side is compared as it is: RFC 5322 leaves its meaning to the host that made it."""
    assert message_id.key_of(message_id.normal(text)) != message_id.key_of("Ab.1@example.org")


def test_no_id_has_no_key() -> None:
    assert [message_id.key_of(message_id.normal(text)) for text in ("", "<>", " \t", "< >")] == [None] * 4


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("<1f0a3c5d-0f3a-4c5d-9e1b-0123456789ab@x.example>", "h-h-h-h-h"),
        ("<12345678-1234-1234-1234-abcdefabcdef@x.example>", "h-h-h-h-h"),
        ("<CAKxyz12=abc+def@mail.gmail.com>", "x=a+a"),
        ("<20261125.99.root@x.example>", "h.9.a"),
        ("<" + "a-" * 100 + "@x.example>", "a-" * 20),
        ("<no-at>", "a-a"),
    ],
)
def test_shapes(text: str, shape: str) -> None:
    assert message_id.shape_of(message_id.normal(text)) == shape


# ── header fields ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "addresses"),
    [
        ("To: a@x.example", ["a@x.example"]),
        ("To: Bob <B@X.example>, b@x.EXAMPLE,c@x.example", ["b@x.example", "c@x.example"]),
        ('To: "d@x.example" <a@x.example>', ["a@x.example"]),
        ('To: "quo\\"te, e@x.example" <a@x.example>', ["a@x.example"]),
        ("To: A\r\n <a@x.example>,\r\n\tb@x.example", ["a@x.example", "b@x.example"]),
        ("To: undisclosed-recipients:;", []),
        ("To: friends: a@x.example, b@x.example;", ["a@x.example", "b@x.example"]),
        ("Cc: a@x.example\r\nBCC: b@x.example\r\nTO: c@x.example", ["c@x.example", "a@x.example", "b@x.example"]),
        ("To: a@, @b, @, <>, " + "x" * MAX_ADDRESS + "@y", []),
        ("Reply-To: a@x.example", []),
    ],
)
def test_who_was_written_to(line: str, addresses: list[str]) -> None:
    found = read(fields(line), STORED)

    assert found.recipients == len(addresses)
    assert found.contacts == tuple(contact_key(address.encode()) for address in addresses)


def test_of_very_many_some_are_remembered_and_all_counted() -> None:
    found = read(fields("To: " + ", ".join(f"p{number}@x.example" for number in range(5_000))), STORED)

    assert (found.recipients, len(found.contacts)) == (5_000, MAX_CONTACTS)


def test_what_is_kept_of_a_message_is_bounded() -> None:
    """Whatever it holds, some 30 KB of it stay until its window is written down."""
    hostile = fields(
        "Message-ID: <" + "m" * 60_000 + "@x.example>",
        *(f"To: {', '.join(f'p{line}.{number}@x.example' for number in range(100))}" for line in range(100)),
        *("DKIM-Signature: d=x.example; s=" + "s" * 500 for _ in range(100)),
    )
    tracemalloc.start()
    kept = [read(hostile, STORED) for _ in range(20)]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert kept[0].recipients == 10_000
    assert held < 20 * 50_000


@pytest.mark.parametrize(
    ("date", "at"),
    [
        ("Sun, 01 Mar 2026 10:30:05 +0200", datetime(2026, 3, 1, 8, 30, 5, tzinfo=UTC)),
        ("1 Mar 2026 10:30 -0330 (NST)", datetime(2026, 3, 1, 14, 0, tzinfo=UTC)),
        ("Sun, 1 March 2026 10:30:60 GMT", datetime(2026, 3, 1, 10, 30, 59, tzinfo=UTC)),
        ("Fri, 2 Jan 2015 00:00:00 +0000", datetime(2015, 1, 2, tzinfo=UTC)),  # moved here from elsewhere
        ("Sun, 1 Mar 2037 10:30:05 +0200", STORED),  # it cannot have been sent after it was stored
        ("31 Feb 2026 10:00:00 +0000", STORED),
        ("1 Foo 2026 10:00:00 +0000", STORED),
        ("1 Mar 9999 23:59:59 -9999", STORED),
        ("yesterday", STORED),
        ("", STORED),
    ],
)
def test_when_it_was_sent(date: str, at: datetime) -> None:
    assert read(fields(f"Date: {date}"), STORED).sent_at == int(at.timestamp())


def test_without_any_date_it_is_as_old_as_can_be() -> None:
    assert read(fields("Subject: hello"), None).sent_at == 0


@pytest.mark.parametrize(
    ("line", "mailing"),
    [
        ("List-Id: <news.example.org>", True),
        ("LIST-UNSUBSCRIBE: <mailto:x@example.org>", True),
        ("Precedence: Bulk", True),
        ("Precedence: first-class", False),
        ("X-List-Id: <news.example.org>", False),
    ],
)
def test_what_went_to_many_says_so(line: str, mailing: bool) -> None:
    assert read(fields(line), STORED).mailing is mailing


def test_habits() -> None:
    found = read(
        fields(
            "From: Ann <Ann@Example.org>, second@example.org",
            "Message-ID: <1f0a3c5d.12@Mail.Example.org>",
            "DKIM-Signature: v=1; a=rsa-sha256; d=Example.org; s=Key1;\r\n\tbh=a=; b=abc",
            "DKIM-Signature: v=1; d=no.selector.example",
        ),
        STORED,
    )

    assert found.habits == (
        ("from", "ann@example.org"),
        ("id-domain", "mail.example.org"),
        ("id-shape", "h.9"),
        ("selector", "key1._domainkey.example.org"),
    )


def test_an_address_in_other_letters_is_a_habit() -> None:
    assert ("from", "änne@x.example") in read(fields("From: Änne <änne@x.example>"), STORED).habits


def test_what_cannot_be_shown_is_no_habit() -> None:
    """Habits are shown to people, and written in JSON."""
    lines = ("From: a\u202e@x.example", "Message-ID: <a@\u202eelpmaxe.x>", "DKIM-Signature: s=\x07; d=x.example")
    assert {what for what, _ in read(fields(*lines), STORED).habits} == {"id-shape"}


def test_messages_without_an_id_are_told_apart_by_the_rest() -> None:
    one, same, other = (read(fields(f"To: {to}"), STORED).key for to in ("a@x.example", "a@x.example", "b@x.example"))
    later = read(fields("To: a@x.example"), STORED + timedelta(seconds=1)).key

    more = read(fields("Bcc: c@x.example", "To: a@x.example", "List-Id: <x>"), STORED).key

    assert one == same == more  # of older mail fewer fields are read
    assert len({one, other, later}) == 3


@given(st.binary(max_size=400), st.none() | st.just(STORED))
def test_whatever_the_octets(octets: bytes, stored_at: datetime | None) -> None:
    """It never raises, and what comes of it is bounded."""
    for raw in (octets, b"To: " + octets, b"Date: " + octets, b"Message-ID: " + octets, b"DKIM-Signature: s=" + octets):
        found = read(raw, stored_at)

        assert len(found.key) == 8
        assert 0 <= found.sent_at < 2**36
        assert all(value.isprintable() and len(value) <= MAX_ADDRESS for _, value in found.habits)


@given(st.text(max_size=50).filter(lambda text: not set(text) & set("<>")))
def test_an_id_is_known_again_with_brackets_and_without(text: str) -> None:
    plain = message_id.normal(text)

    assert message_id.normal(plain) == message_id.normal(f" <{plain}>") == plain
