"""Mail dressed as a bounce is told from bounces, whatever it is made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.recognition.verdict import Kind
from tests.recognition.samples import verdict_of

WORDS = b"Your message to <bo@example.com> could not be delivered: 550 5.1.1 user unknown"
STATUS = (
    b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n\n"
    b"Final-Recipient: rfc822; bo@example.com\nAction: failed\nStatus: 5.1.1"
)
RETURNED = b"Content-Type: message/rfc822\n\nFrom: ana@example.org\nTo: bo@example.com\nSubject: x\n\nx"


def report(*parts: bytes, return_path: bytes = b"<>", sender: bytes = b"MAILER-DAEMON@mx.example.net") -> bytes:
    head = b"Return-Path: " + return_path + b"\nFrom: " + sender + b"\nSubject: Undelivered Mail Returned to Sender\n"
    head += b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
    return head + b"".join(b"--b\n" + part + b"\n" for part in parts) + b"--b--\n"


def html(link: bytes) -> bytes:
    return b'Content-Type: text/html\n\n<p>550 5.1.1 it failed</p><a href="' + link + b'">more</a>'


@pytest.mark.parametrize(
    "link",
    [
        b"https://go.microsoft.com/fwlink/?LinkId=1", b"https://SUPPORT.google.com./mail", b"mailto:bo@example.com",
        b"cid:logo", b"#top", b"http://www.spamhaus.org/query?ip=192.0.2.25", b"https://support.google.com:443/x",
    ],
)  # fmt: skip
def test_links_to_a_servers_own_help_are_borne(link: bytes) -> None:
    """They are in the bounces of Exchange and Gmail."""
    assert verdict_of(report(html(link), STATUS)).kind is Kind.FAILED


@pytest.mark.parametrize(
    "link",
    [
        b"https://login.shop.example/", b"https://go.microsoft.com.shop.example/", b"//login.shop.example/x",
        b"https://go.microsoft.com@shop.example/", b"https:\\\\login.shop.example", b"https://notgoogle.com/",
        b"https://aka.ms/?to=https://shop.example/", b"https://aka.ms/?to=https%3A%2F%2Fshop.example",
        b"javascript:go()", b"&#106;avascript:go()", b"data:text/html,x", b"page.html", b"http&#58;//shop.example/",
        b"ftp://shop.example/", b"https://shop.example", b"https://192.0.2.66/",
    ],
)  # fmt: skip
def test_links_to_anywhere_else_are_not(link: bytes) -> None:
    """However the host is written; not where nothing is returned and the words name nobody."""
    assert verdict_of(report(html(link), STATUS)).kind is Kind.IMITATION


@pytest.mark.parametrize(
    ("media_type", "name"),
    [
        (b"application/zip", b"a.zip"), (b"text/html", b"a.html"), (b"image/svg+xml", b"a.svg"),
        (b"text/plain", b"a.htm"),
        (b"application/octet-stream", b"a.exe"), (b"application/pdf", b""), (b"text/calendar", b"a.ics"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("last", [True, False])
def test_no_file_rides_along(media_type: bytes, name: bytes, last: bool) -> None:
    """Neither before the returned message nor behind it."""
    file = b"Content-Type: " + media_type + b"\nContent-Disposition: attachment; filename*0=" + name[:2]
    file += b"; filename*1=" + name[2:] + b"\n\nx"
    words = b"Content-Type: text/plain\n\n" + WORDS
    parts = (words, STATUS, RETURNED, file) if last else (words, file, STATUS, RETURNED)

    assert verdict_of(report(*parts)).kind is Kind.IMITATION


def test_cut_before_the_file_says_that_it_is_not_sure() -> None:
    """So that the rest is read before anything is filed."""
    raw = report(b"\n" + WORDS, STATUS, RETURNED, b"Content-Type: application/zip; name=a.zip\n\nx")
    part = verdict_of(raw[: raw.index(b"application/zip")], cut=True)

    assert part.incomplete


def test_a_bounce_of_mail_that_was_never_sent_is_a_bounce() -> None:
    """Backscatter is filed and counted: whose the message was is another question."""
    forged = RETURNED.replace(b"Subject: x", b"Subject: prize\nMessage-ID: <x@botnet.example>")

    assert verdict_of(report(b"\n" + WORDS, STATUS, forged)).kind is Kind.FAILED


PARTS = st.sampled_from(
    [
        b"\n" + WORDS, STATUS, RETURNED, html(b"https://shop.example/"), html(b"https://aka.ms/x"), b"", b"\n",
        b"Content-Type: application/pdf; name=a.pdf\n\nx", b"Content-Type: multipart/mixed; boundary=b\n",
        b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nNTUwIDUuMS4x",
        b"Content-Type: multipart/alternative; boundary=c\n\n--c\n\nx\n--c\nContent-Type: text/html\n\n<a href=x>\n",
    ]
)  # fmt: skip


@given(
    st.lists(PARTS, max_size=6),
    st.sampled_from([b"<>", b"<x@shop.example>", b"<postmaster@mx.example.net>"]),
    st.sampled_from([b"MAILER-DAEMON@mx.example.net", b"Shop <news@shop.example>"]),
    st.integers(0, 1000),
)
def test_a_cut_never_makes_a_bounce_of_none(parts: list[bytes], path: bytes, sender: bytes, thousandths: int) -> None:
    """Whatever the parts and wherever the cut: a bounce for good only if the whole is one."""
    raw = report(*parts, return_path=path, sender=sender)
    part = verdict_of(raw[: len(raw) * thousandths // 1000], cut=True)

    assert part.incomplete or not part.kind.is_bounce or verdict_of(raw).kind.is_bounce
