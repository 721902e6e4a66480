"""Octets to Message."""

import pytest

from bouncefiler.recognition.message import read
from bouncefiler.recognition.text import decode, decode_header, fold, strip_html


@pytest.mark.parametrize(
    ("octets", "declared", "wanted"),
    [
        ("não".encode(), "us-ascii", "não"),
        ("não".encode("latin-1"), "", "não"),
        ("não".encode("latin-1"), "utf-8", "não"),
        ("не доставлено".encode("koi8-r"), "koi8-r", "не доставлено"),
        ("не доставлено".encode("koi8-r"), "", "не доставлено"),
        ("не доставлено".encode("cp1251"), "windows-1251", "не доставлено"),
        ("系统退信".encode("gb18030"), "gb2312", "系统退信"),
        ("配信不能".encode("iso-2022-jp"), "us-ascii", "配信不能"),
        ("반송".encode("euc-kr"), "ks_c_5601-1987", "반송"),
        (b"plain", "no-such-charset", "plain"),
        ("não".encode()[:-2], "utf-8", "n"),
    ],
)
def test_charset_is_understood(octets: bytes, declared: str, wanted: str) -> None:
    """Valid UTF-8 is UTF-8; else what is declared; else what it looks like."""
    assert decode(octets, declared) == wanted


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        (b"=?utf-8?Q?n=C3=A3o?= =?utf-8?Q?_entregue?=", "não entregue"),
        (b"=?utf-8?B?bsOj?=\n =?utf-8?B?bw==?=", "não"),
        (b"=?utf-8?B?bsM=?= =?utf-8?B?o28=?=", "não"),
        (b"=?x?Z?broken?= kept", "=?x?Z?broken?= kept"),
        ("não".encode(), "não"),
    ],
)
def test_header_is_decoded(field: bytes, wanted: str) -> None:
    """Encoded words (RFC 2047), also those cut within a character, and raw UTF-8."""
    assert decode_header(field) == wanted


def test_html_becomes_lines_and_links() -> None:
    """What a reader sees, and where the links lead."""
    source = "<style>p{}</style><p>Not&nbsp;delivered<br><a@example.com></p>"
    text, links = strip_html(source + '<a href="https://example.com/">x</a>')

    assert [line.strip() for line in text.split("\n") if line.strip()] == ["Not\xa0delivered", "<a@example.com>", "x"]
    assert links == ("https://example.com/",)


def test_folding_drops_case_accents_and_blanks() -> None:
    """So that a table needs each phrase once."""
    assert fold("Não  É\n possível") == fold("nao e possivel")


def test_report_within_another_multipart_is_found() -> None:
    """List software wraps what it forwards."""
    inner = b"--b\nContent-Type: message/delivery-status\n\nStatus: 5.1.1\n--b--\n"
    raw = (
        b"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/report; boundary=b\n\n"
        + inner
        + b"--a--\n"
    )

    assert read(raw).report.strip() == "Status: 5.1.1"


def test_report_of_a_forwarded_bounce_is_not_ours() -> None:
    """What is inside a message/rfc822 part belongs to the message that was forwarded."""
    part = b"--b\nContent-Type: message/delivery-status\n\nStatus: 5.1.1\n--b--\n"
    inner = b"Content-Type: multipart/report; boundary=b\n\n" + part
    raw = b"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: message/rfc822\n\n" + inner + b"--a--\n"

    assert not read(raw).has_report
